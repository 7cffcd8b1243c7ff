"""The demo's picture: panels side by side, with the classes that are present."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from landweave_demo import picture
from landweave_demo._pending import lw


def test_panels_stand_side_by_side_with_their_legend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = []
    monkeypatch.setattr(picture, "Patch", lambda color, label: labels.append(label) or real(color=color, label=label))
    classes = np.full((120, 160), 255, np.uint8)
    classes[:60] = 6
    aerial = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    picture.write_panels(
        tmp_path / "p.png",
        {"aerial": aerial, "map": classes},
        lw.list_models()["demo-fusion"].legend(),
        resolution_m=0.2,
        title="A title",
        subtitle="figures",
    )
    image = matplotlib.image.imread(tmp_path / "p.png")
    assert image.shape[1] > 1.5 * image.shape[0]
    assert labels == ["water", "no data"]


real = picture.Patch


def test_large_panels_are_thinned() -> None:
    classes = np.array([[0, 0, 3], [0, 6, 3], [3, 3, 3]], np.uint8).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(picture._thinned(classes, 2), classes[::2, ::2])
    colors = np.zeros((2, 2, 3), np.uint8)
    colors[0, 0] = 100
    assert picture._thinned(colors, 2).tolist() == [[[25, 25, 25]]]
