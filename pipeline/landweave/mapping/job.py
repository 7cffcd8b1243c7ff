"""One block of the map: read every input once, predict the windows that touch it, blend, classify, write.

::

    read (block + halo) ──> dates of each window ──> batches of one length ──> model
    write <── argmax <── weighted sums, some rows at a time <── windows in lattice order ┘
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landweave.core.blending import Array, Logits
from landweave.core.budget import decoding_threads
from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Blocks, Extent, Span
from landweave.core.legend import NODATA
from landweave.core.needed_windows import NeededWindows, needed_windows
from landweave.core.protocols import (
    Area,
    BlockResult,
    BlockState,
    InputBatch,
    Model,
    Predictor,
    SourceFile,
    Store,
    WorkerNeeds,
)
from landweave.core.stopwatch import Stopwatch
from landweave.jobs.fingerprint import digest_files
from landweave.jobs.needs import file_problems, output_facts, output_problems
from landweave.mapping.accumulator import ArgmaxRule, BlockAccumulator
from landweave.mapping.batching import group_windows
from landweave.mapping.device_queue import DeviceQueue, Group
from landweave.mapping.inputs import MapInput, filtered_series, own_pixels
from landweave.mapping.loaded_inputs import BlockInputs, WindowDates
from landweave.sources.files import decoded_by
from landweave.sources.libraries import library_facts
from landweave.store.maps.store import MapStore

BATCHES_AHEAD = 4
"""Batches' worth of windows that are drawn while one waits for others whose series are as long as its own."""

UNTRAINED = "untrained"
"""Name of the count of pixels of which classes that do not count had everything."""

Arrays = dict[str, NDArray[np.uint8]]


def absent_key(modality: str) -> str:
    """Name of the count of windows in which a series measured nothing."""
    return f"absent {modality}"


@dataclass(frozen=True, kw_only=True)
class MapJob(ArgmaxRule):
    """Everything a worker needs to map any block, beside the rule of its arrays: `landweave.core.protocols.BlockJob`.

    A picklable value.

    Attributes
    ----------
    key
        Identifies the run on its workers.
    grid
        Base pixels over all of ``blocks``.
    blocks
        In base pixels.
    bounds
        Base pixels inside the bounds of the area, or of the imagery: no window is computed for others. None for all.
    model, inputs
        The model, and its inputs by name.
    area
        Where pixels are written; None for everywhere.
    imagery
        Ground of the required inputs where there is no area: blocks beyond it are outside. None for everywhere.
    store
        Where the arrays are written.
    """

    key: str
    grid: Grid
    blocks: Blocks
    bounds: Extent | None = None
    model: Model
    inputs: Mapping[str, MapInput]
    area: Area | None
    imagery: Area | None = None
    store: Store

    def open(self) -> MapFunction:
        """Load the model; the function maps one block and may be called from two threads."""
        return MapFunction(self, self.model.open())

    def read_grid(self, item: MapInput, extent: Extent) -> Grid:
        """Pixels of one input that a block needs: the footprints of the windows that touch it, and its own.

        Parameters
        ----------
        item
            One of ``inputs``.
        extent
            The block, in base pixels.
        """
        lattice, extent = self.blending.lattice, self.wanted(extent)
        windows = lattice.read_extent(extent, self.blending.support)
        footprints = item.footprint.read_extent(windows, lattice.window)
        return own_pixels(item, self.grid, footprints.unite(extent.coarsen(item.factor)))

    def wanted(self, extent: Extent) -> Extent:
        """The part of ``extent`` (base pixels) inside `bounds`, in whole output pixels."""
        if self.bounds is None:
            return extent
        return extent.intersect(self.bounds.coarsen(self.factor).refine(self.factor))

    def needed(self) -> NeededWindows:
        """The windows that the area, or the imagery, needs; reads no pixels."""
        return needed_windows(self.blending, self.grid, self.wanted(self.blocks.extent), (self.area, self.imagery))

    def read(self, extent: Extent) -> BlockInputs:
        """Every input over ``extent`` (base pixels) and its halo, each read once."""
        return self._load({name: self.read_grid(item, extent) for name, item in self.inputs.items()})

    def window(self, window: Extent) -> dict[str, InputBatch]:
        """The inputs of one window, anywhere, as the predictor takes them: a batch of one."""
        cuts = {name: own_pixels(item, self.grid, item.footprint.cut(window)) for name, item in self.inputs.items()}
        inputs = self._load(cuts)
        return inputs.batch([window], [inputs.select(window)])

    def _load(self, grids: Mapping[str, Grid]) -> BlockInputs:
        return BlockInputs(
            loaded={name: item.load(grids[name], self.grid) for name, item in self.inputs.items()},
            required=frozenset(name for name, item in self.inputs.items() if item.required),
            filtered=filtered_series(self.inputs),
        )

    def output_grid(self, extent: Extent) -> Grid:
        """Output pixels of ``extent`` (base pixels)."""
        return self.grid.with_extent(extent).coarsen(self.factor)

    @cached_property
    def outside(self) -> NDArray[np.bool_] | None:
        """Which blocks are wholly outside the area or the imagery, ``(block_y, block_x)``; reads no pixels."""
        rows, columns = self.blocks.rows, self.blocks.columns
        touched = [area.touched(self.grid, rows, columns) for area in (self.area, self.imagery) if area is not None]
        return ~np.logical_and.reduce(touched) if touched else None

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        """Output pixels of ``grid`` inside the area, bool ``(y, x)``."""
        return self.area.mask(grid) if self.area else np.ones(grid.shape, np.bool_)

    def files(self, index: BlockIndex) -> Iterator[tuple[str, SourceFile]]:
        """The files that block ``index`` reads, each with its modality, as they are now."""
        extent = self.blocks[index]
        for name, item in self.inputs.items():
            yield from ((name, file) for file in item.source.files(self.read_grid(item, extent)))

    def facts(self) -> Mapping[str, str]:
        """What of this process decides the map's bits, and whether it sees the output under its lease."""
        model = self.model.facts() if isinstance(self.model, WorkerNeeds) else {}
        output = output_facts(self.store.target) if isinstance(self.store, MapStore) else {}
        return {**library_facts(), **model, **output}

    def problems(self) -> tuple[str, ...]:
        """What blocks lack in this process: the files of three blocks are looked at, and the output."""
        inside = [index for index in self.blocks if self.outside is None or not self.outside[index]]
        some = [inside[number] for number in sorted({0, len(inside) // 2, len(inside) - 1})] if inside else []
        return (
            *(self.model.problems() if isinstance(self.model, WorkerNeeds) else ()),
            *file_problems(pair for index in some for pair in self.files(index)),
            *(output_problems(self.store.target) if isinstance(self.store, MapStore) else ()),
        )

    def sent_files(self) -> Mapping[str, Path]:
        """Weights, by their sha256."""
        return self.model.sent_files() if isinstance(self.model, WorkerNeeds) else {}

    def input_version(self, index: BlockIndex) -> int:
        """Digest of the files that block ``index`` reads, as they are now."""
        return digest_files(self.files(index))


class MapFunction:
    """Maps one block after another in one process; its threads share the model and the one thread it runs in.

    Parameters
    ----------
    job
        The map.
    predictor
        The open model.
    """

    def __init__(self, job: MapJob, predictor: Predictor) -> None:
        self.job = job
        self._device = DeviceQueue(predictor)
        self._decoders = decoding_threads(len(os.sched_getaffinity(0))) if self._device.ahead else 1

    def __call__(self, index: BlockIndex) -> BlockResult:
        """Map block ``index`` and write it whole."""
        watch = Stopwatch()
        with watch("total"):
            result = self._map(index, watch)
        return replace(result, seconds=dict(watch.seconds))

    def _map(self, index: BlockIndex, watch: Stopwatch) -> BlockResult:
        job = self.job
        if job.outside is not None and job.outside[index]:
            return BlockResult(state=BlockState.OUTSIDE)
        inputs, found, extent = job.input_version(index), Counter[str](), job.blocks[index]
        arrays, windows = self.predict(extent, watch, found)
        covered = int(np.count_nonzero(job.mask(job.output_grid(job.wanted(extent)))))
        if arrays is None:
            return BlockResult(state=BlockState.NO_INPUT, inputs=inputs, counts={"covered": covered})
        with watch("compress"):
            objects = job.store.write(index, arrays)
        watch.seconds["write"] = stored = sum(each.seconds for each in objects)
        watch.seconds["compress"] -= stored
        valid = int((arrays["landcover"] != NODATA).sum())
        # What is nodata by the network's answer was measured.
        counts = {"windows": windows, "pixels": valid, "covered": covered, "valid": valid + found[UNTRAINED], **found}
        return BlockResult(state=BlockState.DONE, objects=objects, inputs=inputs, counts=counts)

    def predict(self, extent: Extent, watch: Stopwatch, found: Counter[str] | None = None) -> tuple[Arrays | None, int]:
        """The map over any extent of whole output pixels.

        Parameters
        ----------
        extent
            In base pixels.
        watch
            Adds up the seconds of each stage.
        found
            Counts the windows in which a series measured nothing, by its `absent_key`, and pixels that are `UNTRAINED`.

        Returns
        -------
        arrays
            uint8, 255 = nodata: ``landcover``, ``confidence`` and ``date_fallback`` ``(y, x)``, ``probability``
            ``(class, y, x)``. None where no pixel is inside the area and covered by the required inputs.
        windows
            Number of windows predicted.
        """
        job, support = self.job, self.job.blending.support
        inner, mapped = _true_part(job.wanted(extent), job.mask(job.output_grid(job.wanted(extent))), job.factor)
        if not inner.size:
            return None, 0
        with watch("read"), decoded_by(self._decoders):
            inputs = job.read(inner)
        mapped = mapped & inputs.covered(inner, job.factor)
        if not mapped.any():
            return None, 0
        cells = inner.coarsen(job.factor)
        windows = [
            window
            for window in job.blending.lattice.windows(inner, support)
            if mapped[window.part(support).intersect(inner).coarsen(job.factor).slices_in(cells)].any()
        ]
        accumulator = BlockAccumulator(rule=job, extent=inner, mapped=mapped, watch=watch)
        with closing(self._predictions(windows, inputs, watch)) as predictions:
            for window, dates, probabilities in predictions:
                accumulator.add(window, probabilities, inputs.date_fallback(dates))
                if found is not None:
                    found.update(map(absent_key, inputs.absent(dates)))
        arrays = accumulator.arrays()
        if found is not None:
            found[UNTRAINED] = int((mapped & (arrays["landcover"] == NODATA)).sum())
        return _framed(arrays, cells, extent.coarsen(job.factor)), len(windows)

    def _predictions(
        self, windows: Sequence[Extent], inputs: BlockInputs, watch: Stopwatch
    ) -> Generator[tuple[Extent, WindowDates, Array | Logits]]:
        """Every window with its dates and probabilities, in the order of ``windows``."""
        size = self.job.model.batch_size
        with watch("batch"):
            dates = [inputs.select(window) for window in windows]
        lengths = [tuple(selection.padded_length for selection in of_window.values()) for of_window in dates]

        def batches() -> Generator[tuple[Group, Mapping[str, InputBatch]]]:
            for group in group_windows(lengths, size=size, ahead=size * BATCHES_AHEAD):
                full = [*group, *[group[-1]] * (size - len(group))]
                with watch("batch"):
                    batch = inputs.batch([windows[number] for number in full], [dates[number] for number in full])
                yield group, batch

        predicted: dict[int, Array | Logits] = {}
        following = 0
        with closing(self._device.predict(batches(), watch)) as ended:
            for group, probabilities in ended:
                predicted.update((number, probabilities[row]) for row, number in enumerate(group))
                while following in predicted:
                    yield windows[following], dates[following], predicted.pop(following)
                    following += 1


def _true_part(extent: Extent, mapped: NDArray[np.bool_], factor: int) -> tuple[Extent, NDArray[np.bool_]]:
    """The smallest extent that holds every mapped pixel, and the mask over it; empty where there is none.

    Parameters
    ----------
    extent
        In base pixels.
    mapped
        Its output pixels, bool ``(y, x)``.
    factor
        Base pixels a side of one of them.
    """
    rows, columns = (np.flatnonzero(mapped.any(axis)) for axis in (1, 0))
    if not rows.size:
        return Extent(extent.y.intersect(Span(0, 0)), extent.x.intersect(Span(0, 0))), mapped[:0, :0]
    inner = Extent.of((int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1))
    cells = extent.coarsen(factor)
    return Extent(cells.y.part(inner.y), cells.x.part(inner.x)).refine(factor), mapped[
        inner.y.start : inner.y.stop, inner.x.start : inner.x.stop
    ]


def _framed(arrays: Arrays, inner: Extent, outer: Extent) -> Arrays:
    """The arrays over ``inner``, with nodata around them over ``outer``, both in output pixels."""
    if inner == outer:
        return arrays
    framed = {name: np.full((*part.shape[:-2], *outer.shape), NODATA, np.uint8) for name, part in arrays.items()}
    for name, part in arrays.items():
        framed[name][..., *inner.slices_in(outer)] = part
    return framed
