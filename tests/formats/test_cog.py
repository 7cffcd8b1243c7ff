import numpy as np
import pytest
import rasterio
import rioxarray
from rasterio.enums import ColorInterp

from landweave.core.errors import InputError, OutputError
from landweave.formats.cog import write_cog
from landweave.store.maps.store import create_map
from landweave.store.maps.views import open_map
from landweave.store.objects import Target
from tests.helpers.stored import stored_map
from tests.store.samples import LEGEND, pixels, template, written


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    target = Target.parse(tmp_path_factory.mktemp("map") / "map.zarr")
    written(target, template(down=3, across=2, block=512, chunk=256), overviews=True)
    return stored_map(target)


@pytest.fixture(scope="module", params=["landcover", "confidence"])
def array(request):
    return request.param


@pytest.fixture(scope="module")
def cog(mapped, array, tmp_path_factory):
    return write_cog(mapped, tmp_path_factory.mktemp("cog") / f"{array}.tif", array)


def test_gdal_reads_what_xarray_reads(mapped, array, cog):
    with rasterio.open(cog) as file:
        assert file.crs == open_map(mapped.target).rio.crs
        assert file.transform == mapped.grid.transform
        assert (file.nodata, file.dtypes) == (255, ("uint8",))
        np.testing.assert_array_equal(file.read(1), open_map(mapped.target)[array].values)
    read = rioxarray.open_rasterio(cog).squeeze()
    np.testing.assert_array_equal(read.values, open_map(mapped.target)[array].values)
    np.testing.assert_allclose(read.x, open_map(mapped.target).x, rtol=0, atol=1e-8)
    np.testing.assert_allclose(read.y, open_map(mapped.target).y, rtol=0, atol=1e-8)


def test_overviews_are_our_levels(mapped, array, cog):
    with rasterio.open(cog) as file:
        assert file.overviews(1) == [2, 4, 8]
    for level in (1, 2, 3):
        with rasterio.open(cog, overview_level=level - 1) as file:
            np.testing.assert_array_equal(file.read(1), open_map(mapped.target, level)[array].values)


def test_the_layout_is_that_of_a_cog(cog):
    with rasterio.open(cog) as file:
        structure = file.tags(ns="IMAGE_STRUCTURE")
        assert (structure["LAYOUT"], structure["COMPRESSION"]) == ("COG", "DEFLATE")
        assert file.block_shapes == [(512, 512)]


def test_classes_keep_their_colours_and_names(mapped, tmp_path):
    path = write_cog(mapped, tmp_path / "classes.tif")
    with rasterio.open(path) as file:
        colors = file.colormap(1)
        assert file.colorinterp == (ColorInterp.palette,)
        assert {code: colors[code][:3] for code in LEGEND.codes} == LEGEND.colors
        assert file.tags()["CLASS_3"] == "impervious surface"
        assert file.tags()["TIFFTAG_COPYRIGHT"] == "Licence Ouverte 2.0"
    names = path.with_name("classes.tif.aux.xml").read_text()
    assert "<Category>building</Category>" in names
    assert names.index("building") < names.index("impervious surface") < names.index("water")


def test_it_replaces_and_leaves_nothing_else(mapped, tmp_path):
    path = tmp_path / "map.tif"
    path.write_text("older")
    write_cog(mapped, path)
    first = path.read_bytes()
    write_cog(mapped, path)
    assert path.read_bytes() == first
    assert sorted(found.name for found in tmp_path.iterdir()) == ["map.tif", "map.tif.aux.xml"]


def test_a_failed_write_keeps_the_older_file(mapped, tmp_path, monkeypatch):
    path = tmp_path / "map.tif"
    path.write_text("older")

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("rasterio.shutil.copy", full)
    with pytest.raises(OutputError, match=r"map\.tif: No space left"):
        write_cog(mapped, path)
    assert [found.name for found in tmp_path.iterdir()] == ["map.tif"]
    assert path.read_text() == "older"


def test_other_arrays_are_refused(mapped, tmp_path):
    with pytest.raises(InputError, match=r"'probability' .* landcover, confidence"):
        write_cog(mapped, tmp_path / "map.tif", "probability")


def test_a_large_map_without_overviews_is_refused(tmp_path):
    store = create_map(Target.parse(tmp_path / "m"), template(down=3, across=1, block=512, chunk=512))
    with pytest.raises(InputError, match="overviews"):
        write_cog(stored_map(store.target), tmp_path / "map.tif")


def test_a_small_map_needs_none(tmp_path):
    wanted = template(down=1, across=1, block=64, chunk=64)
    store, _ = written(Target.parse(tmp_path / "m"), wanted)
    with rasterio.open(write_cog(stored_map(store.target), tmp_path / "map.tif")) as file:
        np.testing.assert_array_equal(file.read(1), pixels(wanted)["landcover"])
