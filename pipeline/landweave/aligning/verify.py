"""Holds a cube against its ledgers: what is missing, torn or altered is named, marked, and aligned again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from landweave.aligning.dates import TimeShard, time_shards
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockState
from landweave.jobs.audit import Verification, find_altered, find_missing, ledger_objects, mark_damaged, rebuild
from landweave.jobs.lease import LEASE, hold
from landweave.jobs.ledger import Ledger
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.store import open_cube_store
from landweave.store.ledger_store import ZarrLedger
from landweave.store.objects import Target


def load_shard_ledger(group: CubeGroup, shard: TimeShard, stored: ZarrLedger | None) -> Ledger:
    """The states of the tiles of a time shard beside the objects that are stored: damaged parts rebuilt, or marked.

    Parameters
    ----------
    group
        The modality.
    shard
        Its dates.
    stored
        Where its ledger is stored; None where it has none yet.
    """
    template = group.template
    if stored is None:
        return Ledger(template.blocks.shape, template.arrays)
    ledger = Ledger.load(stored, template.arrays)
    rebuild(ledger, ledger.damaged, partial(group.stored_object, shard.number))
    mark_damaged(
        ledger, find_missing(ledger_objects(ledger, partial(group.object_key, shard.number)), shard_sizes(group, shard))
    )
    return ledger


def shard_sizes(group: CubeGroup, shard: TimeShard) -> dict[str, int]:
    """Bytes of every object of a time shard by its key.

    Parameters
    ----------
    group
        The modality.
    shard
        Its dates.
    """
    return {key: size for array in group.template.arrays for key, size in group.sizes(shard.number, array).items()}


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
    sizes = shard_sizes(group, shard)
    altered = find_altered(every(set(ran)), group.target.checksum) if followed else {}
    return {**altered, **find_missing(every(), sizes)}


def verify_cube(target: Target, attributes: Mapping[str, Any] | None = None) -> Verification:
    """Reread every object of a cube, and mark the tiles whose objects are not what was written.

    Parameters
    ----------
    target
        Path or URL of the cube.
    attributes
        Of its root, where they have been read already.

    Raises
    ------
    InputError
        When there is no cube.
    OutputError
        When another driver writes it.
    """
    count, damaged = 0, list[str]()
    with hold(*target.beside(LEASE)):
        for modality, group in open_cube_store(target, attributes).groups.items():
            for shard in time_shards(group.dates().observations, group.template.time_shard):
                reread, lines = _verify_shard(group, shard)
                count += reread
                damaged += [f"{modality}, {shard}, {line}" for line in lines]
    return Verification(output=str(target), objects=count, damaged=tuple(damaged))


def _verify_shard(group: CubeGroup, shard: TimeShard) -> tuple[int, list[str]]:
    """Number of objects of a time shard that were reread, and a line for each damaged tile."""
    stored = group.shard_ledger(shard.number, shard.observations)
    if stored is None:
        return 0, []
    ledger = load_shard_ledger(group, shard, stored)
    objects = list(ledger_objects(ledger, partial(group.object_key, shard.number)))
    mark_damaged(ledger, find_altered(objects, group.target.checksum))
    ledger.flush(stored)
    return len(objects), ledger.failures(BlockState.DAMAGED)
