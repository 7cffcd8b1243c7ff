"""Cubes in Zarr: groups declared once, filled tile by tile from anywhere, dates added without touching old ones.

What a reader may trust, and in what order it is written::

    plan      ledger/MODALITY          steps in order of arrival, those to come included; `visible` as it was
    tiles     MODALITY/*/c/SHARD/…     one whole object each; the dates it had stay in it, bit for bit
              ledger/MODALITY/SHARD-N  what became of each tile of a time shard with its first N dates
    commit    MODALITY/{time,values,…} grow
              ledger/MODALITY          `visible` grows: one object, the one moment at which readers see new dates
              zarr.json                consolidated: the same moment for those who read Zarr without this package

A reader uses visible dates only, and of a tile only as many as a ledger in force calls whole. So whatever a killed
run has left behind is never read: tiles hold the visible dates as before, and more behind them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from landweave.errors import InputError, OutputError
from landweave.grid import Grid
from landweave.lattice import BlockIndex
from landweave.ports import State, WrittenObject
from landweave.store.cube_dates import Dates
from landweave.store.cube_layout import TIME_COORDINATES, declare_arrays, encode_tile, tile_key
from landweave.store.cube_template import FORMAT, FORMAT_VERSION, GroupTemplate, check_format
from landweave.store.layout import check_georeference
from landweave.store.ledgers import ZarrLedger, create_ledger
from landweave.store.maps import ROOT, consolidate, read_attributes, refuse_occupied, reread
from landweave.store.objects import REMOTE_ERRORS, Target, unwritable
from landweave.store.template import versions
from landweave.store.zarr_store import checksum64, zarr_store
from landweave.timeseries import Step

_FINISHED = [int(state) for state in State if state.finished]


@dataclass(frozen=True, kw_only=True)
class CubeGroup:
    """One modality of a cube. Picklable, a few kB.

    Attributes
    ----------
    target
        Where the cube lies.
    template
        What the group holds.
    """

    target: Target
    template: GroupTemplate

    @property
    def grid(self) -> Grid:
        """Its pixels."""
        return self.template.grid

    @property
    def length(self) -> int:
        """Dates of a full time shard; 1 for a raster."""
        return self.template.dates or 1

    @property
    def register(self) -> str:
        """Path of the group whose attributes are its `Dates`."""
        return f"ledger/{self.template.modality}"

    def dates(self) -> Dates:
        """Its dates as they stand now.

        Raises
        ------
        InputError
            When they cannot be read.
        """
        content = self.target.get(f"{self.register}/{ROOT}")
        if content is None:
            raise InputError(f"The cube {self.target} says nothing of the dates of {self.template.modality}.")
        return Dates.from_json(json.loads(content)["attributes"])

    def plan(self, steps: Sequence[Step]) -> Dates:
        """Note which dates are to come; readers see none of them yet.

        Parameters
        ----------
        steps
            All dates in order of arrival, the visible ones first.

        Raises
        ------
        OutputError
            When the visible dates are not the first of them, or it cannot be written.
        """
        dates = self.dates()
        seen = [step.key for step in dates.seen]
        if [step.key for step in steps[: len(seen)]] != seen:
            raise OutputError(
                f"{self.target} has {len(seen)} dates of {self.template.modality} that are not the first of the "
                f"{len(steps)} planned: dates keep their place for good."
            )
        planned = dates.planning((*dates.seen, *steps[len(seen) :]))
        if planned != dates:
            self._register(planned)
        return planned

    def shard_ledger(self, shard: int, steps: Sequence[Step]) -> ZarrLedger | None:
        """The ledger of a time shard with exactly these dates (none for a raster); None where there is none yet."""
        path = self.ledger_path(shard, max(len(steps), 1))
        content = self.target.get(f"{path}/{ROOT}")
        if content is None or json.loads(content).get("attributes", {}).get("dates") != _digest(steps):
            return None
        return ZarrLedger(target=self.target, path=path)

    def start_ledger(self, shard: int, steps: Sequence[Step]) -> ZarrLedger:
        """A new ledger of a time shard with these dates, over one of other dates.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        path = self.ledger_path(shard, max(len(steps), 1))
        tiles = self.grid.coarsen(self.template.tile)  # whole tiles on the anchor: a tile is one pixel of this grid
        ledger = create_ledger(
            self.target, self.template.blocks.shape, self.template.arrays, centres_yx=(tiles.y, tiles.x), path=path
        )
        with _writing(self.target, "create a ledger"):  # what it is of comes last: a half-made one is begun anew
            _opened_group(self.target, path).attrs["dates"] = _digest(steps)
        return ledger

    def ledger_path(self, shard: int, count: int) -> str:
        """Where the ledger of the first ``count`` dates of a time shard lies."""
        return f"{self.register}/{shard:04}-{count:04}"

    def whole(self, shard: int, counts: Sequence[int]) -> NDArray[np.int64]:
        """How many dates of a time shard are whole in each tile, ``(block_y, block_x)``.

        Parameters
        ----------
        counts
            Numbers of dates whose ledgers to believe, ascending; one that is missing says nothing.
        """
        dates = np.zeros(self.template.blocks.shape, np.int64)
        for count in counts:
            dates[np.isin(self.ledger_field(shard, count, "state"), _FINISHED)] = count
        return dates

    def ledger_field(self, shard: int, count: int, name: str) -> NDArray[Any]:
        """One field of a ledger, whole; zeros where the ledger is missing."""
        path = f"{self.ledger_path(shard, count)}/{name}"

        def read() -> NDArray[Any]:
            try:
                return np.asarray(
                    zarr.open_array(zarr_store(self.target, read_only=True), path=path, mode="r", zarr_format=3)[...]
                )
            except FileNotFoundError:
                more = (len(self.template.arrays),) if name.startswith("object") else ()
                return np.zeros((*self.template.blocks.shape, *more), np.uint64)

        return reread(read, f"{self.target}/{path}")

    def commit(self, shard: int, count: int, *, complete: bool) -> None:
        """Let readers see the first ``count`` dates of a time shard; its ledger is in force from now on.

        May be called again after it was killed anywhere.

        Parameters
        ----------
        complete
            Whether every tile is finished: ledgers of fewer dates are then removed.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        dates = self.dates()
        before = tuple(number for number in dates.ledgers.get(shard, ()) if number < count)
        seen = dates.committing(shard, (count,) if complete else (*before, count), self.length)
        with _writing(self.target, "add dates"):
            if self.template.is_series:
                self._grow(seen)
            if seen != dates:
                self._register(seen)
            for number in before if complete else ():
                del _opened_group(self.target, self.register)[f"{shard:04}-{number:04}"]
        consolidate(self.target)

    def _grow(self, dates: Dates) -> None:
        """Coordinates and shapes for the visible dates; a reader of fewer finds those as they were."""
        store = zarr_store(self.target)
        provenance = [json.dumps(step.provenance, sort_keys=True, ensure_ascii=False) for step in dates.seen]
        columns: dict[str, NDArray[Any]] = {
            "time": np.array([step.time for step in dates.seen], "datetime64[s]").astype(np.int64),
            "key": np.array([step.key for step in dates.seen], object),
            "provenance": np.array(provenance, object),
        }
        for name in (*TIME_COORDINATES, *self.template.arrays):
            array = zarr.open_array(store, path=f"{self.template.modality}/{name}", mode="r+", zarr_format=3)
            # Longer, too: a run that was killed here had other dates to add.
            if array.shape[0] != dates.visible:
                array.resize((dates.visible, *array.shape[1:]))
            if name in columns:
                array[:] = columns[name]

    def _register(self, dates: Dates) -> None:
        with _writing(self.target, "note dates"):
            _opened_group(self.target, self.register).attrs.put(dates.to_json())


@dataclass(frozen=True, kw_only=True)
class TileStore:
    """Tiles of one time shard: `landweave.ports.Store`, and what they hold already. Picklable.

    Attributes
    ----------
    group
        The modality.
    shard
        Number of the time shard; 0 for a raster.
    count
        Dates that it will hold; 1 for a raster.
    kept
        How many of them, the first ones, are whole in the tiles to be written: they stay as they are.
    """

    group: CubeGroup
    shard: int = 0
    count: int = 1
    kept: int = 0

    def load(self, index: BlockIndex) -> dict[str, NDArray[Any]]:
        """Arrays of a whole tile by name, the kept dates in place, nothing acquired on the others."""
        template = self.group.template
        arrays = {name: self._empty(name) for name in template.arrays}
        if self.kept:
            rows, columns = template.blocks[index].slices_in(self.group.grid.extent)
            first = self.shard * self.group.length
            for name, values in arrays.items():
                values[: self.kept] = self._read(name, (slice(first, first + self.kept), ..., rows, columns))
        return arrays

    def write(self, index: BlockIndex, arrays: Mapping[str, NDArray[Any]]) -> tuple[WrittenObject, ...]:
        """Write one tile of every array, each as one whole object, atomically; an empty one is no object.

        Parameters
        ----------
        index
            ``(block_y, block_x)``.
        arrays
            As `load` gives them.

        Returns
        -------
        What was written, in the order of the group's arrays. The same values give the same bytes.

        Raises
        ------
        OutputError
            When an array is missing, has another shape or dtype, or cannot be written.
        """
        checked = {name: self._checked(index, name, arrays) for name in self.group.template.arrays}
        written = (self._write_one(index, name, values) for name, values in checked.items())
        return tuple(item for item in written if item is not None)

    def _empty(self, name: str) -> NDArray[Any]:
        template = self.group.template
        return np.zeros(
            template.sizes(name, dates=self.count, pixels=(template.tile, template.tile)), template.array_dtype(name)
        )

    def _read(self, name: str, where: tuple[Any, ...]) -> NDArray[Any]:
        path = f"{self.group.template.modality}/{name}"
        store = zarr_store(self.group.target, read_only=True)
        return reread(
            lambda: np.asarray(zarr.open_array(store, path=path, mode="r", zarr_format=3)[where]),
            f"the dates kept of {self.group.target}/{path}",
        )

    def _checked(self, index: BlockIndex, name: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        template = self.group.template
        wanted = template.sizes(name, dates=self.count, pixels=(template.tile, template.tile))
        dtype, values = template.array_dtype(name), arrays.get(name)
        where = f"Tile {index} of {template.modality} in {self.group.target}"
        if set(arrays) != set(template.arrays) or values is None:
            raise OutputError(f"{where} has arrays {sorted(arrays)}, {template.arrays} are wanted.")
        if values.shape != wanted or values.dtype != dtype:
            raise OutputError(f"{where}: {name} is {values.dtype} {values.shape}, {dtype} {wanted} is wanted.")
        return values

    def _write_one(self, index: BlockIndex, name: str, values: NDArray[Any]) -> WrittenObject | None:
        template = self.group.template
        key = f"{template.modality}/{name}/{tile_key(template, name, self.shard, index)}"
        content = encode_tile(template, name, values)
        if content is None:
            # A killed run may have left an object here, of other dates.
            self.group.target.delete(key)
            return None
        self.group.target.put(key, cast("bytes", content))  # any buffer is put as it is
        return WrittenObject(array=name, size=len(content), checksum=checksum64(content))


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
        with _writing(self.target, f"declare {template.modality}"):
            declare_arrays(store, template)
            if not self.target.exists(f"ledger/{ROOT}"):
                zarr.create_group(store, path="ledger")
            zarr.create_group(store, path=group.register, overwrite=True, attributes=Dates().to_json())
            _opened_group(self.target, template.modality).attrs.put(template.to_attributes())
            names = [*self.groups, template.modality]
            _opened_group(self.target, "").attrs.put(_root_attributes(names))
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
    with _writing(target, "create a cube"):
        zarr.create_group(zarr_store(target), attributes=_root_attributes([]), overwrite=True)
    cube = CubeStore(target=target, groups={})
    for template in templates:
        cube = cube.declare(template)
    return cube


def open_cube_store(target: Target) -> CubeStore:
    """The cube at ``target``, to go on writing or to read; coordinates are compared with grids.

    Raises
    ------
    InputError
        When there is no cube, or the affine, coordinates and grid of a group disagree.
    """
    attributes = read_attributes(target)
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


def _opened_group(target: Target, path: str) -> zarr.Group:
    return zarr.open_group(zarr_store(target), path=path, mode="r+", zarr_format=3, use_consolidated=False)


def _root_attributes(modalities: Sequence[str]) -> dict[str, Any]:
    return {
        "Conventions": "CF-1.11",
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "modalities": list(modalities),
        "software": versions(),
    }


def _digest(steps: Sequence[Step]) -> str:
    """Of a time shard's dates, in order: a tile that a killed run aligned from other scenes is aligned again."""
    told = [[step.key, dict(step.provenance)] for step in steps]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@contextmanager
def _writing(target: Target, what: str) -> Iterator[None]:
    try:
        yield
    except OutputError:
        raise
    except REMOTE_ERRORS as error:
        raise unwritable(target, what, error) from error
