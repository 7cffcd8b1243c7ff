"""Changes between two maps of one made-up scene: what is found, missed, false; patches whole across blocks."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from rasterio.features import geometry_mask, shapes
from rasterio.transform import from_origin
from scipy import ndimage

import landweave as lw
from landweave.config.schema import EngineSection
from landweave.core.legend import LandClass, Legend
from landweave.core.plain import json_text
from landweave.store.objects import Target
from tests.helpers.commands import Command, done
from tests.helpers.counted_s3 import BUCKET, counted_s3
from tests.helpers.maps import CORNER, FIVE, lumps, write_map
from tests.helpers.tiles import textured, write_tile

SHAPE = (190, 230)
CODES = (0, 3, 6, 8)
GROUND = lumps(SHAPE, CODES, side=23)
LATER = GROUND.copy()
BOXES = ((10, 30, 40, 70), (55, 75, 50, 140), (120, 123, 60, 66), (100, 180, 160, 200))
for top, bottom, left, right in BOXES:  # known changes: fields become water, over the edges of blocks too
    LATER[top:bottom, left:right] = np.where(GROUND[top:bottom, left:right] == 6, 3, 6)
CHANGED = LATER != GROUND


def seen(ground: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """A map of the ground by a model that is wrong on one pixel of 20, and mostly knows it."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(SHAPE) < 0.05
    landcover = np.where(wrong, rng.choice(np.array(CODES, np.uint8), SHAPE), ground).astype(np.uint8)
    confidence = np.where(landcover != ground, rng.integers(60, 200, SHAPE), rng.integers(140, 251, SHAPE))
    landcover[:6, :50] = 255
    confidence[:6, :50] = 255
    return {"landcover": landcover, "confidence": confidence.astype(np.uint8)}


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A map of each year, and a second of the first."""
    base = tmp_path_factory.mktemp("maps")
    made = {"before": (GROUND, 1), "after": (LATER, 2), "again": (GROUND, 3)}
    return {name: str(write_map(base / f"{name}.zarr", **seen(*each)).target) for name, each in made.items()}


def oracle(min_confidence: float = 0, min_pixels: int = 1, names=(1, 2)) -> tuple[np.ndarray, ...]:
    """Classes before and after, and the changes that are kept, over the whole scene at once."""
    one, two = seen(GROUND, names[0]), seen(LATER if names[1] == 2 else GROUND, names[1])
    before, after = one["landcover"], two["landcover"]
    changed = (before != after) & (before != 255) & (after != 255)
    changed &= np.minimum(one["confidence"], two["confidence"]) >= min_confidence * 250
    labels, _ = ndimage.label(changed)
    sizes = np.bincount(labels.ravel())
    return before, after, changed & (sizes[labels] >= min_pixels)


@pytest.mark.parametrize(("confidence", "area"), [(0, 0), (0, 0.3), (0.55, 2)])
def test_kept_changes_are_those_of_the_whole_scene(maps, confidence, area):
    rule = lw.ChangeRule(min_confidence=confidence, min_area_m2=area)
    result = lw.change(maps["before"], maps["after"], rule=rule)
    before, after, kept = oracle(confidence, max(1, int(np.ceil(area / 0.04 - 1e-9))))
    pairs = np.bincount(before[kept].astype(int) * 256 + after[kept], minlength=1)
    assert dict(result.counts.kept) == {int(pair): int(pairs[pair]) for pair in np.flatnonzero(pairs)}
    both = (before != 255) & (after != 255)
    assert result.compared == both.sum()
    assert result.rate == kept.sum() / both.sum()
    assert result.matrix().sum() == pytest.approx(both.sum() * 0.04 / 10_000)
    assert np.trace(result.matrix()) == pytest.approx((both & ~kept).sum() * 0.04 / 10_000)
    assert np.trace(result.matrix(kept=False)) == pytest.approx((both & (before == after)).sum() * 0.04 / 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("block", [32, 1024])
def test_blocks_make_no_difference(maps, block, tmp_path):
    rule = lw.ChangeRule(min_confidence=0.5, min_area_m2=1)
    one = write_map(tmp_path / "one.zarr", block=block, **seen(GROUND, 1))
    found = lw.change(str(one.target), maps["after"], rule=rule)
    assert found.counts.kept == lw.change(maps["before"], maps["after"], rule=rule).counts.kept


def test_a_patch_that_winds_over_many_blocks_is_one(tmp_path):
    """A spiral of single pixels: each block has small pieces of it, together they are large."""
    spiral = np.zeros((160, 160), bool)
    for step in range(0, 76, 4):
        spiral[step, step : 160 - step] = spiral[159 - step, step : 160 - step] = True
        spiral[step : 160 - step, 159 - step] = True
        spiral[step + 4 : 160 - step, step] = True
        spiral[step + 4, step : step + 5] = True
    pixels = int((ndimage.label(spiral)[0] == ndimage.label(spiral)[0][0, 0]).sum())
    before = write_map(tmp_path / "a.zarr", np.zeros(spiral.shape, np.uint8), block=32)
    after = write_map(tmp_path / "b.zarr", np.where(spiral, 6, 0).astype(np.uint8), block=32)
    for least, kept in ((pixels, pixels), (pixels + 1, 0)):
        rule = lw.ChangeRule(min_area_m2=least * 0.04)
        assert sum(lw.change(str(before.target), str(after.target), rule=rule).counts.kept.values()) == kept


@pytest.mark.slow
def test_what_is_found_missed_and_false_by_confidence(maps, tmp_path):
    """Known changes of 20 to 3,200 pixels: gates trade false ones for missed ones, and the false rate says so."""
    known = CHANGED & (seen(GROUND, 1)["landcover"] != 255) & (seen(LATER, 2)["landcover"] != 255)
    shares = {}
    for name, rule in {
        "all": lw.ChangeRule(),
        "sure": lw.ChangeRule(min_confidence=0.7),
        "large": lw.ChangeRule(min_area_m2=1),
        "both": lw.ChangeRule(min_confidence=0.56, min_area_m2=1),
    }.items():
        result = lw.change(
            maps["before"], maps["after"], rule=rule, same_ground=(maps["before"], maps["again"]),
            folder=tmp_path / name,
        )  # fmt: skip
        with rasterio.open(tmp_path / name / "after.tif") as file:
            kept = file.read(1) != 255
        found, false = (kept & known).sum() / known.sum(), (kept & ~known).sum() / (~known).sum()
        shares[name] = found, false, result.false_change_rate
        assert result.false_change_rate == pytest.approx(false, abs=0.006)
    assert shares["all"][0] > 0.95
    assert shares["all"][1] > 0.05
    assert shares["sure"][1] < shares["all"][1] / 5
    assert shares["large"][0] > 0.9
    assert shares["large"][1] < shares["all"][1] / 5
    assert shares["both"][0] > 0.6
    assert shares["both"][1] < 0.002


def test_the_share_that_differs_falls_with_confidence(maps):
    result = lw.change(maps["before"], maps["after"], same_ground=(maps["before"], maps["again"]))
    before, after, changed = oracle()
    sure = np.minimum(seen(GROUND, 1)["confidence"], seen(LATER, 2)["confidence"]) >= 200
    both = (before != 255) & (after != 255)
    share, rate = result.rate_by_confidence(0.8)
    assert share == pytest.approx((sure & both).sum() / both.sum())
    assert rate == pytest.approx((sure & changed).sum() / (sure & both).sum())
    assert result.same_ground.rate_by_confidence(0.8)[1] < result.same_ground.rate_by_confidence(0)[1] / 10
    said = str(result)
    assert "false change rate" in said
    assert "differ on the same ground" in said


def test_cogs_and_numbers_are_those_of_the_result(maps, landweave: Command, tmp_path):
    said = done(
        landweave("change", maps["before"], maps["after"], "--min-confidence", 0.5, "--min-area", 2, "--out", tmp_path)
    )
    rule = lw.ChangeRule(min_confidence=0.5, min_area_m2=2)
    result = lw.change(maps["before"], maps["after"], rule=rule)
    assert said.strip() == str(result).strip()
    assert json.loads((tmp_path / "changes.json").read_text()) == json.loads(json_text(result))
    before, after, kept = oracle(0.5, 50)
    for name, classes in (("before", before), ("after", after)):
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            assert (file.crs.to_epsg(), file.nodata, file.shape) == (2154, 255, SHAPE)
            assert (file.transform.c, file.transform.f) == pytest.approx((CORNER[1] / 5, -CORNER[0] / 5))
            np.testing.assert_array_equal(file.read(1), np.where(kept, classes, 255))
    lines = (tmp_path / "changes.csv").read_text().splitlines()
    assert sum(int(line.split(",")[2]) for line in lines[1:]) == kept.sum()
    assert "data:image/png;base64," in (tmp_path / "changes.html").read_text()
    again = lw.change(maps["before"], maps["after"], rule=rule, folder=tmp_path)  # its own files are replaced
    assert again.counts.kept == result.counts.kept


def test_maps_that_cannot_be_compared_are_refused(maps, tmp_path):
    def refused(match: str, **changes) -> None:
        other = write_map(tmp_path / f"{len(list(tmp_path.iterdir()))}.zarr", **{**seen(LATER, 2), **changes})
        rule = lw.ChangeRule(min_confidence=0.5) if changes.get("confidence", 1) is None else None
        with pytest.raises(lw.errors.LandweaveError, match=match):
            lw.change(maps["before"], str(other.target), rule=rule)

    names = tuple(LandClass(code=c.code, name=c.name.replace("water", "sea"), color=c.color) for c in FIVE.classes)
    refused(r"differ \(6 sea\): name crosswalks", legend=Legend(name="other", classes=names))
    refused("no common ground", corner=(CORNER[0], CORNER[1] + 5000))
    refused("has no confidence: leave out min_confidence", confidence=None)
    refused("share no pixel with a class", landcover=np.full(SHAPE, 255, np.uint8))
    with pytest.raises(lw.errors.ConfigError, match="a confidence is from 0 to 1"):
        lw.ChangeRule(min_confidence=50)
    for area in (-1, np.nan, np.inf):
        with pytest.raises(lw.errors.ConfigError, match="an area is a number from 0"):
            lw.ChangeRule(min_area_m2=area)


def test_maps_of_other_legends_are_compared_in_a_common_one(maps, tmp_path):
    classes = [
        {"code": 1, "name": "built", "color": "#ff0000", "source_codes": [0, 3]},
        {"code": 2, "name": "natural", "color": "#00ff00", "source_codes": [6, 8, 9]},
    ]
    path = tmp_path / "two.yaml"
    path.write_text(json.dumps({"name": "two", "source": "five", "classes": classes}))
    rule = lw.ChangeRule(crosswalks=(path, path))
    result = lw.change(maps["before"], maps["after"], rule=rule)
    before, after, _ = oracle()
    table = np.full(256, 255)
    table[[0, 3]], table[[6, 8, 9]] = 1, 2
    one, two = table[before], table[after]
    kept = (one != two) & (one != 255) & (two != 255)
    assert sum(result.counts.kept.values()) == kept.sum()
    assert [row[0] for row in result.class_rows[1:]] != []


@pytest.mark.slow
def test_dask_gives_the_same(maps):
    rule = lw.ChangeRule(min_confidence=0.5, min_area_m2=2)
    engine = EngineSection(kind="dask", workers=2)
    assert (
        lw.change(maps["before"], maps["after"], rule=rule, engine=engine).plain
        == lw.change(maps["before"], maps["after"], rule=rule).plain
    )


@pytest.fixture(scope="module")
def zones(maps, tmp_path_factory: pytest.TempPathFactory) -> geopandas.GeoDataFrame:
    """A ring, a pixel, what lies half beside the maps, and what lies elsewhere; two overlap."""
    x, y = CORNER[1] / 5, -CORNER[0] / 5
    middle = shapely.Point(x + 20, y - 20)
    outlines = [
        middle.buffer(15).difference(middle.buffer(4)),
        shapely.box(x + 10, y - 5.2, x + 10.2, y - 5),
        shapely.box(x + 15, y - 60, x + 90, y - 3),
        shapely.box(x + 9_000, y, x + 9_001, y + 1),
    ]
    return geopandas.GeoDataFrame({"nom": list("abcd"), "area_ha": 1}, geometry=outlines, crs="EPSG:2154")


def test_hectares_of_each_transition_by_zone_are_those_of_a_mask(maps, zones, landweave: Command, tmp_path):
    zones.to_file(tmp_path / "zones.gpkg", layer="communes")
    rule = ["--min-confidence", 0.5, "--min-area", 0.3, "--zones", tmp_path / "zones.gpkg", "--layer", "communes"]
    done(landweave("change", maps["before"], maps["after"], *rule, "--out", tmp_path / "out"))
    table = pd.read_csv(tmp_path / "out/zones.csv")
    before, after, kept = oracle(0.5, 8)
    transform = from_origin(CORNER[1] / 5, -CORNER[0] / 5, 0.2, 0.2)
    both, names = (before != 255) & (after != 255), {c.code: c.name.replace(" ", "_") for c in FIVE.classes}
    expected = []
    for number, zone in enumerate(zones.geometry, 1):
        inside = ~geometry_mask([zone], SHAPE, transform)
        row = {"zone": number, "compared_ha": (inside & both).sum(), "changed_ha": (inside & kept).sum()}
        pairs, counts = np.unique(before[inside & kept].astype(int) * 256 + after[inside & kept], return_counts=True)
        for pair, pixels in zip(pairs, counts, strict=True):
            row[f"{names[pair >> 8]}_to_{names[pair & 255]}_ha"] = pixels
        expected.append({name: value if name == "zone" else value * 4e-6 for name, value in row.items()})
    wanted = pd.DataFrame(expected).fillna(0)
    found = table[[name for name in table if name in wanted]]
    assert {*wanted} == {*table} - {"nom", "area_ha", "area_ha_of_zone"}
    pd.testing.assert_frame_equal(found, wanted[list(found)], check_dtype=False)
    assert table["nom"].tolist() == list("abcd")
    assert wanted["changed_ha"].iloc[0] > 0
    stored = geopandas.read_parquet(tmp_path / "out/zones.parquet")
    assert stored.crs.to_epsg() == 2154
    pd.testing.assert_frame_equal(pd.DataFrame(stored.drop(columns="geometry")), table, check_dtype=False)
    in_memory = lw.change(maps["before"], maps["after"], rule=lw.ChangeRule(min_confidence=0.5, min_area_m2=0.3),
                          zones=zones).by_zone  # fmt: skip
    pd.testing.assert_frame_equal(pd.DataFrame(in_memory.drop(columns="geometry")), table, check_dtype=False)
    refused = landweave("change", maps["before"], maps["after"], "--zones", tmp_path / "zones.gpkg")
    assert (refused.code, "--out" in refused.err) == (2, True)


def test_polygons_of_changes_are_those_of_the_whole_scene(maps, tmp_path):
    rule = lw.ChangeRule(min_confidence=0.5, min_area_m2=0.3)
    result = lw.change(maps["before"], maps["after"], rule=rule, folder=tmp_path)
    before, after, kept = oracle(0.5, 8)
    sure = np.minimum(seen(GROUND, 1)["confidence"], seen(LATER, 2)["confidence"])
    pairs = np.where(kept, before.astype(np.int32) * 256 + after, 0)
    transform = from_origin(CORNER[1] / 5, -CORNER[0] / 5, 0.2, 0.2)
    wanted = [(shapely.geometry.shape(s), int(v)) for s, v in shapes(pairs, kept, 4, transform)]
    found = geopandas.read_parquet(tmp_path / "changes.parquet")
    assert len(found) == len(wanted) > 10
    assert found.geometry.is_valid.all()
    assert found["area_m2"].to_numpy() == pytest.approx(found.geometry.area.to_numpy(), abs=1e-5)
    assert found["area_m2"].sum() == pytest.approx(kept.sum() * 0.04)
    mine = zip(found.geometry, found["before"].astype(int) * 256 + found["after"], found["confidence"], strict=True)
    of_point = {(round(s.centroid.x, 3), round(s.centroid.y, 3), v): s for s, v in wanted}
    for shape, pair, confidence in mine:
        other = of_point[round(shape.centroid.x, 3), round(shape.centroid.y, 3), pair]
        assert shape.symmetric_difference(other).area < 1e-3
        inside = ~geometry_mask([shape], SHAPE, transform)
        assert confidence == pytest.approx(sure[inside].mean() / 250, abs=1e-6)
    package = geopandas.read_file(tmp_path / "changes.gpkg", layer="changes")
    assert package["after_name"].tolist() == found["after_name"].tolist()
    assert package.crs.to_epsg() == 2154
    content = (tmp_path / "changes.gpkg").read_bytes()
    lw.change(maps["before"], maps["after"], rule=rule, folder=tmp_path)
    assert (tmp_path / "changes.gpkg").read_bytes() == content
    assert result.counts.patches >= len(found)


def test_a_patch_over_many_blocks_is_one_polygon(maps, tmp_path):
    """The large change of the scene winds over blocks; one more map without confidences, one without a change."""
    one = write_map(tmp_path / "a.zarr", np.zeros((130, 200), np.uint8), block=64)
    ring = np.zeros((130, 200), np.uint8)
    ring[10:120, 10:190], ring[40:90, 40:160] = 6, 0
    other = write_map(tmp_path / "b.zarr", ring, block=64)
    lw.change(str(one.target), str(other.target), folder=tmp_path / "out")
    found = geopandas.read_parquet(tmp_path / "out/changes.parquet")
    assert len(found) == 1
    assert found["confidence"].isna().all()
    assert (len(found.geometry[0].interiors), found["area_m2"][0]) == (1, pytest.approx((ring == 6).sum() * 0.04))
    lw.change(str(one.target), str(one.target), folder=tmp_path / "none")
    nothing = geopandas.read_file(tmp_path / "none/changes.gpkg")
    assert len(nothing) == len(geopandas.read_parquet(tmp_path / "none/changes.parquet")) == 0


def test_polygons_without_number_are_left_out_and_said_to_be(maps, tmp_path, monkeypatch):
    monkeypatch.setattr("landweave.surface.evaluation.MOST_POLYGONS", 10)
    result = lw.change(maps["before"], maps["after"], folder=tmp_path)
    assert not (tmp_path / "changes.gpkg").exists()
    assert "patches are too many" in str(result)


@pytest.mark.slow
def test_zones_and_polygons_on_workers_are_the_same_bytes(maps, zones, tmp_path):
    engine = EngineSection(kind="dask", workers=2)
    for name, used in (("inline", None), ("dask", engine)):
        lw.change(maps["before"], maps["after"], zones=zones, folder=tmp_path / name, engine=used)
    for name in ("zones.csv", "zones.parquet", "changes.gpkg", "changes.parquet", "before.tif", "changes.json"):
        assert (tmp_path / "inline" / name).read_bytes() == (tmp_path / "dask" / name).read_bytes(), name


def _vector_files(maps, zones: geopandas.GeoDataFrame, folder: Path, before: str, options: dict[str, str]) -> None:
    """Polygons in a bucket are those on a disk, whatever their format."""
    bucket = Target.parse(f"s3://{BUCKET}", options)
    frame = zones.assign(code=3)
    for name in ("z.gpkg", "z.shp", "z.geojson"):
        frame.to_file(folder / name)
    frame.to_parquet(folder / "z.parquet")
    for path in folder.glob("z.*"):
        bucket.put(path.name, path.read_bytes())
    expected = lw.evaluate(maps["before"], lw.Labels(files=folder / "z.gpkg", column="code")).scores.confusion
    assert expected.sum() > 0
    for name in ("z.gpkg", "z.shp", "z.geojson", "z.parquet"):
        labels = lw.Labels(files=f"s3://{BUCKET}/{name}", column="code")
        for compared in (lw.evaluate, lw.compare):
            found = compared(maps["before"], labels, storage_options=options)
            np.testing.assert_array_equal(found.scores.confusion, expected)
    pairs = [(before, maps["after"], f"s3://{BUCKET}/z.gpkg"), (maps["before"], maps["after"], folder / "z.gpkg")]
    tables = [
        lw.change(*each, zones=where, storage_options=options if "s3" in str(where) else None).by_zone
        for *each, where in pairs
    ]
    assert tables[0].drop(columns="geometry").equals(tables[1].drop(columns="geometry"))
    areas = [
        lw.area_by_class(where, zones, storage_options=o)
        for where, _, zones, o in ((*pairs[0], options), (*pairs[1], None))
    ]
    assert areas[0].drop(columns="geometry").equals(areas[1].drop(columns="geometry"))
    frame.to_crs("EPSG:4326").to_file(folder / "degrees.gpkg")
    bucket.put("degrees.gpkg", (folder / "degrees.gpkg").read_bytes())
    moved = lw.area_by_class(before, f"s3://{BUCKET}/degrees.gpkg", storage_options=options)
    assert moved.attrs["notes"][0].startswith(f"s3://{BUCKET}/degrees.gpkg: from EPSG:4326 to ")
    with pytest.raises(lw.errors.InputError, match=rf"Vector file s3://{BUCKET}/no.gpkg does not exist"):
        lw.evaluate(maps["before"], lw.Labels(files=f"s3://{BUCKET}/no.gpkg", column="code"), storage_options=options)
    with pytest.raises(lw.errors.InputError, match=rf"^s3://{BUCKET}/z.gpkg has no column 'cover'"):
        lw.evaluate(maps["before"], lw.Labels(files=f"s3://{BUCKET}/z.gpkg", column="cover"), storage_options=options)


def _samples(maps, folder: Path, before: str, options: dict[str, str]) -> None:
    """A sample and its chips go into a bucket and come back as those on a disk."""
    bucket = Target.parse(f"s3://{BUCKET}", options)
    tile = write_tile(folder / "tile.tif", textured(GROUND.shape, 3), corner_xy=(CORNER[1] / 5, -CORNER[0] / 5))
    bucket.put("ortho/tile.tif", tile.read_bytes())
    images, path = lw.ChipImages(files=f"s3://{BUCKET}/ortho/tile.tif"), f"s3://{BUCKET}/drawn/s.gpkg"
    rule = lw.SamplingRule(size=20, minimum=3)
    assert lw.draw_sample(before, path, rule=rule, images=images, storage_options=options) == path
    here = lw.draw_sample(maps["before"], folder / "s.gpkg", rule=rule, images=folder / "tile.tif")
    for name in ("s_chips/00001.png", "s_chips/00007.png"):
        assert bucket.get(f"drawn/{name}") == (folder / name).read_bytes()
    with pytest.raises(lw.errors.OutputError, match="is there already"):
        lw.draw_sample(before, path, rule=rule, storage_options=options)
    (folder / "back.gpkg").write_bytes(bucket.get("drawn/s.gpkg"))
    points = geopandas.read_file(folder / "back.gpkg", layer="sample")
    assert points.geometry.geom_equals(geopandas.read_file(here, layer="sample").geometry).all()
    points.assign(reference="Impervious surface").to_file(folder / "back.gpkg", layer="sample", driver="GPKG")
    bucket.put("drawn/s.gpkg", (folder / "back.gpkg").read_bytes())
    found = lw.estimate_areas(path, storage_options=options)
    assert found.plain == lw.estimate_areas(folder / "back.gpkg").plain
    assert not Path("s3:").exists()


@pytest.mark.slow
def test_maps_and_labels_in_an_object_store_are_compared_as_those_on_a_disk(maps, zones, tmp_path):
    """By URL and options, beside maps on a disk, and by the configuration that names the store."""
    rule = lw.ChangeRule(min_confidence=0.5, min_area_m2=1)
    write_tile(tmp_path / "labels.tif", GROUND[None], corner_xy=(CORNER[1] / 5, -CORNER[0] / 5))
    with counted_s3() as server:
        options = server.storage_options
        for name in ("before", "again"):
            target = Target.parse(f"s3://{BUCKET}/{name}.zarr", options)
            for path in Path(maps[name]).rglob("*"):
                if path.is_file():
                    target.put(str(path.relative_to(maps[name])), path.read_bytes())
        labels = Target.parse(f"s3://{BUCKET}/labels", options)
        labels.put("labels.tif", (tmp_path / "labels.tif").read_bytes())
        before, again = (f"s3://{BUCKET}/{name}.zarr" for name in ("before", "again"))

        found = lw.change(before, maps["after"], rule=rule, same_ground=(before, again), storage_options=options)
        direct = lw.change(maps["before"], maps["after"], rule=rule, same_ground=(maps["before"], maps["again"]))
        assert (found.counts.kept, found.same_ground.rate) == (direct.counts.kept, direct.same_ground.rate)

        config = lw.Config(
            grid={"crs": "EPSG:2154"},
            inputs={"AERIAL_RGBI": {"kind": "mosaic", "bands": {"R": {"files": "rvb"}}}},
            model={"card": "LC-A"},
            output={"store": before, "storage_options": options},
        )
        scores = lw.evaluate(maps["before"], tmp_path / "labels.tif").scores.confusion
        for where, files in ((before, tmp_path / "labels.tif"), (before, f"{labels}/labels.tif")):
            np.testing.assert_array_equal(lw.evaluate(where, files, storage_options=options).scores.confusion, scores)
        np.testing.assert_array_equal(lw.evaluate(config, tmp_path / "labels.tif").scores.confusion, scores)
        np.testing.assert_array_equal(
            lw.compare(before, tmp_path / "labels.tif", storage_options=options).scores.confusion, scores
        )
        assert lw.change(config, maps["after"], rule=rule).counts.kept == direct.counts.kept
        _vector_files(maps, zones, tmp_path, before, options)
        _samples(maps, tmp_path, before, options)
    with pytest.raises(lw.errors.ConfigError, match="is a local path: endpoint"):
        lw.change(maps["before"], maps["after"], storage_options={"endpoint": "http://localhost:1"})


def test_ground_that_is_not_compared_and_an_order_against_the_days_are_told(tmp_path):
    def written(name: str, day: str, shift: int) -> str:
        inputs = {"SENTINEL2_TS": {"observations": [[f"S2A_{day}T10", "x"]]}}
        corner = (CORNER[0], CORNER[1] + shift)
        fields = {"fingerprint_fields": {"inputs": inputs}}
        return str(write_map(tmp_path / name, GROUND[:20, :50], corner=corner, **fields).target)

    old, new = written("old.zarr", "20180601", 0), written("new.zarr", "20210601", 10)
    in_order = lw.change(old, new).notes
    assert sum("0.0008 ha of its bounds lie beyond the other map" in note for note in in_order) == 2
    assert not any("is the order right" in note for note in in_order)
    assert any(
        "before is of 2021-06-01 and later, that after of 2018-06-01 and" in note for note in lw.change(new, old).notes
    )
