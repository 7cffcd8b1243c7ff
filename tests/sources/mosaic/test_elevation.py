import numpy as np
import pytest
import rasterio

from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Grid
from landweave.sources.mosaic.elevation import ElevationSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec

X, Y = 700000, 6600000
GRID = Grid.from_bounds((X, Y - 40, X + 60, Y), crs="EPSG:2154", resolution=0.2)


def open_elevation(dsm, dtm, grid=GRID, **settings):
    models = (
        MosaicSpec(modality=f"DEM_ELEV.{band}", bands={band: BandFiles(files=(str(path),))}, **settings)
        for band, path in (("DSM", dsm), ("DTM", dtm))
    )
    return ElevationSource.open(*models, grid)


def ramp(origin, pixel, shape, nodes=False):
    """Height = easting + 2 x northing, at the centres of pixels (or at nodes counted from the origin)."""
    half = 0 if nodes else 0.5
    x = origin[0] - X + (np.arange(shape[1]) + half) * pixel
    y = origin[1] - Y - (np.arange(shape[0]) + half) * pixel
    return (x + 2 * y[:, None]).astype(np.float32)[None]


def truth(grid=GRID):
    return (grid.x - X) + 2 * (grid.y[:, None] - Y)


def test_a_ramp_comes_back_without_a_shift(write_tile):
    """DSM of 0.5 m on quarter metres, DTM of 1 m on half metres: as delivered, neither on the grid."""
    dsm = write_tile("dsm.tif", ramp((X - 4.75, Y + 4.75), 0.5, (120, 150)), (X - 4.75, Y + 4.75), pixel=0.5)
    dtm = write_tile("dtm.tif", ramp((X - 5.5, Y + 5.5), 1, (60, 80)) - 7, (X - 5.5, Y + 5.5), pixel=1)
    raster = open_elevation(dsm, dtm).read(GRID, ("NDSM", "DTM", "DSM"))
    assert raster.valid.all()
    assert raster.values.dtype == np.float32
    np.testing.assert_allclose(raster.values[2], truth(), atol=1e-4)
    np.testing.assert_allclose(raster.values[1], truth() - 7, atol=1e-4)
    np.testing.assert_allclose(raster.values[0], 7, atol=1e-4)


def test_nodes_on_whole_metres_are_not_corners(write_tile):
    dtm = write_tile("dtm.tif", ramp((X - 5, Y + 5), 1, (60, 80), nodes=True), (X - 5, Y + 5), pixel=1)
    as_nodes = open_elevation(dtm, dtm, nodes="centre").read(GRID, ["DTM"])
    np.testing.assert_allclose(as_nodes.values[0], truth(), atol=1e-4)
    as_corners = open_elevation(dtm, dtm).read(GRID, ["DTM"])
    np.testing.assert_allclose(as_corners.values[0] - truth(), -0.5 + 1, atol=1e-4)  # the half pixel this is about


@pytest.mark.parametrize(
    ("nodata", "tagged"),
    [(9999, True), (-9999, True), (-9999.0059, True), (np.nan, True), (9999, False), (-32767, False)],
)
def test_no_height_is_never_interpolated(write_tile, nodata, tagged):
    """Without a tag it is what no ground on Earth has."""
    heights = np.full((1, 60, 80), 120, np.float32)
    heights[:, 20:30, 20:30] = nodata
    dsm = write_tile("dsm.tif", heights, (X - 5.5, Y + 5.5), pixel=1, nodata=nodata if tagged else None)
    dtm = write_tile("dtm.tif", np.full((1, 60, 80), 100, np.float32), (X - 5.5, Y + 5.5), pixel=1)
    source = open_elevation(dsm, dtm)
    raster = source.read(GRID, ["DSM", "NDSM"])
    assert 0.9 < raster.valid.mean() < 0.97
    np.testing.assert_allclose(raster.values[0][raster.valid], 120, rtol=1e-6)
    np.testing.assert_allclose(raster.values[1][raster.valid], 20, rtol=1e-5)
    assert source.read(GRID, ["DTM"]).valid.all()


def test_two_systems_of_heights_are_told(write_tile):
    flat = np.full((1, 60, 80), 100, np.float32)
    dsm, dtm = (
        write_tile(f"{code}.tif", flat, (X - 5.5, Y + 5.5), pixel=1, crs=f"EPSG:2154+{code}") for code in (5720, 5773)
    )
    assert open_elevation(dsm, dsm).describe()["notes"] == []
    (note,) = open_elevation(dsm, dtm).describe()["notes"]
    assert all(name in note for name in ("NGF-IGN69 height (DSM", "EGM96 height (DTM"))


def test_whole_metres_of_integer_models_are_not_terraces(write_tile):
    heights = ramp((X - 5.5, Y + 5.5), 1, (60, 80)).round().astype(np.int16)
    dtm = write_tile("dtm.tif", heights, (X - 5.5, Y + 5.5), pixel=1)
    raster = open_elevation(dtm, dtm).read(GRID, ["DTM"])
    assert np.abs(raster.values[0] - truth()).max() <= 0.51
    assert len(np.unique(raster.values[0])) > 500


def test_a_text_of_whole_numbers_beside_one_of_decimals_is_no_other_type(tmp_path):
    """An ASCII grid has no type: a tile of the sea, or of nodata alone, reads like integers."""
    header = "ncols 70\nnrows 50\nxllcorner {}\nyllcorner {}\ncellsize 1\nNODATA_value -9999\n"
    for place, height in enumerate(("12.25", "0")):
        text = header.format(X - 5 + 70 * place, Y - 45) + "\n".join([" ".join([height] * 70)] * 50)
        (tmp_path / f"{place}.asc").write_text(text)
    grid = GRID.with_extent(GRID.covering((X + 40, Y - 40, X + 100, Y)))
    raster = open_elevation(tmp_path / "*.asc", tmp_path / "*.asc", grid, crs="EPSG:2154").read(grid, ["DTM"])
    assert (raster.values[0, 0, 0], raster.values[0, 0, -1], raster.valid.all()) == (12.25, 0, True)


def test_real_models_lie_on_the_ortho(shared):
    root = shared("data/ortho_lidar")
    grid = Grid.from_bounds((770550, 6277550.4, 770599.4, 6277600), crs="EPSG:2154", resolution=0.2)
    raster = open_elevation(root / "dsm.tif", root / "dtm.tif", grid).read(grid, ("DSM", "NDSM"))
    assert raster.valid.mean() > 0.95
    with rasterio.open(root / "dhm.tif") as dataset:
        heights = dataset.read(1, masked=True)
    assert raster.values[1][raster.valid].mean() == pytest.approx(float(heights.mean()), abs=0.1)
    with rasterio.open(root / "dsm.tif") as dataset:
        row, column = dataset.index(770575, 6277575)
        around = dataset.read(1)[row - 2 : row + 3, column - 2 : column + 3]
    y, x = int((6277600 - 6277575) / 0.2), int((770575 - 770550) / 0.2)
    assert around.min() <= raster.values[0, y, x] <= around.max()


def test_real_tiles_adjoin_and_their_nodata_is_positive(shared):
    root = shared("data/elevation")
    grid = Grid.from_bounds((299900, 6801500, 300100, 6801700), crs="EPSG:2154", resolution=5)
    both = str(root / "test_mns_hydro_*.tif")
    raster = open_elevation(both, both, grid).read(grid, ["DSM"])
    assert raster.values[0][raster.valid].max() < 9999 if raster.valid.any() else True
    tiles = sorted(root.glob("test_mns_hydro_*.tif"))
    expected = []
    for path, columns in zip(tiles, (slice(180, 200), slice(0, 20)), strict=True):
        with rasterio.open(path) as dataset:
            expected.append(dataset.read(1)[60:100, columns])
    pasted = np.hstack(expected)
    np.testing.assert_array_equal(raster.values[0][raster.valid], pasted[raster.valid])
    np.testing.assert_array_equal(raster.valid, pasted != 9999)


def test_the_seams_of_a_source_are_those_of_its_models(write_tile):
    dsm = write_tile("dsm.tif", ramp((X, Y), 1, (40, 60)), (X, Y), pixel=1)
    dtm = write_tile("dtm.tif", ramp((X + 10, Y), 1, (40, 60)), (X + 10, Y), pixel=1)
    source = open_elevation(dsm, dtm)
    assert source.bands == ("DSM", "DTM", "NDSM")
    assert source.bounds(GRID) == (X + 10, Y - 40, X + 60, Y)
    assert [scene.id.split(":")[0] for scene in source.files(GRID)] == ["DSM", "DTM"]
    assert source.cost(GRID).decoded_pixels == {"GTiff": 2 * 40 * 60}  # strips are decoded whole
    assert source.fingerprint_fields["dsm"]["resampling"] == "bilinear"
    with pytest.raises(ConfigError, match=r"no band \['DHM'\]"):
        source.read(GRID, ["DHM"])


HOLE = np.s_[20:30, 20:30]


def flat(height, dtype=np.float32, **holes):
    values = np.full((1, 60, 80), height, dtype)
    for value in holes.values():
        values[0][HOLE] = value
    return values


def tag_scale(path, scale, offset=0):
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (scale,), (offset,)


def open_folders(root, grid=GRID, dsm=None, dtm=None):
    models = (
        MosaicSpec(
            modality="DEM_ELEV", bands={band: BandFiles(files=(band.lower(),))}, root=str(root), **settings or {}
        )
        for band, settings in (("DSM", dsm), ("DTM", dtm))
    )
    return ElevationSource.open(*models, grid)


@pytest.mark.parametrize("nodata", [-9999, np.nan, np.inf, -np.inf, np.finfo(np.float64).max, np.finfo(np.float32).min])
def test_a_hole_of_one_model_is_given_by_its_next_tile_and_voids_the_difference(write_tile, tmp_path, nodata):
    """Of 1 m on whole metres, resampled to 0.2 m, and float64, whose largest numbers no float32 holds."""
    corner = (X - 5, Y + 5)
    tag = {"nodata": nodata} if nodata == -9999 else {}
    write_tile("dsm/a.tif", flat(120, np.float64, hole=nodata), corner, pixel=1, **tag)
    write_tile("dtm/a.tif", flat(100), corner, pixel=1)
    raster = open_folders(tmp_path).read(GRID, ("DSM", "DTM", "NDSM"))
    assert 0.9 < raster.valid.mean() < 0.97
    assert not raster.valid[80:120, 80:120].any()
    for band, height in enumerate((120, 100, 20)):
        np.testing.assert_allclose(raster.values[band][raster.valid], height, rtol=1e-6)
    assert open_folders(tmp_path).read(GRID, ["DTM"]).valid.all()
    write_tile("dsm/b.tif", flat(130, np.float64), corner, pixel=1, **tag)
    filled = open_folders(tmp_path).read(GRID, ("DSM", "NDSM"))
    assert filled.valid.all()
    np.testing.assert_allclose(filled.values[0][80:120, 80:120], 130)
    np.testing.assert_allclose(filled.values[1][raster.valid], 20, atol=10)


def test_scale_and_offset_of_a_model_are_applied_file_by_file(write_tile, tmp_path):
    """Decimetres and centimetres above 50 m beside a terrain in metres: nodata is looked for in the stored numbers."""
    west, east = (X - 5, Y + 5), (X + 75, Y + 5)
    tag_scale(write_tile("dsm/a.tif", flat(1200, np.int16, hole=-9999), west, pixel=1, nodata=-9999), 0.1)
    tag_scale(write_tile("dsm/b.tif", flat(7000, np.int16, hole=-9999), east, pixel=1, nodata=-9999), 0.01, 50)
    write_tile("dtm/a.tif", flat(100), west, pixel=1)
    write_tile("dtm/b.tif", flat(100), east, pixel=1)
    grid = Grid.from_bounds((X, Y - 40, X + 140, Y), crs="EPSG:2154", resolution=0.2)
    source = open_folders(tmp_path, grid)
    raster = source.read(grid, ("DSM", "NDSM"))
    assert 0.9 < raster.valid.mean() < 0.99
    np.testing.assert_allclose(raster.values[0][raster.valid], 120, rtol=1e-5)
    np.testing.assert_allclose(raster.values[1][raster.valid], 20, rtol=1e-4)
    said = source.describe()["DSM"]["pixels"]["DSM"]
    assert "x 0.1 +0 (file tag)" in said
    assert "x 0.01 +50 (file tag)" in said
    assert "nodata -9999 (file tag)" in said
    scales = {each["scale"] for each in source.fingerprint_fields["dsm"]["pixels"]["DSM"]}
    assert scales == {0.1, 0.01}


def test_a_setting_switches_tags_off_or_states_centimetres(write_tile, tmp_path):
    corner = (X - 5, Y + 5)
    tag_scale(write_tile("dsm/a.tif", flat(120), corner, pixel=1), 0.1)
    write_tile("dtm/a.tif", flat(10000, np.uint16), corner, pixel=1)
    source = open_folders(tmp_path, dsm={"scale": 1}, dtm={"scale": 0.01})
    raster = source.read(GRID, ("DSM", "DTM", "NDSM"))
    np.testing.assert_allclose(raster.values[:, 50, 50], (120, 100, 20), rtol=1e-5)


@pytest.mark.parametrize(("unit", "fits"), [("m", True), ("metre", True), ("US survey foot", False), ("cm", False)])
def test_heights_in_another_unit_than_metres_are_refused_until_their_scale_is_stated(write_tile, tmp_path, unit, fits):
    path = write_tile("dsm/a.tif", flat(120), (X - 5, Y + 5), pixel=1)
    write_tile("dtm/a.tif", flat(100), (X - 5, Y + 5), pixel=1)
    with rasterio.open(path, "r+") as dataset:
        dataset.units = (unit,)
    if fits:
        assert open_folders(tmp_path).read(GRID, ("DSM",)).values.max() == 120
        return
    with pytest.raises(InputError, match=rf"a\.tif: 'DSM' is in '{unit}', and metres are read: state scale"):
        open_folders(tmp_path)
    assert open_folders(tmp_path, dsm={"scale": 0.5}).read(GRID, ("DSM",)).values.max() == 60
