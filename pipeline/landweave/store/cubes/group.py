"""One modality of a cube: its observations planned and committed, and the ledgers of its time shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from landweave.core.errors import InputError, OutputError, ReadError
from landweave.core.grid import Grid
from landweave.core.protocols import BlockState, WrittenObject
from landweave.core.timeseries import Observation
from landweave.store.common import ROOT, consolidate, group_attributes, parsing, unread_group, writing
from landweave.store.cubes.layout import TIME_COORDINATES, tile_key
from landweave.store.cubes.observations import GroupObservations
from landweave.store.cubes.template import GroupTemplate
from landweave.store.ledger_store import LEDGER, ZarrLedger, create_ledger
from landweave.store.objects import Target, checksum64
from landweave.store.open_arrays import OpenArrays
from landweave.store.zarr_store import zarr_store

_FINISHED = [int(state) for state in BlockState if state.finished]


@dataclass(frozen=True, kw_only=True)
class ShardTiles:
    """The tiles of one time shard, by the last ledger in which each was finished.

    Attributes
    ----------
    whole
        int64 ``(block_y, block_x)``: how many of its dates, the first ones, are whole in each.
    object_bytes, object_checksum
        uint64 ``(block_y, block_x, array)``: size and checksum of each object; 0 where there is none.
    replaced
        Whether a ledger was removed meanwhile: a later one has its tiles.
    """

    whole: NDArray[np.int64]
    object_bytes: NDArray[np.uint64]
    object_checksum: NDArray[np.uint64]
    replaced: bool = False


@dataclass(frozen=True, kw_only=True)
class CubeGroup:
    """One modality of a cube. Picklable, a few kB; every process opens the metadata of each array once.

    Attributes
    ----------
    target
        Where the cube is stored.
    template
        What the group holds.
    """

    target: Target
    template: GroupTemplate

    @cached_property
    def opened(self) -> OpenArrays:
        """The arrays of the cube, opened in this process."""
        return OpenArrays(self.target)

    @cached_property
    def _ledgers(self) -> dict[str, ZarrLedger]:
        return {}

    def stored_ledger(self, path: str) -> ZarrLedger:
        """Return a ledger at ``path``, whose arrays are opened once in this process; it need not be there."""
        return self._ledgers.setdefault(path, ZarrLedger(target=self.target, path=path))

    @property
    def grid(self) -> Grid:
        """Its pixels."""
        return self.template.grid

    @property
    def length(self) -> int:
        """Dates of a full time shard; 1 for a raster."""
        return self.template.time_shard or 1

    @property
    def register(self) -> str:
        """Path of the group whose attributes are its `GroupObservations`."""
        return f"{LEDGER}/{self.template.modality}"

    def dates(self) -> GroupObservations:
        """Return its observations as they stand now; one request.

        Raises
        ------
        InputError
            When they cannot be read.
        """
        attributes = group_attributes(self.target, self.register)
        if attributes is None:
            raise InputError(f"The cube {self.target} says nothing of the dates of {self.template.modality}.")
        with parsing(f"{self.target}/{self.register}"):
            return GroupObservations.from_json(attributes)

    def plan(self, observations: Sequence[Observation], *, dates: GroupObservations) -> GroupObservations:
        """Store which observations are to come; readers see none of them yet.

        Parameters
        ----------
        observations
            All of them in order of arrival, the visible ones first.
        dates
            As they stand now.

        Raises
        ------
        OutputError
            When the visible ones are not the first of them, or it cannot be written.
        """
        seen = [observation.datatake_id for observation in dates.seen]
        if [observation.datatake_id for observation in observations[: len(seen)]] != seen:
            raise OutputError(
                f"{self.target} has {len(seen)} dates of {self.template.modality} that are not the first of the "
                f"{len(observations)} planned: dates keep their place for good."
            )
        planned = replace(dates, observations=(*dates.seen, *observations[len(seen) :]))
        if planned != dates:
            self._register(planned)
        return planned

    def shard_ledger(self, shard: int, observations: Sequence[Observation]) -> ZarrLedger | None:
        """Return the ledger of a time shard with exactly these observations; None where there is none yet.

        Parameters
        ----------
        shard
            Number of the time shard.
        observations
            Of it, in order of arrival; none for a raster.
        """
        ledger = self.stored_ledger(self.ledger_path(shard, max(len(observations), 1)))
        stored = (ledger.attributes or {}).get("observations_sha256")
        return ledger if stored == _digest(observations) else None

    def start_ledger(self, shard: int, observations: Sequence[Observation]) -> ZarrLedger:
        """Declare a new ledger of a time shard, over one of other observations.

        Parameters
        ----------
        shard, observations
            As in `shard_ledger`.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        return create_ledger(
            self.target,
            self.grid.block_centres(self.template.blocks),
            self.template.arrays,
            path=self.ledger_path(shard, max(len(observations), 1)),
            attributes={"observations_sha256": _digest(observations)},
        )

    def ledger_path(self, shard: int, count: int) -> str:
        """Return the path of a ledger.

        Parameters
        ----------
        shard
            Number of the time shard.
        count
            Number of its dates, the first ones, that the ledger is of.
        """
        return f"{self.register}/{shard:04}-{count:04}"

    def tiles(self, shard: int, counts: Sequence[int]) -> ShardTiles:
        """Return what the ledgers of a time shard say of its tiles.

        Parameters
        ----------
        shard
            Number of the time shard.
        counts
            Numbers of dates whose ledgers are in force, ascending; one that is missing counts for nothing.

        Raises
        ------
        ReadError
            When a ledger that is there cannot be read.
        """
        shape, arrays = self.template.blocks.shape, len(self.template.arrays)
        objects = {name: np.zeros((*shape, arrays), np.uint64) for name in ("object_bytes", "object_checksum")}
        whole, replaced = np.zeros(shape, np.int64), False
        for count in counts:
            fields = self._ledger_fields(shard, count, ("state", *objects))
            if fields is None:
                replaced = True
                continue
            with parsing(f"{self.target}/{self.ledger_path(shard, count)}"):
                finished = np.isin(fields["state"], _FINISHED)
                whole[finished] = count
                whole[fields["state"] == BlockState.DAMAGED] = 0
                for name, values in objects.items():
                    values[finished] = fields[name][finished]
        whole[self._lost(shard, objects["object_bytes"])] = 0
        return ShardTiles(whole=whole, replaced=replaced, **objects)

    def _ledger_fields(self, shard: int, count: int, names: Sequence[str]) -> dict[str, NDArray[Any]] | None:
        """Fields of one ledger; None where it is not there, or was removed while it was read: its marker goes first."""
        ledger = ZarrLedger(target=self.target, path=self.ledger_path(shard, count))
        try:
            fields = {name: ledger.read(name) for name in names}
        except ReadError:
            if ledger.attributes is not None:
                raise
            return None
        return fields if ledger.attributes is not None else None

    def _lost(self, shard: int, object_bytes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Tiles of which an object is gone: Zarr would give zeros for it. bool ``(block_y, block_x)``."""
        lost = np.zeros(object_bytes.shape[:2], bool)
        for number, array in enumerate(self.template.arrays):
            if object_bytes[..., number].any():
                sizes = self.sizes(shard, array)
                for row, column in np.argwhere(object_bytes[..., number] > 0).tolist():
                    lost[row, column] |= self.object_key(shard, (row, column), array) not in sizes
        return lost

    def sizes(self, shard: int, array: str) -> dict[str, int]:
        """Return the bytes of every object of an array in a time shard by its key, in one listing."""
        level = [str(shard)] if self.template.dimensions(array)[0] == "time" else []
        return self.target.sizes("/".join([self.template.modality, array, "c", *level]))

    def object_key(self, shard: int, index: tuple[int, int], array: str) -> str:
        """Return the key of the object that holds one tile of one array.

        Parameters
        ----------
        shard
            Number of the time shard.
        index
            ``(block_y, block_x)``.
        array
            One of the arrays of the group.
        """
        return f"{self.template.modality}/{array}/{tile_key(self.template, array, shard, index)}"

    def stored_object(self, shard: int, index: tuple[int, int], array: str) -> WrittenObject | None:
        """Return size and checksum of an object as it is stored; None where it is missing or damaged, or not visible.

        Parameters
        ----------
        shard, index, array
            As in `object_key`.
        """
        content = self.target.get(self.object_key(shard, index, array))
        if content is None:
            return None
        rows, columns = self.template.blocks[index].slices_in(self.grid.extent)
        time = (slice(shard * self.length, (shard + 1) * self.length),) if self.template.is_series else ()
        try:
            self.opened.read(f"{self.template.modality}/{array}", (*time, ..., rows, columns))
        except ReadError:
            return None
        return WrittenObject(array=array, size=len(content), checksum=checksum64(content))

    def commit(self, shard: int, count: int, *, complete: bool, dates: GroupObservations) -> GroupObservations:
        """Let readers see the first ``count`` dates of a time shard; its ledger is in force from now on.

        May be called again after it was killed anywhere.

        Parameters
        ----------
        shard, count
            As in `ledger_path`.
        complete
            Whether every tile is finished: ledgers of fewer dates are then removed.
        dates
            As they stand now.

        Returns
        -------
        As they stand then.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        before = tuple(number for number in dates.ledgers.get(shard, ()) if number < count)
        seen = replace(
            dates,
            visible=max(dates.visible, shard * self.length + count),
            ledgers={**dates.ledgers, shard: (count,) if complete else (*before, count)},
        )
        with writing(self.target, "add dates"):
            if self.template.is_series:
                self._grow(seen)
            if seen != dates:
                self._register(seen)
            older = [number for number in self.ledgers().get(shard, ()) if number < count] if complete else []
            for path in (self.ledger_path(shard, number) for number in older):
                self.target.delete(f"{path}/{ROOT}")  # first: who reads the ledger meanwhile sees that it is gone
                del unread_group(self.target)[path]
        consolidate(self.target)
        return seen

    def ledgers(self) -> dict[int, list[int]]:
        """Return the ledgers that are stored, in force or not: by time shard, their numbers of dates, ascending.

        What a killed run has left of one that it removed is among them.
        """
        names = {name.split("/")[2] for name in self.target.sizes(self.register) if name.count("/") > 2}
        found: dict[int, list[int]] = {}
        for name in sorted(names):
            shard, _, count = name.partition("-")
            if shard.isdigit() and count.isdigit():
                found.setdefault(int(shard), []).append(int(count))
        return found

    def _grow(self, dates: GroupObservations) -> None:
        """Write coordinates and shapes for the visible dates; what a reader of fewer sees stays as it was."""
        store = zarr_store(self.target)
        columns = dates.columns()
        for name in (*TIME_COORDINATES, *self.template.arrays):
            array = zarr.open_array(store, path=f"{self.template.modality}/{name}", mode="r+", zarr_format=3)
            # Longer, too: a run that was killed here had other dates to add.
            if array.shape[0] != dates.visible:
                array.resize((dates.visible, *array.shape[1:]))
            if name in columns:
                array[:] = columns[name]

    def _register(self, dates: GroupObservations) -> None:
        with writing(self.target, "note dates"):
            unread_group(self.target, self.register).attrs.put(dates.to_json())


def _digest(observations: Sequence[Observation]) -> str:
    """Return the sha256 of a time shard's observations: a tile that a killed run aligned from others is run again."""
    plain = [[observation.datatake_id, dict(observation.provenance)] for observation in observations]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
