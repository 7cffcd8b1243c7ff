import matplotlib.image
import numpy as np
import pytest

from landweave.core.errors import InputError
from landweave.formats import panels
from landweave.formats.panels import Panel, write_panels
from tests.store.samples import LEGEND, pixels, template


def test_the_legend_holds_the_classes_present(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(panels, "save_figure", lambda figure, path: figures.append(figure))
    classes = np.where(pixels(template())["landcover"] == 6, 0, pixels(template())["landcover"])
    write_panels(tmp_path / "p.png", [Panel(title="Map", image=classes)], LEGEND, resolution_m=0.2, credit="A licence")
    (axes,) = figures[0].axes
    words = {text.get_text() for text in (*axes.texts, *axes.get_legend().get_texts())}
    assert {"building", "impervious surface", "no data", "A licence"} <= words
    assert any(word.endswith("N") for word in words)
    assert "water" not in words


def test_panels_stand_side_by_side(tmp_path):
    classes = pixels(template())["landcover"]
    aerial = np.random.default_rng(0).integers(0, 256, (*classes.shape, 3)).astype(np.uint8)
    row = [Panel(title=name, image=image) for name, image in (("Aerial", aerial), ("Map", classes), ("Truth", classes))]
    image = matplotlib.image.imread(write_panels(tmp_path / "p.png", row, LEGEND, resolution_m=0.2, title="Demo"))
    assert image.shape[1] > 1.5 * image.shape[0]
    with pytest.raises(InputError, match="one height and width"):
        write_panels(tmp_path / "p.png", [row[0], Panel(title="x", image=classes[1:])], LEGEND, resolution_m=0.2)


def test_large_panels_are_thinned_by_the_rules():
    classes = np.array([[0, 0, 3], [0, 6, 3], [3, 3, 3]], np.uint8).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(panels._thinned(classes, 2), classes[::2, ::2])
    colors = np.zeros((2, 2, 3), np.uint8)
    colors[0, 0] = 100
    assert panels._thinned(colors, 2).tolist() == [[[25, 25, 25]]]


def test_panels_without_a_class_are_drawn(tmp_path):
    empty = Panel(title="nothing", image=np.full((40, 60), 255, np.uint8))
    assert write_panels(tmp_path / "p.png", [empty], LEGEND, resolution_m=0.2).exists()
