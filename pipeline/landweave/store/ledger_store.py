"""Ledgers in Zarr: what became of every block, written by the driver alone, readable while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

from landweave.core.errors import InputError
from landweave.core.protocols import LEDGER_CHUNK, LEDGER_FIELDS, REASON_BYTES, BlockState
from landweave.store.maps.layout import write_coordinate
from landweave.store.maps.store import MapStore
from landweave.store.objects import REMOTE_ERRORS, Target, unwritable
from landweave.store.zarr_store import Recorder, zarr_store

DESCRIPTIONS = {
    "state": "what became of the block",
    "attempts": "times the block was tried",
    "inputs": "digest of the versions of every scene used",
    "seconds": "wall time of the last try",
    "windows": "windows computed",
    "object_bytes": "size of each object as written",
    "object_checksum": "first 8 bytes of the sha256 of each object as written",
    "reason": "why the block failed, UTF-8, zero-padded",
}


@dataclass(frozen=True, kw_only=True)
class ZarrLedger:
    """A ledger in a Zarr group: `landweave.core.protocols.LedgerStore`. One writer; any number of readers.

    Attributes
    ----------
    target
        Where the store lies.
    path
        The group in it.
    """

    target: Target
    path: str = "ledger"

    def load(self) -> dict[str, NDArray[Any]]:
        """Every field of `LEDGER_FIELDS`, whole, ``(block_y, block_x, …)``; zeros where nothing was saved.

        Raises
        ------
        InputError
            When there is no ledger or it cannot be read.
        """
        try:
            group = zarr.open_group(
                zarr_store(self.target, read_only=True), path=self.path, mode="r", use_consolidated=False
            )
            return {name: np.asarray(group[name][...]) for name in LEDGER_FIELDS}  # type: ignore[index]
        except (*REMOTE_ERRORS, ValueError, KeyError, RuntimeError) as error:
            raise InputError(f"Cannot read the ledger {self.target}/{self.path}: {error}") from error

    def save(self, chunk: tuple[int, int], fields: Mapping[str, NDArray[Any]]) -> None:
        """Write one ledger chunk of every field given, each atomically; ``state`` last, as it vouches for the rest.

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
        store = Recorder(zarr_store(self.target))
        top, left = (number * LEDGER_CHUNK for number in chunk)
        where = slice(top, top + LEDGER_CHUNK), slice(left, left + LEDGER_CHUNK)
        try:
            for name in sorted(fields, key=lambda field: field == "state"):
                zarr.open_array(store, path=f"{self.path}/{name}", mode="r+")[where] = fields[name]
        except REMOTE_ERRORS as error:
            raise unwritable(self.target, f"write chunk {chunk} of the ledger", error) from error


def create_ledger(
    target: Target,
    shape: tuple[int, int],
    arrays: Sequence[str],
    *,
    centres_yx: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    path: str = "ledger",
) -> ZarrLedger:
    """Declare an empty ledger, over an older one.

    Parameters
    ----------
    target
        Where the store lies.
    shape
        Blocks ``(down, across)``.
    arrays
        Names of the arrays that a block writes.
    centres_yx
        Northings and eastings of the centres of the rows and columns of blocks, so that a plot of the ledger is a
        map of progress; block numbers when not given.
    path
        The group in the store.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    y, x = centres_yx or (np.arange(shape[0], dtype=np.float64), np.arange(shape[1], dtype=np.float64))
    store = zarr_store(target)
    try:
        zarr.create_group(store, path=path, overwrite=True, attributes={"arrays": list(arrays)})
        for name in LEDGER_FIELDS:
            _declare_field(store, f"{path}/{name}", shape, len(arrays))
        write_coordinate(store, f"{path}/block_y", y, {"long_name": "northing of block centres", "units": "m"})
        write_coordinate(store, f"{path}/block_x", x, {"long_name": "easting of block centres", "units": "m"})
    except REMOTE_ERRORS as error:
        raise unwritable(target, "create a ledger", error) from error
    return ZarrLedger(target=target, path=path)


def create_map_ledger(store: MapStore) -> ZarrLedger:
    """The ledger of a map, beside it, with the ground coordinates of its blocks."""
    size = store.template.blocks.size
    grid = store.grid.coarsen(size)  # whole blocks on the anchor: a block is one pixel of this grid
    return create_ledger(store.target, store.block_shape, store.arrays, centres_yx=(grid.y, grid.x))


def _declare_field(store: Any, path: str, shape: tuple[int, int], arrays: int) -> None:
    name = path.rpartition("/")[2]
    dtype, beyond = LEDGER_FIELDS[name]
    sizes = {"array": arrays, "reason_byte": REASON_BYTES}
    more = tuple(sizes[dimension] for dimension in beyond)
    shuffle = BloscShuffle.shuffle if np.dtype(dtype).itemsize > 1 else BloscShuffle.noshuffle
    zarr.create_array(
        store,
        name=path,
        shape=(*shape, *more),
        dtype=dtype,
        chunks=(LEDGER_CHUNK, LEDGER_CHUNK, *more),
        compressors=(
            BloscCodec(typesize=np.dtype(dtype).itemsize, cname="zstd", clevel=1, shuffle=shuffle),
            Crc32cCodec(),
        ),
        fill_value=0,
        dimension_names=("block_y", "block_x", *beyond),
        attributes={"long_name": DESCRIPTIONS[name], **(_state_attributes() if name == "state" else {})},
        overwrite=True,
    )


def _state_attributes() -> dict[str, Any]:
    return {
        "flag_values": [int(state) for state in BlockState],
        "flag_meanings": " ".join(state.name.lower() for state in BlockState),
    }
