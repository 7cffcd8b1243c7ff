import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
import zarr

from landweave.core.errors import InputError
from landweave.core.protocols import BlockState
from landweave.store import open_arrays
from landweave.store.georeference import grid_from_json
from landweave.store.maps.store import create_map, create_map_ledger
from landweave.store.maps.views import open_ledger, open_map
from landweave.store.objects import Target
from landweave.store.zarr_store import zarr_store
from tests.store.samples import LEGEND, block_of, pixels, template, written


@pytest.fixture
def mapped(target):
    store, arrays = written(target, template(probability=True), overviews=True)
    return store, arrays, open_map(target)


def test_the_dataset_is_the_map(mapped):
    _, arrays, found = mapped
    assert list(found.data_vars) == list(arrays)
    for name, values in arrays.items():
        assert found[name].dtype == np.uint8
        np.testing.assert_array_equal(found[name].values, values)
        np.testing.assert_array_equal(found[name][..., 60:70, ::7].values, values[..., 60:70, ::7])
        np.testing.assert_array_equal(found[name][..., [5, 3, 3], ::-2].values, values[..., [5, 3, 3], ::-2])
    assert found["class"].values.tolist() == list(LEGEND.codes)


def test_its_attributes_say_what_it_is(mapped):
    store, _, found = mapped
    attrs = json.loads(json.dumps(found.attrs))
    assert attrs["legend"]["name"] == LEGEND.name
    assert attrs["legend"]["classes"][3] == {
        "code": 18,
        "name": "undefined",
        "color": "#000000",
        "name_fr": "",
        "trained": False,
    }
    assert grid_from_json(attrs["grid"]) == store.grid
    assert grid_from_json(open_map(store.target, level=2).attrs["grid"]) == store.grids[2]
    assert (attrs["title"], attrs["license"], attrs["source"]) == ("Sample", "Licence Ouverte 2.0", "drawn at random")
    assert attrs["provenance"]["license"] == "Licence Ouverte 2.0"
    assert found.isel(x=slice(3, 9)).attrs == found.attrs


def test_where_it_comes_from_stays_out_of_its_attributes(s3_target, s3_options):
    written(s3_target, template())
    found = open_map(str(s3_target), storage_options=s3_options)
    assert found.encoding == {"source": str(s3_target), "storage_options": s3_options}
    assert "hidden-word" not in f"{found.attrs}{found!r}{found._repr_html_()}"


def test_rioxarray_sees_the_place(mapped):
    store, _, found = mapped
    for raster in (found.landcover, found.confidence, found):
        assert raster.rio.crs.to_epsg() == 2154
        assert raster.spatial_ref.attrs["GeoTransform"] == written_affine(store.grid)
        # rioxarray works its affine out from the centres, in floats.
        assert tuple(raster.rio.transform()) == pytest.approx(tuple(store.grid.transform), abs=1e-8)
        assert raster.rio.bounds() == pytest.approx(store.grid.bounds, abs=1e-8)
    assert found.landcover.rio.nodata == 255
    np.testing.assert_array_equal(found.x, store.grid.x)
    np.testing.assert_array_equal(found.y, store.grid.y)
    for level, grid in enumerate(store.grids):
        transform = open_map(store.target, level).landcover.rio.transform()
        assert tuple(transform) == pytest.approx(tuple(grid.transform), abs=1e-8)


def written_affine(grid):
    return " ".join(repr(number) for number in grid.transform.to_gdal())


@pytest.mark.parametrize("level", [0, 1])
def test_plain_xarray_masks_and_scales(tmp_path, level):
    wanted = template(probability=True)
    store, _ = written(Target.parse(tmp_path / "m.zarr"), wanted, overviews=True)
    plain = xr.open_zarr(tmp_path / "m.zarr", group=f"map/{level}", consolidated=False, decode_coords="all")
    grid, raw = store.grids[level], open_map(store.target, level)
    assert plain.landcover.rio.crs.to_epsg() == 2154
    assert tuple(plain.landcover.rio.transform()) == pytest.approx(tuple(grid.transform), abs=1e-8)
    assert np.isnan(plain.landcover.rio.nodata)
    assert plain.landcover.rio.encoded_nodata == 255
    assert (plain.landcover.dtype, plain.confidence.dtype.kind) == (np.float32, "f")
    np.testing.assert_array_equal(plain.landcover.fillna(255), raw.landcover)
    np.testing.assert_array_equal(plain.confidence.isnull(), raw.confidence == 255)
    np.testing.assert_allclose(plain.confidence * 250, raw.confidence.where(raw.confidence != 255), rtol=1e-6)
    for name in raw.data_vars:
        np.testing.assert_array_equal(xr.decode_cf(raw)[name], plain[name])


def test_the_stored_fill_value_is_that_which_xarray_writes(tmp_path):
    store, _ = written(Target.parse(tmp_path / "m.zarr"), template())
    own = zarr.open_array(zarr_store(store.target), path="map/0/landcover", mode="r")
    open_map(store.target)[["landcover"]].to_zarr(tmp_path / "copy.zarr", zarr_format=3, consolidated=False)
    copy = zarr.open_array(tmp_path / "copy.zarr", path="landcover", mode="r")
    assert own.attrs["_FillValue"] == copy.attrs["_FillValue"] == 255
    assert type(own.attrs["_FillValue"]) is type(copy.attrs["_FillValue"])


def test_a_level_that_is_not_there_is_refused(mapped):
    for level in (4, -1):
        with pytest.raises(InputError, match=rf"Level {level} .* levels 0 to 3"):
            open_map(mapped[0].target, level)


def test_flags_follow_the_cf_conventions(mapped):
    attrs = mapped[2].landcover.attrs
    assert attrs["flag_values"] == [0, 3, 6, 18]
    assert attrs["flag_meanings"] == "building impervious_surface water undefined"
    assert attrs["flag_colors"] == "#db0e9a #f80c00 #1553ae #000000"


def test_opening_reads_no_pixel(target, monkeypatch):
    written(target, template(), overviews=True)
    read = []
    real = zarr.Array.__getitem__
    monkeypatch.setattr(zarr.Array, "__getitem__", lambda self, key: read.append(self.path) or real(self, key))
    for name in target.list("map"):
        if "/landcover/c/" in name:
            target.put(name, b"damaged")
    repr(open_map(target)), repr(open_map(target, level=1, chunks={}))
    assert {path.rpartition("/")[2] for path in read} <= {"x", "y"}


@pytest.mark.parametrize(
    ("chunks", "sizes"),
    [({}, ((64, 64, 64), (64, 64))), ({"y": 96}, ((96, 96), (128,))), (100, ((100, 92), (100, 28)))],
    ids=str,
)
def test_dask_chunks_are_those_asked_for(target, chunks, sizes):
    _, arrays = written(target, template())
    raster = open_map(target, chunks=chunks).landcover
    assert raster.chunks == sizes
    np.testing.assert_array_equal(raster.compute(scheduler="threads").values, arrays["landcover"])


def test_a_lazy_view_pickles(mapped):
    _, arrays, found = mapped
    raster = pickle.loads(pickle.dumps(found.landcover[3:9, 4:8]))
    np.testing.assert_array_equal(raster.values, arrays["landcover"][3:9, 4:8])


def test_a_view_of_a_damaged_object_raises(target, monkeypatch):
    monkeypatch.setattr(open_arrays, "REREAD", replace(open_arrays.REREAD, pauses_s=(0.0,)))
    written(target, template())
    target.put("map/0/landcover/c/0/0", b"damaged")
    with pytest.raises(OSError, match="landcover"):
        open_map(target).landcover.values  # noqa: B018


def test_a_growing_map_shows_what_is_done(any_target):
    wanted = template()
    store, arrays = create_map(any_target, wanted), pixels(wanted)
    ledger = create_map_ledger(store)
    found, states = open_map(any_target), open_ledger(any_target)
    assert (found.landcover.values == 255).all()
    store.write((0, 0), block_of(arrays, store, (0, 0)))
    fields = ledger.load()[0]
    fields["state"][:] = [
        [BlockState.DONE, BlockState.READ_FAILED],
        [BlockState.OUTSIDE, BlockState.PENDING],
        [BlockState.NO_INPUT, BlockState.PENDING],
    ]
    text = "tile rvb/é.jp2: truncated".encode()
    fields["reason"][0, 1, : len(text)] = np.frombuffer(text, np.uint8)
    ledger.save((0, 0), fields)
    np.testing.assert_array_equal(found.landcover[:64, :64].values, arrays["landcover"][:64, :64])
    assert states.reason.values.tolist() == [["", "tile rvb/é.jp2: truncated"], ["", ""], ["", ""]]
    assert open_ledger(any_target).reason[0, 1].item() == "tile rvb/é.jp2: truncated"
    assert states.array.values.tolist() == ["landcover", "confidence"]
    assert states.state.values[0].tolist() == [BlockState.DONE, BlockState.READ_FAILED]
    assert "pending done outside" in states.state.attrs["flag_meanings"]
    store.finalize()
    assert set(xr.open_datatree(zarr_store(any_target, read_only=True), engine="zarr").groups) == {
        "/",
        "/map",
        "/map/0",
        "/ledger",
    }


def test_where_there_is_no_map(target):
    with pytest.raises(InputError, match="no map"):
        open_map(target)
    create_map(target, template())
    with pytest.raises(InputError, match="no ledger"):
        open_ledger(target)
