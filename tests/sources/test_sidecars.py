"""No file beside a raster, no text in place of one, and no name makes GDAL open another file."""

import warnings
import zipfile

import numpy as np
import pyproj
import pytest
import rasterio

from landweave.core.errors import LandweaveError
from landweave.sources import files
from landweave.sources.files import RasterFile, query_file, read_window
from landweave.sources.raster_facts import facts_at_first_open

BESIDE = "could name other files|names a file elsewhere"


@pytest.fixture
def secret(write_tile):
    return write_tile("elsewhere/secret.tif", np.full((1, 64, 64), 77, np.uint8), (0, 0))


@pytest.fixture
def tile(write_tile):
    return write_tile("tiles/a.tif", np.full((1, 64, 64), 5, np.uint8), (0, 0))


def vrt(of):
    return (
        '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{of}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )


def metadata(of):
    return f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{of}</MDI></Metadata></PAMDataset>'


@pytest.mark.parametrize(("suffix", "text"), [(".msk", vrt), (".ovr", vrt), (".aux.xml", metadata)])
@pytest.mark.parametrize("where", ["secret", "/vsicurl/http://127.0.0.1:9/a.tif", "../elsewhere/secret.tif", "b.vrt"])
def test_a_file_beside_a_raster_that_leads_elsewhere_is_refused(tile, secret, tmp_path, suffix, text, where):
    (tmp_path / f"tiles/a.tif{suffix}").write_text(text(secret if where == "secret" else where))
    with pytest.raises(LandweaveError, match=BESIDE):
        facts_at_first_open(RasterFile(href=tile))


def test_masks_overviews_and_metadata_of_gdal_itself_are_read(write_tile, tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="NO"):
        path = write_tile("m/a.tif", np.full((1, 64, 64), 5, np.uint8), (0, 0), mask=mask)
    assert (tmp_path / "m/a.tif.msk").exists()
    (tmp_path / "m/a.tif.aux.xml").write_text(metadata(":::BASE:::a.tif.ovr"))
    assert facts_at_first_open(RasterFile(href=path)).masks == (1,)
    _, marked = read_window(RasterFile(href=path), [1], facts_at_first_open(RasterFile(href=path)).extent, masks=[1])
    assert not marked.any()


LAMBERT_2 = pyproj.CRS(27572).to_wkt("WKT1_GDAL").replace('"', "&quot;")


@pytest.mark.parametrize("stated", [
    "<GeoTransform>10, 0.2, 0, 0, 0, -0.2</GeoTransform>",
    "<GeoTransform>0.1, 0.2, 0, 0, 0, -0.2</GeoTransform>",
    "<GeoTransform>0, 0.2004, 0, 0, 0, -0.2</GeoTransform>",
    f"<SRS>{LAMBERT_2}</SRS>",
])  # fmt: skip
def test_metadata_that_place_a_raster_elsewhere_than_its_tags_are_refused(tile, tmp_path, stated):
    """GDAL believes what lies beside a file first: a map 10 m off, or in another CRS, and no word."""
    with rasterio.open(tile) as dataset:
        own = dataset.transform, dataset.crs
    (tmp_path / "tiles/a.tif.aux.xml").write_text(f"<PAMDataset>{stated}</PAMDataset>")
    with rasterio.open(tile) as dataset:
        assert (dataset.transform, dataset.crs) != own
    with pytest.raises(LandweaveError, match=r"lies in two places: from .* by the .aux.xml beside it, from 0, 0 in"):
        facts_at_first_open(RasterFile(href=tile))


def test_metadata_that_say_what_the_tags_say_or_stand_for_them_are_read(tile, write_tile, tmp_path):
    (tmp_path / "tiles/a.tif.aux.xml").write_text(
        "<PAMDataset><GeoTransform>0, 0.2000001, 0, 0, 0, -0.2</GeoTransform></PAMDataset>"
    )
    assert facts_at_first_open(RasterFile(href=tile)).crs == "EPSG:2154"
    bare = write_tile("tiles/bare.tif", np.full((1, 64, 64), 5, np.uint8), (0, 0), crs=None)
    (tmp_path / "tiles/bare.tif.aux.xml").write_text(f"<PAMDataset><SRS>{LAMBERT_2}</SRS></PAMDataset>")
    assert facts_at_first_open(RasterFile(href=bare)).crs == "EPSG:27572"


def test_texts_and_names_that_stand_for_other_files_are_refused(secret, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PAUSES_S", ())
    (tmp_path / "a.tif").write_text(vrt(secret))
    (tmp_path / "a.ers").write_text(f'DatasetHeader Begin\n DataFile = "{secret}"\nDatasetHeader End\n')
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.tif", vrt(secret))
    names = ("a.tif", "a.ers", "a.zip")
    opened = [tmp_path / name for name in names] + [f"/vsizip/{tmp_path}/a.zip/a.tif", f"zip://{tmp_path}/a.zip!a.tif"]
    opened += [f"vrt://{secret}", vrt(secret), f"GTIFF_DIR:1:{secret}", f"DERIVED_SUBDATASET:AMPLITUDE:{secret}"]
    opened += [f"{secret}?a=1", f"/vsicurl?url=file://{secret}"]
    for name in opened:
        with warnings.catch_warnings(action="ignore"), pytest.raises(LandweaveError):
            query_file(RasterFile(href=str(name)), lambda dataset: dataset.read())
