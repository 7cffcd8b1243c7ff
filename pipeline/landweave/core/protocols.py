"""Protocols and records between the parts: sources, models, block jobs, ledgers, stores, engines, maps.

Features are written against these; adapters implement them. What is said here of threads, pickling, dtypes, shapes,
nodata and errors holds for every implementation, whose docstrings point here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from landweave.core.blending import Array, Logits
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import BlockIndex, Extent, Span
from landweave.core.legend import Legend
from landweave.core.timeseries import Observation

if TYPE_CHECKING:
    from typing_extensions import TypeIs


@dataclass(frozen=True, kw_only=True)
class Raster:
    """Pixels of one input without dates, on a grid.

    Attributes
    ----------
    values
        ``(band, y, x)`` in the input's own dtype and units; arbitrary where ``valid`` is False.
    valid
        bool ``(y, x)``; True where every band has a measurement.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of a source as delivered: a tile, an asset of a scene, an object of a cube.

    Attributes
    ----------
    id
        Name in the fingerprint: the same when the file is repaired (its path under the source).
    location
        Path or URL to open.
    size
        Bytes.
    version
        Changes whenever the bytes do: modification time in nanoseconds, or an etag.
    format
        GDAL driver name, for the decode time (``GTiff``, ``JP2OpenJPEG``, …).
    """

    id: str
    location: str
    size: int
    version: str
    format: str


@dataclass(frozen=True, kw_only=True)
class ReadCost:
    """Cost of reading a grid, computed without reading pixels.

    Attributes
    ----------
    bytes
        Of the files that are read, whole or in part.
    decoded_pixels
        Pixels x bands to decode, by GDAL driver name.
    """

    bytes: int = 0
    decoded_pixels: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: ReadCost) -> ReadCost:
        decoded = Counter(self.decoded_pixels) + Counter(other.decoded_pixels)
        return ReadCost(bytes=self.bytes + other.bytes, decoded_pixels=dict(decoded))

    def __mul__(self, share: Fraction | int) -> ReadCost:
        """The cost of a share of the dates, or of several reads."""
        decoded = {name: round(pixels * share) for name, pixels in self.decoded_pixels.items()}
        return ReadCost(bytes=round(self.bytes * share), decoded_pixels=decoded)


class Source(Protocol):
    """The pixels of one modality, with or without dates.

    Opening a source reads metadata of its files, no pixels. It is picklable; files are opened in the process that
    reads them, one dataset a file and thread. `read` may be called from several threads at once, and a pixel has the
    same bits whatever extent is read with it.
    """

    @property
    def modality(self) -> str:
        """FLAIR-HUB's name, such as ``AERIAL_RGBI`` or ``SENTINEL2_TS``."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands that can be read, such as ``NIR``, ``DSM`` or ``VV``."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values that `read` returns."""

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """All that decides the values but the bytes of the files, as plain JSON values.

        Ids of files or observations in reading order, nodata and masks, resampling kernel, offsets.
        """

    def describe(self) -> Mapping[str, Any]:
        """Facts found in the files and how their pixels are read, as plain values by name, for `check`."""

    def bounds(self, grid: Grid) -> Bounds | None:
        """Bounds ``(x0, y0, x1, y1)`` of all files in the CRS of ``grid``; None when there are no files."""

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """Files (of a cube: objects) that intersect ``grid``, in reading order. No pixel is read."""

    def cost(self, grid: Grid) -> ReadCost:
        """Cost of reading ``grid``, on every date. No pixel is read."""


class RasterSource(Source, Protocol):
    """The pixels of a modality without dates: a mosaic, elevation models, or a raster of a cube."""

    def read(self, grid: Grid, bands: Sequence[str]) -> Raster:
        """Pixels of ``bands`` on exactly ``grid``; not valid where no file covers them.

        Parameters
        ----------
        grid
            CRS, resolution and extent of the result.
        bands
            Names among `bands`, in the order of the result.

        Raises
        ------
        ReadError
            When a file cannot be read: a failed read never becomes nodata.
        """


@dataclass(frozen=True, kw_only=True)
class Series:
    """Pixels of one input with dates, on a grid.

    Attributes
    ----------
    values
        ``(time, band, y, x)`` in the input's own dtype and units; 0 where nothing was measured.
    pixel_class
        uint8 `landweave.core.timeseries.PixelClass` ``(time, y, x)``.
    """

    values: NDArray[Any]
    pixel_class: NDArray[np.uint8]


class SeriesSource(Source, Protocol):
    """The observations of a modality: scenes of a STAC catalog, or a series of a cube.

    A pixel of an observation has the same bits whatever extent and dates are read with it.
    """

    @property
    def observations(self) -> tuple[Observation, ...]:
        """All observations, ascending in time; of one instant in the order of their datatake ids."""

    @property
    def quantity(self) -> str:
        """The measured quantity: ``reflectance`` (x 10000), ``sigma0``, ``gamma0_rtc``; with ``_db`` in decibels."""

    @property
    def cloud_mask(self) -> Mapping[str, Any]:
        """``source`` of the pixel classes, ``scl`` or ``probability``; empty for radar.

        With the latter also ``cloud_max`` and ``snow_max``, the largest probabilities (0 to 100) of a clear pixel.
        """

    def read(self, grid: Grid, bands: Sequence[str], indices: Sequence[int]) -> Series:
        """Pixels of ``bands`` of some observations on exactly ``grid``.

        Parameters
        ----------
        grid
            CRS, resolution and extent of the result.
        bands
            Names among `bands`, in the order of the result.
        indices
            In `observations`, in the order of the result.

        Raises
        ------
        ReadError
            When a file cannot be read: a failed read never becomes nodata.
        """


def has_dates(source: Source) -> TypeIs[SeriesSource]:
    """Whether a source is a series.

    One attribute tells: a runtime check of the whole protocol would compute every property of a large series.
    """
    return hasattr(source, "cloud_mask")


def source_notes(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """Notes among the facts of a source, and of the sources that it is made of.

    Parameters
    ----------
    name
        Of the source.
    facts
        From `Source.describe`.
    """
    yield from (f"{name}: {note}" for note in facts.get("notes", ()))
    for part, value in facts.items():
        if isinstance(value, Mapping):
            yield from source_notes(f"{name} {part}", value)


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

    def predict(self, batch: Mapping[str, InputBatch]) -> Array | Logits:
        """Class probabilities, float32 ``(n, class, y, x)`` in base pixels of the window, on the predictor's device.

        Or logits, in memory: blending then takes their softmax.

        ``n`` is always the batch size of the run. The prediction of a window does not depend on the others.

        Raises
        ------
        PredictError
            When the model fails or returns a value that is not finite.
        """


@runtime_checkable
class SendingPredictor(Predictor, Protocol):
    """A predictor on another device than the CPU: batches are on their way to it while it computes others."""

    @property
    def sent_ahead(self) -> int:
        """Batches of a block that are sent ahead; 0 where all is done by the same cores."""

    def send(self, batch: Mapping[str, InputBatch]) -> Any:
        """A batch on its way, which `predict` takes in its place; called from any thread.

        Raises
        ------
        PredictError
            When the device has no room for it.
        """


class Model(Protocol):
    """A model before it is loaded: picklable, a few hundred bytes; opened once a worker process."""

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """All that decides the predictions: the card's and the weights' sha256, numerics; plain JSON values."""

    @property
    def batch_size(self) -> int:
        """Windows in every call of `Predictor.predict`; the last batch of a block is padded."""

    @property
    def torch_threads(self) -> int | None:
        """Threads of the numeric library in a process; None where there is none."""

    def memory_bytes(self) -> int:
        """Peak memory of the open predictor with one batch."""

    def verify(self) -> tuple[str, ...]:
        """Raise what `open` would raise on a worker, on a machine that need not have the worker's devices.

        Returns
        -------
        tuple of str
            Notes for a person.
        """

    def open(self) -> Predictor:
        """The model loaded in this process.

        Raises
        ------
        WeightsError
            When the weights do not fit.
        """


class BlockState(IntEnum):
    """State of a block in the ledger. The values are stored: never renumber."""

    PENDING = 0
    DONE = 1
    OUTSIDE = 2
    NO_INPUT = 3
    READ_FAILED = 4
    MODEL_FAILED = 5
    FAILED = 6
    WORKER_DIED = 7
    DAMAGED = 8

    @property
    def words(self) -> str:
        """The name in plain text, such as ``read failed``."""
        return self.name.lower().replace("_", " ")

    @property
    def finished(self) -> bool:
        """Whether the block needs no further run."""
        return self in (BlockState.DONE, BlockState.OUTSIDE, BlockState.NO_INPUT)

    @property
    def failed(self) -> bool:
        """Whether the block was tried and nothing was written, or what was written is damaged."""
        return self is not BlockState.PENDING and not self.finished


@dataclass(frozen=True, kw_only=True)
class WrittenObject:
    """One object of a block as it was written.

    Attributes
    ----------
    array
        Name of the array.
    size, checksum
        Bytes, and the first 8 bytes of their sha256.
    seconds
        That its store took to keep it, once it was encoded.
    """

    array: str
    size: int
    checksum: int
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, kw_only=True)
class BlockResult:
    """Result of one block, sent from a worker to the driver; a few hundred bytes.

    Attributes
    ----------
    state, reason
        State of the block, and why it failed (which file, what happened), or what is missing in it.
    objects
        Objects that were written.
    inputs
        Digest of the versions of every file used (`landweave.jobs.fingerprint.digest64`).
    seconds
        Wall time by stage: ``read``, ``batch``, ``send`` to a GPU, ``wait`` for the model, ``predict``, ``blend`` (on a
        CPU the softmax is taken in the same loop), ``argmax``, ``compress``, ``write``, and ``total``. With a GPU
        stages go on side by side.
    counts
        Sums such as ``windows``, ``pixels``; ``covered`` pixels, those of them that are ``valid``.
    peak_bytes
        Most memory that the process of the block has held so far.
    process
        Which process that is, by machine and number.
    detail
        What a job gives that writes nothing, such as the confusion matrix of a block: picklable, some kB.
    """

    state: BlockState
    reason: str = ""
    objects: tuple[WrittenObject, ...] = ()
    inputs: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    peak_bytes: int = 0
    process: str = ""
    detail: Any = None


LEDGER_CHUNK = 64
"""Blocks a side of one stored ledger chunk: one cell a chunk would take minutes to open at 40,000 blocks."""

REASON_BYTES = 256
"""Length of a stored reason: UTF-8, cut and zero-padded."""

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
    """Storage of a ledger. Only the driver writes it."""

    def load(self) -> tuple[dict[str, NDArray[Any]], Mapping[tuple[int, int], frozenset[str]]]:
        """Every field of `LEDGER_FIELDS`, and the chunks that are damaged.

        Returns
        -------
        fields
            ``(block_y, block_x, …)``; zeros where nothing was saved.
        damaged
            By ``(row, column)`` of a chunk, the fields of it that cannot be read, or are missing beside its states.
        """

    def save(self, chunk: tuple[int, int], fields: Mapping[str, NDArray[Any]]) -> None:
        """Write one chunk of every field, each atomically.

        Parameters
        ----------
        chunk
            ``(row, column)``, counted in chunks of `LEDGER_CHUNK` blocks a side.
        fields
            Arrays ``(block_y, block_x, …)`` of that chunk, smaller at the south and east edges.
        """


BlockFunction = Callable[[BlockIndex], BlockResult]
"""Computes and writes one whole block; may be called from two threads at once."""


class BlockJob(Protocol):
    """Any work divided into independent blocks, such as aligning or mapping.

    Picklable. The engine sends it to each worker process once and calls `open` there once.
    """

    @property
    def key(self) -> str:
        """Name of the job on its workers: the fingerprint's sha256 and the run's id."""

    def open(self) -> BlockFunction:
        """Load what all blocks share (a model, indexes) in this process."""


@runtime_checkable
class WorkerNeeds(Protocol):
    """What a job needs of a process before it is given blocks; asked on every worker. A job may be one."""

    def facts(self) -> Mapping[str, str]:
        """What of this process decides the bits of the result, by name: versions of libraries, CPU, GPU."""

    def problems(self) -> Sequence[str]:
        """What the job's blocks lack here: inputs that cannot be read, an output that cannot be written."""

    def sent_files(self) -> Mapping[str, Path]:
        """Files by their sha256 that blocks read at the driver's path, or where it sent them: see `received_path`."""


BlockResults = Generator[tuple[BlockIndex, BlockResult], None, None]
"""Results of an engine, block by block."""


class WriteFence(Protocol):
    """What is asked just before an object is written. Picklable; called from any thread."""

    def check(self) -> None:
        """Raise `OutputError` when this run may write no more."""


class Store(Protocol):
    """Storage of the arrays of a run. Picklable; `write` is called from several threads and processes."""

    def write(self, index: BlockIndex, arrays: Mapping[str, NDArray[Any]]) -> tuple[WrittenObject, ...]:
        """Write one block of every array, each as one whole object, atomically.

        Parameters
        ----------
        index
            Of the block.
        arrays
            Arrays ``(…, y, x)`` over the whole block, by name.
        """


class Area(Protocol):
    """The area that is mapped. Picklable."""

    def touched(self, grid: Grid, rows: Sequence[Span], columns: Sequence[Span]) -> NDArray[np.bool_]:
        """Whether the area may intersect each rectangle (quick; used in planning), bool ``(row, column)``.

        Parameters
        ----------
        grid
            Pixels that the spans count; the extent means nothing.
        rows, columns
            Every row with every column is one rectangle; they may overlap.
        """

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        """Pixels of ``grid`` whose centre is inside, bool ``(y, x)``; a pixel has one value for any extent."""


class Engine(Protocol):
    """Executes blocks. The inline engine (a plain loop) is the reference; results never depend on the engine."""

    @property
    def name(self) -> str:
        """``inline`` or ``dask``, with the number of workers and the dashboard link."""

    def run(self, job: BlockJob, blocks: Iterable[BlockIndex]) -> BlockResults:
        """Results in the order in which blocks end, each block once.

        Closing the generator cancels blocks that have not begun.

        Parameters
        ----------
        job
            Opened once a process.
        blocks
            Taken one by one, so that a bounded number is in flight.
        """


MAP_MARK = "LANDWEAVE_MAP"
"""Tag of a TIFF or PNG file that was made of a map: it holds the fingerprint of the map."""


class MapReader(Protocol):
    """A complete or partial map as the writers of COG and pictures read it."""

    @property
    def legend(self) -> Legend:
        """Names and colours of the codes."""

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Grid of each level, the full resolution first."""

    @property
    def mapped_extent(self) -> Extent:
        """Pixels of the full resolution inside the bounds of the area, or of the imagery: what files show."""

    @property
    def arrays(self) -> tuple[str, ...]:
        """``landcover``, and ``confidence`` and ``probability`` where the map has them."""

    @property
    def block_size(self) -> int:
        """Pixels a side of a stored object: reading whole blocks is the fastest."""

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Provenance, plain JSON values."""

    def read(self, array: str, extent: Extent, level: int = 0) -> NDArray[np.uint8]:
        """Pixels of one array.

        Parameters
        ----------
        array
            Name among `arrays`.
        extent
            In pixels of ``grids[level]``.
        level
            0 is the full resolution, each further level twice as coarse.

        Returns
        -------
        ndarray
            uint8 ``(y, x)``, or ``(class, y, x)`` of ``probability``; 255 = nodata.
        """
