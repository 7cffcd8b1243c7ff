"""Holds a cube against its ledgers: what is missing, torn or altered is named, marked, and aligned again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from landweave.aligning.dates import TimeShard
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockState
from landweave.jobs.audit import (
    STORED,
    UNMARKED,
    LedgerObject,
    OpenEngine,
    Verification,
    find_altered,
    find_missing,
    find_torn,
    ledger_objects,
    mark_damaged,
    rebuild,
)
from landweave.jobs.lease import hold_output
from landweave.jobs.ledger import Ledger, cells_where
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.restore import restore_cube_metadata
from landweave.store.cubes.store import open_cube_store
from landweave.store.ledger_store import ZarrLedger
from landweave.store.objects import Target


def load_shard_ledger(
    group: CubeGroup, shard: TimeShard, stored: ZarrLedger | None, loaded: Mapping[str, Ledger] | None = None
) -> Ledger:
    """The states of the tiles of a time shard beside the objects that are stored: damaged parts rebuilt, or marked.

    Parameters
    ----------
    group
        The modality.
    shard
        Its dates.
    stored
        Where its ledger is stored; None where it has none yet.
    loaded
        Ledgers that have been read already, by path.
    """
    template = group.template
    if stored is None:
        return Ledger(template.blocks.shape, template.arrays)
    ledger = (loaded or {}).get(stored.path) or _load(group, shard.number, stored)
    objects = ledger_objects(ledger, partial(group.object_key, shard.number))
    mark_damaged(ledger, find_missing(objects, shard_sizes(group, shard.number)) | find_torn(ledger))
    return ledger


def mend_ledgers(group: CubeGroup) -> dict[str, Ledger]:
    """The ledgers of a modality by path, stored anew where damaged parts can be rebuilt; only under the lease."""
    loaded: dict[str, Ledger] = {}
    for shard, counts in group.ledgers().items():
        for stored in _stored_ledgers(group, shard, counts):
            loaded[stored.path] = _load(group, shard, stored)
            loaded[stored.path].flush(stored)
    return loaded


def _stored_ledgers(group: CubeGroup, shard: int, counts: Iterable[int]) -> list[ZarrLedger]:
    ledgers = (group.stored_ledger(group.ledger_path(shard, count)) for count in counts)
    return [ledger for ledger in ledgers if ledger.attributes is not None]


def _load(group: CubeGroup, shard: int, stored: ZarrLedger) -> Ledger:
    ledger = Ledger.load(stored, group.template.arrays)
    rebuild(ledger, partial(group.stored_object, shard))
    return ledger


def shard_sizes(group: CubeGroup, shard: int) -> dict[str, int]:
    """Bytes of every object of a time shard by its key.

    Parameters
    ----------
    group
        The modality.
    shard
        Number of the time shard.
    """
    return {key: size for array in group.template.arrays for key, size in group.sizes(shard, array).items()}


def find_damage(
    group: CubeGroup, shard: TimeShard, ledger: Ledger, ran: Collection[BlockIndex], *, followed: bool
) -> Mapping[BlockIndex, str]:
    """What is wrong with the tiles of a time shard that are done; those that ran may be read again.

    Parameters
    ----------
    group
        The modality.
    shard
        Its dates.
    ledger
        The states of its tiles.
    ran
        Tiles that ran.
    followed
        Whether a driver before this one, which never gave its lease back, may have written them in the meantime.
    """
    every = partial(ledger_objects, ledger, partial(group.object_key, shard.number))
    missing = find_missing(every(), shard_sizes(group, shard.number))
    altered = find_altered(every(set(ran)), group.target.checksum) if followed else {}
    # A tile whose kept dates could not be read says so itself: without them it is aligned from all its dates.
    unread = {index: ledger.reason(index) for index in ran if ledger.state(index) is BlockState.DAMAGED}
    return {**unread, **altered, **missing}


def verify_cube(
    target: Target, attributes: Mapping[str, Any] | None = None, engine: OpenEngine | None = None
) -> Verification:
    """Reread every object of a cube, and mark the tiles whose objects are not what was written.

    Where the place cannot be written what is wrong is named alone.

    Parameters
    ----------
    target
        Path or URL of the cube.
    attributes
        Of its root, where they have been read already.
    engine
        Opens what rereads the objects where there are many.

    Raises
    ------
    InputError
        When there is no cube.
    OutputError
        When another driver writes it.
    """
    writable, count, damaged = target.is_writable(), 0, list[str]()
    notes = [] if writable else [UNMARKED]
    with hold_output(target) if writable else nullcontext():
        notes += restore_cube_metadata(target, writable=writable)
        for modality, group in open_cube_store(target, attributes).groups.items():
            for shard, counts in group.ledgers().items():
                reread, lines, rebuilt = _verify_shard(group, shard, counts, engine, writable=writable)
                count += reread
                damaged += [f"{modality}, time shard {shard}, {line}" for line in lines]
                notes += [f"{modality}, time shard {shard}: the ledger was damaged and is rebuilt"] if rebuilt else []
    return Verification(output=str(target), objects=count, damaged=tuple(damaged), notes=tuple(notes))


def _verify_shard(
    group: CubeGroup, shard: int, counts: Iterable[int], engine: OpenEngine | None, *, writable: bool
) -> tuple[int, list[str], bool]:
    """Number of objects of a time shard that were reread, a line for each damaged tile, whether a ledger was rebuilt.

    The object of a tile is what the newest ledger says in which the tile is finished; where it is damaged, no ledger
    may call the tile finished.
    """
    stored = _stored_ledgers(group, shard, counts)
    ledgers = [_load(group, shard, each) for each in stored]
    damage: dict[BlockIndex, str] = {}
    objects: list[LedgerObject] = []
    seen: set[BlockIndex] = set()
    for ledger in reversed(ledgers):
        damage |= find_torn(ledger)
        finished = set(cells_where(ledger.fields["state"], STORED)) - seen
        objects += ledger_objects(ledger, partial(group.object_key, shard), finished)
        seen |= finished
    damage |= find_missing(objects, shard_sizes(group, shard)) | find_altered(objects, group.target.checksum, engine)
    for ledger, each in zip(ledgers, stored, strict=True):
        states = ledger.fields["state"]
        mark_damaged(ledger, {index: text for index, text in damage.items() if states[index] in STORED})
        if writable:
            ledger.flush(each)
    lines = [f"block {index}: damaged: {text}" for index, text in sorted(damage.items())]
    return len(objects), lines, any(ledger.damaged for ledger in ledgers)
