import pickle

import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
import zarr

from landweave.core.errors import InputError
from landweave.core.protocols import BlockState, MapReader
from landweave.store.ledger_store import create_map_ledger
from landweave.store.maps import store
from landweave.store.maps.store import create_map
from landweave.store.maps.views import Map, open_map
from landweave.store.objects import Target
from landweave.store.zarr_store import zarr_store
from tests.store.samples import LEGEND, block_of, pixels, template, written


@pytest.fixture
def mapped(target):
    store, arrays = written(target, template(probability=True), overviews=True)
    return store, arrays, open_map(target)


def test_the_dataset_is_the_map(mapped):
    store, arrays, found = mapped
    assert list(found.dataset.data_vars) == list(arrays)
    for name, values in arrays.items():
        assert found.dataset[name].dtype == np.uint8
        np.testing.assert_array_equal(found.dataset[name].values, values)
        np.testing.assert_array_equal(found.dataset[name][..., 60:70, ::7].values, values[..., 60:70, ::7])
    assert found.dataset["class"].values.tolist() == list(LEGEND.codes)
    assert found.legend == LEGEND
    assert found.grid == store.grid
    assert found.attrs["license"] == "Licence Ouverte 2.0"


def test_rioxarray_sees_the_place(mapped):
    store, _, found = mapped
    for raster in (found.dataset.landcover, found.dataset.confidence, found.dataset):
        assert raster.rio.crs.to_epsg() == 2154
        assert raster.spatial_ref.attrs["GeoTransform"] == written_affine(store.grid)
        # rioxarray works its affine out from the centres, in floats.
        assert tuple(raster.rio.transform()) == pytest.approx(tuple(store.grid.transform), abs=1e-8)
        assert raster.rio.bounds() == pytest.approx(store.grid.bounds, abs=1e-8)
    assert found.dataset.landcover.rio.nodata == 255
    np.testing.assert_array_equal(found.dataset.x, store.grid.x)
    np.testing.assert_array_equal(found.dataset.y, store.grid.y)
    for level, grid in enumerate(found.grids):
        transform = found.tree[f"map/{level}/landcover"].rio.transform()
        assert tuple(transform) == pytest.approx(tuple(grid.transform), abs=1e-8)


def written_affine(grid):
    return " ".join(repr(number) for number in grid.transform.to_gdal())


def test_rioxarray_sees_the_place_without_us(tmp_path):
    store, _ = written(Target.parse(tmp_path / "m.zarr"), template())
    plain = xr.open_zarr(tmp_path / "m.zarr", group="map/0", consolidated=False).landcover
    assert plain.rio.crs.to_epsg() == 2154
    assert tuple(plain.rio.transform()) == pytest.approx(tuple(store.grid.transform), abs=1e-8)
    assert (plain.dtype, plain.rio.nodata) == (np.uint8, 255)


def test_flags_follow_the_cf_conventions(mapped):
    attrs = mapped[2].dataset.landcover.attrs
    assert attrs["flag_values"] == [0, 3, 6, 18]
    assert attrs["flag_meanings"] == "building impervious_surface water undefined"
    assert attrs["flag_colors"] == "#db0e9a #f80c00 #1553ae #000000"


def test_opening_reads_no_pixel(target, monkeypatch):
    written(target, template(), overviews=True)
    read = []
    real = zarr.Array.__getitem__
    monkeypatch.setattr(zarr.Array, "__getitem__", lambda self, key: read.append(self.path) or real(self, key))
    found = open_map(target)
    repr(found.dataset), repr(found), repr(found.tree)
    assert {path.rpartition("/")[2] for path in read} <= {"x", "y"}


def test_dask_chunks_are_blocks(target):
    _, arrays = written(target, template())
    raster = open_map(target, dask=True).dataset.landcover
    assert raster.chunks == ((64, 64, 64), (64, 64))
    np.testing.assert_array_equal(raster.compute(scheduler="threads").values, arrays["landcover"])


def test_a_lazy_view_pickles(mapped):
    _, arrays, found = mapped
    raster = pickle.loads(pickle.dumps(found.dataset.landcover[3:9, 4:8]))
    np.testing.assert_array_equal(raster.values, arrays["landcover"][3:9, 4:8])


def test_a_view_of_a_damaged_object_raises(target, monkeypatch):
    monkeypatch.setattr(store, "REREAD_S", 0.0)
    written(target, template())
    target.put("map/0/landcover/c/0/0", b"damaged")
    with pytest.raises(OSError, match="landcover"):
        open_map(target).dataset.landcover.values  # noqa: B018


def test_a_reader_reads_levels(mapped):
    _, arrays, found = mapped
    reader: MapReader = found
    assert reader.arrays == ("landcover", "confidence", "probability")
    assert reader.block_size == 64
    assert len(reader.grids) == 4
    np.testing.assert_array_equal(reader.read("landcover", reader.grids[0].extent), arrays["landcover"])
    np.testing.assert_array_equal(
        reader.read("landcover", reader.grids[2].extent, 2), found.tree["map/2/landcover"].values
    )


def test_a_growing_map_shows_what_is_done(any_target):
    wanted = template()
    store, arrays = create_map(any_target, wanted), pixels(wanted)
    ledger = create_map_ledger(store)
    found = open_map(any_target)
    assert found.done == 0
    assert (found.dataset.landcover.values == 255).all()
    store.write((0, 0), block_of(arrays, store, (0, 0)))
    fields = ledger.load()
    fields["state"][:] = [
        [BlockState.DONE, BlockState.READ_FAILED],
        [BlockState.OUTSIDE, BlockState.PENDING],
        [BlockState.NO_INPUT, BlockState.PENDING],
    ]
    text = "tile rvb/é.jp2: truncated".encode()
    fields["reason"][0, 1, : len(text)] = np.frombuffer(text, np.uint8)
    ledger.save((0, 0), fields)
    np.testing.assert_array_equal(found.dataset.landcover[:64, :64].values, arrays["landcover"][:64, :64])
    assert found.done == 1 / 4
    assert found.ledger.reason.values.tolist() == [["", "tile rvb/é.jp2: truncated"], ["", ""], ["", ""]]
    assert found.ledger.reason[0, 1].item() == "tile rvb/é.jp2: truncated"
    assert found.ledger.array.values.tolist() == ["landcover", "confidence"]
    assert "pending done outside" in found.ledger.state.attrs["flag_meanings"]
    assert set(found.tree.groups) == {"/", "/map", "/map/0", "/ledger"}
    store.finalize()
    assert set(xr.open_datatree(zarr_store(any_target, read_only=True), engine="zarr").groups) == {
        "/",
        "/map",
        "/map/0",
        "/ledger",
    }


def test_a_map_describes_itself(mapped):
    _, _, found = mapped
    text, html = repr(found), found._repr_html_()
    assert "192 x 128 pixels of 0.2 m, EPSG:2154" in text
    assert "3 x 2 of 64 pixels" in text
    assert "impervious surface" in html
    assert "#f80c00" in html


def test_where_there_is_no_map(target):
    with pytest.raises(InputError, match="no map"):
        open_map(target)
    create_map(target, template())
    with pytest.raises(InputError, match="no ledger"):
        Map(store=open_map(target).store).ledger  # noqa: B018
