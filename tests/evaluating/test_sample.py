"""Samples that are drawn, interpreted, and read back: every pixel as probable, hectares that hold the truth."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from PIL import Image

import landweave as lw
from landweave.core.area_estimates import estimate
from landweave.engine.inline import InlineEngine
from landweave.evaluating.sample import SamplingRule, draw_sample
from landweave.jobs.progress import SilentProgress
from landweave.store.maps.store import MapStore
from tests.helpers.commands import Command, done
from tests.helpers.maps import CORNER, FIVE, confused, lumps, write_map
from tests.helpers.tiles import textured, write_tile

SHAPE = (150, 171)
TRUTH = lumps(SHAPE, (0, 3, 6, 8, 8, 8, 8), side=9)
MAPPED = confused(TRUTH, (0, 3, 6, 8), 0.2)
MAPPED[:30, :40] = 255
XY = (CORNER[1] / 5, -CORNER[0] / 5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MapStore:
    return write_map(tmp_path_factory.mktemp("map") / "map.zarr", MAPPED, fingerprint="abc")


def interpret(path: Path, truth: np.ndarray = TRUTH) -> geopandas.GeoDataFrame:
    """What a perfect interpreter says of each point, by its place alone."""
    frame = geopandas.read_file(path, layer="sample")
    rows = ((XY[1] - frame.geometry.y) / 0.2).astype(int)
    columns = ((frame.geometry.x - XY[0]) / 0.2).astype(int)
    frame["reference"] = truth[rows, columns]
    return frame


def write_back(frame: geopandas.GeoDataFrame, path: Path) -> None:
    frame.to_file(path, layer="sample", driver="GPKG")


def test_a_sample_goes_to_interpreters_and_comes_back_as_hectares(store, tmp_path):
    path = lw.draw_sample(str(store.target), tmp_path / "s.gpkg", rule=SamplingRule(size=600, minimum=60))
    frame = interpret(path)
    assert len(frame) == 600
    assert set(frame.columns) == {"id", "reference", "comment", "chip", "geometry"}  # nothing of the map's class
    write_back(frame.sample(frac=1, random_state=1), path)
    found = lw.estimate_areas(path)
    pixels = np.bincount(MAPPED[MAPPED != 255], minlength=9)
    assert found.estimates.areas.tolist() == pytest.approx([pixels[code] * 0.04 / 10_000 for code in (0, 3, 6, 8)])
    assert found.estimates.counts.sum(1).min() >= 60
    truth = np.bincount(TRUTH[MAPPED != 255], minlength=9) * 0.04 / 10_000
    for code, value, margin in zip(
        found.estimates.codes, found.estimates.estimated, found.estimates.margins, strict=True
    ):
        assert abs(value - truth[code]) < 2 * margin
    assert "hectares" in str(found)
    assert "overall accuracy" in found._repr_html_()


def test_points_lie_in_the_middle_of_pixels_of_their_stratum(store):
    sample = draw_sample(store, SamplingRule(size=300), InlineEngine(), SilentProgress())
    for point in sample.points:
        assert MAPPED[point.row - CORNER[0], point.column - CORNER[1]] == point.stratum
        assert point.x == pytest.approx((point.column + 0.5) / 5)
        assert point.y == pytest.approx(-(point.row + 0.5) / 5)
    assert len({(point.row, point.column) for point in sample.points}) == len(sample.points)


def test_blocks_make_no_difference_to_what_is_counted_and_seeds_do(store, tmp_path):
    other = write_map(tmp_path / "m.zarr", MAPPED, block=256)
    one, two = (draw_sample(each, SamplingRule(size=200), InlineEngine(), SilentProgress()) for each in (store, other))
    assert one.areas == two.areas
    again = draw_sample(store, SamplingRule(size=200), InlineEngine(), SilentProgress())
    assert again.points == one.points
    assert draw_sample(store, SamplingRule(size=200, seed=1), InlineEngine(), SilentProgress()).points != one.points


@pytest.mark.slow
def test_every_pixel_is_as_probable_and_intervals_hold_the_truth(store):
    """150 samples of one map: intervals hold the true hectares in 95 of 100, and pixels are drawn evenly."""
    drawn, inside, samples = np.zeros(SHAPE, int), np.zeros(4), 150
    truth = np.bincount(TRUTH[MAPPED != 255], minlength=9)[[0, 3, 6, 8]] * 0.04 / 10_000
    for seed in range(samples):
        sample = draw_sample(store, SamplingRule(size=500, seed=seed), InlineEngine(), SilentProgress())
        places = [(point.row - CORNER[0], point.column - CORNER[1]) for point in sample.points]
        rows, columns = np.transpose(places)
        np.add.at(drawn, (rows, columns), 1)
        pairs = [(p.stratum, int(TRUTH[place])) for p, place in zip(sample.points, places, strict=True)]
        found = estimate(sample.areas, pairs)
        inside += np.abs(found.estimated - truth) <= found.margins
    assert (np.abs(inside / samples - 0.95) < 0.05).all(), inside / samples
    for code in (0, 3, 6, 8):  # a Poisson count of each pixel: variance and mean agree
        counts = drawn[code == MAPPED]
        assert counts.var() == pytest.approx(counts.mean(), rel=0.15)


def test_chips_show_the_point_in_their_middle(store, tmp_path):
    image = textured((400, 420), 3)
    centre = (CORNER[0] + 75, CORNER[1] + 85)
    write_tile(tmp_path / "i.tif", image, corner_xy=((centre[1] - 210) / 5, -(centre[0] - 200) / 5))
    path = lw.draw_sample(
        str(store.target), tmp_path / "s.gpkg", rule=SamplingRule(size=8, minimum=2), images=tmp_path / "i.tif"
    )
    frame = geopandas.read_file(path, layer="sample")
    for name in frame.chip:
        assert Image.open(tmp_path / name).size == (512, 512)
    assert len(list((tmp_path / "s_chips").iterdir())) == len(frame)


def test_what_comes_back_wrong_is_refused(store, tmp_path):
    path = lw.draw_sample(str(store.target), tmp_path / "s.gpkg", rule=SamplingRule(size=60, minimum=10))
    with pytest.raises(lw.errors.OutputError, match="is there already"):
        lw.draw_sample(str(store.target), path)
    with pytest.raises(lw.errors.InputError, match="60 of 60 points without a reference"):
        lw.estimate_areas(path)
    frame = interpret(path)
    write_back(frame.assign(reference=np.where(frame.id == 7, 99, frame.reference)), path)
    with pytest.raises(lw.errors.InputError, match="reference 99 of point 7 is no class: 0 building"):
        lw.estimate_areas(path)
    for odd in (3.5, "sea"):
        column = np.where(frame.id == 7, odd, frame.reference)
        write_back(frame.assign(reference=column), path)
        with pytest.raises(lw.errors.InputError, match=f"reference {odd} of point 7 is no code"):
            lw.estimate_areas(path)
    write_back(frame, path)
    whole = lw.estimate_areas(path).plain
    names = frame.reference.map(lambda code: FIVE.names[code].title())
    for same in (
        frame.assign(reference=frame.reference.astype(str)),
        frame.assign(reference=names),
        frame.to_crs(4326),
        frame.set_geometry(shapely.multipoints(frame.geometry.to_numpy()[:, None]), crs=2154),
    ):
        write_back(same, path)
        assert lw.estimate_areas(path).plain == whole
    write_back(frame.assign(reference=np.where(frame.id < 4, 255, frame.reference)), path)
    assert "3 of 60 points without a class of reference" in str(lw.estimate_areas(path))
    write_back(frame[frame.id != 9], path)
    with pytest.raises(lw.errors.InputError, match=r"points \[9\] are missing: every"):
        lw.estimate_areas(path)
    write_back(frame.iloc[[0, *range(60)]], path)
    with pytest.raises(lw.errors.InputError, match=rf"points \[{frame.id[0]}\] are there more than once: every"):
        lw.estimate_areas(path)
    write_back(frame.rename(columns={"reference": "class"}), path)
    with pytest.raises(lw.errors.InputError, match="layer sample has no column 'reference'"):
        lw.estimate_areas(path)
    (tmp_path / "no.gpkg").write_text("no file of this kind")
    with pytest.raises(lw.errors.InputError, match="cannot be read"):
        lw.estimate_areas(tmp_path / "no.gpkg")


def test_references_of_other_ground_are_refused(store, tmp_path):
    """Points that were dragged away, or numbered anew as a GIS does: each has the reference of another pixel."""
    path = lw.draw_sample(str(store.target), tmp_path / "s.gpkg", rule=SamplingRule(size=60, minimum=10))
    frame = interpret(path)
    dragged = frame.geometry.translate(0.5)
    for changed in (frame.assign(geometry=dragged), frame.assign(id=frame.id.to_numpy()[::-1]).to_crs(4326)):
        write_back(changed, path)
        with pytest.raises(lw.errors.InputError, match=r"points \[.*\] and more lie up to .* m from where they were"):
            lw.estimate_areas(path)
    write_back(frame.assign(geometry=dragged, reference=255), path)
    with pytest.raises(lw.errors.InputError, match="fewer than 2 units"):  # they count no more
        lw.estimate_areas(path)
    write_back(frame.assign(id=frame.id + 0.25), path)
    with pytest.raises(lw.errors.InputError, match=r"id .*25 is no whole number"):
        lw.estimate_areas(path)


def test_a_sample_that_would_say_nothing_is_not_drawn(store, tmp_path):
    empty = write_map(tmp_path / "e.zarr", np.full((64, 64), 255, np.uint8))
    with pytest.raises(lw.errors.InputError, match="nothing to sample"):
        lw.draw_sample(str(empty.target), tmp_path / "e.gpkg")
    with pytest.raises(lw.errors.OutputError, match=r"written as a GeoPackage: name .*e.shp with .gpkg"):
        lw.draw_sample(str(empty.target), tmp_path / "e.shp")
    for size, minimum in ((0, 0), (1000, 1), (20, 50)):
        with pytest.raises(lw.errors.ConfigError, match=f"A sample of {size} points, {minimum} of each class"):
            SamplingRule(size=size, minimum=minimum)
    with pytest.raises(lw.errors.ConfigError, match="The seed of a sample is -1"):
        SamplingRule(seed=-1)
    away = write_tile(tmp_path / "away.tif", textured((20, 20), 3), corner_xy=(XY[0] + 9_000, XY[1]))
    with pytest.raises(lw.errors.InputError, match=r"No image of .*away.tif lies on the map"):
        lw.draw_sample(str(store.target), tmp_path / "a.gpkg", images=away)
    assert not (tmp_path / "a.gpkg").exists()


def test_intervals_that_say_less_than_they_seem_to_are_named(store, tmp_path):
    path = lw.draw_sample(str(store.target), tmp_path / "s.gpkg", rule=SamplingRule(size=130, minimum=20))
    frame = interpret(path, np.where(TRUTH == 0, 3, TRUTH))  # no building anywhere
    write_back(frame, path)
    found = lw.estimate_areas(path)
    said = str(found)
    assert "nan" not in said
    assert "fewer than 30 points of 0 building" in said
    assert "no point has the reference 0 building: the producer's accuracy is not known" in said
    (row,) = [row for row in found.table if row[0] == "0 building"]
    assert (row[1], row[2], row[-1]) == ("0.00", "unknown", "no reference point")
    assert found.plain["margin_95_ha"][0] is found.plain["producers_accuracy"][0][0] is None
    assert "none of the points of 0 building" in said
    mapped = frame.assign(reference=8)  # every point the same: each interval is 0, and none is believed
    write_back(mapped, path)
    named = "0 building, 3 impervious surface, 6 water, 8 herbaceous vegetation"
    assert f"all or none of the points of {named} are right: ± 0 is no certainty" in str(lw.estimate_areas(path))
    write_back(frame.assign(reference=[255] * len(frame)), path)
    with pytest.raises(lw.errors.InputError, match=r"Strata 0 \(0 of 2\).* have fewer than 2 units"):
        lw.estimate_areas(path)


def test_the_command_draws_and_estimates(landweave: Command, store, tmp_path):
    path = tmp_path / "s.gpkg"
    said = done(landweave("sample", "draw", store.target, path, "--size", 200, "--minimum", 20, "--seed", 3))
    assert "landweave sample areas" in said
    write_back(interpret(path), path)
    said = done(landweave("sample", "areas", path))
    assert said.strip() == str(lw.estimate_areas(path)).strip()
    assert '"margin_95_ha"' in done(landweave("sample", "areas", path, "--json"))
    assert FIVE.names[8] in said


def test_a_class_of_one_pixel_is_no_end_of_a_sample(tmp_path):
    mapped = np.where(MAPPED == 6, 8, MAPPED).astype(np.uint8)
    mapped[100, 100] = 6
    store = write_map(tmp_path / "m.zarr", mapped)
    path = lw.draw_sample(str(store.target), tmp_path / "s.gpkg", rule=SamplingRule(size=150, minimum=20))
    write_back(interpret(path), path)
    found = lw.estimate_areas(path).estimates
    assert found.counts.sum(1)[found.strata.index(6)] == 1
    assert np.isfinite(found.margins).all()


def test_a_map_whose_crs_does_not_keep_areas_gives_no_hectares(tmp_path):
    store = write_map(tmp_path / "m.zarr", MAPPED, crs="EPSG:3857", corner=(-26_500_000, 2_200_000))
    for what in (
        lambda: lw.draw_sample(str(store.target), tmp_path / "s.gpkg"),
        lambda: lw.change(str(store.target), str(store.target)),
    ):
        with pytest.raises(lw.errors.InputError, match="make the map in a CRS that keeps areas"):
            what()
