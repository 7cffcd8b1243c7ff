"""A run, its status and its verification in Azure's and in Google's object store: the bytes are those on disk."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from landweave import api
from landweave.core.errors import OutputError
from landweave.store.objects import Target
from tests.helpers.clouds import Place, azure, google
from tests.helpers.commands import mosaic, shards
from tests.helpers.small import Small

pytestmark = pytest.mark.slow

CLOUDS = {"az": azure, "gs": google}


@pytest.fixture(params=CLOUDS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with CLOUDS[request.param]() as found:
        yield found


def test_a_run_a_status_and_a_verification(tmp_path: Path, place: Place) -> None:
    url, options = place
    small = Small.make(tmp_path)
    assert api.run(small.loaded(), progress=False).exit_code == 0
    output = {"store": f"{url}/a/map.zarr", "cog": f"{url}/a/map.tif", "picture": f"{url}/a/map.png"}
    config = small.loaded(output={**output, "storage_options": options})
    assert api.run(config, progress=False).exit_code == 0

    target = Target.parse(output["store"], options)
    reference = shards(small.store)
    assert {name: target.get(name) for name in reference} == reference
    assert api.status(output["store"], options).done == 1
    assert api.verify(output["store"], options).exit_code == 0
    again = api.run(config, progress=False)  # which replaces its own COG and picture
    assert (again.exit_code, again.ran) == (0, 0)

    victim = "map/0/landcover/c/1/1"
    target.put(victim, b"damaged")
    assert len(api.verify(output["store"], options).damaged) == 1
    assert api.run(config, progress=False).ran == 1
    assert target.get(victim) == reference[victim]

    folder = Target.parse(f"{url}/a", options)
    folder.put("map.tif", b"of somebody else")
    with pytest.raises(OutputError, match=r"output\.cog: .*map\.tif is there already and is no file of this map"):
        api.run(config, progress=False)
    assert not [name for name in folder.list() if name.endswith(".lease")]


def test_tiles_and_the_list_of_their_checksums(tmp_path: Path, place: Place) -> None:
    """Read by GDAL, listed and fetched whole by the store's client."""
    url, options = place
    small = Small.make(tmp_path)
    assert api.run(small.loaded(), progress=False).exit_code == 0
    reference, folder = shards(small.store), Target.parse(f"{url}/tiles", options)
    tiles = sorted(small.folder.glob("*/*.tif"))
    for path in tiles:
        folder.put(path.relative_to(tmp_path).as_posix(), path.read_bytes())
    sums = tmp_path / "delivered"
    sums.write_text(
        "\n".join(f"{sha256(each.read_bytes()).hexdigest()}  {each.relative_to(tmp_path)}" for each in tiles)
    )
    files = {name: f"{folder}/{name}/*.tif" for name in ("rgb", "irc")}
    section = mosaic(R=(files["rgb"], 1), G=(files["rgb"], 2), B=(files["rgb"], 3), NIR=(files["irc"], 1))
    inputs = {"AERIAL_RGBI": {**section, "storage_options": options, "checksums": str(sums)}}
    beside = {"AERIAL_RGBI": {**inputs["AERIAL_RGBI"], "checksums": True}}
    put_lists(folder, tiles, sums.read_text())
    for given, name in ((inputs, "there.zarr"), (beside, "beside.zarr")):
        config = small.loaded(inputs=given, output={"store": str(tmp_path / name)})
        assert "8 of 8 files are held against the checksums" in str(api.check(config))
        assert api.run(config, progress=False).exit_code == 0
        assert shards(tmp_path / name) == reference

    sums.write_text(sums.read_text().replace(sha256(tiles[0].read_bytes()).hexdigest(), "0" * 64))
    put_lists(folder, tiles, sums.read_text())
    for given, name in ((inputs, "other.zarr"), (beside, "last.zarr")):
        result = api.run(small.loaded(inputs=given, output={"store": str(tmp_path / name)}), progress=False)
        assert result.exit_code == 3
        assert result.failures
        assert all(f"{tiles[0].name} has sha256" in line for line in result.failures)


def put_lists(folder: Target, tiles: list[Path], sums: str) -> None:
    """Put a list beside the tiles of each folder in the store."""
    for name in {each.parent.name for each in tiles}:
        lines = [line.replace(f"{name}/", "") for line in sums.splitlines() if f"  {name}/" in line]
        folder.put(f"{name}/SHA256SUMS", "\n".join(lines).encode())


NAMES = [
    ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),  # as clients of the store call them
    ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCESS_KEY"),  # as GDAL does
    ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY"),  # as the command az does
]


@pytest.mark.parametrize("names", NAMES)
def test_an_azure_account_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names) -> None:
    small = Small.make(tmp_path)
    assert api.run(small.loaded(), progress=False).exit_code == 0
    with azure() as (url, options):
        for name, value in zip(names, (options["account_name"], options["account_key"]), strict=True):
            monkeypatch.setenv(name, value)
        endpoint = {"endpoint": options["endpoint"]}
        folder = Target.parse(f"{url}/tiles", endpoint)
        for path in small.folder.glob("*/*.tif"):
            folder.put(path.relative_to(tmp_path).as_posix(), path.read_bytes())
        files = {name: f"{folder}/{name}/*.tif" for name in ("rgb", "irc")}
        section = mosaic(R=(files["rgb"], 1), G=(files["rgb"], 2), B=(files["rgb"], 3), NIR=(files["irc"], 1))
        store = f"{url}/map.zarr"
        config = small.loaded(
            inputs={"AERIAL_RGBI": {**section, "storage_options": endpoint}},
            output={"store": store, "storage_options": endpoint},
        )
        assert api.run(config, progress=False).exit_code == 0
        assert api.status(store, endpoint).done > 0
        assert api.verify(store, endpoint).exit_code == 0
        opened = api.open_map(store, storage_options=endpoint)
        assert (opened.landcover.to_numpy() == api.open_map(small.store).landcover.to_numpy()).all()
