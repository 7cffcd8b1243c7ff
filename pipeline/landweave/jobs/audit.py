"""Compares the objects of an output with its ledger: which are missing, torn or altered, and which are not in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from landweave.core.errors import EXIT_FAILED_BLOCKS, OutputError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import LEDGER_CHUNK, BlockResult, BlockState, Engine, SourceFile, WrittenObject
from landweave.core.tables import Rows, Table
from landweave.jobs.ledger import Ledger, cells_where
from landweave.jobs.plan import first_names
from landweave.jobs.result import EXIT_COMPLETE, RunResult
from landweave.jobs.runner import CatchingJob

ROUNDS = 3
"""How often blocks whose objects are not what the ledger has are run in one run, the first time included."""

STORED = (BlockState.DONE, BlockState.NO_INPUT)
"""States of blocks that may have objects: a tile of a cube without a measurement has some, too."""

_READ_AT_ONCE = 8

_OF_ONE_TASK, WORTH_WORKERS = 64, 512
"""Objects that a worker rereads in one task, and from how many on workers are asked."""

UNMARKED = "nothing is marked or restored: its place cannot be written"

Checksum = Callable[[str], int | None]
"""Of the object of a key as it is stored; None where there is none."""

OpenEngine = Callable[[], AbstractContextManager[Engine]]


@dataclass(frozen=True, kw_only=True)
class Verification(Table):
    """What rereading an output found; shown as a table in a notebook.

    Attributes
    ----------
    output
        Path or URL of the map or cube.
    objects
        Number of objects that its ledger has, all reread.
    damaged
        One line for each block with an object that is missing, torn or altered; marked, so that a run repairs them.
    orphans
        Keys of objects that no block has.
    notes
        Metadata that was written again, ledger chunks that were rebuilt, overviews that a run will make again.
    retries
        Requests to an object store that were tried again.
    """

    LISTED: ClassVar = ("exit_code",)

    output: str
    objects: int
    damaged: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    retries: int = 0

    @property
    def exit_code(self) -> int:
        """0 when everything is as it was written, 3 otherwise."""
        found = self.damaged or self.orphans or any(note != UNMARKED for note in self.notes)
        return EXIT_FAILED_BLOCKS if found else EXIT_COMPLETE

    @property
    def rows(self) -> Rows:
        """What was found as rows of a table."""
        return [
            ("output", self.output),
            ("objects reread", f"{self.objects:,}"),
            *([("requests tried again", f"{self.retries:,}")] if self.retries else []),
            ("damaged blocks", f"{len(self.damaged):,}" + ("; run again to repair them" if self.damaged else "")),
            *[("damaged", line) for line in self.damaged],
            *[("not in the ledger", name) for name in self.orphans],
            *[("note", note) for note in self.notes],
        ]


ObjectKey = Callable[[BlockIndex, str], str]
"""Key of the object of a block and an array."""


@dataclass(frozen=True, kw_only=True)
class LedgerObject:
    """One object that a ledger has: its block, array and key, and its size and checksum as it was written."""

    index: BlockIndex
    array: str
    key: str
    size: int
    checksum: int


def ledger_objects(
    ledger: Ledger, key: ObjectKey, blocks: Collection[BlockIndex] | None = None
) -> Iterator[LedgerObject]:
    """The objects of all blocks that are finished.

    Parameters
    ----------
    ledger
        The states of all blocks.
    key
        Of an object.
    blocks
        Only those of these blocks.
    """
    sizes, checksums = ledger.fields["object_bytes"], ledger.fields["object_checksum"]
    for index in cells_where(ledger.fields["state"], STORED):
        if blocks is not None and index not in blocks:
            continue
        for number, array in enumerate(ledger.arrays):
            if size := int(sizes[index][number]):
                checksum = int(checksums[index][number])
                yield LedgerObject(index=index, array=array, key=key(index, array), size=size, checksum=checksum)


def find_missing(objects: Iterable[LedgerObject], sizes: Mapping[str, int]) -> dict[BlockIndex, str]:
    """What is wrong with each block whose objects are not there or have another size; nothing is read.

    Parameters
    ----------
    objects
        From `ledger_objects`.
    sizes
        Bytes of every object that is stored, by its key.
    """
    stored = ((item, sizes.get(item.key)) for item in objects)
    return _by_block(
        (item, "is missing" if size is None else f"has {size:,} bytes, {item.size:,} were written")
        for item, size in stored
        if size != item.size
    )


@dataclass(frozen=True, kw_only=True)
class RereadJob:
    """Checksums of stored objects, by block of `_OF_ONE_TASK` of their keys: `landweave.core.protocols.BlockJob`."""

    keys: tuple[str, ...]
    checksum: Checksum

    @property
    def key(self) -> str:
        """Name of the job on its workers."""
        return f"reread-{hashlib.sha256(repr(self.keys).encode()).hexdigest()}"

    @property
    def blocks(self) -> list[BlockIndex]:
        """Indices of its blocks."""
        return [(number, 0) for number in range(-(-len(self.keys) // _OF_ONE_TASK))]

    def open(self) -> Callable[[BlockIndex], BlockResult]:
        """Return what rereads one block."""
        return self._reread

    def _reread(self, index: BlockIndex) -> BlockResult:
        keys = self.keys[index[0] * _OF_ONE_TASK :][:_OF_ONE_TASK]
        with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
            found = zip(keys, pool.map(self.checksum, keys), strict=True)
            objects = (WrittenObject(array=key, size=0, checksum=value) for key, value in found if value is not None)
            return BlockResult(state=BlockState.DONE, objects=tuple(objects))


def _reread(keys: Sequence[str], checksum: Checksum, engine: OpenEngine | None) -> dict[str, int]:
    """Checksums of the objects that are there, by key."""
    job = RereadJob(keys=tuple(keys), checksum=checksum)
    if engine is None or len(keys) < WORTH_WORKERS:
        results = [job.open()(index) for index in job.blocks]
    else:
        with engine() as opened, closing(opened.run(CatchingJob(job), job.blocks)) as ended:
            results = [result for _, result in ended]
    if failed := [result.reason for result in results if result.state is not BlockState.DONE]:
        raise OutputError(f"{len(failed)} of {len(results)} groups of objects cannot be reread: {failed[0]}")
    return {each.array: each.checksum for result in results for each in result.objects}


def find_altered(
    objects: Iterable[LedgerObject], checksum: Checksum, engine: OpenEngine | None = None
) -> dict[BlockIndex, str]:
    """What is wrong with each block whose objects are not the bytes that were written; every object is read.

    Parameters
    ----------
    objects
        From `ledger_objects`.
    checksum
        Picklable.
    engine
        Opens what rereads them where there are many; threads of this process by default.
    """
    listed = list(objects)
    found = _reread([item.key for item in listed], checksum, engine)
    stored = [found.get(item.key) for item in listed]
    return _by_block(
        (item, "is missing" if actual is None else "holds other bytes than were written")
        for item, actual in zip(listed, stored, strict=True)
        if actual != item.checksum
    )


def _by_block(problems: Iterable[tuple[LedgerObject, str]]) -> dict[BlockIndex, str]:
    found: dict[BlockIndex, list[str]] = {}
    for item, problem in problems:
        found.setdefault(item.index, []).append(f"{item.key} {problem}")
    return {index: "; ".join(lines) for index, lines in found.items()}


def mark_damaged(ledger: Ledger, damage: Mapping[BlockIndex, str]) -> None:
    """Set blocks to `BlockState.DAMAGED`: another run does them again.

    Parameters
    ----------
    ledger
        The states of all blocks.
    damage
        From `find_missing` or `find_altered`.
    """
    for index, problem in damage.items():
        ledger.restate(index, BlockState.DAMAGED, problem)


def find_torn(ledger: Ledger) -> dict[BlockIndex, str]:
    """What is wrong with blocks that are done without an object: a driver was killed while it saved their entry."""
    torn = (ledger.fields["state"] == BlockState.DONE) & ~np.any(ledger.fields["object_bytes"], axis=-1)
    return {(row, column): "its entry in the ledger is torn" for row, column in np.argwhere(torn).tolist()}


def run_until_whole(
    run: Callable[[Sequence[BlockIndex]], Iterable[RunResult]],
    blocks: Sequence[BlockIndex],
    ledger: Ledger,
    find: Callable[[Collection[BlockIndex]], Mapping[BlockIndex, str]],
) -> Iterator[RunResult]:
    """Results of running blocks, and of running those again whose objects then are not what the ledger has.

    Another driver, one that was overtaken and woke, may have written over them.

    Parameters
    ----------
    run
        Runs blocks and marks them in ``ledger``.
    blocks
        To be run.
    ledger
        The states of all blocks; what is still damaged in the end is marked.
    find
        What is wrong with blocks that are done, after those given were run.
    """
    for _ in range(ROUNDS):
        yield from run(blocks)
        damage = find(blocks)
        mark_damaged(ledger, damage)
        blocks = sorted(damage)
        if not blocks:
            return


def stale_line(index: BlockIndex, files: Iterable[SourceFile], written: float | None) -> str:
    """What to say of a block whose files changed since it was done.

    Parameters
    ----------
    index
        Of the block.
    files
        That it reads, as they are now.
    written
        When its object was written, seconds since 1970; None where that is not known. Files that are younger are
        named; all where none is, as one may be gone.
    """
    every = {file.location: file.version for file in files}
    younger = [name for name, version in every.items() if version.isdigit() and int(version) / 1e9 > (written or 0)]
    return f"block {index}: stale: {first_names(younger or list(every)) or 'its files'} changed since"


def find_orphans(ledger: Ledger, key: ObjectKey, sizes: Mapping[str, int]) -> list[str]:
    """Keys of objects that are stored for blocks that have none: outside the area, or without input.

    Such a block may have had input before; its old pixels would still be read.

    Parameters
    ----------
    ledger
        The states of all blocks.
    key
        Of an object.
    sizes
        Bytes of every object that is stored, by its key.
    """
    empty = cells_where(ledger.fields["state"], [BlockState.OUTSIDE, BlockState.NO_INPUT])
    empty = [index for index in empty if not ledger.fields["object_bytes"][index].any()]
    return [name for index in empty for array in ledger.arrays if (name := key(index, array)) in sizes]


def rebuild(ledger: Ledger, stored: Callable[[BlockIndex, str], WrittenObject | None]) -> int:
    """Set what is damaged of a ledger by the objects that are stored; the number of blocks that are finished then.

    Where states are lost, a block is done whose objects are those that the ledger has; every other is pending. Where
    sizes or checksums are lost, they are those of the objects that are whole.

    Parameters
    ----------
    ledger
        The states of all blocks, `Ledger.damaged` in part.
    stored
        Size and checksum of a block's object of one array as it is stored; None where it is missing or damaged.
    """
    lost = [
        (block, fields)
        for (row, column), fields in ledger.damaged.items()
        for block in _blocks_of_chunk(row, column)
        if block[0] < ledger.shape[0] and block[1] < ledger.shape[1]
    ]
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        return sum(pool.map(lambda each: _rebuild_block(ledger, each[0], each[1], stored), lost))


def _blocks_of_chunk(row: int, column: int) -> Iterator[BlockIndex]:
    for index in np.ndindex(LEDGER_CHUNK, LEDGER_CHUNK):
        yield row * LEDGER_CHUNK + index[0], column * LEDGER_CHUNK + index[1]


def _rebuild_block(
    ledger: Ledger,
    index: BlockIndex,
    lost: Collection[str],
    stored: Callable[[BlockIndex, str], WrittenObject | None],
) -> bool:
    known = ledger.fields["object_checksum"][index]
    is_lost = "state" in lost
    if not (known.any() if is_lost else ledger.state(index) in STORED):
        return False  # never done, or with objects that nobody knows: pending
    objects = {array: stored(index, array) for array in ledger.arrays}
    whole = [each for each in objects.values() if each is not None]
    if is_lost:
        wanted = {array: int(known[number]) for number, array in enumerate(ledger.arrays) if known[number]}
        state = BlockState.DONE if wanted == {each.array: each.checksum for each in whole} else BlockState.PENDING
    elif ledger.state(index) is BlockState.DONE and len(whole) < len(ledger.arrays):
        state = BlockState.DAMAGED
    else:
        state = ledger.state(index)
    ledger.restate(index, state, objects=whole)
    return state.finished
