"""Maps as pictures: pixels in their place, in their colours, named; on any axes and as a file."""

from dataclasses import replace
from itertools import combinations

import matplotlib.image
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from landweave.core.errors import InputError, OutputError
from landweave.core.lattice import Extent
from landweave.core.legend import NODATA
from landweave.core.pyramid import modes
from landweave.formats import picture
from landweave.formats.picture import bar_length_m, colored, draw_classes, write_picture
from landweave.store.maps.store import create_map
from landweave.store.maps.views import open_map
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
    write_picture(mapped, tmp_path / "map.png", max_size=100)
    assert drawn == [(96, 64)]  # level 1 of 192 x 128
    with pytest.raises(InputError, match=r"\(24, 16\), a picture of at most 10"):
        write_picture(mapped, tmp_path / "map.png", max_size=10)


def test_the_legend_holds_the_classes_present_and_their_shares(mapped, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(picture, "save_figure", lambda figure, path, mark: figures.append(figure))
    write_picture(mapped, tmp_path / "map.png")
    classes = pixels(template(down=3, across=2))["landcover"]
    shares = {cls.name: (classes == cls.code).sum() / (classes != NODATA).sum() for cls in LEGEND.classes}
    words = [text.get_text() for text in figures[0].axes[0].get_legend().get_texts()]
    assert words == [*(f"{name}  {share:.1%}" for name, share in shares.items()), "no data"]


def test_the_picture_shows_the_area_and_not_its_blocks(tmp_path, monkeypatch):
    drawn = []
    real = picture.colored
    monkeypatch.setattr(picture, "colored", lambda classes, legend: drawn.append(classes) or real(classes, legend))
    wanted = template(down=3, across=2)
    rows, columns = wanted.grid.extent.y, wanted.grid.extent.x
    mapped = Extent.of((rows.start + 11, rows.stop - 30), (columns.start + 5, columns.stop - 40))
    store, arrays = written(Target.parse(tmp_path / "m"), replace(wanted, mapped=mapped), overviews=True)
    for size in (200, 100):
        write_picture(store, tmp_path / f"{size}.png", max_size=size)
    np.testing.assert_array_equal(drawn[0], arrays["landcover"][11:-30, 5:-40])
    np.testing.assert_array_equal(drawn[1], modes(arrays["landcover"], 1)[0][5:81, 2:44])


def test_an_empty_map_has_a_picture(tmp_path):
    store = create_map(Target.parse(tmp_path / "m"), template(down=1, across=1))
    assert write_picture(store, tmp_path / "map.png").exists()


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


@pytest.mark.parametrize(("down", "across"), [(1, 6), (3, 2), (6, 1)])
def test_no_words_leave_the_paper_or_cover_others(tmp_path, monkeypatch, down, across):
    long = "Land cover by a model whose title names every one of the seven sensors it was trained on, and then some"
    attributes = {"title": long, "source": 2 * long, "license": long}
    written(Target.parse(tmp_path / "m"), template(down=down, across=across, attributes=attributes))
    figures = []
    real = picture.save_figure
    monkeypatch.setattr(
        picture, "save_figure", lambda figure, path, mark: figures.append(figure) or real(figure, path, mark)
    )
    image = image_of(write_picture(stored_map(tmp_path / "m"), tmp_path / "p.png"))
    edge = [image[:5], image[-5:], image[:, :5], image[:, -5:]]
    assert all((part == 255).all() for part in edge)
    boxes = [text.get_window_extent() for text in figures[0].axes[0].texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    target = Target.parse(tmp_path_factory.mktemp("map") / "map.zarr")
    written(target, template(down=3, across=2))
    return open_map(target)


def drawn(classes):
    axes = Figure().add_subplot()
    draw_classes(classes, axes)
    return axes


def test_a_slice_of_a_map_lies_where_it_is_in_its_own_colours(opened):
    part = opened.landcover[20:90, 10:70]
    axes = drawn(part)
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array(), colored(pixels(template())["landcover"][20:90, 10:70], LEGEND))
    x0, _, _, y1 = opened.rio.bounds()
    expected = (x0 + 10 * 0.2, x0 + 70 * 0.2, y1 - 90 * 0.2, y1 - 20 * 0.2)
    np.testing.assert_allclose(image.get_extent(), expected, atol=1e-6)


def test_the_legend_names_what_is_there_and_nothing_else(opened):
    buildings = opened.landcover[:64, :32]  # a chunk of buildings over one of nothing
    words = [text.get_text() for text in drawn(buildings).get_legend().get_texts()]
    assert words == ["building", "no data"]


def test_a_layer_without_colours_of_its_own_is_drawn_too():
    date_fallbacks = xr.DataArray(
        np.array([[0, 3], [3, 255]], np.uint8),
        dims=("y", "x"),
        coords={"y": [3.0, 1.0], "x": [0.0, 2.0]},
        attrs={"flag_values": [0, 1, 3], "flag_meanings": "passed cloudy absent"},
    )
    axes = drawn(date_fallbacks)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["passed", "absent", "no data"]
    first, second, third, beyond = axes.images[0].get_array().reshape(4, 3).tolist()
    assert second == third
    assert len({tuple(first), tuple(second), tuple(beyond)}) == 3


def test_what_holds_no_classes_is_refused(opened):
    with pytest.raises(InputError, match=r"'confidence'.*flag_values"):
        drawn(opened.confidence)
    with pytest.raises(InputError, match=r"\('y', 'x'\).*\(192,\) \('y',\)"):
        drawn(opened.landcover[:, 0])
