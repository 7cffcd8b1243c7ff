"""Scores of maps against labels: those of scikit-learn on the same pixels, whatever blocks and engine are."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.vrt import WarpedVRT

import landweave as lw
from landweave.config.schema import EngineSection
from landweave.core.calibration import Likelihood
from landweave.core.lattice import Blocks, Extent
from landweave.core.legend import LandClass, Legend
from landweave.core.plain import json_text
from landweave.store.maps.store import MapStore
from tests.helpers.commands import Command, done
from tests.helpers.maps import CORNER, FIVE, confused, lumps, write_map
from tests.helpers.tiles import write_tile

SHAPE = (150, 171)
CODES = FIVE.codes
SCORED = (0, 3, 6, 8)
XY = (CORNER[1] / 5, -CORNER[0] / 5)
BLOCKS = Blocks.covering(Extent.of(*((at, at + side) for at, side in zip(CORNER, SHAPE, strict=True))), 64)
PIXELS = [BLOCKS.extent.y.start, BLOCKS.extent.x.start, *BLOCKS.extent.shape]
WINDOWS = {"windows": {"size": 32, "overlap": 8}, "output": {"block": [64, 64], "pixels": PIXELS, "factor": 1}}

TRUTH = lumps(SHAPE, CODES)
TRUTH[:20, :30] = 255
MAPPED = confused(TRUTH, CODES, 0.3)
MAPPED[TRUTH == 255] = 6
MAPPED[100:110, 50:90] = 255
RNG = np.random.default_rng(3)
CONFIDENCE = RNG.integers(60, 251, SHAPE).astype(np.uint8)
PROBABILITY = RNG.integers(0, 251, (5, *SHAPE)).astype(np.uint8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MapStore:
    where = tmp_path_factory.mktemp("map") / "map.zarr"
    beside = {"confidence": CONFIDENCE, "probability": PROBABILITY}
    return write_map(where, MAPPED, **beside, fingerprint="abc", fingerprint_fields=WINDOWS)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tile(tmp_path_factory.mktemp("labels") / "truth.tif", TRUTH[None], corner_xy=XY, nodata=0)


def known(codes: tuple[int, ...] = SCORED) -> tuple[np.ndarray, np.ndarray]:
    """Reference and map of the pixels that are scored."""
    both = np.isin(TRUTH, codes) & np.isin(MAPPED, codes)
    return TRUTH[both], MAPPED[both]


def test_scores_are_those_of_scikit_learn_on_the_same_pixels(store, labels):
    metrics = pytest.importorskip("sklearn.metrics")
    result = lw.evaluate(str(store.target), labels)
    truth, mapped = known()
    scores = result.scores
    np.testing.assert_array_equal(scores.confusion, metrics.confusion_matrix(truth, mapped, labels=SCORED))
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(truth, mapped), abs=1e-12)
    iou = metrics.jaccard_score(truth, mapped, labels=SCORED, average=None)
    np.testing.assert_allclose(scores.iou, iou, rtol=0, atol=1e-12)
    assert scores.mean_iou == pytest.approx(iou.mean(), abs=1e-12)
    theirs = metrics.precision_recall_fscore_support(truth, mapped, labels=SCORED)
    for ours, other in zip((scores.precision, scores.recall, scores.f1), theirs[:3], strict=True):
        np.testing.assert_allclose(ours, other, rtol=0, atol=1e-12)


def test_classes_are_left_out_as_asked_and_both_counts_are_shown(store, labels):
    result = lw.evaluate(str(store.target), labels, leave_out=["Water", 9, "8"])
    truth, mapped = known((0, 3))
    assert result.codes == (0, 3)
    assert result.scores.accuracy == pytest.approx((truth == mapped).mean(), abs=1e-12)
    truth, mapped = known(CODES)
    assert result.scores_of_all.accuracy == pytest.approx((truth == mapped).mean(), abs=1e-12)
    said = str(result)
    assert "2 scored, 3 left out (water, herbaceous vegetation, undefined)" in said
    assert "over 2 classes" in said
    assert "over all 5" in said
    with pytest.raises(lw.errors.ConfigError, match=r"'sea' is to be left out, and legend 'five' has 0 building"):
        lw.evaluate(str(store.target), labels, leave_out=["sea"])
    with pytest.raises(lw.errors.ConfigError, match="All 5 classes"):
        lw.evaluate(str(store.target), labels, leave_out=CODES)


def test_nodata_of_the_map_is_counted_and_not_scored(store, labels):
    result = lw.evaluate(str(store.target), labels)
    lost = int(((TRUTH != 255) & (MAPPED == 255)).sum())
    assert result.counts.unmapped == lost > 0
    assert f"{lost:,} pixels with a reference and no class in the map" in str(result)
    assert result.counts.pixels == (TRUTH != 255).sum()


def test_codes_that_the_legend_lacks_are_named(store, tmp_path):
    truth = TRUTH.copy()
    truth[30:33, 40:44] = 77
    labels = write_tile(tmp_path / "truth.tif", truth[None], corner_xy=XY)
    assert "lacks are not scored: 77 (12 px)" in str(lw.evaluate(str(store.target), labels))


def test_labels_are_read_by_their_nodata_of_255_and_no_tag(store, labels, tmp_path):
    """The file tags 0 as nodata, and 0 is buildings. Codes may be stored as float32, with gaps that are no number."""
    values = np.where(TRUTH == 255, np.nan, TRUTH.astype(np.float32))
    floats = write_tile(tmp_path / "floats.tif", values[None], corner_xy=XY)
    pairs = [dict(lw.evaluate(str(store.target), each).counts.pairs) for each in (labels, floats)]
    assert pairs[0] == pairs[1]
    assert lw.evaluate(str(store.target), labels).scores.confusion[0].sum() > 1000


def test_the_gap_of_a_tile_leaves_the_pixel_to_the_tile_below(store, labels, tmp_path):
    """Each tile has a half, and tags the rest by a number of its own; their second band says nothing of it.

    Beside a tile lies what macOS puts there.
    """
    (tmp_path / "._8888.tif").write_bytes(b"\0\5\x16\7")
    for half, tag in ((np.s_[:, 80:], 9999), (np.s_[:, :80], 8888)):
        values = np.where(TRUTH == 255, tag, TRUTH.astype(np.uint16))
        values[half] = tag
        write_tile(tmp_path / f"{tag}.tif", np.stack([values, np.full_like(values, 5)]), corner_xy=XY, nodata=tag)
    found, whole = (lw.evaluate(str(store.target), each) for each in (tmp_path, labels))
    assert dict(found.counts.pairs) == dict(whole.counts.pairs)


def test_blocks_and_engines_make_no_difference(store, labels, tmp_path):
    whole = lw.evaluate(str(store.target), labels)
    beside = {"confidence": CONFIDENCE, "probability": PROBABILITY}
    larger = write_map(tmp_path / "m.zarr", MAPPED, block=256, **beside, fingerprint="abc", fingerprint_fields=WINDOWS)
    other = lw.evaluate(str(larger.target), labels)
    assert dict(other.counts.pairs) == dict(whole.counts.pairs)
    assert other.temperature == pytest.approx(whole.temperature, abs=1e-4) or whole.temperature is None
    np.testing.assert_array_equal(other.counts.reliability.right, whole.counts.reliability.right)


@pytest.mark.slow
def test_dask_gives_the_same(store, labels):
    engine = EngineSection(kind="dask", workers=2)
    assert lw.evaluate(str(store.target), labels, engine=engine).plain == lw.evaluate(str(store.target), labels).plain


def test_calibration_is_counted_on_the_scored_pixels(store, labels):
    result = lw.evaluate(str(store.target), labels)
    scored = np.isin(TRUTH, SCORED) & np.isin(MAPPED, SCORED)
    reliability = result.counts.reliability
    assert reliability.pixels.sum() == scored.sum()
    assert reliability.right.sum() == (scored & (TRUTH == MAPPED)).sum()
    rows = np.arange(CORNER[0], CORNER[0] + SHAPE[0]) % 4 == 0
    columns = np.arange(CORNER[1], CORNER[1] + SHAPE[1]) % 4 == 0
    sampled = scored & rows[:, None] & columns
    channel = np.searchsorted(SCORED, TRUTH[sampled])
    expected = Likelihood.of(PROBABILITY[:4][:, sampled], channel)
    assert result.counts.likelihood.pixels == expected.pixels
    np.testing.assert_allclose(result.counts.likelihood.micronats, expected.micronats, rtol=1e-5)


def test_seams_are_those_of_the_whole_map(store, labels, tmp_path):
    result = lw.evaluate(str(store.target), labels)
    one = write_map(tmp_path / "one.zarr", MAPPED, block=1024, fingerprint_fields=WINDOWS)
    opened = lw.open_map(str(one.target))
    truth = np.full(opened.landcover.shape, 255, np.uint8)
    top, left = (c - e.start for c, e in zip(CORNER, (one.grid.extent.y, one.grid.extent.x), strict=True))
    truth[top : top + SHAPE[0], left : left + SHAPE[1]] = TRUTH
    whole = opened.landweave.seams(truth)
    assert (result.counts.seams.pairs, result.counts.seams.changes) == (whole.pairs, whole.changes)
    assert result.seam_score == pytest.approx(whole.score)


def test_labels_in_another_crs_are_read_by_their_nearest_pixel_and_said_to_be(store, labels, tmp_path):
    with rasterio.open(labels) as file, WarpedVRT(file, crs="EPSG:32631", src_nodata=255, nodata=255) as moved:
        profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": moved.crs, "transform": moved.transform}
        with rasterio.open(tmp_path / "utm.tif", "w", width=moved.width, height=moved.height, **profile) as written:
            written.write(moved.read())
    direct, result = (lw.evaluate(str(store.target), path) for path in (labels, tmp_path / "utm.tif"))
    assert "lie on the map's pixels" in str(direct)
    assert "read by their nearest pixel" in str(result)
    assert result.scores.accuracy == pytest.approx(direct.scores.accuracy, abs=0.05)


def test_a_shift_of_labels_shows(store, tmp_path):
    """Half a pixel is a resampling, and said; metres are scored as they lie."""
    shifted = write_tile(tmp_path / "half.tif", TRUTH[None], corner_xy=(XY[0] + 0.1, XY[1]))
    assert "read by their nearest pixel" in str(lw.evaluate(str(store.target), shifted))
    far = write_tile(tmp_path / "far.tif", TRUTH[None], corner_xy=(XY[0] + 3, XY[1]))
    here = write_tile(tmp_path / "here.tif", TRUTH[None], corner_xy=XY)
    worse, right = (lw.evaluate(str(store.target), path).scores.accuracy for path in (far, here))
    assert worse < right - 0.2


def test_labels_elsewhere_are_refused(store, tmp_path):
    away = write_tile(tmp_path / "away.tif", TRUTH[None], corner_xy=(XY[0] + 9000, XY[1]))
    with pytest.raises(lw.errors.InputError, match=r"No label of .*away.tif lies on the map"):
        lw.evaluate(str(store.target), away)
    empty = write_tile(tmp_path / "empty.tif", np.full_like(TRUTH, 255)[None], corner_xy=XY)
    with pytest.raises(lw.errors.InputError, match="No pixel of"):
        lw.evaluate(str(store.target), empty)
    for truth in (np.where(MAPPED == 255, TRUTH, 255), np.full_like(TRUTH, 9)):  # no class of the map, none trained
        unscored = write_tile(tmp_path / "unscored.tif", truth[None].astype(np.uint8), corner_xy=XY)
        with pytest.raises(lw.errors.InputError, match=r"Nothing is scored: .*\(0 building, 3 imper.* on 4\d\d of"):
            lw.evaluate(str(store.target), unscored)


@pytest.mark.parametrize(
    ("values", "match"),
    [(TRUTH.astype(np.uint16) * 40, "codes are whole numbers"), (TRUTH * np.float32(0.5), r"hold [14].5: codes are")],
)
def test_values_that_are_no_codes_are_refused(store, tmp_path, values, match):
    wrong = write_tile(tmp_path / "wrong.tif", values[None], corner_xy=XY)
    with pytest.raises(lw.errors.LandweaveError, match=match):
        lw.evaluate(str(store.target), wrong)


def test_a_failed_block_is_no_score(store, labels):
    damaged = Path(str(store.target)) / store.object_key((1, 1), "landcover")
    whole = damaged.read_bytes()
    try:
        damaged.write_bytes(whole[:40])
        with pytest.raises(lw.errors.ReadError, match=r"\d+ of \d+ blocks failed, so there is no result"):
            lw.evaluate(str(store.target), labels)
    finally:
        damaged.write_bytes(whole)


def test_polygons_count_the_pixels_whose_centre_they_hold(store, tmp_path):
    x0, y1 = XY
    boxes = [shapely.box(x0 + 8, y1 - 20, x0 + 14, y1 - 10), shapely.box(x0 + 13, y1 - 20, x0 + 20, y1 - 10)]
    frame = geopandas.GeoDataFrame({"cover": ["Water", "building"]}, geometry=boxes, crs="EPSG:2154")
    frame.to_file(tmp_path / "fields.gpkg")
    frame.to_parquet(tmp_path / "fields.parquet")
    for number in (0, 1):  # two files, each with one of them
        frame.iloc[[number]].to_file(tmp_path / f"{number}.shp")
    result = lw.evaluate(str(store.target), lw.Labels(files=tmp_path / "fields.gpkg", column="cover"))
    truth = np.full(SHAPE, 255, np.uint8)
    truth[50:100, 40:65], truth[50:100, 70:100] = 6, 0  # the strip of both says nothing
    both = (truth != 255) & np.isin(MAPPED, SCORED)
    assert result.scores.confusion.sum() == both.sum()
    assert result.scores.accuracy == pytest.approx((truth == MAPPED)[both].mean(), abs=1e-12)
    assert "overlap on about 10 m²" in str(result)
    for files in ([tmp_path / "fields.parquet"], [tmp_path / "0.shp", tmp_path / "1.shp"]):
        other = lw.evaluate(str(store.target), lw.Labels(files=files, column="cover"))
        np.testing.assert_array_equal(other.scores.confusion, result.scores.confusion)
    with pytest.raises(lw.errors.ConfigError, match="name the column"):
        lw.evaluate(str(store.target), tmp_path / "fields.gpkg")
    frame.assign(cover=["sea", "6"]).to_file(tmp_path / "odd.gpkg")
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "fields.parquet").read_bytes()[:200])
    with pytest.raises(lw.errors.InputError, match=r"torn.parquet cannot be read as GeoParquet"):
        lw.evaluate(str(store.target), lw.Labels(files=tmp_path / "torn.parquet", column="cover"))
    with pytest.raises(lw.errors.InputError, match="holds 'sea', neither a code from 0 to 254 nor a class: building"):
        lw.evaluate(str(store.target), lw.Labels(files=tmp_path / "odd.gpkg", column="cover"))


def test_the_command_writes_numbers_charts_and_a_page(landweave: Command, store, labels, tmp_path):
    said = done(landweave("evaluate", store.target, labels, "--leave-out", "undefined", "--out", tmp_path / "scores"))
    result = lw.evaluate(str(store.target), labels, leave_out=["undefined"])
    assert said.strip() == str(result).strip()
    written = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert written == json.loads(json_text(result))
    assert written["accuracy"] == result.scores.accuracy
    lines = (tmp_path / "scores" / "scores.csv").read_text().splitlines()
    assert lines[0].startswith("code,class,IoU")
    assert float(lines[1].split(",")[2]) == result.scores.iou[0]
    page = (tmp_path / "scores" / "scores.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page.replace("http-equiv", "")
    assert f"{result.scores.mean_iou:.4f}" in page
    for name in ("classes", "confusion", "reliability"):
        assert (tmp_path / "scores" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("tag", "dtype"), [(-9999, np.int16), (77, np.uint8), (0, np.uint8)])
def test_a_nodata_tag_counts_where_it_is_no_class(store, labels, tmp_path, tag, dtype):
    truth = TRUTH.astype(dtype)
    truth[TRUTH == 255] = tag if tag else 255
    path = write_tile(tmp_path / "truth.tif", truth[None], corner_xy=XY, nodata=tag)
    found, wanted = lw.evaluate(str(store.target), path), lw.evaluate(str(store.target), labels)
    assert found.counts.pairs == wanted.counts.pairs
    assert ("tag 0 as nodata, which is a class" in str(found)) == (tag == 0)


def test_labels_of_another_legend_are_refused_and_codes_that_count_from_another_number_told(store, tmp_path):
    pictured = np.where(TRUTH == 255, 0, np.uint8(40) + 20 * TRUTH).astype(np.uint8)
    picture = write_tile(tmp_path / "picture.tif", np.stack([pictured] * 3), corner_xy=XY, photometric="rgb")
    with pytest.raises(lw.errors.InputError, match=r"another legend, or a picture: .* class of 'five': .*40 \(.* px\)"):
        lw.evaluate(str(store.target), picture)
    dense = Legend(name="dense", classes=tuple(
        LandClass(code=code, name=f"class {code}", color="#aabbcc") for code in range(4)
    ))  # fmt: skip
    classes = lumps(SHAPE, (0, 1, 2, 3))
    where = str(write_map(tmp_path / "dense.zarr", classes, legend=dense).target)
    for added, told in ((1, "and one lower on"), (0, "")):
        path = write_tile(tmp_path / f"{added}.tif", classes[None] + np.uint8(added), corner_xy=XY)
        notes = [text for name, text in lw.evaluate(where, path).rows if name == "note" and "agree with" in text]
        assert bool(notes) == bool(added)
        assert all(told in text for text in notes)


def test_a_map_with_holes_says_so_wherever_it_is_measured(tmp_path, labels):
    """Its holes look like nodata: scores, changes and hectares would be those of a part, without a word."""
    maps = {left: str(write_map(tmp_path / f"{left}.zarr", MAPPED, unfinished=left).target) for left in (0, 2)}
    zones = geopandas.GeoDataFrame({"name": ["all"]}, geometry=[shapely.box(*_ground())], crs="EPSG:2154")
    for left, where in maps.items():
        results = [
            lw.evaluate(where, labels).rows,
            lw.compare(where, labels).rows,
            lw.change(maps[0], where).rows,
            lw.change(where, maps[0]).rows,
            [("note", note) for note in lw.area_by_class(where, zones).attrs["notes"]],
        ]
        said = [any("the map is not complete (" in text for _, text in rows) for rows in results]
        assert said == [bool(left)] * len(results)
    lw.draw_sample(maps[0], tmp_path / "whole.gpkg", rule=lw.SamplingRule(size=20, minimum=2))
    with pytest.raises(lw.errors.InputError, match=r"not complete .* draw"):
        lw.draw_sample(maps[2], tmp_path / "part.gpkg")
    next(Path(maps[0]).glob("map/0/landcover/c/0/0")).unlink()
    with pytest.raises(lw.errors.InputError, match=r"1 blocks of the map .* are damaged"):
        lw.evaluate(maps[0], labels)


def _ground() -> tuple[float, float, float, float]:
    return XY[0], XY[1] - SHAPE[0] / 5, XY[0] + SHAPE[1] / 5, XY[1]
