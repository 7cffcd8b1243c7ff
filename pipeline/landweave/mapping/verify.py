"""Holds a map against its ledger: what is missing, torn or altered is named, marked, and run again.

::

    objects as listed ─┐
    ledger ────────────┼─> blocks that are damaged ─> marked, and run again
    objects as reread ─┘   (`landweave verify`; after a driver that was overtaken, those that it may have written)
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockState
from landweave.core.words import counted
from landweave.jobs.audit import (
    UNMARKED,
    OpenEngine,
    Verification,
    find_altered,
    find_missing,
    find_orphans,
    find_torn,
    ledger_objects,
    mark_damaged,
    rebuild,
    stale_line,
)
from landweave.jobs.lease import hold_output
from landweave.jobs.ledger import Ledger
from landweave.jobs.plan import first_names
from landweave.mapping.job import MapJob
from landweave.store.common import consolidate, write_again
from landweave.store.ledger_store import LEDGER
from landweave.store.maps.layout import level_path
from landweave.store.maps.overviews import declared_overviews, mark_overviews, overviews_whole
from landweave.store.maps.store import MapStore, declared_metadata, map_at
from landweave.store.objects import Listing, Target

_READ_AT_ONCE = 8


def restore_metadata(store: MapStore, sizes: Listing, *, writable: bool = True) -> list[str]:
    """Write metadata and coordinates that are missing or damaged again; one line for each.

    What the listing does not say to be whole is read.

    Parameters
    ----------
    store
        The map.
    sizes
        Bytes of every object that is stored, by its key.
    writable
        Whether it is written.
    """
    declared = declared_metadata(store, ledger=any(name.startswith(f"{LEDGER}/") for name in sizes))
    unsure = {name: content for name, content in declared.items() if not sizes.holds(name, content)}
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        stored = dict(zip(unsure, pool.map(store.target.get, unsure), strict=True))
    damaged = {name: content for name, content in unsure.items() if stored[name] != content}
    return write_again(store.target, damaged, sizes, writable=writable)


def restore_legend(
    store: MapStore, attributes: Mapping[str, Any], sizes: Listing
) -> tuple[Mapping[str, Any], list[str]]:
    """Write the colours and French names of the classes, which decide no pixel, as the card has them now.

    The root, which also holds all metadata gathered, comes last and in one object: where this was killed it is done
    again.

    Parameters
    ----------
    store
        The map, with the legend of the card.
    attributes
        Of the root as it is stored.
    sizes
        As of `restore_metadata`.

    Returns
    -------
    attributes
        Of the root as they are now.
    notes
        That the legend was another one.
    """
    legend = json.loads(json.dumps(asdict(store.legend)))
    if attributes.get("legend") == legend:
        return attributes, []
    restored = {**attributes, "legend": legend}
    restore_metadata(store, sizes)
    write_again(store.target, declared_overviews(store, sizes), sizes, writable=True)
    consolidate(store.target, restored)
    return restored, ["colours or French names of the classes are others in the card: they are written into the map"]


def load_ledger(store: MapStore, sizes: Mapping[str, int] | None = None) -> tuple[Ledger, list[str]]:
    """The ledger of a map held against the objects that are stored; nothing is written.

    Parameters
    ----------
    store
        The map.
    sizes
        Bytes of every object that is stored, by its key; listed after the ledger is read where not given, as a driver
        may be writing.

    Returns
    -------
    ledger
        Damaged chunks rebuilt, blocks whose objects are missing or torn marked.
    notes
        What was found.
    """
    ledger, notes = Ledger.load(store.ledger, store.arrays), []
    sizes = store.target.sizes(level_path(0)) if sizes is None else sizes
    if ledger.damaged:
        done = rebuild(ledger, store.stored_object)
        chunks = ", ".join(map(str, sorted(ledger.damaged)))
        notes.append(f"chunks {chunks} of the ledger are damaged: rebuilt from the objects of {done:,} whole blocks")
    missing = find_missing(ledger_objects(ledger, store.object_key), sizes) | find_torn(ledger)
    if missing:
        mark_damaged(ledger, missing)
        notes.append(f"{counted(len(missing), 'block')} had lost objects: {first_names(sorted(missing))}")
    return ledger, notes


def stale_lines(job: MapJob, store: MapStore, blocks: Iterable[BlockIndex]) -> Iterator[str]:
    """A line for each block whose files changed since it was done, with the files.

    Parameters
    ----------
    job
        The map.
    store
        Where it is stored.
    blocks
        Those whose files changed.
    """
    for index in blocks:
        written = store.target.written_at(store.object_key(index, store.arrays[0]))
        yield stale_line(index, (file for _, file in job.files(index)), written)


def find_damage(
    store: MapStore, ledger: Ledger, ran: Collection[BlockIndex], *, followed: bool
) -> Mapping[BlockIndex, str]:
    """What is wrong with the blocks that are done; old pixels of blocks that have none now are removed.

    Objects are listed, not read, but for those that a driver before this one, which never gave its lease back, may
    have written in the meantime.

    Parameters
    ----------
    store
        The map.
    ledger
        The states of its blocks.
    ran
        Blocks that ran.
    followed
        Whether there was such a driver.
    """
    sizes = store.target.sizes(level_path(0))
    remove_orphans(store, ledger, sizes)
    mine = ledger_objects(ledger, store.object_key, set(ran)) if followed else ()
    missing = find_missing(ledger_objects(ledger, store.object_key), sizes)
    return {**find_altered(mine, store.target.checksum), **missing}


def remove_orphans(store: MapStore, ledger: Ledger, sizes: Mapping[str, int]) -> int:
    """Remove old pixels of blocks that have none now; how many objects there were.

    Parameters
    ----------
    store
        The map.
    ledger
        The states of its blocks.
    sizes
        Bytes of every object that is stored, by its key.
    """
    orphans = find_orphans(ledger, store.object_key, sizes)
    for name in orphans:
        if store.fence is not None:
            store.fence.check()
        store.target.delete(name)
    return len(orphans)


def verify_map(
    target: Target, attributes: Mapping[str, Any] | None = None, engine: OpenEngine | None = None
) -> Verification:
    """Reread every object of a map, and mark the blocks whose objects are not what was written.

    Where the place cannot be written what is wrong is named alone.

    Parameters
    ----------
    target, attributes
        As of `map_status`.
    engine
        Opens what rereads the objects where there are many.

    Raises
    ------
    InputError
        When there is no map.
    OutputError
        When another driver writes it.
    """
    store = map_at(target, attributes)
    writable = target.is_writable()
    with hold_output(target) if writable else nullcontext():
        sizes = target.sizes()
        notes = [] if writable else [UNMARKED]
        notes += restore_metadata(store, sizes, writable=writable)
        ledger, found = load_ledger(store, sizes)
        objects = list(ledger_objects(ledger, store.object_key))
        mark_damaged(ledger, find_altered(objects, target.checksum, engine))
        whole = overviews_whole(store, sizes, ledger.fields["state"] != BlockState.OUTSIDE)
        notes += [] if whole else ["overviews are missing or damaged: run again to make them"]
        if writable:
            if not whole:
                mark_overviews(store, complete=False)
            ledger.flush(store.ledger)
    known = {item.key for item in objects}
    stored = {name for array in store.arrays for name in sizes if name.startswith(f"{level_path(0)}/{array}/c/")}
    return Verification(
        output=str(target),
        objects=len(objects),
        damaged=tuple(ledger.failures(BlockState.DAMAGED)),
        orphans=tuple(sorted(stored - known - _unfinished(ledger, store))),
        notes=(*notes, *found),
    )


def _unfinished(ledger: Ledger, store: MapStore) -> set[str]:
    """Keys of the objects of blocks that are not finished: a run writes them anew."""
    return {store.object_key(index, array) for index in ledger.todo() for array in store.arrays}
