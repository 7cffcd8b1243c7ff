"""Canaries in every place where somebody can put a secret are found nowhere but where they were written."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from landweave import api
from landweave.config.load import load_config
from landweave.core.errors import LandweaveError, OutputError, ReadError
from landweave.core.secrets import without_secrets
from tests.helpers.commands import Command
from tests.helpers.counted_s3 import BUCKET, counted_s3
from tests.helpers.small import Small

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
