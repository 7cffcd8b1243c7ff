"""A pixel is data where every band that is needed is, whatever file it comes from; the next tile gives the others."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from landweave.core.errors import InputError, ReadError
from landweave.core.grid import Grid
from landweave.sources.band_reading import BandReading, decide_file
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.raster_facts import read_raster_facts
from tests.helpers.marks import mostly_slow

X, Y = 700000, 6600000
GRID = Grid.from_bounds((X, Y - 16, X + 20, Y), crs="EPSG:2154", resolution=0.2)
HOLE = np.zeros(GRID.shape, bool)
HOLE[20:50, 30:70] = True
NAMES = ("R", "G", "B", "NIR")

FORMS = {
    "products": {"RGB": ("R", "G", "B"), "irc": ("NIR",)},
    "false colour": {"RGB": ("R", "G", "B"), "irc": ("NIR", "red", "green")},
    "a file a band": {name: (name,) for name in NAMES},
    "one file": {"all": NAMES},
}
VALUES = {"bytes": (np.uint8, 0), "signed": (np.int16, -9999), "reflectance": (np.uint16, 65535)}


def image(dtype, seed=0):
    """Values from 1 to 254: none is a nodata value."""
    return np.random.default_rng(seed).integers(1, 255, (4, *GRID.shape)).astype(dtype)


def write_form(write_tile, form, planes, name, shift=0.0, **profile):
    """The four bands as files of a form; a file of false colour holds two more that no one takes."""
    by_name = dict(zip(NAMES, planes, strict=True)) | {"red": planes[0], "green": planes[1]}
    for folder, bands in FORMS[form].items():
        values = np.stack([by_name[band] for band in bands])
        write_tile(f"{folder}/{name}.tif", values, (X + shift, Y), **{"photometric": "minisblack"} | profile)


def bands_of(form):
    return {
        name: BandFiles(files=(f"{folder}/*.tif",), band=number)
        for folder, bands in FORMS[form].items()
        for number, name in enumerate(bands, 1)
        if name in NAMES
    }


def open_form(tmp_path, form, **settings):
    return MosaicSource.open(MosaicSpec(modality="A", bands=bands_of(form), root=str(tmp_path), **settings), GRID)


def with_hole(planes, value, bands=(3,)):
    found = planes.copy()
    for band in bands:
        found[band, HOLE] = value
    return found


CASES = tuple(product(FORMS, VALUES, ((0, False), (0, True), (0.07, False)), (False, True)))


@pytest.mark.parametrize(
    ("form", "value", "where", "second"),
    # Every fifth: each form with each kind of value and neighbour, each value at each place.
    mostly_slow(CASES, fast=CASES[::5]),
)
def test_a_gap_in_one_band_is_no_data_and_the_next_tile_gives_it(write_tile, tmp_path, form, value, where, second):
    """Of bytes only a pixel whose bands all are 0 (or 255), in one file or a file each, is without data."""
    shift, stated = where
    dtype, nodata = VALUES[value]
    is_shared = form != "products" and dtype is np.uint8
    planes = image(dtype)
    holed = with_hole(planes, nodata, bands=range(4) if is_shared else (3,))
    write_form(write_tile, form, holed, "a", shift, **({} if stated else {"nodata": nodata}))
    if second:
        write_form(write_tile, form, planes, "b", shift, **({} if stated else {"nodata": nodata}))
    source = open_form(tmp_path, form, nodata=nodata if stated else None)
    assert source.alignment.pasted == (not shift)
    raster = source.read(GRID, NAMES)
    if not shift:
        np.testing.assert_array_equal(raster.valid, ~HOLE | second)
        np.testing.assert_array_equal(raster.values[:, raster.valid], planes[:, raster.valid])
        return
    (tmp_path / "whole").mkdir()
    write_form(lambda name, *rest, **kept: write_tile(f"whole/{name}", *rest, **kept), form, planes, "a", shift)
    whole = open_form(tmp_path / "whole", form).read(GRID, NAMES)
    np.testing.assert_array_equal(raster.valid, whole.valid & ~HOLE | (second & whole.valid))
    inner = raster.valid & ~near(HOLE) if not second else raster.valid
    np.testing.assert_array_equal(raster.values[:, inner], whole.values[:, inner])
    assert raster.values[:, raster.valid].min() >= 1  # nothing of the hole has leaked
    assert raster.values[:, raster.valid].max() <= 254


def near(hole):
    """The hole and two pixels around it."""
    found = hole.copy()
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            found |= np.roll(hole, step, axis)
    for _ in range(2):
        for axis in (0, 1):
            found = found | np.roll(found, 1, axis) | np.roll(found, -1, axis)
    return found


@pytest.mark.parametrize(("nodata", "stated"), [(0, False), (255, False), (0, True)])
def test_files_of_one_band_tell_dark_pixels_from_nodata_together(write_tile, tmp_path, nodata, stated):
    """Water is 0 in the near infrared, a roof 255 in one band, whether the bands are one file or four."""
    planes = image(np.uint8)
    planes[3, :5] = nodata
    planes[0, 5:7] = nodata
    planes[:, 7:9] = nodata
    write_form(write_tile, "a file a band", planes, "a", **({} if stated else {"nodata": nodata}))
    setting = {"nodata": nodata} if stated else {}
    source = open_form(tmp_path, "a file a band", **setting)
    for bands in (NAMES, ("R",), ("NIR",)):
        np.testing.assert_array_equal(source.read(GRID, bands).valid, ~(planes == nodata).all(0))
    assert "in all files of one band," in source.describe()["pixels"]["NIR"]
    (note,) = source.describe()["notes"]
    assert note.startswith(f"R, G, B, NIR are files of one band: {nodata} is no data where all of them hold it")
    assert "nodata_rule: any" in note
    by_any = open_form(tmp_path, "a file a band", nodata_rule="any", **setting)
    np.testing.assert_array_equal(by_any.read(GRID, NAMES).valid, ~(planes == nodata).any(0))
    assert not by_any.describe()["notes"]


def test_a_file_of_one_band_beside_one_of_several_tells_its_gaps_alone(write_tile, tmp_path):
    write_form(write_tile, "products", with_hole(image(np.uint8), 0), "a", nodata=0)
    source = open_form(tmp_path, "products")
    np.testing.assert_array_equal(source.read(GRID, NAMES).valid, ~HOLE)
    assert not source.describe()["notes"]


@pytest.mark.parametrize("nodata", [0, 255])
def test_a_dark_or_a_bright_pixel_is_data_where_its_file_holds_another_band(write_tile, tmp_path, nodata):
    planes = image(np.uint8)
    planes[0, :5] = nodata
    planes[:, 5:7] = nodata
    write_form(write_tile, "one file", planes, "a", nodata=nodata)
    raster = open_form(tmp_path, "one file").read(GRID, NAMES)
    np.testing.assert_array_equal(raster.valid, ~(planes == nodata).all(0))


def test_water_is_data_in_a_file_of_false_colour_of_which_near_infrared_alone_is_taken(write_tile, tmp_path):
    planes = image(np.uint8)
    planes[3, :5] = 0
    planes[:, 5:7] = 0
    write_form(write_tile, "false colour", planes, "a", nodata=0)
    expected = np.ones(GRID.shape, bool)
    expected[5:7] = False
    np.testing.assert_array_equal(open_form(tmp_path, "false colour").read(GRID, NAMES).valid, expected)


@pytest.mark.parametrize(
    ("rule", "void"), [("any", {(0, 0), (0, 1), (0, 2)}), ("file", {(0, 1), (0, 2)}), ("every", {(0, 2)})]
)
def test_a_setting_states_the_rule(write_tile, tmp_path, rule, void):
    planes = image(np.uint8)
    planes[0, 0, 0] = 0
    planes[3, 0, 1] = 0
    planes[:, 0, 2] = 0
    write_form(write_tile, "products", planes, "a", nodata=0)
    source = open_form(tmp_path, "products", nodata_rule=rule)
    assert {tuple(each) for each in np.argwhere(~source.read(GRID, NAMES).valid)} == void
    for bands in (("R",), ("NIR",), ("G", "B")):  # whichever are read
        assert {tuple(each) for each in np.argwhere(~source.read(GRID, bands).valid)} == void
    assert source.fingerprint_fields["nodata_rule"] == rule


def test_what_is_done_with_nodata_is_said(write_tile, tmp_path):
    write_form(write_tile, "products", image(np.uint8), "a", nodata=0)
    for rule, text in {
        "file": "nodata 0 (file tag) in all bands of its file,",
        "any": "nodata 0 (file tag),",
        "every": "nodata 0 (file tag) in every band,",
    }.items():
        source = open_form(tmp_path, "products", nodata_rule=rule)
        assert text in source.describe()["pixels"]["R"]
    source = open_form(tmp_path, "products", nodata=-1)
    assert "nodata -1 (setting)," in source.describe()["pixels"]["R"]


# --- bands that are not needed


def test_a_band_that_is_not_needed_voids_no_pixel(write_tile, tmp_path):
    planes = image(np.int16)
    write_form(write_tile, "a file a band", with_hole(planes, -9999, bands=(2,)), "a", nodata=-9999)
    write_form(write_tile, "one file", with_hole(planes, -9999, bands=(2,)), "a", nodata=-9999)
    for form in ("a file a band", "one file"):
        assert not open_form(tmp_path, form).read(GRID, NAMES).valid[HOLE].any()
        source = open_form(tmp_path, form, needed=("NIR", "R", "G"))
        assert source.bands == ("R", "G", "NIR")
        raster = source.read(GRID, ("NIR", "R", "G"))
        assert raster.valid.all()
        np.testing.assert_array_equal(raster.values, planes[[3, 0, 1]])
        assert "B: not read as a band, for the model takes R, G, NIR" in source.describe()["notes"]
    assert len(open_form(tmp_path, "a file a band", needed=("R", "NIR")).index.tiles[0].files) == 2


def test_a_band_of_the_same_file_tells_dark_pixels_from_nodata(write_tile, tmp_path):
    planes = image(np.uint8)
    planes[:, 0, :4] = 0
    planes[2, 0, 2:4] = 9  # a deep blue
    write_form(write_tile, "one file", planes, "a", nodata=0)
    source = open_form(tmp_path, "one file", needed=("R", "G", "NIR"))
    assert np.argwhere(~source.read(GRID, ("R", "G", "NIR")).valid).tolist() == [[0, 0], [0, 1]]
    assert "only to tell dark pixels from nodata" in source.describe()["pixels"]["B"]


def test_a_near_infrared_that_is_flagged_as_alpha_is_no_mask_even_where_it_is_not_needed(write_tile, tmp_path):
    planes = image(np.uint8)
    planes[3, :9] = 0  # water
    write_form(write_tile, "one file", planes, "a", photometric="RGB", alpha="YES")
    for needed in ((), ("R", "G", "B")):
        source = open_form(tmp_path, "one file", needed=needed)
        assert source.read(GRID, ("R",)).valid.all()
    _, note = source.describe()["notes"]
    assert note.startswith("NIR is band 4, which 1 of 1 files call alpha and which is no mask here, ")
    assert note.endswith("leave NIR out of bands")
    (note,) = open_form(tmp_path, "one file").describe()["notes"]
    assert "NIR is read from band 4, which 1 of 1 files call alpha, and marks nothing as nodata" in note


# --- masks


def masks_by_band(path, masks):
    """A mask file beside ``path`` with a mask of each band's own."""
    with rasterio.open(path) as dataset:
        profile = dataset.profile | {"nodata": None, "dtype": "uint8", "count": len(masks)}
    with rasterio.open(f"{path}.msk", "w", **profile) as dataset:
        dataset.write(np.where(masks, 255, 0).astype(np.uint8))
        dataset.update_tags(**{f"INTERNAL_MASK_FLAGS_{number}": 0 for number in range(1, len(masks) + 1)})


def test_each_band_has_a_mask_of_its_own(write_tile, tmp_path):
    planes = image(np.uint8)
    write_form(write_tile, "one file", planes, "a")
    masks = np.ones((4, *GRID.shape), bool)
    masks[1, :3], masks[2, :, :3], masks[3] = False, False, ~HOLE
    masks_by_band(tmp_path / "all/a.tif", masks)
    source = open_form(tmp_path, "one file")
    np.testing.assert_array_equal(source.read(GRID, NAMES).valid, masks.all(0))
    np.testing.assert_array_equal(source.read(GRID, ("R",)).valid, masks.all(0))
    part = open_form(tmp_path, "one file", needed=("R", "G", "NIR"))
    np.testing.assert_array_equal(part.read(GRID, ("R",)).valid, masks[[0, 1, 3]].all(0))
    assert "without data where its mask is 0" in part.describe()["pixels"]["NIR"]


@pytest.mark.parametrize("kind", ["internal", "beside", "alpha"])
def test_the_mask_of_any_file_counts(write_tile, tmp_path, kind):
    planes = image(np.uint8)
    write_form(write_tile, "a file a band", planes, "a")
    if kind == "alpha":
        two = np.stack([planes[3], np.where(HOLE, 0, 255)]).astype(np.uint8)
        write_tile("NIR/a.tif", two, (X, Y), alpha="YES")
    else:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "internal"):
            write_tile("NIR/a.tif", planes[3:], (X, Y), mask=~HOLE)
    assert (tmp_path / "NIR/a.tif.msk").exists() == (kind == "beside")
    source = open_form(tmp_path, "a file a band")
    for bands in (NAMES, ("R",)):
        np.testing.assert_array_equal(source.read(GRID, bands).valid, ~HOLE)
    assert open_form(tmp_path, "a file a band", needed=("R", "G", "B")).read(GRID, ("R",)).valid.all()


def test_values_of_all_bands_that_mean_nodata_together(write_tile, tmp_path):
    """GDAL's NODATA_VALUES: one mask, where each band holds the value of its own."""
    planes = image(np.uint8)
    planes[:, 4, 4] = (0, 1, 2, 3)
    planes[:, 5, 5] = 0
    write_form(write_tile, "one file", planes, "a")
    with rasterio.open(tmp_path / "all/a.tif", "r+") as dataset:
        dataset.update_tags(NODATA_VALUES="0 1 2 3")
    assert np.argwhere(~open_form(tmp_path, "one file").read(GRID, NAMES).valid).tolist() == [[4, 4]]


# --- tags


def tag_bands(path, tags):
    """Nodata tags by band, which GDAL keeps beside the file."""
    bands = "".join(
        f'<PAMRasterBand band="{number}"><NoDataValue>{tag}</NoDataValue></PAMRasterBand>'
        for number, tag in tags.items()
    )
    path.with_name(f"{path.name}.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")


def test_bands_of_one_file_have_tags_of_their_own(write_tile, tmp_path):
    planes = image(np.int16)
    planes[0, 0, :3], planes[1, 0, 1:3], planes[3, 0, 5] = 0, 255, -9999
    write_form(write_tile, "one file", planes, "a")
    tag_bands(tmp_path / "all/a.tif", {1: "0", 2: "255", 4: "-9999"})
    source = open_form(tmp_path, "one file")
    assert source.index.tiles[0].files[0].nodata == (0, 255, None, -9999)
    assert np.argwhere(~source.read(GRID, NAMES).valid).tolist() == [[0, 1], [0, 2], [0, 5]]


@pytest.mark.parametrize(("dtype", "tag"), [("uint8", "-9999"), ("uint8", "nan"), ("int16", "nan"), ("uint8", "0.5")])
def test_a_tag_that_no_number_of_the_file_can_equal_is_noted(write_tile, tmp_path, dtype, tag):
    write_form(write_tile, "one file", image(dtype), "a")
    tag_bands(tmp_path / "all/a.tif", dict.fromkeys(range(1, 5), tag))
    source = open_form(tmp_path, "one file")
    (note,) = source.describe()["notes"]
    assert f"1 files are tagged nodata {tag}, which cannot occur in {dtype}" in note
    assert source.read(GRID, NAMES).valid.all()
    json.dumps(source.fingerprint_fields, allow_nan=False)
    assert not open_form(tmp_path, "one file", nodata=7).describe()["notes"]


def test_a_setting_that_no_number_can_equal_is_noted(write_tile, tmp_path):
    write_form(write_tile, "one file", image(np.uint8), "a")
    for nodata in (-9999, 0.5, 300):
        (note,) = open_form(tmp_path, "one file", nodata=nodata).describe()["notes"]
        assert f"nodata {nodata} (setting) cannot occur in uint8" in note
    assert not open_form(tmp_path, "one file", nodata=np.nan).describe()["notes"]


@pytest.mark.parametrize(("compress", "nodata", "border", "told"), [
    ("jpeg", 255, False, True), ("jpeg", 0, True, False), ("jpeg", None, False, False), ("deflate", 255, False, False),
])  # fmt: skip
def test_a_fringe_of_nodata_after_a_lossy_compression_is_told(write_tile, tmp_path, compress, nodata, border, told):
    write_form(write_tile, "one file", image(np.uint8), "a", compress=compress, nodata=nodata)
    notes = open_form(tmp_path, "one file", nodata_border=border).describe()["notes"]
    assert any("1 of 1 files have a nodata value and a compression that changes" in note for note in notes) == told


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.finfo(np.float32).min, np.finfo(np.float32).max])
@pytest.mark.parametrize("shift", [0, 0.07])
@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_number_is_no_data_in_any_band(write_tile, tmp_path, form, shift, value):
    planes = image(np.float32)
    write_form(write_tile, form, with_hole(planes, value), "a", shift)
    write_form(write_tile, form, planes[:, :40], "b", shift)
    raster = open_form(tmp_path, form).read(GRID, NAMES)
    below = HOLE & (np.arange(GRID.shape[0]) >= 40)[:, None]
    assert not raster.valid[below].any()
    assert raster.valid[:38, :-1][:, 1:].all()
    assert np.isfinite(raster.values[:, raster.valid]).all()
    assert 0 < raster.values[:, raster.valid].min() <= raster.values[:, raster.valid].max() < 255


# --- nodata borders


@pytest.mark.parametrize(("form", "void"), [("false colour", True), ("products", False)])
def test_the_border_of_one_file_is_a_border_of_its_tile(write_tile, tmp_path, form, void):
    """A file of one band says nothing alone: water is black in the near infrared."""
    planes = image(np.uint8) // 2 + 100
    edge = np.zeros(GRID.shape, bool)
    edge[:30, :20] = True
    write_form(write_tile, form, planes, "a")
    bands = 3 if form == "false colour" else 1
    dark = np.where(edge, 3, np.stack([planes[3], planes[0], planes[1]])[:bands]).astype(np.uint8)
    write_tile("irc/a.tif", dark, (X, Y))
    raster = open_form(tmp_path, form, nodata_border=True).read(GRID, NAMES)
    np.testing.assert_array_equal(~raster.valid, edge & void)


# --- scale and offset


def tag_scale(path, scale, offset):
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (scale,) * dataset.count, (offset,) * dataset.count


@pytest.mark.parametrize("shift", [0, 0.07])
def test_tags_of_scale_and_offset_are_applied_file_by_file_after_nodata(write_tile, tmp_path, shift):
    stored = image(np.int16)
    stored[0, HOLE] = -9999
    write_form(write_tile, "one file", stored[:, :, :50], "a", shift, nodata=-9999)
    write_form(write_tile, "one file", stored[:, :, 50:], "b", shift + 10, nodata=-9999)
    tag_scale(tmp_path / "all/a.tif", 0.01, -5)
    source = open_form(tmp_path, "one file")
    raster = source.read(GRID, NAMES)
    assert raster.values.dtype == source.dtype == np.float32
    assert not raster.valid[HOLE].any()
    expected = stored.astype(np.float64)
    expected[..., :50] = expected[..., :50] * 0.01 - 5
    if shift:
        assert np.abs(raster.values[:, 5:15, 5:45]).max() < 5
    else:
        np.testing.assert_array_equal(raster.values[:, ~HOLE], expected.astype(np.float32)[:, ~HOLE])
    described = source.describe()
    assert "x 0.01 -5 (file tag)" in described["pixels"]["R"]
    assert described["dtype"] == "float32"


@pytest.mark.parametrize(
    ("settings", "factor", "added"),
    [
        ({"scale": 1.0}, 1, 0),
        ({"scale": 2.0}, 2, 0),
        ({"offset": 3.0}, 1, 3),
        ({"scale": 0.5, "offset": -1.0}, 0.5, -1),
    ],
)
def test_a_setting_stands_for_the_tags(write_tile, tmp_path, settings, factor, added):
    stored = image(np.uint8)
    write_form(write_tile, "one file", stored, "a")
    tag_scale(tmp_path / "all/a.tif", 1 / 255, 0)
    source = open_form(tmp_path, "one file", **settings)
    np.testing.assert_array_equal(source.read(GRID, NAMES).values, stored * np.float32(factor) + np.float32(added))
    assert source.dtype == (np.uint8 if (factor, added) == (1, 0) else np.float32)
    assert f"x {factor:g} {added:+g} (setting)" in source.describe()["pixels"]["R"]


def test_files_of_one_product_with_other_tags_of_scale_are_told(write_tile, tmp_path):
    for number, name in enumerate("abc"):
        write_tile(f"in/{name}.tif", image(np.int16)[:2], (X + 20 * number, Y))
        if name != "c":
            tag_scale(tmp_path / f"in/{name}.tif", 0.1, 2)
    spec = {"modality": "A", "bands": {"R": BandFiles(files=("in",))}, "root": str(tmp_path)}
    (note,) = MosaicSource.open(MosaicSpec(**spec), GRID).describe()["notes"]
    assert note.startswith("1 of 3 files have other tags of scale and offset in R, each is read by its own: ")
    assert "c.tif x 1 +0; " in note
    assert "a.tif x 0.1 +2. " in note
    assert not MosaicSource.open(MosaicSpec(**spec, scale=0.1), GRID).describe()["notes"]


@pytest.mark.parametrize("scale", [0.0, np.nan])
def test_a_scale_that_leaves_no_values_is_refused(write_tile, tmp_path, scale):
    write_form(write_tile, "one file", image(np.uint8), "a")
    tag_scale(tmp_path / "all/a.tif", scale, 0)
    with pytest.raises(InputError, match=r"a\.tif: 'R' has tags of scale (0|nan) and offset 0: state scale"):
        open_form(tmp_path, "one file")
    assert open_form(tmp_path, "one file", scale=1.0).dtype == np.uint8


# --- what a VRT alone says


def write_vrt(path, source, band=""):
    box = f'xOff="0" yOff="0" xSize="{GRID.shape[1]}" ySize="{GRID.shape[0]}"'
    path.write_text(
        f'<VRTDataset rasterXSize="{GRID.shape[1]}" rasterYSize="{GRID.shape[0]}">'
        f'<VRTRasterBand dataType="Byte" band="1">{band}<ComplexSource>'
        '<SourceFilename relativeToVRT="1">in/a.tif</SourceFilename><SourceBand>1</SourceBand>'
        f"<SrcRect {box}/><DstRect {box}/>{source}</ComplexSource></VRTRasterBand></VRTDataset>"
    )


def open_vrt(tmp_path, **settings):
    bands = {"R": BandFiles(files=("m.vrt",))}
    return MosaicSource.open(MosaicSpec(modality="A", bands=bands, root=str(tmp_path), **settings), GRID)


@pytest.mark.parametrize(
    ("source", "band", "problem", "setting"),
    [
        ("<NODATA>0</NODATA>", "", r"m\.vrt states nodata 0, its file .*a\.tif {tag}: set nodata: 0", {"nodata": 0.0}),
        ("", "<NoDataValue>0</NoDataValue>", r"states nodata 0, its file .* {tag}: set nodata: 0", {"nodata": 0.0}),
        ("", "<Scale>0.5</Scale>", r"states x 0\.5 \+0, its file .* x 1 \+0: set scale", {"scale": 0.5}),
        ("", "<Offset>-9</Offset>", r"states x 1 -9, its file .* x 1 \+0: set scale", {"offset": -9.0}),
    ],
)
@pytest.mark.parametrize("tag", [None, 7])
def test_what_a_vrt_alone_says_of_numbers_is_refused_unless_it_is_set(
    write_tile, tmp_path, source, band, problem, setting, tag
):
    write_tile("in/a.tif", np.where(HOLE, 0, image(np.uint8)[:1]).astype(np.uint8), (X, Y), nodata=tag)
    write_vrt(tmp_path / "m.vrt", source, band)
    with pytest.raises(InputError, match=problem.format(tag="none" if tag is None else tag)):
        open_vrt(tmp_path)
    valid = open_vrt(tmp_path, **setting).read(GRID, ("R",)).valid
    if "nodata" in setting:
        np.testing.assert_array_equal(valid, ~HOLE)


@pytest.mark.parametrize(
    ("dtype", "tag", "stated"),
    [
        (np.uint8, 0, "0"),
        (np.uint8, None, "-9999"),
        (np.float32, None, "nan"),
        (np.float32, None, "-3.40282346e+38"),
        (np.float32, -9999.0059, "-9999.00585938"),
    ],
)
def test_nodata_that_a_vrt_shares_with_its_files_or_that_no_pixel_equals_is_fine(
    write_tile, tmp_path, dtype, tag, stated
):
    write_tile("in/a.tif", np.where(HOLE, tag or 0, image(dtype)[:1]).astype(dtype), (X, Y), nodata=tag)
    write_vrt(tmp_path / "m.vrt", f"<NODATA>{stated}</NODATA>", f"<NoDataValue>{stated}</NoDataValue>")
    np.testing.assert_array_equal(open_vrt(tmp_path).read(GRID, ("R",)).valid, ~HOLE if tag is not None else True)


def test_a_nodata_value_of_a_vrt_that_is_no_number_is_refused(write_tile, tmp_path):
    write_tile("in/a.tif", image(np.uint8)[:1], (X, Y))
    write_vrt(tmp_path / "m.vrt", "<NODATA>none</NODATA>")
    with pytest.raises(InputError, match=r"m\.vrt: band 1 has a size, number, nodata value or scale that is none"):
        open_vrt(tmp_path)


# --- what a file says of its bands


def test_numbers_of_a_palette_are_refused_unless_they_are_greys(write_tile, tmp_path):
    for name, colours in (("grey", lambda i: (i, i, i, 255)), ("colour", lambda i: (i, 255 - i, 7, 255))):
        write_tile(f"{name}/a.tif", image(np.uint8)[:1], (X, Y))
        with rasterio.open(tmp_path / name / "a.tif", "r+") as dataset:
            dataset.write_colormap(1, {number: colours(number) for number in range(256)})
    grey = MosaicSpec(modality="A", bands={"PAN": BandFiles(files=("grey",))}, root=str(tmp_path))
    assert MosaicSource.open(grey, GRID).read(GRID, ("PAN",)).valid.all()
    colour = MosaicSpec(modality="A", bands={"R": BandFiles(files=("colour",))}, root=str(tmp_path))
    with pytest.raises(InputError, match=r"colour/a\.tif: 'R' is band 1, whose numbers are entries of a palette"):
        MosaicSource.open(colour, GRID)


def test_negatives_are_refused_until_a_scale_says_what_they_are(write_tile, tmp_path):
    """Scans of film, whose 0 is white: GDAL gives the numbers as they are stored."""
    values = image(np.uint8)[:1]
    mask = np.where(HOLE, 0, 255).astype(np.uint8)[None]
    write_tile("a.tif", np.concatenate([values, mask]), (X, Y), photometric="MINISWHITE", alpha="YES")
    spec = MosaicSpec(modality="A", bands={"PAN": BandFiles(files=("a.tif",))}, root=str(tmp_path))
    with pytest.raises(InputError, match=r"a\.tif: 'PAN' is a negative, whose 0 is white .* scale: -1 and its number"):
        MosaicSource.open(spec, GRID)
    positive = MosaicSource.open(replace(spec, scale=-1, offset=255), GRID)
    as_stored = MosaicSource.open(replace(spec, scale=1), GRID)
    read = [source.read(GRID, ("PAN",)) for source in (positive, as_stored)]
    assert (sum(each.values[0].astype(float) for each in read)[~HOLE] == 255).all()
    assert (read[0].valid == ~HOLE).all()
    assert not as_stored.describe()["notes"]


def test_complex_numbers_are_refused(write_tile, tmp_path):
    write_form(write_tile, "one file", image(np.complex64), "a")
    with pytest.raises(InputError, match=r"a\.tif holds complex64, and real numbers are read"):
        open_form(tmp_path, "one file")


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ({"R": 1, "G": 2, "B": 3, "NIR": 4}, []),
        ({"R": 3, "G": 2, "B": 1}, ["R is read from band 3, which 1 of 1 files call blue,", "B is read from band 1"]),
        ({"NIR": 3}, ["NIR is read from band 3, which 1 of 1 files call blue,"]),
        ({"NIR": 1, "R": 2, "G": 3}, ["files call red, as images in false colour do,", "R is read", "G is read"]),
        ({"PAN": 1}, ["PAN is read from band 1, which 1 of 1 files call red,"]),
        ({"PAN": 4}, []),
    ],
)
def test_a_band_that_its_file_calls_another_is_told(write_tile, tmp_path, numbers, told):
    write_tile("in/a.tif", image(np.uint8), (X, Y), photometric="RGB", alpha="NO")
    bands = {name: BandFiles(files=("in",), band=number) for name, number in numbers.items()}
    notes = MosaicSource.open(MosaicSpec(modality="A", bands=bands, root=str(tmp_path)), GRID).describe()["notes"]
    assert len(notes) == len(told)
    for note, text in zip(notes, told, strict=True):
        assert text in note


def test_a_description_says_more_than_a_colour(write_tile, tmp_path):
    path = write_tile("in/a.tif", image(np.uint8), (X, Y), photometric="RGB")
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("Near Infrared", "Red", "Green", "Red edge 1")
    bands = {name: BandFiles(files=("in",), band=number) for number, name in enumerate(("NIR", "R", "G"), 1)}
    assert not MosaicSource.open(MosaicSpec(modality="A", bands=bands, root=str(tmp_path)), GRID).describe()["notes"]
    bands = {name: BandFiles(files=("in",), band=number) for number, name in enumerate("RGB", 1)}
    bands["NIR"] = BandFiles(files=("in",), band=4)
    notes = MosaicSource.open(MosaicSpec(modality="A", bands=bands, root=str(tmp_path)), GRID).describe()["notes"]
    assert [note.split(",")[1] for note in notes] == [
        " which 1 of 1 files call nir",
        " which 1 of 1 files call red",
        " which 1 of 1 files call green",
        " which 1 of 1 files call rededge",
    ]


def test_files_of_one_product_that_differ_are_told(write_tile, tmp_path):
    write_tile("in/a.tif", image(np.uint8)[:3], (X, Y), photometric="RGB")
    write_tile("in/b.tif", image(np.uint8)[:3], (X + 20, Y), photometric="minisblack")
    write_tile("in/c.tif", image(np.uint8), (X + 40, Y), photometric="RGB")
    bands = {"R": BandFiles(files=("in",))}
    notes = MosaicSource.open(MosaicSpec(modality="A", bands=bands, root=str(tmp_path)), GRID).describe()["notes"]
    (note,) = (each for each in notes if "have other bands" in each)
    assert note.startswith("2 of 3 files have other bands: ")
    assert "b.tif gray, undefined, undefined; " in note
    assert note.endswith("a.tif red, green, blue")


def test_a_file_in_another_order_than_the_rest_is_refused(write_tile, tmp_path):
    """It calls its bands so; the others say that theirs are in the order of the settings."""
    roles = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined)
    for name, order in (("a", (0, 1, 2, 3)), ("b", (2, 1, 0, 3))):
        path = write_tile(f"in/{name}.tif", image(np.uint8)[list(order)], (X, Y), photometric="minisblack")
        with rasterio.open(path, "r+") as dataset:
            dataset.colorinterp = [roles[place] for place in order]
    bands = {name: BandFiles(files=("in",), band=number) for number, name in enumerate("RGB", 1)}
    with pytest.raises(InputError, match=r"(?s)b\.tif calls band 1 blue, .*a\.tif red, .*b\.tif calls band 3 red"):
        MosaicSource.open(MosaicSpec(modality="A", bands=bands, root=str(tmp_path)), GRID)


@pytest.mark.parametrize(
    ("tag", "setting", "read"),
    [
        *((None, None, 0), (None, 255, 0), (None, 0, None)),
        *((0, None, None), (0, 255, 0), (0, 0, None)),
        *((255, None, None), (255, 0, 255), (255, 255, None)),
    ],
)
def test_blocks_that_were_never_written_are_refused_unless_they_are_no_data(write_tile, tmp_path, tag, setting, read):
    sparse = {"tiled": True, "blockxsize": 64, "blockysize": 64, "SPARSE_OK": True, "nodata": tag}
    write_tile("in/a.tif", np.full((1, 64, 128), tag or 0, np.uint8), (X, Y), **sparse)
    spec = MosaicSpec(modality="A", bands={"R": BandFiles(files=("in",))}, root=str(tmp_path), nodata=setting)
    if read is None:
        assert not MosaicSource.open(spec, GRID).read(GRID, ["R"]).valid.any()
        return
    for border in (False, True):  # a border ends at what is bright: a hole within a tile is none
        with pytest.raises(InputError, match=rf"a\.tif: 2 of its 2 blocks were never written.* set nodata: {read} "):
            MosaicSource.open(replace(spec, nodata_border=border), GRID)


def test_a_file_that_turns_complex_fails_its_read(write_tile, tmp_path):
    path = write_tile("in/a.tif", image(np.complex64), (X, Y))
    band = BandReading(band="B4", number=1, dtype="uint16", resampling="bilinear")
    with pytest.raises(ReadError, match=r"a\.tif holds complex64"):
        decide_file([band], read_raster_facts([path])[path])
