"""Every public function that can work on a cluster does so on a client that is given or active, with one result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from distributed import Client, LocalCluster

import landweave as lw
from landweave.engine import metrics
from landweave.engine.inline import InlineEngine
from landweave.jobs import audit
from tests.evaluating.test_patches import REGIONS
from tests.helpers.maps import FIVE, lumps, write_map
from tests.helpers.patches import write_flair_hub
from tests.helpers.small import Small
from tests.helpers.small_series import SmallSeries

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A map that was made in this process, one where hectares are true, and a dataset of patches."""
    made = Small.make(tmp_path_factory.mktemp("small"))
    write_flair_hub(made.folder / "hub", *REGIONS[:2])
    classes = lumps((190, 230), FIVE.codes[:4])
    write_map(made.folder / "map.zarr", classes, confidence=np.full_like(classes, 200))
    assert lw.run(made.loaded(), progress=False).complete
    return made


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as found,
    ):
        yield found


@dataclass(frozen=True)
class Place:
    """What is worked on, and where a call writes."""

    small: Small
    valley: SmallSeries
    folder: Path

    @property
    def config(self) -> lw.Config:
        return self.small.loaded(output={"store": str(self.folder / "map.zarr")}, engine={"kind": "dask"})

    @property
    def cube(self) -> Any:
        path = self.valley.write(self.folder / "cube.yaml", output=None, engine={"kind": "dask"})
        return lw.load_cube_config(path)

    @property
    def map(self) -> Path:
        return self.small.folder / "map.zarr"

    @property
    def labels(self) -> Path:
        path = self.small.folder / "labels.tif"  # one for all: its name is in what they give
        return path if path.exists() else lw.open_map(self.map).landweave.to_cog(path)

    @property
    def zones(self) -> geopandas.GeoDataFrame:
        ground = lw.open_map(self.map).landweave.grid.bounds
        return geopandas.GeoDataFrame(geometry=[shapely.box(*ground).buffer(-10)], crs="EPSG:2154")

    @property
    def patches(self) -> Any:
        return lw.open_patches(self.small.folder / "hub")


QUIET = {"progress": False}

CALLS: Mapping[str, Callable[..., Any]] = {
    "align": lambda at, **on: lw.align(at.cube, **QUIET, **on).counts,
    "area_by_class": lambda at, **on: lw.area_by_class(at.map, at.zones, **on).to_csv(),
    "change": lambda at, **on: str(lw.change(at.map, at.map, **QUIET, **on)),
    "check": lambda at, **on: lw.check(at.config, **on).fingerprint.sha256,
    "compare": lambda at, **on: lw.compare(at.map, at.labels, **QUIET, **on).plain,
    "draw_sample": lambda at, **on: geopandas.read_file(
        lw.draw_sample(at.map, at.folder / "sample.gpkg", **QUIET, **on), layer="sample"
    ).to_csv(),
    "evaluate": lambda at, **on: lw.evaluate(at.map, at.labels, **QUIET, **on).plain,
    "evaluate_model": lambda at, **on: (
        lw.evaluate_model(at.small.card, at.patches, weights=at.small.weights, **QUIET, **on).plain
    ),
    "publish": lambda at, **on: lw.publish(at.small.store, at.folder / "files", dalle_m=50, **QUIET, **on).counts,
    "report": lambda at, **on: len(lw.report(at.map, at.folder / "page.html", **on).read_bytes()),
    "run": lambda at, **on: lw.run(at.config, **QUIET, **on).counts,
    "verify": lambda at, **on: lw.verify(at.small.store, **on).objects,
}
"""What each gives, wherever it is computed."""


def blocks_ended(client: Client) -> float:
    """Blocks that workers have counted since they were started."""

    def count() -> float:
        samples = (each for metric in metrics.BLOCKS.collect() for each in metric.samples)
        return sum(each.value for each in samples if each.name.endswith("_total"))

    return float(sum(client.run(count).values()))


def test_all_of_them_are_here() -> None:
    functions = {name: getattr(lw, name) for name in lw.__all__ if name.islower()}
    assert CALLS.keys() == {
        name
        for name, function in functions.items()
        if callable(function) and "client" in inspect.signature(function).parameters
    }


@pytest.mark.parametrize("name", CALLS)
def test_it_works_on_a_client_that_is_given_or_active(
    name: str, small: Small, valley: SmallSeries, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, given, active = (Place(small, valley, tmp_path / each) for each in ("here", "given", "active"))
    for place in (here, given, active):
        place.folder.mkdir()
    call = CALLS[name]
    wanted = call(here) if name == "check" else call(here, engine=InlineEngine())
    monkeypatch.setattr(InlineEngine, "run", None)
    monkeypatch.setattr(audit, "WORTH_WORKERS", 1)
    ended = [blocks_ended(client)]
    assert call(given, client=client) == wanted
    ended.append(blocks_ended(client))
    with client.as_current():
        assert call(active) == wanted
    ended.append(blocks_ended(client))
    assert len({*ended}) == (1 if name == "check" else 3)
