"""Writes metadata and coordinates of a cube that are missing or damaged again: no pixel is in them, all are known.

::

    zarr.json of the root, which has gathered all metadata ──> zarr.json of groups and arrays
    template of a group ────────────────────────────────────> y, x, band, spatial_ref
    register of its dates ──────────────────────────────────> time, datatake_id, provenance
    template of a group ────────────────────────────────────> block_y, block_x of its ledgers

What a listing says to be whole is not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import zarr
from zarr.storage import MemoryStore

from landweave.core.errors import LandweaveError
from landweave.store.common import ROOT, group_attributes, parsing, write_again
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.layout import declare_arrays
from landweave.store.cubes.observations import GroupObservations
from landweave.store.cubes.template import GroupTemplate
from landweave.store.ledger_store import declare_ledger
from landweave.store.objects import Listing, Target

_DEPTH = 3
"""Slashes in ``ledger/MODALITY/SHARD-N/zarr.json``."""


def restore_cube_metadata(target: Target, *, writable: bool = True) -> list[str]:
    """Write metadata and coordinates that are missing or damaged again; a line for each.

    Parameters
    ----------
    target
        Where the cube is stored.
    writable
        Whether it is written.
    """
    sizes = target.sizes()
    with parsing(f"{target}/{ROOT}"):
        root = json.loads(target.get(ROOT) or b"{}")
        nodes = dict((root.get("consolidated_metadata") or {}).get("metadata", {}))
        modalities = tuple(root.get("attributes", {}).get("modalities", ()))
    known = {f"{path}/{ROOT}": json.dumps(node, indent=2).encode() for path, node in nodes.items()}
    found = {name: content for name, content in known.items() if not _is_whole(target, name, content, sizes)}
    notes = write_again(target, found, sizes, writable=writable)
    for modality in modalities:
        if (attributes := group_attributes(target, modality)) is None:
            continue  # its metadata is missing, and cannot be written
        with parsing(f"{target}/{modality}"):
            group = CubeGroup(target=target, template=GroupTemplate.from_attributes(attributes))
            lost = _lost_coordinates(group, sizes) | _lost_ledger_coordinates(group, sizes, {*sizes, *found})
            notes += write_again(target, lost, sizes, writable=writable)
    return notes


def _is_whole(target: Target, name: str, content: bytes, sizes: Listing) -> bool:
    """Whether metadata are there and can be read: a run that was killed may have written newer ones."""
    if name not in sizes or sizes.holds(name, content):
        return name in sizes
    try:
        return "node_type" in json.loads(target.get(name) or b"")
    except (ValueError, TypeError):
        return False


def _lost_ledger_coordinates(group: CubeGroup, sizes: Listing, names: Iterable[str]) -> dict[str, bytes]:
    """Objects of coordinates that are missing or other than they are declared, of those ledgers that are declared."""
    lost: dict[str, bytes] = {}
    centres, attributes = group.grid.block_centres(group.template.blocks), {"arrays": list(group.template.arrays)}
    for path in (name.removesuffix(f"/{ROOT}") for name in names if _is_ledger(name, group)):
        declared: dict[str, Any] = {}
        declare_ledger(MemoryStore(declared), path, centres, attributes)
        for axis in ("block_y", "block_x"):
            lost |= _lost_objects(group, declared, f"{path}/{axis}", sizes)
    return lost


def _is_ledger(name: str, group: CubeGroup) -> bool:
    return name.startswith(f"{group.register}/") and name.endswith(f"/{ROOT}") and name.count("/") == _DEPTH


def _lost_coordinates(group: CubeGroup, sizes: Listing) -> dict[str, bytes]:
    """Objects of coordinates that are missing, cannot be read or hold other values than the group has."""
    lost: dict[str, bytes] = {}
    declared, paths = _declared_coordinates(group.template, group.dates())
    for path in paths:
        lost |= _lost_objects(group, declared, path, sizes)
    return lost


def _lost_objects(group: CubeGroup, declared: dict[str, Any], path: str, sizes: Listing) -> dict[str, bytes]:
    """All objects of a coordinate, where one is missing or its values are others; of zeros alone there is none.

    Another build of a codec gives other bytes of the same values.
    """
    objects = {name: each.to_bytes() for name, each in declared.items() if name.startswith(f"{path}/c")}
    if all(sizes.holds(name, content) for name, content in objects.items()):
        return {}
    values = np.asarray(zarr.open_array(MemoryStore(declared), path=path, mode="r")[...])
    return {} if objects.keys() <= sizes.keys() and _holds(group, path, values) else objects


def _declared_coordinates(template: GroupTemplate, dates: GroupObservations) -> tuple[dict[str, Any], list[str]]:
    """Contents of a store in memory with the coordinates of a group, and their paths."""
    declared: dict[str, Any] = {}
    store = MemoryStore(declared)
    declare_arrays(store, template)
    columns = dates.columns() if template.is_series else {}
    for name, values in columns.items():
        array = zarr.open_array(store, path=f"{template.modality}/{name}", mode="r+")
        array.resize(values.shape)
        array[:] = values
    return declared, [f"{template.modality}/{name}" for name in ("y", "x", "band", "spatial_ref", *columns)]


def _holds(group: CubeGroup, path: str, values: Any) -> bool:
    """Whether a stored coordinate begins with some values: a run that was killed may have added dates behind them."""
    try:
        stored = group.opened.read(path)
    except LandweaveError:
        return False
    return np.array_equal(stored[: len(values)] if values.ndim else stored, values)
