"""COGs of maps: pixels, place, overviews, colours and scale, and what they may replace."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from rasterio.enums import ColorInterp

from landweave.core.errors import InputError, OutputError
from landweave.core.lattice import Extent
from landweave.core.pyramid import coarsen
from landweave.formats.cog import write_cog
from landweave.formats.picture import write_picture
from landweave.store.maps.views import open_map
from landweave.store.objects import Target
from tests.helpers.commands import ROOT
from tests.helpers.marks import mostly_slow
from tests.helpers.stored import stored_map
from tests.helpers.tiles import write_tile
from tests.store.samples import LEGEND, pixels, template, written


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    target = Target.parse(tmp_path_factory.mktemp("map") / "map.zarr")
    written(target, marked(template(down=3, across=2, block=512, chunk=256), "c" * 64), overviews=True)
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
        assert file.overviews(1) == [2, 4]
    for level in (1, 2):
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


def test_it_replaces_its_own_and_leaves_nothing_else(mapped, tmp_path):
    path = tmp_path / "map.tif"
    write_cog(mapped, path)
    first = path.read_bytes()
    write_cog(mapped, path)
    assert path.read_bytes() == first
    assert sorted(found.name for found in tmp_path.iterdir()) == ["map.tif", "map.tif.aux.xml"]


def test_a_failed_write_keeps_the_older_file(mapped, tmp_path, monkeypatch):
    path = write_cog(mapped, tmp_path / "map.tif")
    before = {found.name: found.read_bytes() for found in tmp_path.iterdir()}

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("rasterio.shutil.copy", full)
    with pytest.raises(OutputError, match=r"map\.tif: No space left"):
        write_cog(mapped, path)
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == before


@pytest.mark.parametrize("share", mostly_slow([0.01, 0.5, 0.9, 0.999], fast=[0.5, 0.999]))
def test_a_disk_that_is_full_is_an_error(mapped, tmp_path, share):
    """Wherever the bytes run out: no file may be larger than a share of the COG in a process of its own."""
    whole = write_cog(mapped, tmp_path / "whole.tif", "confidence")
    limit = int(whole.stat().st_size * share)
    whole.unlink()
    program = f"""
import resource
from landweave.core.errors import OutputError
from landweave.formats.cog import write_cog
from tests.helpers.stored import stored_map
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    write_cog(stored_map({str(mapped.target)!r}), {str(tmp_path / "map.tif")!r}, "confidence")
except OutputError as error:
    print("refused:", error)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout.startswith("refused: Cannot write"), ended.stdout + ended.stderr
    assert not list(tmp_path.iterdir())


def moved_in(template, top, left, bottom, right):
    """The same map whose area begins and ends some pixels inside its blocks."""
    rows, columns = template.grid.extent.y, template.grid.extent.x
    return replace(
        template,
        mapped=Extent.of((rows.start + top, rows.stop - bottom), (columns.start + left, columns.stop - right)),
    )


def test_the_file_covers_the_area_and_not_its_blocks(tmp_path, array):
    wanted = moved_in(template(down=3, across=2, block=512, chunk=256), 101, 33, 203, 118)
    store, arrays = written(Target.parse(tmp_path / "m"), wanted)
    inside = arrays[array][101:-203, 33:-118]
    path = write_cog(store, tmp_path / "map.tif", array)
    with rasterio.open(path) as file:
        x0, y0, x1, y1 = wanted.grid.bounds
        expected = (x0 + 33 * 0.2, y0 + 203 * 0.2, x1 - 118 * 0.2, y1 - 101 * 0.2)
        assert tuple(file.bounds) == pytest.approx(expected, abs=1e-6)
        np.testing.assert_array_equal(file.read(1), inside)
        assert file.overviews(1) == [2, 4]
    for level in (1, 2):
        with rasterio.open(path, overview_level=level - 1) as file:
            np.testing.assert_array_equal(file.read(1), coarsen(array, inside, level)[-1])


def test_the_band_states_scale_unit_and_description(mapped, array, cog):
    """Plain xarray, rioxarray and GDAL come to the same numbers, and to those that `open_map` decodes to."""
    layer = open_map(mapped.target)[array]
    with rasterio.open(cog) as file:
        assert file.scales[0] == layer.attrs.get("scale_factor", 1)
        assert file.units[0] == layer.attrs.get("units")
        assert file.descriptions[0] in layer.attrs["long_name"]
        real = np.where(file.read_masks(1), file.read(1) * file.scales[0], np.nan)
    decoded = xr.decode_cf(layer.to_dataset())[array].values
    by_rioxarray = rioxarray.open_rasterio(cog, mask_and_scale=True).squeeze().values
    stored = xr.open_zarr(str(mapped.target), group="map/0", consolidated=False)[array].values
    for found in (decoded, by_rioxarray, stored):
        np.testing.assert_allclose(found, real, rtol=1e-6)
    assert np.nanmax(real) == (1 if array == "confidence" else 18)


def foreign(folder, kind):
    """A file of another kind at ``map.tif``, and whatever else it needs."""
    path = folder / "map.tif"
    if kind == "text":
        path.write_text("notes")
    if kind in ("tile", "link", "hard link"):
        tile = write_tile(folder / "tile.tif", np.ones((3, 8, 8), np.uint8), corner_xy=(0, 0))
        {
            "tile": path.write_bytes,
            "link": lambda _: path.symlink_to(tile),
            "hard link": lambda _: path.hardlink_to(tile),
        }[kind](tile.read_bytes())
    if kind == "broken link":
        path.symlink_to(folder / "nothing.tif")
    if kind in (".aux.xml", ".msk", ".ovr"):
        path.with_name(f"map.tif{kind}").write_text("of a file that was here")
    if kind == "another map":
        store, _ = written(Target.parse(folder / "other"), marked(template(down=1, across=1), "b" * 64))
        write_cog(store, path)
    if kind == "a map of its own":
        store, _ = written(Target.parse(folder / "other"), template(down=1, across=1))
        write_cog(store, path)
    return path


def marked(template, fingerprint):
    return replace(template, attributes={**template.attributes, "fingerprint": fingerprint})


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "kind",
    ["text", "tile", "link", "hard link", "broken link", ".aux.xml", ".msk", ".ovr", "another map", "a map of its own"],
)
@pytest.mark.parametrize("write", [write_cog, write_picture])
def test_nothing_but_an_earlier_file_of_the_map_is_replaced(tmp_path, kind, write):
    path = foreign(tmp_path, kind)
    store, _ = written(Target.parse(tmp_path / "m"), marked(template(down=1, across=1), "a" * 64))
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=r"map\.tif(\.\S+)? is there already .* remove it"):
        write(store, path)
    assert contents(tmp_path) == before


def test_a_map_without_a_fingerprint_replaces_nothing(tmp_path):
    store, _ = written(Target.parse(tmp_path / "m"), template(down=1, across=1))
    write_cog(store, tmp_path / "map.tif")
    with pytest.raises(OutputError, match="is there already"):
        write_cog(store, tmp_path / "map.tif")


def test_a_picture_takes_the_place_of_a_picture_of_the_map(tmp_path):
    store, _ = written(Target.parse(tmp_path / "m"), marked(template(down=1, across=1), "a" * 64))
    for _ in range(2):
        write_picture(store, tmp_path / "map.png")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["m", "map.png"]


def test_other_arrays_are_refused(mapped, tmp_path):
    with pytest.raises(InputError, match=r"'probability' .* landcover, confidence"):
        write_cog(mapped, tmp_path / "map.tif", "probability")


def test_a_small_map_needs_none(tmp_path):
    wanted = template(down=1, across=1, block=64, chunk=64)
    store, _ = written(Target.parse(tmp_path / "m"), wanted)
    with rasterio.open(write_cog(stored_map(store.target), tmp_path / "map.tif")) as file:
        np.testing.assert_array_equal(file.read(1), pixels(wanted)["landcover"])
