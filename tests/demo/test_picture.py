"""The demo's picture: panels in rows of two, with the classes that are present and what is no data."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import landweave as lw
from landweave_demo import picture

LEGEND = lw.list_models()["demo-fusion"].legend()
HEIGHT, WIDTH = 120, 160


def draw(path: Path, title: str) -> None:
    """Four panels whose lower halves are nodata; the upper halves are white, water, building, and certain."""
    water = np.full((HEIGHT, WIDTH), 255, np.uint8)
    water[:60] = 6
    aerial = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    aerial[:60] = 255
    panels = {"aerial": aerial, "map": water, "truth": np.where(water == 6, np.uint8(0), water)}
    confidence = np.where(water == 6, np.float32(1), np.float32(np.nan))
    picture.write_panels(
        path, {**panels, "confidence": confidence}, LEGEND, resolution_m=0.2, title=title, subtitle=2 * title
    )


def test_panels_stand_in_rows_of_two_beside_the_legend_of_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    draw(tmp_path / "p.png", title="Land cover of a landscape by a model that sees every one of five sensors. ")
    (figure,) = figures
    figure.draw_without_rendering()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["building", "water", "no data"]
    upper_left, upper_right, lower_left, lower_right = (axes.get_position() for axes in figure.axes)
    assert upper_left.x1 < upper_right.x0
    assert lower_left.y1 < upper_left.y0
    assert lower_right.x0 == pytest.approx(upper_right.x0)
    width, height = figure.canvas.get_width_height()
    (bar,) = figure.axes[-1].child_axes
    for text in [*figure.texts, *figure.legends[0].get_texts(), *bar.get_yticklabels()]:
        box = text.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= width, text.get_text()
        assert 0 <= box.y0 <= box.y1 <= height, text.get_text()


def test_nodata_has_the_colour_of_no_class_and_every_panel_shows_it(tmp_path: Path) -> None:
    nodata = np.array(to_rgb(picture._NODATA["facecolor"]))
    assert {
        code for code, color in LEGEND.colors.items() if np.abs(np.array(color) / 255 - nodata).max() < 0.15
    } == set()
    draw(tmp_path / "p.png", title="A title")
    image = matplotlib.image.imread(tmp_path / "p.png")[..., :3]
    is_nodata = (np.abs(image - nodata) < 0.02).all(-1)
    quarters = [half for row in np.array_split(is_nodata, 2) for half in np.array_split(row, 2, axis=1)]
    assert min(quarter.mean() for quarter in quarters) > 0.1


def test_large_panels_are_thinned() -> None:
    classes = np.array([[0, 0, 3], [0, 6, 3], [3, 3, 3]], np.uint8).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(picture._thinned(classes, 2), classes[::2, ::2])
    colors = np.zeros((2, 2, 4), np.uint8)
    colors[0, 0] = 100
    assert picture._thinned(colors, 2).tolist() == [[[25, 25, 25, 25]]]
