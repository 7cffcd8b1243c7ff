"""Polygons and hectares of a publication: all dalles together are the whole map, killed in the middle or not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

import landweave as lw
from landweave.engine.inline import InlineEngine
from landweave.formats.polygons import map_polygons
from landweave.store.objects import Target
from tests.publishing.conftest import COSIA, bytes_below, finished_map


@pytest.fixture(scope="module")
def zones(small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Circles over the map and beyond, in degrees."""
    x0, y0, x1, y1 = small[1].grid.bounds
    points = np.random.default_rng(1).uniform((x0, y0), (x1, y1), (12, 2))
    circles = geopandas.GeoDataFrame(
        {"nom": [f"zone {number}" for number in range(12)]},
        geometry=shapely.buffer(shapely.points(points), 6),
        crs="EPSG:2154",
    )
    path = tmp_path_factory.mktemp("zones") / "zones.gpkg"
    circles.to_crs("EPSG:4326").to_file(path)
    return path


def published(place, to, zones, **settings):
    stated = {"dalle_m": 10, "polygons": True, "zones": {"file": str(zones)}, **settings}
    return lw.publish(place, to, engine=InlineEngine(), progress=False, **stated)


@pytest.fixture(scope="module")
def folder(small, zones, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A publication with both."""
    to = tmp_path_factory.mktemp("published") / "out"
    assert published(small[0], to, zones).exit_code == 0
    return to


def test_polygons_of_all_dalles_dissolved_are_those_of_the_whole(small, folder: Path) -> None:
    _, store, arrays = small
    whole = map_polygons(store.grid, arrays["landcover"], arrays["confidence"], COSIA)
    parts = pd.concat([geopandas.read_parquet(path) for path in sorted((folder / "polygons").glob("*.parquet"))])
    packages = [geopandas.read_file(path) for path in sorted((folder / "polygons").glob("*.gpkg"))]
    assert sum(map(len, packages)) == len(parts) > len(whole)
    assert parts["area_m2"].sum() == pytest.approx(whole["area_m2"].sum())
    for code in np.unique(whole["class"]):
        united, wanted = (shapely.union_all(each.geometry[each["class"] == code].to_numpy()) for each in (parts, whole))
        assert shapely.equals(united, wanted)
        assert set(parts["name"][parts["class"] == code]) == {COSIA.names[int(code)]}


def test_hectares_of_all_dalles_are_those_of_the_map(small, folder: Path, zones: Path) -> None:
    wanted = lw.area_by_class(small[0], zones)
    found = geopandas.read_parquet(folder / "hectares.parquet")
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False)
    table = pd.read_csv(folder / "hectares.csv")
    pd.testing.assert_frame_equal(table, pd.DataFrame(wanted.drop(columns="geometry")), check_dtype=False)
    assert table["nom"].tolist() == [f"zone {number}" for number in range(12)]


def test_a_publication_that_stopped_in_the_middle_ends_with_the_same_bytes(
    small, folder: Path, zones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """What no handler of a block catches, as a kill."""

    written = 0

    def dies(*arguments, **options):
        nonlocal written
        written += 1
        if written > 3:
            raise Killed
        return map_polygons(*arguments, **options)

    monkeypatch.setattr("landweave.publishing.polygons.map_polygons", dies)
    with pytest.raises(Killed):
        published(small[0], tmp_path / "out", zones)
    monkeypatch.undo()
    assert not (tmp_path / "out/hectares.csv").exists()
    assert published(small[0], tmp_path / "out", zones).exit_code == 0
    assert bytes_below(tmp_path / "out") == bytes_below(folder)


ENGINES = {"inline": "nullcontext(InlineEngine())", "workers": "local_engine(workers=2, torch_threads=1)"}


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "on"), [("inline", "disk"), ("workers", "s3")])
def test_killed_and_run_again_it_is_the_same_bytes(
    small, folder: Path, zones: Path, tmp_path: Path, s3_target: Target, engine: str, on: str
) -> None:
    """Killed in the middle of COGs, polygons and counts: those of a dalle follow each other."""
    target = s3_target if on == "s3" else Target.parse(tmp_path / "out")
    settings = {"dalle_m": 10, "polygons": True, "zones": {"file": str(zones)}}
    settings["storage_options"] = dict(target.storage_options)
    code = f"""
from contextlib import nullcontext
import landweave as lw
from landweave.engine.clusters import local_engine
from landweave.engine.inline import InlineEngine
if __name__ == "__main__":
    with {ENGINES[engine]} as engine:
        lw.publish({str(small[0])!r}, {str(target)!r}, engine=engine, progress=False, **{settings!r})
"""
    (tmp_path / "publish.py").write_text(code)
    command, until = [sys.executable, str(tmp_path / "publish.py")], time.monotonic() + 300
    process = subprocess.Popen(command)
    while sum(name.endswith(".gpkg") for name in target.list("polygons")) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert target.get("hectares.csv") is None
    subprocess.run(command, check=True, capture_output=True)
    names = [name for name in target.list() if not name.startswith(".landweave/ledger")]
    assert {name: target.get(name) for name in names} == bytes_below(folder)


def test_simplified_and_merged_by_what_is_published(tmp_path: Path, zones: Path) -> None:
    place = tmp_path / "map.zarr"
    finished_map(place)
    published(place, tmp_path / "out", zones, simplify_m=0.5, minimum_unit_m2=2.0)
    for path in (tmp_path / "out/polygons").glob("*.parquet"):
        found = geopandas.read_parquet(path)
        assert found.geometry.is_valid.all()
        assert shapely.coverage_is_valid(found.geometry.to_numpy())


def test_notes_on_zones_of_a_bucket_name_the_bucket(
    small, zones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zones are read from a copy on disk."""
    monkeypatch.setattr("landweave.setup.publish_setup.on_disk", lambda _: nullcontext(str(zones)))
    plan = lw.plan_publish(small[0], tmp_path / "out", dalle_m=10, zones={"file": "s3://bucket/zones.gpkg"})
    assert any(note.startswith("s3://bucket/zones.gpkg: from EPSG:4326 to ") for note in plan.notes)
