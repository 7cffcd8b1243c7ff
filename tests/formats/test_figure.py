"""Layers of classes on anyone's axes: pixels in their place, in their colours, named."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from landweave.core.errors import InputError
from landweave.formats.figure import draw_classes
from landweave.formats.picture import colored
from landweave.store.maps.views import open_map
from landweave.store.objects import Target
from tests.store.samples import LEGEND, pixels, template, written


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    target = Target.parse(tmp_path_factory.mktemp("map") / "map.zarr")
    written(target, template(down=3, across=2))
    return open_map(target)


def drawn(classes):
    axes = Figure().add_subplot()
    draw_classes(classes, axes)
    return axes


def test_a_slice_of_a_map_lies_where_it_is_in_its_own_colours(mapped):
    part = mapped.landcover[20:90, 10:70]
    axes = drawn(part)
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array(), colored(pixels(template())["landcover"][20:90, 10:70], LEGEND))
    x0, _, _, y1 = mapped.rio.bounds()
    expected = (x0 + 10 * 0.2, x0 + 70 * 0.2, y1 - 90 * 0.2, y1 - 20 * 0.2)
    np.testing.assert_allclose(image.get_extent(), expected, atol=1e-6)


def test_the_legend_names_what_is_there_and_nothing_else(mapped):
    buildings = mapped.landcover[:64, :32]  # a chunk of buildings over one of nothing
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


def test_what_holds_no_classes_is_refused(mapped):
    with pytest.raises(InputError, match=r"'confidence'.*flag_values"):
        drawn(mapped.confidence)
    with pytest.raises(InputError, match=r"\('y', 'x'\).*\(192,\) \('y',\)"):
        drawn(mapped.landcover[:, 0])
