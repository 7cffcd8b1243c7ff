import matplotlib.image
import numpy as np
import pytest

from landweave.core.errors import InputError, OutputError
from landweave.formats import picture
from landweave.formats.picture import Panel, bar_length_m, colored, write_panels, write_picture
from landweave.store.objects import Target
from tests.helpers.stored import stored_map
from tests.store.samples import LEGEND, pixels, template, written


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    target = Target.parse(tmp_path_factory.mktemp("map") / "map.zarr")
    written(target, template(down=3, across=2), overviews=True)
    return stored_map(target)


def image_of(path):
    return (matplotlib.image.imread(path)[..., :3] * 255).round().astype(np.uint8)


def ground(image):
    """The picture inside its frame: rows and columns where map colours are."""
    table = np.array([cls.rgb for cls in LEGEND.classes if cls.code != 18], np.uint8)
    return (image[..., None, :] == table).all(-1).any(-1)


def test_the_map_is_drawn_north_up_in_whole_dots(mapped, tmp_path):
    image = image_of(write_picture(mapped, tmp_path / "map.png"))
    wanted = colored(pixels(template(down=3, across=2))["landcover"], LEGEND)
    dots = round(1500 / 192)  # the area's longest side is 192 pixels
    expected = np.kron(wanted[:, :-7], np.ones((dots, dots, 1), np.uint8))
    rows, columns = np.flatnonzero(ground(image).sum(1) > 100), np.flatnonzero(ground(image).sum(0) > 500)
    inside = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert abs(inside.shape[0] - expected.shape[0]) <= 4
    assert abs(inside.shape[1] - expected.shape[1]) <= 4
    height, width = (min(a, b) for a, b in zip(inside.shape[:2], expected.shape[:2], strict=True))
    same = (inside[:height, :width] == expected[:height, :width]).all(-1)
    assert same.mean() > 0.9  # frame, hairlines and a dot of offset differ
    assert (inside[:height, :width][::-1] == expected[:height, :width]).all(-1).mean() < 0.6


def test_a_level_that_fits_is_drawn(mapped, tmp_path, monkeypatch):
    drawn = []
    real = picture.colored
    monkeypatch.setattr(
        picture, "colored", lambda classes, legend: drawn.append(classes.shape) or real(classes, legend)
    )
    write_picture(mapped, tmp_path / "map.png", max_size=100, title="A title", credit="A licence")
    assert drawn == [(96, 61)]  # level 1 of 192 x 128, without its empty edge
    with pytest.raises(InputError, match=r"\(24, 16\), a picture of at most 10"):
        write_picture(mapped, tmp_path / "map.png", max_size=10)


def test_the_legend_holds_the_classes_present(mapped, tmp_path):
    words = []
    real = picture._Sheet.text

    def heard(self, x, y, text, **style):
        words.append(text)
        real(self, x, y, text, **style)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture._Sheet, "text", heard)
        classes = np.where(pixels(template())["landcover"] == 6, 0, pixels(template())["landcover"])
        write_panels(
            tmp_path / "p.png", [Panel(title="Map", image=classes)], LEGEND, resolution_m=0.2, credit="A licence"
        )
    assert {"building", "impervious surface", "no data", "A licence", "N"} <= set(words)
    assert "water" not in words


def test_panels_stand_side_by_side(tmp_path):
    classes = pixels(template())["landcover"]
    aerial = np.random.default_rng(0).integers(0, 256, (*classes.shape, 3)).astype(np.uint8)
    panels = [
        Panel(title=name, image=image) for name, image in (("Aerial", aerial), ("Map", classes), ("Truth", classes))
    ]
    image = image_of(write_panels(tmp_path / "p.png", panels, LEGEND, resolution_m=0.2, title="Demo"))
    assert image.shape[1] > 1.5 * image.shape[0]
    with pytest.raises(InputError, match="one height and width"):
        write_panels(tmp_path / "p.png", [panels[0], Panel(title="x", image=classes[1:])], LEGEND, resolution_m=0.2)


def test_large_panels_are_thinned_by_the_rules():
    classes = np.array([[0, 0, 3], [0, 6, 3], [3, 3, 3]], np.uint8).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(picture._thinned(classes, 2), classes[::2, ::2])
    colors = np.zeros((2, 2, 3), np.uint8)
    colors[0, 0] = 100
    assert picture._thinned(colors, 2).tolist() == [[[25, 25, 25]]]


def test_an_empty_map_has_a_picture(tmp_path):
    empty = Panel(title="nothing", image=np.full((40, 60), 255, np.uint8))
    assert write_panels(tmp_path / "p.png", [empty], LEGEND, resolution_m=0.2).exists()


@pytest.mark.parametrize("width_m", [0.4, 3, 50, 102.4, 819.2, 999, 60_000, 314_159])
def test_bars_are_round_and_fit(width_m):
    length = bar_length_m(width_m)
    assert 0.125 <= length / width_m <= 0.3334
    assert f"{length:.0e}"[0] in "125"


def test_a_picture_that_cannot_be_written_is_named(mapped, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"file/map\.png"):
        write_picture(mapped, tmp_path / "file" / "map.png")


def test_it_leaves_nothing_else(mapped, tmp_path):
    write_picture(mapped, tmp_path / "map.png")
    assert [found.name for found in tmp_path.iterdir()] == ["map.png"]


def test_no_words_leave_the_paper(tmp_path, monkeypatch):
    sheets = []
    monkeypatch.setattr(picture, "_save", lambda figure, path, dpi: sheets.append(figure))
    classes = pixels(template())["landcover"]
    long = "Land cover by a model whose title names every one of the seven sensors it was trained on, and then some"
    write_panels(
        tmp_path / "p.png",
        [Panel(title="Map", image=classes)],
        LEGEND,
        resolution_m=0.2,
        title=long,
        subtitle=2 * long,
        credit=3 * long,
    )
    (figure,) = sheets
    width, height = figure.canvas.get_width_height()
    for text in figure.texts:
        box = text.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= width, text.get_text()
        assert 0 <= box.y0 <= box.y1 <= height, text.get_text()
