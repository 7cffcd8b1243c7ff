"""The state of every block: arrays over ``(block_y, block_x)`` that only the driver writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import BlockIndex
from landweave.core.protocols import (
    LEDGER_CHUNK,
    LEDGER_FIELDS,
    REASON_BYTES,
    BlockResult,
    BlockState,
    LedgerStore,
    WrittenObject,
)
from landweave.core.secrets import without_secrets

_MARKED_TIMES_MAX = np.iinfo(np.uint8).max


class Ledger:
    """The states of all blocks in memory, and which of them are not stored yet.

    A new ledger is all `BlockState.PENDING`. For a department of 40,000 blocks it holds about 12 MB.

    Parameters
    ----------
    shape
        Blocks ``(down, across)``.
    arrays
        Names of the arrays that the job writes, in the order of the ``array`` dimension.

    Attributes
    ----------
    damaged
        By ``(row, column)`` of a stored chunk, fields that could not be read: `landweave.jobs.audit.rebuild` sets them.
    """

    def __init__(self, shape: tuple[int, int], arrays: Sequence[str] = ()) -> None:
        self.arrays = tuple(arrays)
        sizes = {"array": len(self.arrays), "reason_byte": REASON_BYTES}
        self.fields: dict[str, NDArray[Any]] = {
            name: np.zeros((*shape, *(sizes[dim] for dim in dims)), dtype)
            for name, (dtype, dims) in LEDGER_FIELDS.items()
        }
        self.damaged: Mapping[tuple[int, int], frozenset[str]] = {}
        self._dirty: set[tuple[int, int]] = set()

    @classmethod
    def load(cls, store: LedgerStore, arrays: Sequence[str] = ()) -> Ledger:
        """The ledger as it is stored.

        Parameters
        ----------
        store
            Where it is stored.
        arrays
            Names of the arrays that the job writes.

        Raises
        ------
        ValueError
            When the store holds another number of arrays, or a field of another shape.
        """
        saved, damaged = store.load()
        down, across = saved["state"].shape
        ledger = cls((down, across), arrays)
        for name, values in ledger.fields.items():
            if saved[name].shape != values.shape:
                raise ValueError(
                    f"The saved ledger's {name!r} has shape {saved[name].shape}; "
                    f"blocks {(down, across)} of arrays {ledger.arrays} make {values.shape}."
                )
            values[...] = saved[name]
        ledger.damaged = damaged
        return ledger

    @property
    def shape(self) -> tuple[int, int]:
        """Blocks ``(down, across)``."""
        down, across = self.fields["state"].shape
        return down, across

    def mark(self, index: BlockIndex, result: BlockResult) -> None:
        """Set the state of block ``index``; stored with the next `flush`.

        Parameters
        ----------
        index
            Of the block.
        result
            Of its last attempt.

        Raises
        ------
        ValueError
            When the block is not in the ledger, or wrote an array that is not among its arrays.
        """
        down, across = self.shape
        if not (0 <= index[0] < down and 0 <= index[1] < across):
            raise ValueError(f"Block {index} is not in a ledger of {down} x {across} blocks.")
        objects = {written.array: written for written in result.objects}
        if objects.keys() - set(self.arrays):
            raise ValueError(f"Block {index} wrote {sorted(objects)}; the ledger knows {list(self.arrays)}.")
        listed = [objects.get(name) for name in self.arrays]
        row: dict[str, Any] = {
            "state": result.state,
            "attempts": min(int(self.fields["attempts"][index]) + 1, _MARKED_TIMES_MAX),
            "inputs": result.inputs,
            "seconds": result.seconds.get("total", 0.0),
            "windows": result.counts.get("windows", 0),
            "object_bytes": np.array([written.size if written else 0 for written in listed], np.uint64),
            "object_checksum": np.array([written.checksum if written else 0 for written in listed], np.uint64),
            "reason": np.frombuffer(encode_reason(result.reason), np.uint8),
        }
        for name, value in row.items():
            self.fields[name][index] = value
        self._dirty.add((index[0] // LEDGER_CHUNK, index[1] // LEDGER_CHUNK))

    def restate(
        self, index: BlockIndex, state: BlockState, reason: str = "", objects: Sequence[WrittenObject] | None = None
    ) -> None:
        """Set the state of block ``index`` beside what is known of it; nothing was tried.

        What its objects were stays: a kill between two fields of a stored chunk must not leave a finished block
        without objects.

        Parameters
        ----------
        index
            Of the block.
        state, reason
            Of it from now on.
        objects
            What its objects are; as before where not given.
        """
        self.fields["state"][index] = state
        self.fields["reason"][index] = np.frombuffer(encode_reason(reason), np.uint8)
        for written in objects or ():
            number = self.arrays.index(written.array)
            self.fields["object_bytes"][index][number] = written.size
            self.fields["object_checksum"][index][number] = written.checksum
        self._dirty.add((index[0] // LEDGER_CHUNK, index[1] // LEDGER_CHUNK))

    def mark_outside(self, blocks: Iterable[BlockIndex]) -> None:
        """Set ``blocks`` to `BlockState.OUTSIDE`."""
        for index in blocks:
            if self.state(index) is not BlockState.OUTSIDE:
                self.mark(index, BlockResult(state=BlockState.OUTSIDE))

    def state(self, index: BlockIndex) -> BlockState:
        """The state of block ``index``."""
        return BlockState(int(self.fields["state"][index]))

    def reason(self, index: BlockIndex) -> str:
        """The reason why block ``index`` failed; empty when it did not."""
        return bytes(self.fields["reason"][index]).rstrip(b"\0").decode()

    def todo(self) -> list[BlockIndex]:
        """Blocks that are pending or failed, north to south, then west to east."""
        return cells_where(self.fields["state"], [state for state in BlockState if not state.finished])

    def failures(self, *states: BlockState) -> list[str]:
        """One line for each block that failed, or that has one of ``states``, with its state and the reason."""
        wanted = states or [state for state in BlockState if state.failed]
        failed = cells_where(self.fields["state"], wanted)
        return [f"block {index}: {self.state(index).words}: {self.reason(index)}" for index in failed]

    def remarks(self) -> list[tuple[BlockIndex, str]]:
        """Finished blocks that have something to say, and what."""
        finished = cells_where(self.fields["state"], [state for state in BlockState if state.finished])
        return [(index, text) for index in finished if (text := self.reason(index))]

    def counts(self) -> dict[BlockState, int]:
        """Number of blocks in every state, zeros included."""
        found = Counter(self.fields["state"].ravel().tolist())
        return {state: found[state.value] for state in BlockState}

    def flush(self, store: LedgerStore) -> int:
        """Store the chunks that changed, whole; their number. A chunk that cannot be stored stays dirty."""
        chunks = sorted(self._dirty)
        for chunk in chunks:
            rows, columns = (slice(n * LEDGER_CHUNK, (n + 1) * LEDGER_CHUNK) for n in chunk)
            store.save(chunk, {name: values[rows, columns] for name, values in self.fields.items()})
            self._dirty.discard(chunk)
        return len(chunks)


def cells_where(codes: NDArray[np.uint8], wanted: Sequence[int]) -> list[BlockIndex]:
    """Blocks whose code is one of ``wanted``, north to south, then west to east.

    Parameters
    ----------
    codes
        ``(block_y, block_x)``.
    wanted
        Codes.
    """
    rows, columns = np.nonzero(np.isin(codes, wanted))
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def encode_reason(reason: str) -> bytes:
    """``reason`` as exactly `REASON_BYTES` of UTF-8, zero-padded; the middle of a longer one is left out.

    Both ends are kept because a message starts with what was asked and often ends with the file's name.

    >>> encode_reason("a bad tile").rstrip(bytes(1))
    b'a bad tile'
    """
    text = without_secrets(" ".join(reason.split()).replace("\0", ""))
    encoded = text.encode()
    if len(encoded) > REASON_BYTES:
        mark = " … ".encode()
        head = (REASON_BYTES - len(mark)) * 2 // 3
        tail = REASON_BYTES - len(mark) - head
        # A cut inside a character would not decode: its bytes are dropped.
        ends = (part.decode(errors="ignore").encode() for part in (encoded[:head], encoded[-tail:]))
        encoded = mark.join(ends)
    return encoded.ljust(REASON_BYTES, b"\0")
