"""Maps without shards: GDAL 3.12 reads them, which does not know shards; everything else is as with them."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pytest

from landweave.core.errors import ReadError
from landweave.store.maps.store import open_store
from landweave.store.maps.views import open_map
from landweave.store.objects import Target
from tests.store.samples import template, written

_RASTER, _UINT8 = 2, 1


def gdal_of_pyogrio() -> ctypes.CDLL:
    """The library that pyogrio brings, newer than rasterio's, with its functions typed."""
    found = sorted((Path(pyogrio.__file__).parents[1] / "pyogrio.libs").glob("libgdal*"))
    if not found or pyogrio.__gdal_version__ < (3, 12):
        pytest.skip("pyogrio brings no GDAL of 3.12 or later of its own")
    library = ctypes.CDLL(str(found[0]))
    library.GDALAllRegister()
    library.GDALOpenEx.restype = library.GDALGetRasterBand.restype = ctypes.c_void_p
    return library


def read_by_gdal(place: Path, array: str, shape: tuple[int, int], level: int = 0) -> np.ndarray | None:
    """Pixels of one array as GDAL reads them; None where it cannot open it."""
    library = gdal_of_pyogrio()
    name = f'ZARR:"{place}":/map/{level}/{array}'.encode()
    dataset = library.GDALOpenEx(name, _RASTER, None, None, None)
    if not dataset:
        return None
    band = ctypes.c_void_p(library.GDALGetRasterBand(ctypes.c_void_p(dataset), 1))
    out = np.zeros(shape, np.uint8)
    height, width = shape
    pixels = out.ctypes.data_as(ctypes.c_void_p)
    assert library.GDALRasterIO(band, 0, 0, 0, width, height, pixels, width, height, _UINT8, 0, 0) == 0
    library.GDALClose(ctypes.c_void_p(dataset))
    return out


@pytest.mark.skipif(sys.platform != "linux", reason="names of libraries in wheels are those of Linux")
def test_gdal_reads_a_map_without_shards_and_none_with(tmp_path: Path) -> None:
    _, arrays = written(Target.parse(tmp_path / "plain.zarr"), template(shards=False), overviews=True)
    for name in ("landcover", "confidence"):
        found = read_by_gdal(tmp_path / "plain.zarr", name, arrays[name].shape)
        np.testing.assert_array_equal(found, arrays[name])
    coarse = open_map(tmp_path / "plain.zarr", level=1).landcover.values
    np.testing.assert_array_equal(read_by_gdal(tmp_path / "plain.zarr", "landcover", coarse.shape, 1), coarse)
    written(Target.parse(tmp_path / "shards.zarr"), template())
    found = read_by_gdal(tmp_path / "shards.zarr", "landcover", arrays["landcover"].shape)
    if pyogrio.__gdal_version__ < (3, 13):
        assert found is None, "GDAL before 3.13 knows no shards"


def test_a_map_without_shards_is_the_same_map(tmp_path: Path) -> None:
    plain, arrays = written(Target.parse(tmp_path / "plain.zarr"), template(shards=False, probability=True))
    assert not open_store(plain.target).template.shards
    opened = open_map(plain.target)
    for name, values in arrays.items():
        np.testing.assert_array_equal(opened[name].values, values)
    index = (1, 1)
    assert {item.name for item in (tmp_path / "plain.zarr/map/0/landcover/c/1").iterdir()} == {"0", "1"}
    content = plain.write(index, {name: values[..., 64:128, 64:128] for name, values in arrays.items()})
    assert [each.checksum for each in content] == [
        plain.target.checksum(plain.object_key(index, name)) for name in plain.arrays
    ]


def test_damage_is_found_without_shards_too(tmp_path: Path) -> None:
    plain, _ = written(Target.parse(tmp_path / "plain.zarr"), template(shards=False))
    path = tmp_path / "plain.zarr" / plain.object_key((0, 1), "landcover")
    for damaged in (lambda b: b[: len(b) // 2], lambda b: b[:60] + bytes([b[60] ^ 255]) + b[61:], lambda b: b""):
        content = path.read_bytes()
        path.write_bytes(damaged(content))
        with pytest.raises(ReadError):
            plain.read("landcover", plain.block((0, 1)))
        path.write_bytes(content)
