import numpy as np
import pytest
from affine import Affine

from landweave.core.errors import InputError
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.mosaic.tile_index import index_tiles, lattice_origins

BLACK = np.zeros((3, 10, 10), np.uint8)


def spec(tmp_path, **settings):
    bands = {"R": BandFiles(files=("rvb/*.tif",)), "NIR": BandFiles(files=("irc/*.tif",))}
    return MosaicSpec(**{"modality": "A", "bands": bands, "root": str(tmp_path)} | settings)


def test_products_are_paired_by_footprint_not_by_name(write_tile, tmp_path):
    for name, other, x in (("a", "z", 0), ("b", "y", 2)):
        write_tile(f"rvb/{name}.tif", BLACK, (x, 2))
        write_tile(f"irc/{other}.tif", BLACK, (x + 0.001, 2))
    index = index_tiles(spec(tmp_path))
    pairs = [tuple(header.path[-9:] for header in tile.files) for tile in index.tiles]
    assert pairs == [("rvb/a.tif", "irc/z.tif"), ("rvb/b.tif", "irc/y.tif")]
    assert [tile.id for tile in index.tiles] == ["rvb/a.tif", "rvb/b.tif"]
    assert index.unpaired == ()


def test_a_file_without_partner_is_noted(write_tile, tmp_path):
    write_tile("rvb/a.tif", BLACK, (0, 2))
    write_tile("irc/a.tif", BLACK, (0, 2))
    write_tile("irc/b.tif", BLACK, (2, 2))
    index = index_tiles(spec(tmp_path))
    assert [tile.id for tile in index.unpaired] == ["irc/b.tif"]
    assert "1 footprints lack a product" in index.notes[0]


def test_products_half_a_pixel_apart_are_refused(write_tile, tmp_path):
    write_tile("rvb/a.tif", BLACK, (0, 2))
    write_tile("irc/a.tif", BLACK, (0.1, 2))
    with pytest.raises(InputError, match=r"share no footprint(.|\n)*nearest such file 0\.50 px away: irc/a.tif"):
        index_tiles(spec(tmp_path))


def test_bands_that_a_file_has_not_and_mixed_dtypes_come_in_one_error(write_tile, tmp_path):
    write_tile("rvb/a.tif", BLACK, (0, 2))
    write_tile("rvb/b.tif", BLACK.astype(np.uint16), (2, 2))
    bands = {"R": BandFiles(files=("rvb",)), "N": BandFiles(files=("rvb",), band=4)}
    with pytest.raises(InputError) as caught:
        index_tiles(spec(tmp_path, bands=bands))
    assert str(caught.value).count("'N' is band 4, the file has 3") == 2
    assert "holds uint16" in str(caught.value)


def test_a_tile_without_a_crs_is_refused_or_takes_the_setting(write_tile, tmp_path):
    write_tile("rvb/a.tif", BLACK, (0, 2), crs=None)
    write_tile("rvb/b.tif", BLACK, (2, 2), crs="EPSG:32631")
    bands = {"R": BandFiles(files=("rvb",))}
    with pytest.raises(InputError, match=r"1 of 2 files have no usable CRS(.|\n)*a.tif has no CRS"):
        index_tiles(spec(tmp_path, bands=bands))
    index = index_tiles(spec(tmp_path, bands=bands, crs="EPSG:2154"))
    assert index.crs.tolist() == ["EPSG:2154", "EPSG:32631"]
    assert "1 of 2 files take EPSG:2154 from the setting" in index.notes[0]


def test_a_header_that_names_nodes_is_half_a_pixel_off(write_tile, tmp_path):
    write_tile("rvb/a.tif", BLACK, (100, 200), pixel=1)
    (tile,) = index_tiles(spec(tmp_path, bands={"R": BandFiles(files=("rvb",))}, nodes="centre")).tiles
    assert tuple(tile.transform)[:6] == (1, 0, 99.5, 0, -1, 200.5)


def test_the_worst_corner_counts():
    west, east, north, south = 700000.004, 700000.004 + 0.2 * (1 + 1e-4) * 3000, 6600000, 6600000 - 0.2 * 1000
    corners = np.array([[(west, north), (east, north), (west, south), (east, south)]])
    origins, deviations = lattice_origins(Affine(0.2, 0, 0, 0, -0.2, 0), corners, np.array([[1000, 3000]]))
    assert origins.tolist() == [[-33000000, 3500000]]
    np.testing.assert_allclose(deviations, [0.02 + 0.3], atol=1e-6)
