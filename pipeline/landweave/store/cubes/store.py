"""Cubes in Zarr: groups declared once, filled tile by tile from anywhere, dates added without touching old ones.

What a reader may trust, and in what order it is written::

    plan      ledger/MODALITY          observations in order of arrival, those to come included; `visible` as it was
    tiles     MODALITY/*/c/SHARD/…     one whole object each; the dates it had stay in it, bit for bit
              ledger/MODALITY/SHARD-N  the state of each tile of a time shard with its first N dates
    commit    MODALITY/{time,band_data,…} grow
              ledger/MODALITY          `visible` grows: one object, the one moment at which readers see new dates
              zarr.json                consolidated: the same moment for those who read Zarr without this package

A reader uses visible dates only, and of a tile only as many as a ledger in force calls whole. So whatever a killed
run has left behind is never read: tiles hold the visible dates as before, and more behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import zarr

from landweave.core.errors import InputError, OutputError
from landweave.store.common import (
    ROOT,
    check_format,
    consolidate,
    declaring,
    parsing,
    read_attributes,
    refuse_occupied,
    root_attributes,
    unread_group,
    writing,
)
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.layout import declare_arrays
from landweave.store.cubes.observations import GroupObservations
from landweave.store.cubes.template import FORMAT, GroupTemplate
from landweave.store.georeference import check_georeference
from landweave.store.objects import Target
from landweave.store.zarr_store import zarr_store


@dataclass(frozen=True, kw_only=True)
class CubeStore:
    """A cube: its groups by modality, each opened once, when it is first used. `declare` adds one.

    Attributes
    ----------
    target
        Where it is stored.
    modalities
        Names of its groups, in the order they were declared.
    """

    target: Target
    modalities: tuple[str, ...] = ()

    @cached_property
    def _opened(self) -> dict[str, CubeGroup]:
        return {}

    @property
    def groups(self) -> Mapping[str, CubeGroup]:
        """All groups by modality, in the order they were declared."""
        return {modality: self.group(modality) for modality in self.modalities}

    def group(self, modality: str) -> CubeGroup:
        """Return the group of ``modality``; its coordinates are compared with its grid.

        Raises
        ------
        InputError
            When there is none (those there are are named), or its affine, coordinates and grid disagree.
        """
        if modality not in self.modalities:
            raise InputError(
                f"The cube {self.target} has no {modality}, only {', '.join(self.modalities) or 'nothing'}: "
                "align it, or name another cube."
            )
        if modality not in self._opened:
            self._opened[modality] = _open_group(self.target, modality)
        return self._opened[modality]

    def declare(self, template: GroupTemplate) -> CubeStore:
        """Return the cube with one more group, declared: metadata and coordinates, no date, no pixel.

        The root names its groups last: where a declaration was killed there is no such group, and it is begun anew.

        Raises
        ------
        OutputError
            When there is such a group already, or it cannot be written.
        """
        if template.modality in self.modalities:
            raise OutputError(f"{self.target} has a group {template.modality} already: append to it.")
        modalities = (*self.modalities, template.modality)
        register = CubeGroup(target=self.target, template=template).register
        with declaring(self.target, template.modality) as store:
            declare_arrays(store, template)
        with declaring(self.target, register) as store:
            zarr.create_group(store, path=register, attributes=GroupObservations().to_json())
        attributes = _root_attributes(modalities)
        with writing(self.target, f"declare {template.modality}"):
            unread_group(self.target).attrs.put(attributes)
        consolidate(self.target, attributes)
        return CubeStore(target=self.target, modalities=modalities)


def create_cube(target: Target, templates: Sequence[GroupTemplate] = ()) -> CubeStore:
    """Declare a cube with a group for each of ``templates``; more may be declared later.

    Parameters
    ----------
    target
        Where it is to be stored.
    templates
        What the groups will hold.

    Raises
    ------
    OutputError
        When a cube, or anything else, is already there, or the place cannot be written.
    """
    refuse_occupied(target)
    with writing(target, "create a cube"):
        zarr.create_group(zarr_store(target), attributes=_root_attributes(()), overwrite=True)
    cube = CubeStore(target=target)
    for template in templates:
        cube = cube.declare(template)
    return cube


def open_cube_store(target: Target, attributes: Mapping[str, Any] | None = None) -> CubeStore:
    """Return the cube at ``target``, to go on writing or to read; one request, and those of each group that is used.

    Parameters
    ----------
    target
        Where it is stored.
    attributes
        Of its root, where `landweave.store.common.read_attributes` has read them already.

    Raises
    ------
    InputError
        When there is no cube.
    """
    attributes = read_attributes(target) if attributes is None else attributes
    if attributes is None:
        raise InputError(f"There is no cube at {target}: {ROOT} is missing. Was `landweave align` run?")
    with parsing(f"{target}"):
        check_format(attributes, FORMAT)
        return CubeStore(target=target, modalities=tuple(attributes["modalities"]))


def _open_group(target: Target, modality: str) -> CubeGroup:
    store = zarr_store(target, read_only=True)
    with parsing(f"{target}/{modality}"):
        group = zarr.open_group(store, path=modality, mode="r", zarr_format=3, use_consolidated=False)
        template = GroupTemplate.from_attributes(dict(group.attrs))
        check_georeference(group, template.grid)
    return CubeGroup(target=target, template=template)


def _root_attributes(modalities: Sequence[str]) -> dict[str, Any]:
    return root_attributes(FORMAT, {"modalities": list(modalities)})
