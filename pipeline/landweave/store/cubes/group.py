"""One modality of a cube: its dates planned and committed, and the ledgers of its time shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from landweave.core.errors import InputError, OutputError
from landweave.core.grid import Grid
from landweave.core.protocols import BlockState
from landweave.core.timeseries import Observation
from landweave.store.cubes.dates import Dates
from landweave.store.cubes.layout import TIME_COORDINATES
from landweave.store.cubes.template import GroupTemplate
from landweave.store.ledger_store import ZarrLedger, create_ledger
from landweave.store.maps.store import ROOT, consolidate, reread
from landweave.store.objects import REMOTE_ERRORS, Target, unwritable
from landweave.store.zarr_store import zarr_store

_FINISHED = [int(state) for state in BlockState if state.finished]


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
        return self.template.time_shard or 1

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

    def plan(self, observations: Sequence[Observation]) -> Dates:
        """Note which dates are to come; readers see none of them yet.

        Parameters
        ----------
        observations
            All dates in order of arrival, the visible ones first.

        Raises
        ------
        OutputError
            When the visible dates are not the first of them, or it cannot be written.
        """
        dates = self.dates()
        seen = [observation.datatake_id for observation in dates.seen]
        if [observation.datatake_id for observation in observations[: len(seen)]] != seen:
            raise OutputError(
                f"{self.target} has {len(seen)} dates of {self.template.modality} that are not the first of the "
                f"{len(observations)} planned: dates keep their place for good."
            )
        planned = dates.planning((*dates.seen, *observations[len(seen) :]))
        if planned != dates:
            self._register(planned)
        return planned

    def shard_ledger(self, shard: int, observations: Sequence[Observation]) -> ZarrLedger | None:
        """The ledger of a time shard with exactly these dates (none for a raster); None where there is none yet."""
        path = self.ledger_path(shard, max(len(observations), 1))
        content = self.target.get(f"{path}/{ROOT}")
        if content is None or json.loads(content).get("attributes", {}).get("dates") != _digest(observations):
            return None
        return ZarrLedger(target=self.target, path=path)

    def start_ledger(self, shard: int, observations: Sequence[Observation]) -> ZarrLedger:
        """A new ledger of a time shard with these dates, over one of other dates.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        path = self.ledger_path(shard, max(len(observations), 1))
        tiles = self.grid.coarsen(self.template.tile)  # whole tiles on the anchor: a tile is one pixel of this grid
        ledger = create_ledger(
            self.target, self.template.blocks.shape, self.template.arrays, centres_yx=(tiles.y, tiles.x), path=path
        )
        with writing(self.target, "create a ledger"):  # what it is of comes last: a half-made one is begun anew
            opened_group(self.target, path).attrs["dates"] = _digest(observations)
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
        with writing(self.target, "add dates"):
            if self.template.is_series:
                self._grow(seen)
            if seen != dates:
                self._register(seen)
            for number in before if complete else ():
                del opened_group(self.target, self.register)[f"{shard:04}-{number:04}"]
        consolidate(self.target)

    def _grow(self, dates: Dates) -> None:
        """Coordinates and shapes for the visible dates; a reader of fewer finds those as they were."""
        store = zarr_store(self.target)
        provenance = [
            json.dumps(observation.provenance, sort_keys=True, ensure_ascii=False) for observation in dates.seen
        ]
        columns: dict[str, NDArray[Any]] = {
            "time": np.array([observation.time for observation in dates.seen], "datetime64[s]").astype(np.int64),
            "datatake_id": np.array([observation.datatake_id for observation in dates.seen], object),
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
        with writing(self.target, "note dates"):
            opened_group(self.target, self.register).attrs.put(dates.to_json())


def _digest(observations: Sequence[Observation]) -> str:
    """Of a time shard's dates, in order: a tile that a killed run aligned from other scenes is aligned again."""
    told = [[observation.datatake_id, dict(observation.provenance)] for observation in observations]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def opened_group(target: Target, path: str) -> zarr.Group:
    """A group of the store, to be written."""
    return zarr.open_group(zarr_store(target), path=path, mode="r+", zarr_format=3, use_consolidated=False)


@contextmanager
def writing(target: Target, what: str) -> Iterator[None]:
    """What a store raises inside, as one `OutputError` that says what could not be done."""
    try:
        yield
    except OutputError:
        raise
    except REMOTE_ERRORS as error:
        raise unwritable(target, what, error) from error
