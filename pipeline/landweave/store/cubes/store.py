"""Cubes in Zarr: groups declared once, filled tile by tile from anywhere, dates added without touching old ones.

What a reader may trust, and in what order it is written::

    plan      ledger/MODALITY          observations in order of arrival, those to come included; `visible` as it was
    tiles     MODALITY/*/c/SHARD/…     one whole object each; the dates it had stay in it, bit for bit
              ledger/MODALITY/SHARD-N  what became of each tile of a time shard with its first N dates
    commit    MODALITY/{time,band_data,…} grow
              ledger/MODALITY          `visible` grows: one object, the one moment at which readers see new dates
              zarr.json                consolidated: the same moment for those who read Zarr without this package

A reader uses visible dates only, and of a tile only as many as a ledger in force calls whole. So whatever a killed
run has left behind is never read: tiles hold the visible dates as before, and more behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zarr

from landweave.core.errors import InputError, OutputError
from landweave.store.cubes.dates import Dates
from landweave.store.cubes.group import CubeGroup, opened_group, writing
from landweave.store.cubes.layout import declare_arrays
from landweave.store.cubes.template import FORMAT, FORMAT_VERSION, GroupTemplate, check_format
from landweave.store.maps.layout import check_georeference
from landweave.store.maps.store import ROOT, consolidate, read_attributes, refuse_occupied
from landweave.store.maps.template import versions
from landweave.store.objects import Target
from landweave.store.zarr_store import zarr_store


@dataclass(frozen=True, kw_only=True)
class CubeStore:
    """A cube: its groups by modality. `declare` adds one.

    Attributes
    ----------
    target
        Where it lies.
    groups
        By modality, in the order they were declared.
    """

    target: Target
    groups: Mapping[str, CubeGroup]

    def group(self, modality: str) -> CubeGroup:
        """The group of ``modality``.

        Raises
        ------
        InputError
            When there is none; those there are are named.
        """
        if modality not in self.groups:
            raise InputError(
                f"The cube {self.target} has no {modality}, only {', '.join(self.groups) or 'nothing'}: "
                "align it, or name another cube."
            )
        return self.groups[modality]

    def declare(self, template: GroupTemplate) -> CubeStore:
        """The cube with one more group: metadata and coordinates, no date, no pixel.

        The root names its groups last: where a declaration was killed there is no such group, and it is begun anew.

        Raises
        ------
        OutputError
            When there is such a group already, or it cannot be written.
        """
        if template.modality in self.groups:
            raise OutputError(f"{self.target} has a group {template.modality} already: append to it.")
        store = zarr_store(self.target)
        group = CubeGroup(target=self.target, template=template)
        with writing(self.target, f"declare {template.modality}"):
            declare_arrays(store, template)
            if not self.target.exists(f"ledger/{ROOT}"):
                zarr.create_group(store, path="ledger")
            zarr.create_group(store, path=group.register, overwrite=True, attributes=Dates().to_json())
            opened_group(self.target, template.modality).attrs.put(template.to_attributes())
            names = [*self.groups, template.modality]
            opened_group(self.target, "").attrs.put(_root_attributes(names))
        consolidate(self.target)
        return CubeStore(target=self.target, groups={**self.groups, template.modality: group})


def create_cube(target: Target, templates: Sequence[GroupTemplate] = ()) -> CubeStore:
    """Declare a cube with a group for each of ``templates``; more may be declared later.

    Raises
    ------
    OutputError
        When a cube, or anything else, is already there, or the place cannot be written.
    """
    refuse_occupied(target)
    with writing(target, "create a cube"):
        zarr.create_group(zarr_store(target), attributes=_root_attributes([]), overwrite=True)
    cube = CubeStore(target=target, groups={})
    for template in templates:
        cube = cube.declare(template)
    return cube


def open_cube_store(target: Target, attributes: Mapping[str, Any] | None = None) -> CubeStore:
    """The cube at ``target``, to go on writing or to read; coordinates are compared with grids.

    Parameters
    ----------
    target
        Where it is stored.
    attributes
        Of its root, where they have been read already.

    Raises
    ------
    InputError
        When there is no cube, or the affine, coordinates and grid of a group disagree.
    """
    attributes = read_attributes(target) if attributes is None else attributes
    if attributes is None:
        raise InputError(f"There is no cube at {target}: {ROOT} is missing. Was `landweave align` run?")
    check_format(attributes)
    names = attributes["modalities"]
    return CubeStore(target=target, groups={name: _open_group(target, name) for name in names})


def _open_group(target: Target, modality: str) -> CubeGroup:
    group = zarr.open_group(
        zarr_store(target, read_only=True), path=modality, mode="r", zarr_format=3, use_consolidated=False
    )
    template = GroupTemplate.from_attributes(dict(group.attrs))
    check_georeference(group, template.grid)
    return CubeGroup(target=target, template=template)


def _root_attributes(modalities: Sequence[str]) -> dict[str, Any]:
    return {
        "Conventions": "CF-1.11",
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "modalities": list(modalities),
        "software": versions(),
    }
