"""Writes metadata and coordinates of a cube that are missing or damaged again: no pixel is in them, all are known.

::

    zarr.json of the root, which has gathered all metadata ──> zarr.json of groups and arrays
    template of a group ────────────────────────────────────> y, x, band, spatial_ref
    register of its dates ──────────────────────────────────> time, datatake_id, provenance
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from landweave.store.objects import Target


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
    found = {
        f"{path}/{ROOT}": json.dumps(node, indent=2).encode()
        for path, node in nodes.items()
        if f"{path}/{ROOT}" not in sizes or not _is_node(target.get(f"{path}/{ROOT}"))
    }
    notes = write_again(target, found, sizes, writable=writable)
    for modality in modalities:
        if (attributes := group_attributes(target, modality)) is None:
            continue  # its metadata is missing, and cannot be written
        with parsing(f"{target}/{modality}"):
            group = CubeGroup(target=target, template=GroupTemplate.from_attributes(attributes))
            notes += write_again(target, _lost_coordinates(group, sizes), sizes, writable=writable)
    return notes


def _is_node(content: bytes | None) -> bool:
    try:
        return "node_type" in json.loads(content or b"")
    except (ValueError, TypeError):
        return False


def _lost_coordinates(group: CubeGroup, sizes: Mapping[str, int]) -> dict[str, bytes]:
    """Objects of coordinates that are missing, cannot be read or hold other values than the group has."""
    lost: dict[str, bytes] = {}
    declared, paths = _declared_coordinates(group.template, group.dates())
    for path in paths:
        objects = {name: each.to_bytes() for name, each in declared.items() if name.startswith(f"{path}/c")}
        values = np.asarray(zarr.open_array(MemoryStore(declared), path=path, mode="r")[...])
        if not objects.keys() <= sizes.keys() or not _holds(group, path, values):
            lost |= objects
    return lost


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
