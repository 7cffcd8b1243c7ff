"""The seams: what a source, a predictor, a store, a block job and an engine promise each other.

Everything above (`work`, `observations`) is written against these; adapters below implement them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from landweave.core.blending import Array
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import BlockIndex, Extent
from landweave.core.legend import Legend
from landweave.core.timeseries import Observation


@dataclass(frozen=True, kw_only=True)
class Raster:
    """Pixels of one input on a grid.

    Attributes
    ----------
    values
        ``(band, y, x)`` in the input's own dtype and units; anything where ``valid`` is False.
    valid
        bool ``(y, x)``; True where every band holds a measurement.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One acquisition or tile as delivered: its id in the run's meaning, and what its bytes were.

    Attributes
    ----------
    id
        What the configuration's meaning rests on: stable when the file is repaired (its path under the source).
    location
        Path or URL to open.
    size
        Bytes.
    version
        Changes whenever the bytes do: modification time in nanoseconds, or an etag.
    format
        GDAL driver name, for pricing (``GTiff``, ``JP2OpenJPEG``, …).
    """

    id: str
    location: str
    size: int
    version: str
    format: str


@dataclass(frozen=True, kw_only=True)
class ReadCost:
    """What reading a grid will cost, from headers: file bytes touched, and pixels x bands decoded by format."""

    bytes: int = 0
    decoded_pixels: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: ReadCost) -> ReadCost:
        decoded = Counter(self.decoded_pixels)
        decoded.update(other.decoded_pixels)
        return ReadCost(bytes=self.bytes + other.bytes, decoded_pixels=dict(decoded))

    def __mul__(self, share: Fraction | int) -> ReadCost:
        """The cost of a share of the dates, or of several reads."""
        decoded = {name: round(pixels * share) for name, pixels in self.decoded_pixels.items()}
        return ReadCost(bytes=round(self.bytes * share), decoded_pixels=decoded)


class Source(Protocol):
    """Where one modality's pixels come from, with dates or without.

    Opened from headers only. Picklable (handles are opened in the worker, one a tile and thread). `read` may be
    called from several threads and gives the same bits for the same ground whatever the extent asked for.
    """

    @property
    def modality(self) -> str:
        """FLAIR-HUB's name, such as ``AERIAL_RGBI`` or ``SENTINEL2_TS``."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands it can give, by name, such as ``NIR``, ``DSM`` or ``VV``."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values that `read` gives."""

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """What the fingerprint holds: scene ids or step keys in order, rules, kernel; plain JSON values."""

    def describe(self) -> Mapping[str, Any]:
        """What was found and decided, for a person: plain values by name."""

    def bounds(self, grid: Grid) -> Bounds | None:
        """Bounds ``(x0, y0, x1, y1)`` of all scenes in the CRS of ``grid``; None when there are none."""

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """Scenes (of a cube: objects) that touch ``grid``, in reading order. No pixel is read."""

    def cost(self, grid: Grid) -> ReadCost:
        """What `read` of this grid, and of every date, would cost. No pixel is read."""


class RasterSource(Source, Protocol):
    """Where the pixels of a modality without dates come from: tiles, or a cube."""

    def read(self, grid: Grid, bands: Sequence[str]) -> Raster:
        """Pixels of ``bands`` on exactly ``grid``; invalid beyond the scenes.

        Raises
        ------
        ReadError
            When a scene cannot be read: a failed read is never nodata.
        """


@dataclass(frozen=True, kw_only=True)
class Series:
    """Dates of one input on a grid.

    Attributes
    ----------
    values
        ``(time, band, y, x)`` in the input's own dtype and units; 0 where nothing was measured.
    pixel_class
        uint8 `landweave.core.timeseries.PixelClass` ``(time, y, x)``.
    """

    values: NDArray[Any]
    pixel_class: NDArray[np.uint8]


@runtime_checkable
class SeriesSource(Source, Protocol):
    """Where the dates of a modality come from: scenes of a catalog, or a cube.

    `read` gives the same bits for the same ground and date whatever the extent and the dates asked for.
    """

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Its dates, ascending in time; passes of one instant in the order of their keys."""

    @property
    def quantity(self) -> str:
        """What is measured: ``reflectance`` (x 10000), ``sigma0``, ``gamma0_rtc``; with ``_db`` in decibels."""

    @property
    def cloud_mask(self) -> Mapping[str, Any]:
        """How pixel classes were told: from ``scl``, or from ``probability``; empty for radar.

        With the latter also ``cloud_max`` and ``snow_max``, the largest probabilities (0 to 100) of a clear pixel.
        """

    def read(self, grid: Grid, bands: Sequence[str], indices: Sequence[int]) -> Series:
        """Pixels of ``bands`` at ``observations`` (indices in `observations`, in that order) on exactly ``grid``.

        Raises
        ------
        ReadError
            When a scene cannot be read: a failed read is never nodata.
        """


@dataclass(frozen=True, kw_only=True)
class InputBatch:
    """One input of a batch of windows, as read.

    Attributes
    ----------
    values
        ``(n, band, y, x)``, or ``(n, time, band, y, x)`` for a series; the input's dtype and units.
    valid
        bool ``(n, y, x)`` or ``(n, time, y, x)``.
    days
        float32 ``(n, time)`` day offsets by the card's formula; None for a single date.
    present
        bool ``(n, time)``, True for a real date, False for padding; None for a single date.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    days: NDArray[np.float32] | None = None
    present: NDArray[np.bool_] | None = None


class Predictor(Protocol):
    """A model in one process. Not thread-safe: callers hold one lock around it."""

    def predict(self, batch: Mapping[str, InputBatch]) -> Array:
        """Class probabilities, float32 ``(n, class, y, x)`` in base pixels of the window, on its own device.

        ``n`` is always the run's batch size. A sample's answer does not depend on its neighbours.

        Raises
        ------
        PredictError
            When the model fails or answers something that is not finite.
        """


class Model(Protocol):
    """A model before it is loaded: picklable, a few hundred bytes; opened once a worker process."""

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """What the fingerprint holds: the card's and the weights' sha256, numerics; plain JSON values."""

    @property
    def batch_size(self) -> int:
        """Windows in every call of `Predictor.predict`; the last batch of a block is filled up."""

    @property
    def torch_threads(self) -> int | None:
        """Threads the numeric library uses in a process; None where there is none."""

    def memory_bytes(self) -> int:
        """What the open predictor holds at its peak, one batch in flight."""

    def verify(self) -> None:
        """Raise what `open` would raise on a worker, on a machine that need not have the worker's devices."""

    def open(self) -> Predictor:
        """Load it in this process.

        Raises
        ------
        WeightsError
            When the weights do not fit.
        """


class BlockState(IntEnum):
    """The state of a block. The values are stored: never renumber."""

    PENDING = 0
    DONE = 1
    OUTSIDE = 2
    NO_INPUT = 3
    READ_FAILED = 4
    MODEL_FAILED = 5
    FAILED = 6
    WORKER_DIED = 7

    @property
    def words(self) -> str:
        """Its name as a person reads it."""
        return self.name.lower().replace("_", " ")

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do for the block."""
        return self in (BlockState.DONE, BlockState.OUTSIDE, BlockState.NO_INPUT)

    @property
    def failed(self) -> bool:
        """Whether the block was tried and gave nothing."""
        return self in (BlockState.READ_FAILED, BlockState.MODEL_FAILED, BlockState.FAILED, BlockState.WORKER_DIED)


@dataclass(frozen=True, kw_only=True)
class WrittenObject:
    """One object of a block as it was written: array name, bytes, and the first 8 bytes of their sha256."""

    array: str
    size: int
    checksum: int


@dataclass(frozen=True, kw_only=True)
class BlockResult:
    """What a worker tells the driver about one block; a few hundred bytes.

    Attributes
    ----------
    state, reason
        What became of it, and why when it failed (which file, what happened).
    objects
        What was written.
    inputs
        Digest of the versions of every scene used (`landweave.jobs.fingerprint.digest64`).
    seconds
        Wall time by stage: ``read``, ``predict``, ``blend``, ``argmax``, ``write``, and ``total``.
    counts
        Other sums worth keeping: ``windows``, ``pixels``, ``peak_bytes``, …
    """

    state: BlockState
    reason: str = ""
    objects: tuple[WrittenObject, ...] = ()
    inputs: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


LEDGER_CHUNK = 64
"""Blocks a side of one stored ledger chunk: one cell a chunk would take minutes to open at 40,000 blocks."""

REASON_BYTES = 256
"""Room for a block's reason, UTF-8, zero-padded."""

LEDGER_FIELDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "state": ("uint8", ()),
    "attempts": ("uint8", ()),
    "inputs": ("uint64", ()),
    "seconds": ("float32", ()),
    "windows": ("uint32", ()),
    "object_bytes": ("uint64", ("array",)),
    "object_checksum": ("uint64", ("array",)),
    "reason": ("uint8", ("reason_byte",)),
}
"""Arrays of a ledger: dtype, and the dimensions after ``(block_y, block_x)``. ``array`` runs over the names of
the arrays a job writes, ``reason_byte`` over `REASON_BYTES`."""


class LedgerStore(Protocol):
    """Where the driver keeps a ledger. One writer."""

    def load(self) -> dict[str, NDArray[Any]]:
        """Every field of `LEDGER_FIELDS`, whole; zeros where nothing was saved."""

    def save(self, chunk: tuple[int, int], fields: Mapping[str, NDArray[Any]]) -> None:
        """Write one ledger chunk (`LEDGER_CHUNK` blocks a side, less at the end) of every field, each atomically."""


BlockFunction = Callable[[BlockIndex], BlockResult]
"""Does one block, whole, and may be called from two threads at once."""


class BlockJob(Protocol):
    """Any work cut into independent blocks: aligning, mapping, publishing, evaluating.

    Picklable. The engine carries it to each worker process once and calls `open` there once.
    """

    @property
    def key(self) -> str:
        """Names the job on its workers: the fingerprint's sha256 and the run's id."""

    @property
    def torch_threads(self) -> int | None:
        """Threads of numeric libraries a process; None where no model runs."""

    def open(self) -> BlockFunction:
        """Load what blocks share (a model, indexes) in this process."""


BlockResults = Generator[tuple[BlockIndex, BlockResult], None, None]
"""What an engine gives back, block by block."""


class Store(Protocol):
    """Where the arrays of a run go. Picklable; `write` is called from several threads and processes."""

    def write(self, index: BlockIndex, arrays: Mapping[str, NDArray[Any]]) -> tuple[WrittenObject, ...]:
        """Write one block of every array, each as one whole object, atomically."""


class Area(Protocol):
    """Ground to be mapped. Picklable."""

    def touches(self, grid: Grid) -> bool:
        """Whether any of the grid's ground may lie in the area (quick; used in planning)."""

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        """Pixels of ``grid`` whose centre is inside, bool ``(y, x)``; the same answer for any extent."""


class Engine(Protocol):
    """Who runs blocks. The inline engine (a plain loop) is the reference; results never depend on the engine."""

    @property
    def name(self) -> str:
        """``inline`` or ``dask``, with what a person wants to know: workers, dashboard link."""

    def run(self, job: BlockJob, blocks: Iterable[BlockIndex]) -> BlockResults:
        """Results as blocks end, in any order, each block once. A bounded number is in flight.

        ``blocks`` is drawn from as room appears. Closing the generator cancels what has not begun.
        """


class MapReader(Protocol):
    """A finished or growing map as those who publish it see it: pixels by level, and what they mean."""

    @property
    def legend(self) -> Legend:
        """What the codes mean."""

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Pixels of each level, the full resolution first."""

    @property
    def arrays(self) -> tuple[str, ...]:
        """``landcover``, and ``confidence`` and ``probability`` where the map has them."""

    @property
    def block_size(self) -> int:
        """Pixels a side of a stored object: reads along whole blocks are the cheap ones."""

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Provenance, plain JSON values."""

    def read(self, array: str, extent: Extent, level: int = 0) -> NDArray[np.uint8]:
        """Pixels of ``extent``, counted as ``grids[level]`` counts; 255 where there is no answer."""
