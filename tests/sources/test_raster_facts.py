import html
import pathlib

import numpy as np
import pytest
import rasterio

from landweave.core.crs import usable_crs
from landweave.core.errors import InputError
from landweave.sources.raster_facts import read_raster_facts

BLACK = np.zeros((1, 8, 8), np.uint8)


def test_a_header_holds_what_gdal_says(shared):
    path = str(shared("data/naip/NAIP-VA-b1.tiff"))
    header = read_raster_facts([path])[path]
    with rasterio.open(path) as dataset:
        assert (header.shape, header.count, header.dtype) == (dataset.shape, dataset.count, dataset.dtypes[0])
        assert (header.transform, header.nodata, header.block) == (dataset.transform, (255,), dataset.block_shapes[0])
    assert (header.crs, header.driver, header.alpha, header.masks) == ("EPSG:26917", "GTiff", 0, (0,))
    assert header.size == 245945


def test_a_crs_that_is_only_named_after_a_code_is_not_one(shared):
    path = str(shared("data/ortho_lidar/test_data_rgb.tif"))
    header = read_raster_facts([path])[path]
    assert header.crs == ""
    assert "'EPSG:2154' that is not one: its datum is 'unnamed'" in header.crs_problem


def test_a_crs_whose_numbers_match_a_code_is_that_code(shared):
    (header,) = read_raster_facts([str(next(shared("data/bd_ortho/rgb").glob("*.tiff")))]).values()
    assert (header.crs, header.crs_problem) == ("EPSG:2154", "")


def test_a_crs_of_ones_own_is_kept(write_tile):
    wkt = rasterio.CRS.from_proj4("+proj=laea +lat_0=46.5 +lon_0=3 +ellps=GRS80 +datum=WGS84 +units=m").to_wkt()
    path = write_tile("a.tif", BLACK, (0, 0), crs=wkt)
    assert "Lambert_Azimuthal_Equal_Area" in read_raster_facts([path])[path].crs.replace(" ", "_")


def test_masks_and_alpha_are_told_apart(write_tile):
    four = np.zeros((4, 8, 8), np.uint8)
    alpha = write_tile("alpha.tif", four, (0, 10), photometric="RGB", alpha="YES")
    masked = write_tile("mask.tif", BLACK, (0, 10), mask=np.ones((8, 8), bool))
    headers = read_raster_facts([alpha, masked])
    assert (headers[alpha].alpha, headers[alpha].masks) == (4, (0,) * 4)
    assert (headers[masked].alpha, headers[masked].masks) == (0, (1,))


def test_files_that_state_much_the_same_are_told_apart(write_tile):
    """Their CRS is read once of all that state the same: each has what rasterio says of it alone."""
    paths = []
    for crs in ("EPSG:2154", "EPSG:32631", "EPSG:2154+5720", "EPSG:6340+6360"):  # with heights in metres and feet
        name = crs.translate({ord(":"): "_", ord("+"): "_"})
        paths += [write_tile(f"{name}_{left}.tif", BLACK, (left, 10), crs=crs) for left in (600_000, 600_001.6)]
        paths.append(write_tile(f"{name}_big.tif", BLACK, (600_000, 10), crs=crs, BIGTIFF="YES", ENDIANNESS="BIG"))
        paths.append(write_tile(f"{name}_unit.tif", BLACK, (600_000, 10), crs=crs))
        with rasterio.open(paths[-1], "r+") as dataset:
            dataset.units = ["dm"]
            dataset.update_tags(TIFFTAG_DATETIME="2021:06:01 10:30:00")
        paths.append(write_tile(f"{name}_beside.tif", BLACK, (600_000, 10), crs=None))
        wkt = rasterio.CRS.from_epsg(3035).to_wkt()
        pathlib.Path(f"{paths[-1]}.aux.xml").write_text(f"<PAMDataset><SRS>{html.escape(wkt)}</SRS></PAMDataset>")
    for path, facts in read_raster_facts(paths).items():
        with rasterio.open(path) as dataset:
            assert (facts.crs, facts.crs_problem) == usable_crs(dataset.crs.to_wkt(version="WKT2_2019")), path
            assert facts.units == tuple(text or "" for text in dataset.units), path
            assert facts.date_tag == dataset.tags().get("TIFFTAG_DATETIME", ""), path
    assert len({(facts.crs, facts.units) for facts in read_raster_facts(paths).values()}) == 8


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_every_bad_file_is_named_at_once(write_tile, tmp_path):
    good = write_tile("good.tif", BLACK, (0, 10))
    cut = tmp_path / "cut.tif"
    cut.write_bytes(pathlib.Path(good).read_bytes()[:-20])
    text = tmp_path / "text.tif"
    text.write_text("I am a tile")
    bare = write_tile("bare.tif", BLACK, (0, 0), pixel=(1, -1), crs=None)
    with pytest.raises(InputError, match="3 of 4 files") as caught:
        read_raster_facts([good, str(cut), str(text), bare])
    message = str(caught.value)
    assert "cut.tif is truncated" in message
    assert "text.tif cannot be read: " in message
    assert "not recognized as being in a supported file format" in message
    assert "bare.tif is not georeferenced" in message
    assert "good.tif" not in message


def test_text_of_a_vrt_is_no_tile_whatever_its_name(tmp_path, write_tile):
    """It could name files of this machine, and of any other."""
    own = write_tile("own.tif", BLACK, (0, 0))
    vrt = '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
    vrt += f"<SourceFilename>{own}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    (tmp_path / "tile.tif").write_text(vrt)
    with pytest.raises(InputError, match=r"tile\.tif"):
        read_raster_facts([str(tmp_path / "tile.tif")])
