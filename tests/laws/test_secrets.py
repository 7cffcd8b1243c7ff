"""Canaries in every place where somebody can put a secret are found nowhere but where they were written."""

from __future__ import annotations

import copy
import gzip
import json
import pickle
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

from landweave import api
from landweave.cli.options import shown_arguments
from landweave.config.load import load_config
from landweave.core.errors import LandweaveError, OutputError, ReadError
from landweave.core.secrets import without_secrets
from landweave.setup.map_setup import engine_settings
from landweave.store import clients, zarr_store
from landweave.store.objects import Target
from tests.helpers.commands import Command, mosaic, write_config
from tests.helpers.counted_s3 import BUCKET, counted_s3
from tests.helpers.maps import CORNER, lumps, write_map
from tests.helpers.small import Small
from tests.helpers.tiles import write_tile
from tests.helpers.web import served

CANARY = "c4n4ry"
STORE = f"s3://{BUCKET}/m.zarr"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"https://host/a.tif?sv=2021&se=2026-01-01&sig={CANARY}%3D&sp=r", "https://host/a.tif"),
        (f"https://host/a.tif?X-Amz-Signature={CANARY}&X-Amz-Credential={CANARY}&id=7", "https://host/a.tif?id=7"),
        (f"/vsicurl/https://me:{CANARY}@host/a.tif (404)", "/vsicurl/https://host/a.tif (404)"),
        (f"'https://host/stac?token={CANARY}', and s3://b/k", "'https://host/stac', and s3://b/k"),
        (f"https://host/get?access_token={CANARY}#page", "https://host/get#page"),
        (f"https://me:p@{CANARY}@host/a.tif", "https://host/a.tif"),
        (f"HTTPS://me:{CANARY}@host/a.tif", "HTTPS://host/a.tif"),
        (f"https://h/t?url=https://h2/a.tif?sig={CANARY}&z=1", "https://h/t?url=https://h2/a.tif&z=1"),
        (f"https://h/t?a=1;sig={CANARY}", "https://h/t?a=1"),
        (f"https://h/t#access_token={CANARY}", "https://h/t"),
        (f"https://h/t?%73ig={CANARY}&jwt={CANARY}", "https://h/t"),
        (f"http:/me:{CANARY}@host/a.tif?sig={CANARY}", "http:/host/a.tif"),
        ("C:/me@home/a.tif and file:/a/b@c.tif", "C:/me@home/a.tif and file:/a/b@c.tif"),
        ("https://host/get?file=a.tif&band=2", "https://host/get?file=a.tif&band=2"),
        ("nothing to hide: 3 < 4 & a?b=c", "nothing to hide: 3 < 4 & a?b=c"),
    ],
)
def test_an_address_loses_what_lets_somebody_in(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize("kind", [ReadError, OutputError, LandweaveError])
def test_no_error_says_it_whatever_library_worded_it(kind) -> None:
    error = kind(f"GET https://host/a.tif?sig={CANARY} failed")
    for each in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert CANARY not in f"{each} {each!r}"
        assert "https://host/a.tif" in str(each)


PLACES = {
    "options of the output": {"output": {"store": STORE, "storage_options": {"secret_access_key": CANARY}}},
    "an unknown option": {"output": {"store": STORE, "storage_options": {"secret_acces_key": CANARY}}},
    "options of the wrong kind": {"output": {"store": STORE, "storage_options": [CANARY]}},
    "an option of the wrong kind": {"output": {"store": STORE, "storage_options": {"token": [CANARY]}}},
    "a section with a wrong key": {"output": {"stroe": "a", "storage_options": {"token": CANARY}}},
    "options of a local output": {"output": {"store": "m.zarr", "storage_options": {"token": CANARY}}},
    "an address of a tile": {"inputs": {"AERIAL_RGBI": f"http://127.0.0.1:9/a.tif?sig={CANARY}"}},
    "a password in the address of a tile": {"inputs": {"AERIAL_RGBI": f"http://u:{CANARY}@127.0.0.1:9/a.tif"}},
    "the address of the output": {"output": {"store": f"s3://u:{CANARY}@{BUCKET}/m.zarr"}},
    "a query of the output": {"output": {"store": f"s3://{BUCKET}/m.zarr?token={CANARY}"}},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("verb", ["check", "plan", "run"])
def test_no_command_says_it(tmp_path: Path, landweave: Command, place: str, verb: str, monkeypatch) -> None:
    monkeypatch.setattr("landweave.sources.files.PAUSES_S", ())
    sections = copy.deepcopy(PLACES[place])
    if isinstance(address := sections.get("inputs", {}).get("AERIAL_RGBI"), str):
        bands = {name: {"files": address, "band": number} for number, name in enumerate("RGBN", 1)}
        bands["NIR"] = bands.pop("N")
        sections["inputs"]["AERIAL_RGBI"] = {"kind": "mosaic", "bands": bands}
    path = Small.make(tmp_path).config(**sections)
    found = landweave(verb, path)
    assert found.code != 0
    assert CANARY not in found.out + found.err
    text = _shown(path)
    assert CANARY not in text
    assert text


def _shown(path: Path) -> str:
    try:
        config = load_config(path)
    except LandweaveError as error:
        return f"{error}{error!r}"
    return f"{config}{config!r}{config._repr_html_()}"


@pytest.mark.slow
def test_nothing_stored_holds_it(tmp_path: Path) -> None:
    with counted_s3() as s3:
        options = {**s3.storage_options, "token": CANARY}
        small = Small.make(tmp_path)
        config = small.loaded(output={"store": STORE, "storage_options": options}, engine={"kind": "inline"})
        setup = api.check(config)
        result = api.run(config)
        assert result.exit_code == 0
        for shown in (setup, result, api.plan_map(config), setup.job, setup.target, config):
            assert CANARY not in f"{shown}{shown!r}"
        target = setup.target
        assert not [name for name in target.list() if CANARY.encode() in (target.get(name) or b"")]


def test_the_command_line_that_a_log_keeps_has_no_options_of_stores() -> None:
    kept = shown_arguments(
        [
            *("status", f"s3://b/m?sig={CANARY}", "--storage-option", f"token={CANARY}"),
            *(f"--storage-option=key={CANARY}", "--set", f"output.storage_options.token={CANARY}"),
            *("--set", f"output={{store: s3://b/m, storage_options: {{token: {CANARY}}}}}", "--set", "area.layer=a"),
        ]
    )
    assert CANARY not in kept
    assert "--set area.layer=a" in kept


@pytest.mark.parametrize(
    "override",
    [
        *(f"output.storage_options.token=[{CANARY}", f"output.storage_options.token.part={CANARY}"),
        *(f"engine.cluster.settings=[{CANARY}]", f"output.storage_options=[{CANARY}]", f"={CANARY}"),
    ],
)
def test_a_value_that_is_set_and_refused_is_not_said(tmp_path: Path, landweave: Command, override: str) -> None:
    options = {"storage_options": {"token": CANARY}}
    path = write_config(tmp_path, tmp_path / "card.yaml", tmp_path / "weights", output={"store": STORE, **options})
    found = landweave("check", path, "--set", override, "--log-file", tmp_path / "log")
    assert found.code == 2
    assert CANARY not in found.out + found.err + (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    "option",
    [
        *(f"token=[{CANARY}]", f"token={{a: {CANARY}}}", f"token={CANARY}=", f"=={CANARY}", CANARY, f"={CANARY}"),
        *(
            f"skip_signature={CANARY}",
            f"skip_signature={CANARY}\n{CANARY}",
            f"timeout={CANARY}",
            f"proxy_url=::{CANARY}",
        ),
        *(f"secret={CANARY}", "token=", f"endpoint=http://me:{CANARY}@127.0.0.1:9", f"user_agent={CANARY}\udce9"),
    ],
)
def test_an_option_of_a_store_is_text_and_is_not_said(tmp_path, landweave: Command, option, monkeypatch) -> None:
    """Whatever it is in YAML; those of the connection make no library panic. Nobody listens at the endpoint."""
    monkeypatch.setattr(zarr_store, "RETRY", replace(clients.RETRY, pauses_s=()))
    known = ("endpoint=http://127.0.0.1:9", "region=x", "access_key_id=012", "skip_signature=true")
    given = [f"--storage-option={each}" for each in (*known, option)]
    found = landweave("status", STORE, *given, "--log-file", log := tmp_path / "log")
    assert found.code in (2, 3)
    assert CANARY not in found.out + found.err + log.read_text()
    assert "Traceback" not in found.err


def test_text_that_is_no_yaml_is_not_shown(tmp_path: Path, landweave: Command) -> None:
    path = tmp_path / "config.yaml"
    for text in (
        f"token: {CANARY}: x",
        f"token: '{CANARY}",
        f"token: [{CANARY}",
        f"- a\ntoken: {CANARY}",
        f"a: *{CANARY}",
        f"a: !{CANARY} b",
    ):
        path.write_text(text)
        for arguments in (
            ("check", path),
            ("models", "show", path),
            ("compare", "m.zarr", "a.tif", "--crosswalk", path),
        ):
            found = landweave(*arguments)
            assert found.code == 2
            assert CANARY not in found.out + found.err


def test_settings_of_a_cluster_are_not_shown(tmp_path: Path) -> None:
    settings = {"job_script_prologue": [f"export TOKEN={CANARY}"], "queue": CANARY}
    engine = {"cluster": {"kind": "slurm", "max_workers": 2, "settings": settings}, "memory_gib": 4}
    path = write_config(tmp_path, tmp_path / "card.yaml", tmp_path / "weights")
    config = load_config(path, overrides={"engine": engine})
    for shown in (config, config._repr_html_(), engine_settings(config.engine, 2)):
        assert CANARY not in f"{shown}{shown!r}"


SIGNED = f"http://127.0.0.1:9/a.gpkg?sig={CANARY}"
OPTION = ("--storage-option", f"secret_access_key={CANARY}", "--storage-option", f"token={CANARY}")

REFUSED = {
    "publish": ("m.zarr", "--to", f"s3://u:{CANARY}@{BUCKET}/p"),
    "evaluate": ("m.zarr", SIGNED),
    "compare": ("m.zarr", SIGNED, "--crosswalk", SIGNED),
    "report": ("m.zarr", "--to", "page.html", "--zones", SIGNED),
    "hectares": ("m.zarr", SIGNED, "--to", "a.csv"),
    "change": ("m.zarr", f"s3://u:{CANARY}@{BUCKET}/m.zarr"),
    "change by zones": ("m.zarr", "m.zarr", "--zones", SIGNED, "--out", "changed"),
    "sample draw": ("m.zarr", "s.gpkg", "--images", SIGNED),
    "sample areas": (SIGNED,),
    "view": (f"s3://{BUCKET}/m.zarr?token={CANARY}",),
    "status": (f"s3://u:{CANARY}@{BUCKET}/m.zarr",),
    "verify": (f"s3://{BUCKET}/m.zarr?token={CANARY}",),
    "bench": (SIGNED,),
    "evaluate-model": (SIGNED, SIGNED),
    "worker": (f"http://me:{CANARY}@127.0.0.1:9",),
}


@pytest.mark.parametrize("verb", REFUSED)
def test_no_command_that_refuses_an_address_says_it(
    mapped: Path, landweave: Command, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landweave.sources.files.PAUSES_S", ())
    monkeypatch.chdir(mapped)
    logged = () if verb == "worker" else ("--log-file", "log", "--json")
    name = verb.removesuffix(" by zones").split()
    found = landweave(*name, *REFUSED[verb], *logged)
    assert found.code != 0
    assert CANARY not in found.out + found.err
    assert holding(mapped) == []


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a map."""
    folder = tmp_path_factory.mktemp("mapped")
    write_map(folder / "m.zarr", lumps((64, 64), (0, 3, 6)))
    return folder


def holding(folder: Path) -> list[str]:
    """Files of a folder that hold the canary, unpacked where they are packed."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and CANARY.encode() in unpacked(path)]


def unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    with suppress(OSError, EOFError):
        content += gzip.decompress(content)
    if path.suffix == ".tif":
        with rasterio.open(path) as dataset:
            content += json.dumps([dataset.tags(), *(dataset.tags(number) for number in dataset.indexes)]).encode()
    return content


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries of a view
@pytest.mark.parametrize("of", ["a store", "tiles"])
def test_nothing_that_any_command_writes_or_says_holds_it(
    tmp_path: Path, landweave: Command, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    """A map in S3 by keys of options and of the environment; or of tiles whose addresses are signed."""
    monkeypatch.chdir(tmp_path)
    small = Small.make(tmp_path / "small", CORNER)
    frame = geopandas.GeoDataFrame(geometry=[shapely.box(*small.scene.bounds)], crs="EPSG:2154")
    frame.assign(code=1).to_file("zones.gpkg")
    write_tile(tmp_path / "truth.tif", np.zeros((1, 300, 430), np.uint8), corner_xy=small.scene.bounds[::3])
    with counted_s3() as s3, served(small.folder) as address:
        keys = {"AWS_ACCESS_KEY_ID": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY, "AWS_SESSION_TOKEN": CANARY}
        there = {"AWS_ENDPOINT_URL": s3.storage_options["endpoint"], "AWS_REGION": "us-east-1"}
        where, options, inputs = f"s3://{BUCKET}/everywhere.zarr", OPTION, {}
        if of == "tiles":
            where, options, inputs = "m.zarr", (), signed_tiles(small, address)
        else:
            for name, value in (keys | there).items():
                monkeypatch.setenv(name, value)
        stored = {"storage_options": {**s3.storage_options, "token": CANARY}} if options else {}
        output = {"store": where if options else str(tmp_path / where), **stored, "cog": str(tmp_path / "m.tif")}
        path = small.config(output=output, engine={"kind": "inline"}, inputs=inputs)
        commands = [
            *(("check", path), ("plan", path), ("run", path), ("status", path), ("status", where, *options)),
            *(("verify", where, *options), ("hectares", where, "zones.gpkg", "--to", "a.csv", *options)),
            ("publish", where, "--to", "out", "--set", "dalle_m=50", "--set", "polygons=true", *options),
            ("report", where, "--to", "page.html", "--zones", "zones.gpkg", *options),
            ("report", path, "--to", "page.html", "--zones", "zones.gpkg"),
            ("evaluate", where, "truth.tif", "--out", "scores", *options),
            ("sample", "draw", where, "s.gpkg", "--size", "60", "--minimum", "5", *options),
            ("change", where, where, "--out", "changes"),
            ("compare", where, "truth.tif", "--out", "compared"),
        ]
        for arguments in commands:
            for form in ((), ("--json",)):
                found = landweave(*arguments, "--log-file", "log", *form)
                said = found.out + found.err
                assert CANARY not in said, arguments
                assert found.code == 0 or ("is there already" in said and form), (arguments, said)
        assert CANARY not in viewed(api.load_config(path) if options else where)
        target = Target.parse(f"s3://{BUCKET}", s3.storage_options)
        assert not [name for name in target.list() if CANARY.encode() in (target.get(name) or b"")]
    assert [name for name in holding(tmp_path) if name != str(path)] == []


def viewed(what: Any) -> str:
    """What the page of a view and its status say."""
    from starlette.testclient import TestClient

    from landweave.surface.view import open_view
    from landweave.viewing.server import make_app

    stored = (what.output.store, what.output.storage_options) if isinstance(what, api.Config) else (what,)
    client = TestClient(make_app(open_view(what, Target.parse(*stored)), "token"), base_url="http://127.0.0.1")
    return "".join(client.get(f"/token/{part}").text for part in ("", "status"))


def signed_tiles(small: Small, address: str) -> dict[str, Any]:
    """The input of a small map, its tiles on a web server at signed addresses."""

    def at(name: str) -> list[str]:
        return [
            f"{address}/{name}/{each.name}?sig={CANARY}&v=1" for each in sorted((small.folder / name).glob("*.tif"))
        ]

    bands = {"R": (at("rgb"), 1), "G": (at("rgb"), 2), "B": (at("rgb"), 3), "NIR": (at("irc"), 1)}
    return {"AERIAL_RGBI": mosaic(**bands)}
