"""The demo's picture: panels side by side, with the classes that are present."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

import landweave as lw
from landweave_demo import picture


def draw(path: Path, title: str) -> None:
    classes = np.full((120, 160), 255, np.uint8)
    classes[:60] = 6
    aerial = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    picture.write_panels(
        path,
        {"aerial": aerial, "map": classes},
        lw.list_models()["demo-fusion"].legend(),
        resolution_m=0.2,
        title=title,
        subtitle=2 * title,
    )


def test_panels_stand_side_by_side_with_the_legend_of_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    draw(tmp_path / "p.png", title="Land cover of a landscape by a model that sees every one of five sensors. ")
    (figure,) = figures
    figure.draw_without_rendering()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["water", "no data"]
    left, right = (axes.get_position() for axes in figure.axes)
    assert left.x1 < right.x0
    width, height = figure.canvas.get_width_height()
    for text in [*figure.texts, *figure.legends[0].get_texts()]:
        box = text.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= width, text.get_text()
        assert 0 <= box.y0 <= box.y1 <= height, text.get_text()


def test_a_picture_is_written(tmp_path: Path) -> None:
    draw(tmp_path / "p.png", title="A title")
    image = matplotlib.image.imread(tmp_path / "p.png")
    assert image.shape[1] > image.shape[0]


def test_large_panels_are_thinned() -> None:
    classes = np.array([[0, 0, 3], [0, 6, 3], [3, 3, 3]], np.uint8).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(picture._thinned(classes, 2), classes[::2, ::2])
    colors = np.zeros((2, 2, 3), np.uint8)
    colors[0, 0] = 100
    assert picture._thinned(colors, 2).tolist() == [[[25, 25, 25]]]
