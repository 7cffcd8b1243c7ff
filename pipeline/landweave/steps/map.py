"""One block of the map: read every input once, predict the windows that touch it, blend, decide, write.

::

    read (block + halo) -> windows in lattice order -> weighted sums, one band of rows -> decide -> write
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from array_api_compat import to_device
from numpy.typing import NDArray

from landweave.blending import Array, Band, Blending, coarsen, decide, drop_untrained
from landweave.grid import Grid
from landweave.lattice import BlockIndex, Blocks, Extent, Span
from landweave.legend import NODATA, Legend
from landweave.ports import (
    BlockFunction,
    BlockResult,
    InputBatch,
    Model,
    Predictor,
    Raster,
    Source,
    State,
    Store,
)
from landweave.work.fingerprint import digest64

CONFIDENCE_SCALE = 250
"""Stored confidence of a probability of 1; 255 is nodata."""


class Area(Protocol):
    """Ground to be mapped. Picklable."""

    def touches(self, grid: Grid) -> bool:
        """Whether any of the grid's ground may lie in the area (quick; used in planning)."""

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        """Pixels of ``grid`` whose centre is inside, bool ``(y, x)``; the same answer for any extent."""


@dataclass(frozen=True, kw_only=True)
class MapInput:
    """One input of the model: which bands of which source, on which nested pixel.

    Attributes
    ----------
    source
        Where the pixels come from.
    bands
        In the order the model wants.
    factor
        Base pixels a side of one pixel of this input.
    required
        Whether ground without it is nodata.
    """

    source: Source
    bands: tuple[str, ...]
    factor: int = 1
    required: bool = True

    def read(self, grid: Grid) -> Raster:
        """Pixels over the ground of ``grid`` (base pixels, whole pixels of this input)."""
        return self.source.read(grid.coarsen(self.factor), self.bands)


@dataclass(frozen=True, kw_only=True)
class MapJob:
    """Everything a worker must know to map any block; a picklable value.

    Attributes
    ----------
    key
        Names the run on its workers.
    grid
        Base pixels over all of ``blocks``.
    blocks
        In base pixels.
    factor
        Base pixels a side of one output pixel.
    blending
        Lattice and profile of the windows.
    model, inputs, legend
        What answers, from what, and what its channels mean.
    area
        Ground to be written; None for all of it.
    store
        Where the arrays go.
    arrays
        Which of ``landcover``, ``confidence``, ``probability`` are kept.
    keep_untrained
        Whether classes the model was never trained on stay in the decision.
    """

    key: str
    grid: Grid
    blocks: Blocks
    factor: int
    blending: Blending
    model: Model
    inputs: Mapping[str, MapInput]
    legend: Legend
    area: Area | None
    store: Store
    arrays: tuple[str, ...] = ("landcover", "confidence")
    keep_untrained: bool = False

    @property
    def torch_threads(self) -> int | None:
        """Threads of the numeric library in each process."""
        return self.model.torch_threads

    def open(self) -> BlockFunction:
        """Load the model; the function maps one block and may be called from two threads."""
        return MapFunction(self, self.model.open())

    def reach(self, index: BlockIndex) -> Grid:
        """Base pixels that block ``index`` reads: every window that touches it, whole."""
        return self.grid.with_extent(self.blending.lattice.reach(self.blocks[index], self.blending.support))

    def output_grid(self, index: BlockIndex) -> Grid:
        """Output pixels of block ``index``."""
        return self.grid.with_extent(self.blocks[index]).coarsen(self.factor)

    def outside(self, index: BlockIndex) -> bool:
        """Whether block ``index`` lies wholly outside the area, judged without reading pixels."""
        return self.area is not None and not self.area.touches(self.output_grid(index))

    def input_version(self, index: BlockIndex) -> int:
        """Digest of the scenes that block ``index`` reads, as their files are now."""
        reach = self.reach(index)
        scenes = [
            (modality, scene.id, scene.size, scene.version)
            for modality, item in self.inputs.items()
            for scene in item.source.scenes(reach.coarsen(item.factor))
        ]
        return digest64(scenes)


class Stopwatch:
    """Seconds spent by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of a ``with`` block to ``stage``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


class MapFunction:
    """Maps one block after another in one process; the threads share the model and the one thread it runs in."""

    def __init__(self, job: MapJob, predictor: Predictor) -> None:
        self.job = job
        self._predictor = predictor
        # One thread, not one lock: a numeric library keeps a team of threads for every thread that calls it, and the
        # team that waits would take the cores of the one that works (measured: a forward takes half as long again).
        self._device = ThreadPoolExecutor(max_workers=1, thread_name_prefix="landweave-device")

    def __call__(self, index: BlockIndex) -> BlockResult:
        """Map block ``index`` and write it whole."""
        watch = Stopwatch()
        with watch("total"):
            result = self._map(index, watch)
        return BlockResult(
            state=result.state,
            objects=result.objects,
            inputs=result.inputs,
            counts=result.counts,
            seconds=dict(watch.seconds),
        )

    def _map(self, index: BlockIndex, watch: Stopwatch) -> BlockResult:
        job = self.job
        if job.outside(index):
            return BlockResult(state=State.OUTSIDE)
        inputs = job.input_version(index)
        arrays, windows = self.answer(job.blocks[index], watch)
        if arrays is None:
            return BlockResult(state=State.NO_INPUT, inputs=inputs)
        with watch("write"):
            objects = job.store.write(index, arrays)
        counts = {"windows": windows, "pixels": int((arrays["landcover"] != NODATA).sum())}
        return BlockResult(state=State.DONE, objects=objects, inputs=inputs, counts=counts)

    def answer(self, extent: Extent, watch: Stopwatch) -> tuple[dict[str, NDArray[Any]] | None, int]:
        """Output arrays of any extent of whole output pixels, and how many windows ran.

        None where no pixel of it is inside the area and covered by the required inputs.

        Returns
        -------
        arrays
            ``landcover`` and ``confidence`` uint8 ``(y, x)``, ``probability`` uint8 ``(class, y, x)``; 255 = nodata.
        windows
            Windows predicted.
        """
        job = self.job
        inside = self._inside(extent)
        if not inside.any():
            return None, 0
        reach = job.grid.with_extent(job.blending.lattice.reach(extent, job.blending.support))
        with watch("read"):
            rasters = {name: item.read(reach) for name, item in job.inputs.items()}
        wanted = inside & self._covered(rasters, reach.extent, extent)
        if not wanted.any():
            return None, 0
        windows = [
            window
            for window in job.blending.lattice.windows(extent, job.blending.support)
            if wanted[self._cells(window.intersect(extent), extent)].any()
        ]
        canvas = _Canvas(job, extent, wanted, watch)
        for window, probabilities in self._predictions(windows, rasters, reach.extent, watch):
            canvas.add(window, probabilities)
        return canvas.arrays(), len(windows)

    def _inside(self, extent: Extent) -> NDArray[np.bool_]:
        grid = self.job.grid.with_extent(extent).coarsen(self.job.factor)
        return self.job.area.mask(grid) if self.job.area else np.ones(grid.shape, np.bool_)

    def _cells(self, part: Extent, extent: Extent) -> tuple[slice, slice]:
        return part.coarsen(self.job.factor).slices_in(extent.coarsen(self.job.factor))

    def _covered(self, rasters: Mapping[str, Raster], reach: Extent, extent: Extent) -> NDArray[np.bool_]:
        """Output pixels wholly covered by every required input."""
        covered = np.ones(extent.shape, np.bool_)
        for name, item in self.job.inputs.items():
            if item.required:
                held = reach.coarsen(item.factor)
                touched = extent.coarsen(item.factor)
                valid = rasters[name].valid[touched.slices_in(held)]
                fine = valid.repeat(item.factor, 0).repeat(item.factor, 1)
                covered &= fine[extent.slices_in(touched.refine(item.factor))]
        factor = self.job.factor
        height, width = extent.shape
        cells = covered.reshape(height // factor, factor, width // factor, factor)
        return np.asarray(cells.all((1, 3)))

    def _predictions(
        self, windows: Sequence[Extent], rasters: Mapping[str, Raster], reach: Extent, watch: Stopwatch
    ) -> Iterator[tuple[Extent, Array]]:
        size = self.job.model.batch_size
        for start in range(0, len(windows), size):
            group = windows[start : start + size]
            full = [*group, *[group[-1]] * (size - len(group))]
            with watch("batch"):
                batch = {
                    name: self._cut(rasters[name], item.factor, reach, full) for name, item in self.job.inputs.items()
                }
            with watch("predict"):
                probabilities = self._device.submit(self._predictor.predict, batch).result()
            for place, window in enumerate(group):
                yield window, probabilities[place]

    @staticmethod
    def _cut(raster: Raster, factor: int, reach: Extent, windows: Sequence[Extent]) -> InputBatch:
        held = reach.coarsen(factor)
        places = [window.coarsen(factor).slices_in(held) for window in windows]
        return InputBatch(
            values=np.stack([raster.values[:, y, x] for y, x in places]),
            valid=np.stack([raster.valid[y, x] for y, x in places]),
        )


@dataclass
class _Canvas:
    """Blends windows as they come and decides the rows that are done."""

    job: MapJob
    extent: Extent
    wanted: NDArray[np.bool_]
    watch: Stopwatch
    band: Band = field(init=False)
    top: int = field(init=False)
    results: dict[str, NDArray[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.band = Band(self.job.blending, self.extent, cell=self.job.factor)
        self.top = self.extent.y.start
        shapes = {"probability": (len(self.job.legend), *self.wanted.shape)}
        self.results = {
            name: np.full(shapes.get(name, self.wanted.shape), NODATA, np.uint8) for name in self.job.arrays
        }

    def add(self, window: Extent, probabilities: Array) -> None:
        """Add one window; rows no later window can touch are decided first."""
        self._finish(window.y.start + self.job.blending.support.start)
        with self.watch("blend"):
            self.band.add(window, probabilities)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The finished arrays of the block."""
        self._finish(self.extent.y.stop)
        return self.results

    def _finish(self, stop: int) -> None:
        factor = self.job.factor
        stop = max(self.top, min(stop, self.extent.y.stop)) // factor * factor
        # Where rows of windows were left out the next one may be far below: no more than a window at once.
        step = -(-self.job.blending.lattice.window // factor) * factor
        for top in range(self.top, stop, step):
            self._finish_rows(Span(top, min(top + step, stop)))
        self.top = stop

    def _finish_rows(self, rows: Span) -> None:
        with self.watch("blend"):
            blended = self.band.finish(rows.stop)
        if blended is not None:
            with self.watch("decide"):
                cells = rows.coarsen(self.job.factor)
                place = cells.slice_in(self.extent.y.coarsen(self.job.factor))
                self._decide(coarsen(blended, self.job.factor), place)

    def _decide(self, probabilities: Array, rows: slice) -> None:
        legend, wanted = self.job.legend, self.wanted[rows]
        trained = (True,) * len(legend) if self.job.keep_untrained else legend.trained
        probabilities = drop_untrained(probabilities, trained)
        channel, best = decide(probabilities, trained)
        codes = np.array(legend.codes, np.uint8)
        answers: dict[str, Callable[[], NDArray[np.uint8]]] = {
            "landcover": lambda: codes[_host(channel)],
            "confidence": lambda: _scaled(best),
            "probability": lambda: _scaled(probabilities),
        }
        for name, result in self.results.items():
            result[..., rows, :] = np.where(wanted, answers[name](), np.uint8(NODATA))


def _host(array: Array) -> NDArray[Any]:
    move: Any = to_device  # array-api-compat has no types
    return np.asarray(move(array, "cpu"))


def _scaled(probability: Array) -> NDArray[np.uint8]:
    return np.rint(_host(probability) * np.float32(CONFIDENCE_SCALE)).astype(np.uint8)
