"""One block of the map: read every input once, predict the windows that touch it, blend, decide, write.

::

    read (block + halo) ──> dates of each window ──> batches of one length ──> model
    write <── decide <── weighted sums, one band of rows <── windows in lattice order ┘
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.blending import Array, Blending
from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Blocks, Extent
from landweave.core.legend import NODATA, Legend
from landweave.core.protocols import Area, BlockFunction, BlockResult, BlockState, InputBatch, Model, Predictor, Store
from landweave.core.stopwatch import Stopwatch
from landweave.jobs.fingerprint import digest64
from landweave.mapping.accumulator import ArgmaxRule, BlockAccumulator
from landweave.mapping.batching import group_windows
from landweave.mapping.inputs import AnyInput, filtered_series, own_pixels
from landweave.mapping.loaded_inputs import BlockInputs, Chosen

BATCHES_AHEAD = 4
"""Batches' worth of windows that are drawn while one waits for others whose series are as long as its own."""


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
        Which of ``landcover``, ``confidence``, ``probability``, ``date_fallback`` are kept.
    keep_untrained
        Whether classes the model was never trained on stay in the decision.
    """

    key: str
    grid: Grid
    blocks: Blocks
    factor: int
    blending: Blending
    model: Model
    inputs: Mapping[str, AnyInput]
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

    def read_grid(self, item: AnyInput, extent: Extent) -> Grid:
        """Pixels of ``item`` that ``extent`` needs: the footprints of the windows that touch it, and its own ground."""
        lattice = self.blending.lattice
        footprints = item.footprint.read_extent(lattice.read_extent(extent, self.blending.support), lattice.window)
        return own_pixels(item, self.grid, footprints.unite(extent.coarsen(item.factor)))

    def read(self, extent: Extent) -> BlockInputs:
        """Every input that ``extent`` needs, each read once."""
        return self._held({name: self.read_grid(item, extent) for name, item in self.inputs.items()})

    def window(self, window: Extent) -> dict[str, InputBatch]:
        """The inputs of one window, wherever it lies, as the predictor takes them: a batch of one."""
        cuts = {name: own_pixels(item, self.grid, item.footprint.cut(window)) for name, item in self.inputs.items()}
        inputs = self._held(cuts)
        return inputs.batch([window], [inputs.choose(window)])

    def _held(self, grids: Mapping[str, Grid]) -> BlockInputs:
        return BlockInputs(
            held={name: item.hold(grids[name], self.grid) for name, item in self.inputs.items()},
            required=frozenset(name for name, item in self.inputs.items() if item.required),
            filtered=filtered_series(self.inputs),
        )

    def output_grid(self, index: BlockIndex) -> Grid:
        """Output pixels of block ``index``."""
        return self.grid.with_extent(self.blocks[index]).coarsen(self.factor)

    def outside(self, index: BlockIndex) -> bool:
        """Whether block ``index`` lies wholly outside the area, judged without reading pixels."""
        return self.area is not None and not self.area.touches(self.output_grid(index))

    def input_version(self, index: BlockIndex) -> int:
        """Digest of the scenes that block ``index`` reads, as their files are now."""
        extent = self.blocks[index]
        scenes = [
            (modality, scene.id, scene.size, scene.version)
            for modality, item in self.inputs.items()
            for scene in item.source.files(self.read_grid(item, extent))
        ]
        return digest64(scenes)

    @property
    def decision(self) -> ArgmaxRule:
        """How blended probabilities become arrays."""
        return ArgmaxRule(
            blending=self.blending,
            factor=self.factor,
            legend=self.legend,
            arrays=self.arrays,
            keep_untrained=self.keep_untrained,
        )


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
            return BlockResult(state=BlockState.OUTSIDE)
        inputs = job.input_version(index)
        arrays, windows = self.answer(job.blocks[index], watch)
        if arrays is None:
            return BlockResult(state=BlockState.NO_INPUT, inputs=inputs)
        with watch("write"):
            objects = job.store.write(index, arrays)
        counts = {"windows": windows, "pixels": int((arrays["landcover"] != NODATA).sum())}
        return BlockResult(state=BlockState.DONE, objects=objects, inputs=inputs, counts=counts)

    def answer(self, extent: Extent, watch: Stopwatch) -> tuple[dict[str, NDArray[Any]] | None, int]:
        """Output arrays of any extent of whole output pixels, and how many windows ran.

        None where no pixel of it is inside the area and covered by the required inputs.

        Returns
        -------
        arrays
            uint8, 255 = nodata: ``landcover``, ``confidence`` and ``date_fallback`` ``(y, x)``, ``probability``
            ``(class, y, x)``.
        windows
            Windows predicted.
        """
        job = self.job
        inside = self._inside(extent)
        if not inside.any():
            return None, 0
        with watch("read"):
            inputs = job.read(extent)
        wanted = inside & self._covered(inputs, extent)
        if not wanted.any():
            return None, 0
        windows = [
            window
            for window in job.blending.lattice.windows(extent, job.blending.support)
            if wanted[self._cells(window.intersect(extent), extent)].any()
        ]
        canvas = BlockAccumulator(how=job.decision, extent=extent, wanted=wanted, watch=watch)
        for window, chosen, probabilities in self._predictions(windows, inputs, watch):
            canvas.add(window, probabilities, chosen.date_fallback)
        return canvas.arrays(), len(windows)

    def _inside(self, extent: Extent) -> NDArray[np.bool_]:
        grid = self.job.grid.with_extent(extent).coarsen(self.job.factor)
        return self.job.area.mask(grid) if self.job.area else np.ones(grid.shape, np.bool_)

    def _cells(self, part: Extent, extent: Extent) -> tuple[slice, slice]:
        return part.coarsen(self.job.factor).slices_in(extent.coarsen(self.job.factor))

    def _covered(self, inputs: BlockInputs, extent: Extent) -> NDArray[np.bool_]:
        """Output pixels wholly covered by every required input."""
        factor = self.job.factor
        height, width = extent.shape
        cells = inputs.covered(extent).reshape(height // factor, factor, width // factor, factor)
        return np.asarray(cells.all((1, 3)))

    def _predictions(
        self, windows: Sequence[Extent], inputs: BlockInputs, watch: Stopwatch
    ) -> Iterator[tuple[Extent, Chosen, Array]]:
        """Every window with what it was given and what the model answers, in the order of ``windows``."""
        size = self.job.model.batch_size
        chosen: dict[int, Chosen] = {}
        answers: dict[int, Array] = {}
        following = 0
        lengths = _lengths(windows, inputs, chosen, watch)
        for group in group_windows(lengths, size=size, ahead=size * BATCHES_AHEAD):
            full = [*group, *[group[-1]] * (size - len(group))]
            with watch("batch"):
                batch = inputs.batch([windows[place] for place in full], [chosen[place] for place in full])
            with watch("predict"):
                probabilities = self._device.submit(self._predictor.predict, batch).result()
            answers.update((place, probabilities[number]) for number, place in enumerate(group))
            while following in answers:
                yield windows[following], chosen.pop(following), answers.pop(following)
                following += 1


def _lengths(
    windows: Sequence[Extent], inputs: BlockInputs, chosen: dict[int, Chosen], watch: Stopwatch
) -> Iterator[tuple[int, ...]]:
    """Lengths of the series of each window; what it is given is put into ``chosen``."""
    for place, window in enumerate(windows):
        with watch("batch"):
            chosen[place] = inputs.choose(window)
        yield chosen[place].lengths
