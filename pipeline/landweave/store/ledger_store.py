"""Ledgers in Zarr: the state of every block, written by the driver alone, readable while it runs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

from landweave.core.errors import InputError, ReadError
from landweave.core.lattice import LARGEST_COUNT
from landweave.core.protocols import LEDGER_CHUNK, LEDGER_FIELDS, REASON_BYTES, BlockState
from landweave.store.common import declaring, group_attributes, writing
from landweave.store.georeference import write_coordinate
from landweave.store.objects import REMOTE_ERRORS, Target
from landweave.store.open_arrays import OpenArrays

LEDGER = "ledger"
"""Group of a map's ledger, and the group above those of a cube."""

CORE_FIELDS = ("state", "object_bytes", "object_checksum")
"""Fields without which nobody knows whether a block is done; the others are lost without harm."""

DESCRIPTIONS = {
    "state": "state of the block",
    "attempts": "times the block was tried",
    "inputs": "digest of the versions of every source file used",
    "seconds": "wall time of the last try",
    "windows": "windows computed",
    "object_bytes": "size of each object as written",
    "object_checksum": "first 8 bytes of the sha256 of each object as written",
    "reason": "why the block failed, UTF-8, zero-padded",
}

_STATE_FLAGS: dict[str, Any] = {
    "flag_values": [int(state) for state in BlockState],
    "flag_meanings": " ".join(state.name.lower() for state in BlockState),
}


@dataclass(frozen=True, kw_only=True)
class ZarrLedger:
    """A ledger in a Zarr group: `landweave.core.protocols.LedgerStore`. One writer; any number of readers.

    The metadata of its arrays is read once, with the first `load` or `save`.

    Attributes
    ----------
    target
        The store.
    path
        The group in it.
    """

    target: Target
    path: str = LEDGER

    @cached_property
    def opened(self) -> OpenArrays:
        """Its arrays, opened in this process."""
        return OpenArrays(self.target)

    @property
    def attributes(self) -> dict[str, Any] | None:
        """Attributes of its group, read anew; None where it is not declared."""
        found = group_attributes(self.target, self.path)
        return found if found and "arrays" in found else None  # a cube has a group of that name that is no ledger

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[tuple[int, int], frozenset[str]]]:
        """Return every field of `LEDGER_FIELDS` whole, and what of it is damaged: flipped, emptied or removed.

        Returns
        -------
        fields
            ``(block_y, block_x, …)``; zeros where nothing was saved, and where a chunk cannot be read.
        damaged
            By ``(row, column)`` of a chunk, those of `CORE_FIELDS` that cannot be read, or are missing although it has
            states. One without states was never saved whole: its blocks are pending.

        Raises
        ------
        InputError
            When there is no ledger or it cannot be read.
        """
        lost: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
        try:
            fields = {name: self._readable(name, lost) for name in LEDGER_FIELDS}
        except ReadError as error:
            raise InputError(f"Cannot read the ledger {self.target}/{self.path}: {error}") from error
        sizes = self.target.sizes(self.path)  # listed last: a driver may be saving
        for chunk in self._chunks(fields["state"].shape):
            if self._key("state", chunk) in sizes:
                lost[chunk] |= {name for name in CORE_FIELDS if self._key(name, chunk) not in sizes}
        return fields, {chunk: frozenset(names) for chunk, names in lost.items() if names}

    def _readable(self, field: str, lost: Mapping[tuple[int, int], set[str]]) -> NDArray[Any]:
        """One field; zeros in chunks that cannot be read, which are added to ``lost`` where they matter."""
        try:
            return self.read(field)
        except ReadError as error:
            if isinstance(error.__cause__, REMOTE_ERRORS):  # out of reach, or not declared: nothing is known of it
                raise
            array = self.open(field)
            if math.prod(array.shape[:2]) > LARGEST_COUNT:
                raise
        values = np.zeros(array.shape, array.dtype)
        for chunk in self._chunks(array.shape):
            try:
                values[_cells(chunk)] = self.read(field, _cells(chunk))
            except ReadError:
                if field in CORE_FIELDS:
                    lost[chunk].add(field)
        return values

    def _key(self, field: str, chunk: tuple[int, int]) -> str:
        beyond = ("0",) * len(LEDGER_FIELDS[field][1])
        return "/".join([self.path, field, "c", *map(str, chunk), *beyond])

    def _chunks(self, shape: tuple[int, ...]) -> list[tuple[int, int]]:
        down, across = (-(-size // LEDGER_CHUNK) for size in shape[:2])
        return [(row, column) for row in range(down) for column in range(across)]

    def open(self, field: str) -> Any:
        """Return the Zarr array of one field or coordinate, read-only."""
        return self.opened.open(f"{self.path}/{field}")

    def read(self, field: str, key: Any = ...) -> NDArray[Any]:
        """Return one field, or a part of it.

        Parameters
        ----------
        field
            One of `LEDGER_FIELDS`, or ``block_y``, ``block_x``.
        key
            An outer indexer of ``(block_y, block_x, …)``.

        Raises
        ------
        ReadError
            When there is no ledger, or it cannot be read.
        """
        try:
            blocks = math.prod(self.open(field).shape[:2])
        except InputError as error:
            raise ReadError(str(error)) from error
        if blocks > LARGEST_COUNT:  # no job has so many, and so much memory is not to be taken for damage
            raise ReadError(f"{self.target}/{self.path}/{field} is damaged: it is of {blocks} blocks.")
        return self.opened.read(f"{self.path}/{field}", key)

    def save(self, chunk: tuple[int, int], fields: Mapping[str, NDArray[Any]]) -> None:
        """Write one ledger chunk of every field given, each atomically; ``state``, which makes a block count, last.

        Parameters
        ----------
        chunk
            ``(row, column)``, counted in chunks of `LEDGER_CHUNK` blocks a side.
        fields
            Arrays ``(block_y, block_x, …)`` of that chunk, smaller at the south and east edges.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        with writing(self.target, f"write chunk {chunk} of the ledger"):
            for name in sorted(fields, key=lambda field: field == "state"):
                self.opened.write(f"{self.path}/{name}", _cells(chunk), fields[name])


def create_ledger(
    target: Target,
    centres: tuple[NDArray[np.float64], NDArray[np.float64]],
    arrays: Sequence[str],
    *,
    path: str = LEDGER,
    attributes: Mapping[str, Any] | None = None,
) -> ZarrLedger:
    """Declare an empty ledger, over an older one.

    Parameters
    ----------
    target
        The store.
    centres
        Northings of rows and eastings of columns of blocks: a plot of the ledger is a map of progress.
    arrays
        Names of the arrays that a block writes.
    path
        The group in the store.
    attributes
        What the group says beside its ``arrays``.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    with declaring(target, path) as store:
        declare_ledger(store, path, centres, {"arrays": list(arrays), **(attributes or {})})
    return ZarrLedger(target=target, path=path)


def declare_ledger(
    store: Store, path: str, centres: tuple[NDArray[np.float64], NDArray[np.float64]], attributes: Mapping[str, Any]
) -> None:
    """Write the metadata and coordinates of an empty ledger.

    Parameters
    ----------
    store
        Where they are written.
    path
        The group in the store.
    centres
        As of `create_ledger`.
    attributes
        Of the group, the names of the ``arrays`` among them.
    """
    zarr.create_group(store, path=path, attributes=dict(attributes))
    y, x = centres
    for name in LEDGER_FIELDS:
        _declare_field(store, f"{path}/{name}", (y.size, x.size), len(attributes["arrays"]))
    write_coordinate(store, f"{path}/block_y", y, {"long_name": "northing of block centres", "units": "m"})
    write_coordinate(store, f"{path}/block_x", x, {"long_name": "easting of block centres", "units": "m"})


def _cells(chunk: tuple[int, int]) -> tuple[slice, slice]:
    top, left = (number * LEDGER_CHUNK for number in chunk)
    return slice(top, top + LEDGER_CHUNK), slice(left, left + LEDGER_CHUNK)


def _declare_field(store: Any, path: str, shape: tuple[int, int], arrays: int) -> None:
    name = path.rpartition("/")[2]
    dtype, beyond = LEDGER_FIELDS[name]
    sizes = {"array": arrays, "reason_byte": REASON_BYTES}
    more = tuple(sizes[dimension] for dimension in beyond)
    width = np.dtype(dtype).itemsize
    shuffle = BloscShuffle.shuffle if width > 1 else BloscShuffle.noshuffle
    zarr.create_array(
        store,
        name=path,
        shape=(*shape, *more),
        dtype=dtype,
        chunks=(LEDGER_CHUNK, LEDGER_CHUNK, *more),
        compressors=(BloscCodec(typesize=width, cname="zstd", clevel=1, shuffle=shuffle), Crc32cCodec()),
        fill_value=0,
        dimension_names=("block_y", "block_x", *beyond),
        attributes={"long_name": DESCRIPTIONS[name], **(_STATE_FLAGS if name == "state" else {})},
    )
