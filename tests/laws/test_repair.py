"""What is lost of an output is found and repaired, exactly that, and the bytes are the reference's."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import rasterio

from landweave import api
from landweave.core.errors import InputError, OutputError
from landweave.core.protocols import BlockResult, BlockState
from landweave.engine.clusters import local_engine
from landweave.jobs import audit, lease
from landweave.jobs.lease import Holder
from landweave.jobs.ledger import Ledger
from landweave.store.common import ROOT
from landweave.store.maps.store import MapStore, open_store
from landweave.store.objects import Target
from landweave.store.open_arrays import OpenArrays
from tests.helpers.marks import mostly_slow
from tests.helpers.small import Small
from tests.helpers.stored import stored_map
from tests.jobs.test_lease import dead_pid


def files(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def pixels(store: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(store).items() if name.startswith("map/")}


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small.make(tmp_path)


def objects(store: Path, array: str = "landcover") -> list[Path]:
    return sorted(path for path in (store / "map" / "0" / array / "c").rglob("*") if path.is_file())


DAMAGES = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-7]),
}


@pytest.mark.parametrize("how", mostly_slow(DAMAGES, fast=["cut short"]))
def test_a_run_repairs_exactly_what_is_missing_or_torn(mapped: Small, how: str) -> None:
    before = pixels(mapped.store)
    DAMAGES[how](objects(mapped.store)[3])
    status = api.status(mapped.store)
    assert status.counts[BlockState.DAMAGED] == 1
    assert not status.complete
    assert "map/0/landcover/c/" in status.failures[0]
    result = api.run(mapped.loaded())
    assert result.exit_code == 0
    assert result.ran == 1
    assert "had lost objects" in str(result)
    assert pixels(mapped.store) == before


def colours(store: Path) -> set[str]:
    """Of the second class, wherever metadata have them: the root's legend, what it gathers, and every level."""
    nodes = [json.loads(path.read_text()) for path in store.rglob(ROOT)]
    root = json.loads((store / ROOT).read_text())
    nodes += root["consolidated_metadata"]["metadata"].values()
    flags = [node["attributes"]["flag_colors"] for node in nodes if "flag_colors" in node["attributes"]]
    assert len(flags) >= 4  # of the map and an overview, each twice
    return {root["attributes"]["legend"]["classes"][1]["color"], *(each.split()[1] for each in flags)}


@pytest.mark.parametrize("to_do", [0, 1])
def test_colours_of_the_card_are_written_into_the_map_once_and_nothing_is_damaged(mapped: Small, to_do: int) -> None:
    text = mapped.card.read_text()
    mapped.card.write_text(text.replace("8060", "7050"))
    for path in objects(mapped.store)[:to_do]:
        path.unlink()
    try:
        results = [api.run(mapped.loaded()) for _ in range(2)]
        assert [result.ran for result in results] == [to_do, 0]
        said = [("written into the map" in text, "damaged" in text) for text in map(str, results)]
        assert said == [(True, False), (False, False)]
        assert colours(mapped.store) == {"#287050"}
        found = api.verify(mapped.store)
        assert (found.exit_code, found.notes) == (0, ())
    finally:
        mapped.card.write_text(text)


def test_a_damaged_legend_is_written_again_and_damaged_provenance_is_named(mapped: Small) -> None:
    before, path = files(mapped.store), mapped.store / ROOT

    def damage(**changes: object) -> None:
        root = json.loads(before[ROOT])
        root["attributes"] |= changes
        path.write_text(json.dumps(root))

    for legend in (None, {"name": "x", "classes": [{"code": "a"}]}):
        damage(legend=legend)
        assert "written into the map" in str(api.run(mapped.loaded()))
        assert files(mapped.store) == before
    for provenance in (None, {"fingerprint_fields": 3}):
        damage(provenance=provenance)
        with pytest.raises(InputError, match=r"out\.zarr is damaged, or not as this version writes it"):
            api.run(mapped.loaded())


def test_a_lost_overview_is_made_again(mapped: Small) -> None:
    before = pixels(mapped.store)
    overview = next(path for path in (mapped.store / "map" / "1" / "landcover").rglob("c/*/*"))
    overview.unlink()
    assert api.run(mapped.loaded()).ran == 0
    assert pixels(mapped.store) == before


METADATA = ("map/0/landcover", "map/0/confidence", "map/0/x", "map/0", "ledger", "ledger/state")


@pytest.mark.parametrize("where", mostly_slow(METADATA, fast=["map/0/landcover", "map/0", "ledger/state"]))
def test_metadata_that_is_missing_is_restored(mapped: Small, where: str) -> None:
    before = files(mapped.store)
    (mapped.store / where / ROOT).unlink()
    result = api.run(mapped.loaded())
    assert result.ran == 0
    assert result.exit_code == 0
    assert f"{where}/{ROOT} was missing and is written again" in str(result)
    assert files(mapped.store) == before


SLOW_NAMES = [pytest.param(name, marks=pytest.mark.slow) for name in ("ledger/block_y/c/0", f"map/0/landcover/{ROOT}")]


@pytest.mark.parametrize("name", ["map/0/x/c/0", *SLOW_NAMES])
def test_what_is_flipped_in_coordinates_and_metadata_is_named_by_verify_and_restored_by_a_run(
    mapped: Small, name: str
) -> None:
    before = files(mapped.store)
    for how, ends in ((flip, "damaged"), (Path.unlink, "missing")):
        how(mapped.store / name)
        assert f"{name} was {ends} and is written again" in api.verify(mapped.store).notes
        assert files(mapped.store) == before
        how(mapped.store / name)
        result = api.run(mapped.loaded())
        assert (result.exit_code, result.ran) == (0, 0)
        assert files(mapped.store) == before


FAST_LEDGER_DAMAGE = {("state", "flipped"), ("object_checksum", "emptied"), ("reason", "removed")}
LEDGER_DAMAGE = product(
    ("state", "object_checksum", "object_bytes", "reason", "windows"), ("flipped", "emptied", "removed")
)


@pytest.mark.parametrize(("field", "how"), mostly_slow(LEDGER_DAMAGE, fast=FAST_LEDGER_DAMAGE))
def test_a_damaged_ledger_chunk_is_rebuilt_from_the_objects_that_are_whole(mapped: Small, field: str, how: str) -> None:
    before = pixels(mapped.store)
    chunk = next(path for path in (mapped.store / "ledger" / field / "c").rglob("*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 0xFF
    if how == "removed":
        chunk.unlink()
    else:
        chunk.write_bytes(bytes(content) if how == "flipped" else b"")
    lost = objects(mapped.store)[5]
    lost.unlink()
    result = api.run(mapped.loaded())
    assert result.exit_code == 0
    # A chunk without states looks like one that was never saved whole: its blocks are run again.
    never_saved = (field, how) == ("state", "removed")
    assert result.ran == (12 if never_saved else 1)
    if field not in ("reason", "windows") and not never_saved:
        assert "of the ledger are damaged" in str(result)
    assert pixels(mapped.store) == before
    assert api.status(mapped.store).complete


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x10
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("how", mostly_slow([*DAMAGES, "flipped"], fast=["deleted", "flipped"]))
def test_verify_names_what_is_damaged_and_a_run_repairs_exactly_that(mapped: Small, how: str) -> None:
    before = pixels(mapped.store)
    assert api.verify(mapped.store).exit_code == 0
    victim = objects(mapped.store, "confidence")[2]
    {**DAMAGES, "flipped": flip}[how](victim)
    found = api.verify(mapped.store)
    assert found.exit_code == 3
    assert len(found.damaged) == 1
    assert victim.relative_to(mapped.store).as_posix() in found.damaged[0]
    assert victim.relative_to(mapped.store).as_posix() in str(found)
    assert api.status(mapped.store).counts[BlockState.DAMAGED] == 1
    result = api.run(mapped.loaded())
    assert (result.exit_code, result.ran) == (0, 1)
    assert pixels(mapped.store) == before
    assert api.verify(mapped.store).exit_code == 0


def test_verify_finds_altered_metadata_overviews_and_objects_that_nobody_wrote(mapped: Small) -> None:
    before = files(mapped.store)
    metadata = mapped.store / "map" / "0" / "landcover" / ROOT
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "fill_value": 0}))
    flip(next(path for path in (mapped.store / "map" / "1" / "confidence" / "c").rglob("*") if path.is_file()))
    foreign = mapped.store / "map" / "0" / "landcover" / "c" / "77" / "3"
    foreign.parent.mkdir()
    foreign.write_bytes(b"of nobody")
    text = str(api.verify(mapped.store))
    assert "map/0/landcover/zarr.json was damaged and is written again" in text
    assert "overviews are missing or damaged" in text
    assert "map/0/landcover/c/77/3" in text
    foreign.unlink()
    foreign.parent.rmdir()
    assert api.run(mapped.loaded()).ran == 0
    after = files(mapped.store)
    assert {name for name in before if before[name] != after.get(name)} <= {"ledger/state/c/0/0"}
    assert api.verify(mapped.store).exit_code == 0


def copy_of(small: Small) -> Small:
    folder = small.folder / "again"
    for name in ("rgb", "irc"):
        shutil.copytree(small.folder / name, folder / name)
    return Small(folder=folder, card=small.card, weights=small.weights, scene=small.scene)


@pytest.mark.parametrize("when", mostly_slow(["during", "after"], fast=["during"]))
def test_a_driver_that_was_overtaken_writes_nothing(small: Small, monkeypatch, when: str) -> None:
    """The first run holds its last block from old pixels; the tile is mended, another run makes the map, it wakes."""
    config = small.loaded(engine={"kind": "inline"})
    monkeypatch.setattr(lease, "BEAT_SECONDS", 1000)  # it is suspended
    monkeypatch.setattr(Holder, "gone", property(lambda self: True))
    write, woken = MapStore.write, threading.Event()
    held, first = threading.Event(), []

    def slow(self, index, arrays):
        if index == (1, 1) and not first:
            first.append(threading.current_thread())
            held.set()
            assert woken.wait(120)
        elif when == "during" and index == (2, 2) and threading.current_thread() not in first:
            woken.set()
            first[0].join(60)
        return write(self, index, arrays)

    monkeypatch.setattr(MapStore, "write", slow)
    ended: list[BaseException] = []

    def overtaken() -> None:
        try:
            api.run(config)
        except BaseException as error:  # noqa: BLE001
            ended.append(error)

    sleeper = threading.Thread(target=overtaken)
    sleeper.start()
    assert held.wait(120)
    for tile in sorted(small.folder.glob("rgb/*.tif")):
        with rasterio.open(tile, "r+") as dataset:
            dataset.write(255 - dataset.read())
    result = api.run(config, stale=True)
    woken.set()
    sleeper.join(120)
    assert result.exit_code == 0
    assert [type(error) for error in ended] == [OutputError]
    assert "took its output over" in str(ended[0])
    monkeypatch.setattr(MapStore, "write", write)
    reference = copy_of(small)
    assert api.run(reference.loaded(engine={"kind": "inline"})).exit_code == 0
    assert pixels(small.store) == pixels(reference.store)
    assert api.status(small.store).complete
    assert api.verify(small.store).exit_code == 0


def test_what_an_overtaken_driver_wrote_all_the_same_is_found_and_done_again(small: Small, monkeypatch) -> None:
    """No store can compare and write in one step: the last run looks at the checksums of what it wrote."""
    config = small.loaded(engine={"kind": "inline"})
    target = Target.parse(small.store)
    place, name = target.beside(lease.LEASE)
    place.put(name, replace(Holder(), pid=dead_pid()).to_bytes())
    write, late = MapStore.write, []

    def torn(self, index, arrays):
        written = write(self, index, arrays)
        if self.level == 0 and index == (1, 2) and not late:
            late.append(index)
            write(self, index, {key: np.zeros_like(values) for key, values in arrays.items()})
        return written

    monkeypatch.setattr(MapStore, "write", torn)
    result = api.run(config)
    assert result.exit_code == 0
    assert late
    assert api.verify(small.store).exit_code == 0


def test_a_kill_within_the_saving_of_the_ledger_loses_no_damage(mapped: Small, monkeypatch) -> None:
    """Fields of a chunk are saved one after the other, the states last."""
    before = pixels(mapped.store)
    for path in objects(mapped.store)[3:5]:
        path.unlink()
    write = OpenArrays.write

    def killed(self, path, key, values, **settings):
        if path.endswith("ledger/state"):
            raise KeyboardInterrupt
        return write(self, path, key, values, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(OpenArrays, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            api.verify(mapped.store)
    assert api.status(mapped.store).counts[BlockState.DAMAGED] == 2
    result = api.run(mapped.loaded())
    assert (result.exit_code, result.ran) == (0, 2)
    assert pixels(mapped.store) == before


def test_old_pixels_of_a_block_that_has_none_now_are_removed_by_any_run(mapped: Small) -> None:
    """A run was stopped between the ledger and the removal."""
    store = open_store(Target.parse(mapped.store))
    ledger = Ledger.load(store.ledger, store.arrays)
    ledger.mark((1, 1), BlockResult(state=BlockState.NO_INPUT, inputs=int(ledger.fields["inputs"][1, 1])))
    ledger.flush(store.ledger)
    assert any("/1/1" in name for name in api.verify(mapped.store).orphans)
    assert api.run(mapped.loaded()).exit_code == 0
    assert (stored_map(mapped.store).read("landcover", store.block((1, 1))) == 255).all()
    assert api.verify(mapped.store).exit_code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user's part")
def test_verify_of_a_place_that_cannot_be_written_says_what_is_wrong_all_the_same(mapped: Small) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        store = shutil.copytree(mapped.store, folder / "out.zarr")
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        before = files(store)
        with as_nobody():
            assert (api.verify(store).exit_code, api.verify(store).damaged) == (0, ())
        victim = objects(store)[3]
        flip(victim)
        (store / "map" / "0" / "x" / ROOT).unlink()
        with as_nobody():
            found = api.verify(store)
        assert found.exit_code == 3
        assert len(found.damaged) == 1
        assert "map/0/x/zarr.json is missing" in found.notes
        assert "nothing is marked or restored: its place cannot be written" in found.notes
        now = files(store)
        changed = {name for name in before if before[name] != now.get(name)}
        assert changed == {str(victim.relative_to(store)), "map/0/x/zarr.json"}
    finally:
        shutil.rmtree(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.slow
def test_verify_rereads_on_the_workers_of_an_engine(mapped: Small, monkeypatch) -> None:
    monkeypatch.setattr(audit, "WORTH_WORKERS", 1)
    victim = objects(mapped.store)[3]
    with local_engine(workers=2) as engine:
        monkeypatch.setattr(audit.RereadJob, "open", lambda self: pytest.fail("read by the driver"))
        assert api.verify(mapped.store, engine=engine).exit_code == 0
        flip(victim)
        found = api.verify(mapped.store, engine=engine)
    assert [victim.relative_to(mapped.store).as_posix() in line for line in found.damaged] == [True]
