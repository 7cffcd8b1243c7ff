"""Whatever comes damaged from outside gives a result or one of the project's own errors, which names the thing.

Thousands of seeded mutations of each kind of input, through the functions that read it; a failure names its seeds.
"""

from __future__ import annotations

import json
import sqlite3
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import geopandas
import pytest
import shapely
import yaml

import landweave as lw
from landweave import api
from landweave.config.load import load_config
from landweave.core.crosswalk import load_crosswalk
from landweave.core.errors import LandweaveError
from landweave.core.grid import Grid
from landweave.engine.inline import InlineEngine
from landweave.formats.area import read_area
from landweave.formats.campaigns import read_campaigns
from landweave.mapping.run import plan_map
from landweave.models.cards.registry import read_card
from landweave.setup.map_setup import set_up_map
from landweave.sources.stac.search import StacQuery, search
from landweave.sources.stac.series import StacSeries
from tests.formats.test_vector import PLACES, write
from tests.helpers.damage import ODD, damaged, mutated, mutated_bytes
from tests.helpers.small import Small
from tests.helpers.small_series import AREA, CRS, SUMMER
from tests.helpers.tiles import textured, write_tile
from tests.publishing.conftest import finished_map

Attempt = Callable[[Random], "set[str]"]
"""Damages an input and reads it; gives words of which a refusal has to have one."""

FAST = {"items": 300, "configurations": 350, "cards": 600, "vectors": 600, "stores": 75, "rasters": 75}
"""Cases of each kind in the fast suite, 2,000 together; ten times as many in the slow one."""

LATER = {"crosswalks": 150, "samples": 6, "uses of a map": 8}
"""The same of what is done with a finished map."""


def escapes(kind: str, attempt: Callable[[Random], None], seeds: range) -> tuple[list[str], Counter[str]]:
    """What got out beside the project's own errors, with its seed; and how many cases ended how."""
    found, ends = [], Counter[str]()
    for seed in seeds:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                attempt(Random(f"{kind} {seed}"))
            ends["result"] += 1
        except LandweaveError:
            ends["refusal"] += 1
        except Exception as error:  # noqa: BLE001  it is what is looked for
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            found.append(f"{kind} {seed}: {type(error).__name__} at {where}: {str(error)[:200]}")
    return found, ends


def check(kind: str, attempt: Callable[[Random], None], seeds: range) -> None:
    """No case gets out; some are refused and some are read, but for items: a bad one is left out of its series."""
    found, ends = escapes(kind, attempt, seeds)
    assert not found, f"{len(found)} of {len(seeds)} got out:\n" + "\n".join(found[:40])
    assert ends["result"] > len(seeds) / 50, ends
    assert ends["refusal"] > len(seeds) / 50 or kind == "items", ends


def naming(*words: str) -> Any:
    """Within the block, a refusal has to have one of some words."""

    class Naming:
        def __enter__(self) -> None:
            pass

        def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
            if isinstance(error, LandweaveError) and not any(word in str(error) for word in words):
                raise AssertionError(f"{str(error)!r} names none of {words}") from error

    return Naming()


@pytest.fixture
def small(tmp_path_factory):
    return Small.make(tmp_path_factory.mktemp("small"))


@pytest.fixture
def items(valley, tmp_path):
    """Damages one item of two, or now and then the list around them."""
    document = json.loads((valley.folder / "summer.json").read_text())
    document["features"] = document["features"][:2]
    grid = Grid.from_bounds(AREA, crs=CRS, resolution=10)
    path = tmp_path / "items.json"
    query = StacQuery(catalog=str(path), modality="SENTINEL2_TS", bands=("B4", "B8"))

    def attempt(random: Random) -> None:
        features = list(document["features"])
        number = random.randrange(len(features))
        features[number], _ = mutated(features[number], random)
        content = {**document, "features": features}
        whole = random.random() < 0.1
        if whole:
            content, _ = mutated(document, random)
        path.write_text(json.dumps(content))
        with naming(str(path)):
            found = search(query, grid.lonlat_bounds)
        days = {str(each.observation.time)[:10].replace("-", "") for each in found.observation_scenes}
        assert whole or days >= {*SUMMER[:2]} - {SUMMER[number]}, f"other items were lost: {days}"
        series = StacSeries.open(found, modality=query.modality, bands=query.bands, grid=grid)
        str(series.describe())
        json.dumps(series.fingerprint_fields)
        series.bounds(grid)
        series.files(grid)
        series.cost(grid)
        if random.random() < 0.1:
            series.read(grid, ["B4"], range(len(series.observations)))

    return attempt


@pytest.fixture
def configurations(small, valley, tmp_path):
    """Damages a configuration of a mosaic, or one of a series, and plans the map."""
    sections = {"area": {"bounds": [*small.scene.bounds]}, "windows": {"size": 64, "overlap": 16, "blend": "cosine"}}
    mosaic = yaml.safe_load(small.config(**sections).read_text())
    series = yaml.safe_load(valley.write(tmp_path / "series.yaml").read_text())

    def attempt(random: Random) -> None:
        content, _ = mutated(random.choice((mosaic, mosaic, series)), random)
        path = small.folder / "mutated.yaml"
        path.write_text(yaml.safe_dump(content, allow_unicode=False))
        if random.random() < 0.05:
            path.write_bytes(mutated_bytes(path.read_bytes(), random))
        with naming("mutated.yaml", *WORDS, *map(str, content)):
            setup = set_up_map(load_config(path))
            if len(setup.job.blocks) < 500:  # a plan goes through all of them
                str(setup)
                str(plan_map(setup, stale=False))

    return attempt


KEYS = ("AERIAL_RGBI", "SENTINEL2_TS", "small", "items", "summer", "out.zarr", "map.zarr", "cube")
"""What a refusal names beside a section: input, card, catalog or store."""
WORDS = (*KEYS, "Model card", "Weights ", "window", "area")


@pytest.fixture
def cards(small, valley, tmp_path):
    """Damages a card, reads it, and sets the map up with it."""
    config = small.loaded()
    contents = [yaml.safe_load(path.read_text()) for path in (small.card, valley.folder / "small.yaml")]

    def attempt(random: Random) -> None:
        number = random.randrange(len(contents))
        content, _ = mutated(contents[number], random)
        path = small.folder / "mutated.yaml"
        path.write_text(yaml.safe_dump(content))
        with naming("mutated.yaml", *contents[number], *contents[number]["inputs"], str(content.get("name"))):
            card = read_card(path)
            assert card.rows
            assert card.sha256
            if number == 0 and random.random() < 0.3:
                model = config.model.model_copy(update={"card": str(path)})
                set_up_map(config.model_copy(update={"model": model}))

    return attempt


@pytest.fixture
def vectors(tmp_path):
    """Damages a file of an area and of campaigns: bytes of any part, or values of GeoJSON."""
    frame = PLACES.assign(flown=["2020-05-01"] * 3 + ["20210501"] * 4)
    folder = tmp_path / "whole"
    folder.mkdir()
    kinds = ("gpkg", "shp", "fgb", "geojson", "kml", "zip")
    for kind in kinds:
        write(folder / f"area.{kind}", frame)
    document = json.loads((folder / "area.geojson").read_text())
    parts = ("shp", "shp", "shx", "dbf", "prj", "cpg")

    def attempt(random: Random) -> None:
        kind = random.choice((*kinds, "geojson"))
        path = folder / f"area.{kind}"
        if kind == "geojson" and random.random() < 0.7:
            content = json.dumps(mutated(document, random)[0]).encode()
            part = path
        else:
            part = path.with_suffix(f".{random.choice(parts)}") if kind == "shp" else path
            content = mutated_bytes(part.read_bytes(), random)
        with damaged(part, content), naming(str(path), "area."):
            if random.random() < 0.3:
                read_campaigns(str(path), column="flown", crs="EPSG:2154")
            else:
                where = random.choice((None, "code = '31'", "pop > 0"))
                read_area(str(path), where=where, crs="EPSG:2154").mask(GRID)

    return attempt


GRID = Grid.from_bounds((620000, 6430000, 640000, 6440000), crs="EPSG:2154", resolution=1000)


@pytest.fixture
def stores(small, valley, tmp_path):
    """Damages an object of a map or a cube: metadata, ledger, coordinates; then opens, shows and continues it."""
    config = small.loaded()
    api.run(config, progress=False)
    aligned = api.load_config(valley.write(tmp_path / "series.yaml"))
    api.align(aligned, progress=False)
    map_objects, cube_objects = (
        [path for path in sorted(store.rglob("*")) if path.is_file() and "probability/c/" not in str(path)]
        for store in (small.store, tmp_path / "cube.zarr")
    )
    attributes = [path for path in (*map_objects, *cube_objects) if path.name == "zarr.json"]

    def attempt(random: Random) -> None:
        path = random.choice(random.choice((map_objects, cube_objects, attributes, attributes)))
        content = path.read_bytes()
        if path.name == "zarr.json" and random.random() < 0.8:
            content = json.dumps(mutated(json.loads(content), random)[0]).encode()
        else:
            content = mutated_bytes(content, random)
        use = random.choice(MAP_USES if small.store in path.parents else CUBE_USES)
        with damaged(path, content), naming(".zarr"):
            use(config if small.store in path.parents else aligned)

    return attempt


def show_map(config):
    opened = api.open_map(config.path(config.output.store))
    opened.landweave.legend  # noqa: B018
    str(opened)


def show_cube(config):
    str(api.open_cube(config.path(config.cube.store)))


MAP_USES = (
    show_map,
    lambda config: api.open_map(config.path(config.output.store)).landcover[:64, :64].load(),
    lambda config: str(api.open_ledger(config.path(config.output.store))),
    lambda config: str(api.status(config.path(config.output.store))),
    lambda config: str(api.plan_map(config)),
)
CUBE_USES = (
    show_cube,
    lambda config: str(api.status(config.path(config.cube.store))),
    lambda config: str(api.plan_align(config)),
    lambda config: str(api.plan_map(config)),
)


@pytest.fixture
def rasters(small, tmp_path):
    """Damages the header of a tile, GeoTIFF or JPEG 2000, and sets the map up over it."""
    values = textured((64, 64), 4)
    corner = (small.scene.left * 0.2, -small.scene.top * 0.2)
    whole = {
        "tif": write_tile(tmp_path / "tile.tif", values, corner_xy=corner, blockxsize=64, blockysize=64).read_bytes(),
        "jp2": write_tile(
            tmp_path / "tile.jp2", values, corner_xy=corner, driver="JP2OpenJPEG", **LOSSLESS
        ).read_bytes(),
    }
    bands = {name: {"files": "", "band": number} for number, name in enumerate(("R", "G", "B", "NIR"), 1)}
    seen = iter(range(10**6))

    def attempt(random: Random) -> None:
        kind = random.choice(("tif", "jp2"))
        path = small.folder / f"tile{next(seen)}.{kind}"
        path.write_bytes(mutated_bytes(whole[kind], random, within=600))
        section = {"kind": "mosaic", "bands": {name: {**each, "files": str(path)} for name, each in bands.items()}}
        try:
            with naming(path.name, "AERIAL_RGBI"):
                setup = set_up_map(small.loaded(inputs={"AERIAL_RGBI": section}))
                setup.job.inputs["AERIAL_RGBI"].source.read(setup.job.grid, ["R"])
        finally:
            path.unlink()

    return attempt


LOSSLESS = {"tiled": False, "compress": None, "blockxsize": 64, "blockysize": 64, "QUALITY": "100", "REVERSIBLE": "YES"}


@pytest.fixture
def crosswalks(tmp_path):
    """Damages a crosswalk, and reads it."""
    classes = [{"code": 1, "name": "built", "name_fr": "bâti", "color": "#ff0000", "source_codes": [0, 3]}]
    content = {"name": "one", "source": "five", "classes": classes, "left_out": [6, 8]}
    path = tmp_path / "crosswalk.yaml"

    def attempt(random: Random) -> None:
        text = yaml.safe_dump(mutated(content, random)[0]).encode()
        path.write_bytes(mutated_bytes(text, random) if random.random() < 0.3 else text)
        with naming("crosswalk.yaml"):
            str(load_crosswalk(path).table)

    return attempt


@pytest.fixture
def samples(tmp_path):
    """Damages a sample that came back: bytes of the file, or values of its two layers."""
    place, path = tmp_path / "map.zarr", tmp_path / "sample.gpkg"
    finished_map(place)
    lw.draw_sample(str(place), path, rule=lw.SamplingRule(size=30, minimum=2), progress=False)
    change(path, "UPDATE sample SET reference = id % 3")
    content = path.read_bytes()

    def attempt(random: Random) -> None:
        path.write_bytes(mutated_bytes(content, random) if random.random() < 0.5 else content)
        if path.read_bytes() == content:
            table, column = random.choice((("sample", "reference"), ("sample", "id"), *STRATA_COLUMNS))
            value = random.choice([each for each in ODD if isinstance(each, str | int | float | None)])
            change(path, f"UPDATE {table} SET {column} = ? WHERE rowid = 1", value)
        lw.estimate_areas(path, accept_missing=True)

    return attempt


def change(path, statement, *values):
    """Change a GeoPackage as an editor would; what SQLite refuses stays as it was."""
    with suppress(sqlite3.Error, OverflowError, UnicodeEncodeError), closing(sqlite3.connect(path)) as opened:
        for name in ("IsEmpty", "MinX", "MaxX", "MinY", "MaxY"):  # its triggers name them
            opened.create_function(f"ST_{name}", 1, lambda _: 0)
        opened.execute(statement, values)
        opened.commit()


STRATA_COLUMNS = tuple(("strata", column) for column in ("code", "hectares", "pixels", "points", "legend", "crs"))


@pytest.fixture
def uses(tmp_path):
    """Damages a map, labels, zones or a publication, and does what one does with a finished map."""
    store, arrays = finished_map(tmp_path / "map.zarr")
    finished_map(tmp_path / "later.zarr", seed=1)
    west, south, east, north = store.grid.bounds
    write_tile(tmp_path / "truth.tif", arrays["landcover"][None], corner_xy=(west, north))
    zones = geopandas.GeoDataFrame({"nom": ["a"]}, geometry=[shapely.box(west, south, east, north)], crs="EPSG:2154")
    zones.to_file(tmp_path / "zones.gpkg")
    where = {name: str(tmp_path / name) for name in ("map.zarr", "later.zarr", "truth.tif", "zones.gpkg", "out", "a")}
    settings = {"dalle_m": 20, "progress": False, "engine": InlineEngine()}
    lw.publish(where["map.zarr"], where["out"], **settings)
    victims = {
        name: [each for each in sorted(Path(where[name]).rglob("*")) if each.is_file()] for name in ("map.zarr", "out")
    }
    actions = (
        lambda: str(lw.evaluate(where["map.zarr"], where["truth.tif"])),
        lambda: str(lw.compare(where["map.zarr"], where["truth.tif"])),
        lambda: str(lw.change(where["map.zarr"], where["later.zarr"])),
        lambda: str(lw.area_by_class(where["map.zarr"], where["zones.gpkg"])),
        lambda: lw.report(where["map.zarr"], tmp_path / "page.html", zones=where["zones.gpkg"]),
        lambda: str(lw.draw_sample(where["map.zarr"], tmp_path / f"{uuid4()}.gpkg", progress=False)),
        lambda: str(lw.publish(where["map.zarr"], where["out"], **settings)),
    )

    def attempt(random: Random) -> None:
        of = random.choice(("map.zarr", "map.zarr", "out", "truth.tif", "zones.gpkg"))
        path = random.choice(victims[of]) if of in victims else Path(where[of])
        content = path.read_bytes()
        if path.suffix == ".json" and random.random() < 0.7:
            content = json.dumps(mutated(json.loads(content), random)[0]).encode()
        else:
            content = mutated_bytes(content, random, within=2000)
        with damaged(path, content):
            {
                "out": actions[-1],
                "truth.tif": random.choice(actions[:2]),
                "zones.gpkg": random.choice(actions[3:5]),
            }.get(of, random.choice(actions))()

    return attempt


@pytest.mark.parametrize("kind", LATER)
def test_law_so_does_what_is_done_with_a_finished_map(kind, request):
    found, ends = escapes(kind, request.getfixturevalue(kind.split()[0]), range(LATER[kind]))
    assert not found, f"{len(found)} of {LATER[kind]} got out:\n" + "\n".join(found[:40])
    assert ends["refusal"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", LATER)
def test_law_so_it_does_ten_times_as_often(kind, request):
    seeds = range(LATER[kind], 11 * LATER[kind])
    found, _ = escapes(kind, request.getfixturevalue(kind.split()[0]), seeds)
    assert not found, f"{len(found)} of {len(seeds)} got out:\n" + "\n".join(found[:40])


@pytest.mark.parametrize("kind", FAST)
def test_law_damaged_input_gives_a_result_or_an_own_error(kind, request):
    check(kind, request.getfixturevalue(kind), range(FAST[kind]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAST)
def test_law_so_do_ten_times_as_many(kind, request):
    check(kind, request.getfixturevalue(kind), range(FAST[kind], 11 * FAST[kind]))


def test_a_planted_bug_gets_out(vectors):
    def planted(random: Random) -> None:
        vectors(random)
        if random.random() < 0.05:
            raise KeyError("planted")

    found, ends = escapes("vectors", planted, range(100))
    assert found
    assert all("KeyError" in each and "planted" in each for each in found)
    assert ends.total() + len(found) == 100
