"""The price of a map, against windows counted one by one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest

from landweave.core.blending import Blend, Blending
from landweave.core.budget import GIB, BlockMemory
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent, Lattice
from landweave.core.protocols import BlockResult, BlockState, Raster, ReadCost, Series
from landweave.core.timeseries import Observation
from landweave.jobs.ledger import Ledger
from landweave.jobs.plan import NAMED, plan_block_actions
from landweave.mapping.estimate import Estimate
from landweave.mapping.inputs import MapInput
from landweave.mapping.job import MapJob
from landweave.mapping.plan import MapPlan, cost_map
from tests.helpers.memory import ArraySeries, ArraySource, ArrayStore, ConstantModel, gray_legend

GRID = Grid.from_bounds((700000, 6600000, 700060, 6600044), crs="EPSG:2154", resolution=0.2)
MEMORY = BlockMemory(inputs=GIB, blending=0, outputs=0, model=GIB)
WINDOW, STRIDE = 32, 24


@dataclass(frozen=True, kw_only=True)
class Priced(ArraySource):
    """Costs a byte and two decoded pixels for every pixel asked for, and never reads."""

    def cost(self, grid: Grid) -> ReadCost:
        pixels = grid.shape[0] * grid.shape[1]
        return ReadCost(bytes=pixels, decoded_pixels={"JP2OpenJPEG": 2 * pixels})

    def read(self, grid: Grid, bands: Sequence[str]) -> Raster:
        raise AssertionError("planning reads no pixel")


def job(block: int = 64, blend: Blend = Blend.COSINE, factor: int = 1) -> MapJob:
    blocks = Blocks.covering(GRID.extent, block)
    source = Priced(bands=("R",), grid=GRID, values=np.zeros((1, *GRID.shape), np.uint8))
    return MapJob(
        key="plan",
        grid=GRID.with_extent(blocks.extent),
        blocks=blocks,
        factor=factor,
        blending=Blending(Lattice(window=WINDOW, stride=STRIDE), blend),
        model=ConstantModel(classes=3),
        inputs={"AERIAL_RGBI": MapInput(source=source, bands=("R",))},
        legend=gray_legend(3),
        area=None,
        store=ArrayStore(blocks=blocks.coarsen(factor)),
    )


def planned(mapping: MapJob, ledger: Ledger | None = None, **settings) -> MapPlan:
    blocks = plan_block_actions(
        ledger or Ledger(mapping.blocks.shape),
        outside=mapping.outside,
        input_version=lambda index: 1,
        **settings,
    )
    return cost_map(mapping, blocks, memory=MEMORY, estimate=estimated, notes=("a word to the wise",))


def estimated(windows: int, decode_seconds: float) -> Estimate:
    return Estimate(bench="LC-A", windows=windows, decode_seconds=decode_seconds, workers=2, pace=None)


def windows_by_hand(mapping: MapJob, extent: Extent) -> set[tuple[int, int]]:
    """Starts of the windows whose weighted pixels meet an extent, tried one by one."""
    weighted = np.flatnonzero(mapping.blending.weights)
    first, last = int(weighted[0]), int(weighted[-1])

    def meets(start: int, low: int, high: int) -> bool:
        return start + first < high and start + last >= low

    return {
        (top, left)
        for top in range((extent.y.start // STRIDE - 3) * STRIDE, extent.y.stop, STRIDE)
        for left in range((extent.x.start // STRIDE - 3) * STRIDE, extent.x.stop, STRIDE)
        if meets(top, extent.y.start, extent.y.stop) and meets(left, extent.x.start, extent.x.stop)
    }


@pytest.mark.parametrize("blend", [Blend.COSINE, Blend.CROP])
@pytest.mark.parametrize("block", [40, 64, 96])
def test_windows_are_counted_block_by_block_and_once(block: int, blend: Blend) -> None:
    mapping = job(block, blend)
    plan = planned(mapping)
    by_block = [windows_by_hand(mapping, mapping.blocks[index]) for index in mapping.blocks]
    distinct = set().union(*by_block)
    assert plan.windows == sum(map(len, by_block))
    assert plan.block_redundancy == pytest.approx(plan.windows / len(distinct))
    assert plan.window_redundancy == pytest.approx((32 / 24) ** 2)
    y, x = GRID.extent.y, GRID.extent.x
    partial = sum(
        not (y.start <= top and top + WINDOW <= y.stop and x.start <= left and left + WINDOW <= x.stop)
        for windows in by_block
        for top, left in windows
    )
    assert plan.partial_windows == partial
    assert 0 < partial < plan.windows


def test_reading_is_priced_with_the_halo() -> None:
    mapping = job()
    pixels = 0
    for index in mapping.blocks:
        starts = windows_by_hand(mapping, mapping.blocks[index])
        tops, lefts = zip(*starts, strict=True)
        pixels += (max(tops) + WINDOW - min(tops)) * (max(lefts) + WINDOW - min(lefts))
    plan = planned(mapping)
    assert (plan.cost.bytes, plan.cost.decoded_pixels) == (pixels, {"JP2OpenJPEG": 2 * pixels})


@dataclass(frozen=True, kw_only=True)
class PricedSeries(ArraySeries):
    """Costs three bytes and a decoded pixel for every pixel and date asked for, and never reads."""

    def cost(self, grid: Grid) -> ReadCost:
        pixels = grid.shape[0] * grid.shape[1] * len(self.observations)
        return ReadCost(bytes=3 * pixels, decoded_pixels={"Zarr": pixels})

    def read(self, grid: Grid, bands: Sequence[str], indices: Sequence[int]) -> Series:
        raise AssertionError("planning reads no pixel")


def with_series(mapping: MapJob, *, factor: int, size: int, shrunk: int, year: int | None = None) -> MapJob:
    """A centred series whose bounds lie ``shrunk`` base pixels inside those of the imagery."""
    extent = GRID.extent.grow(-shrunk).coarsen(factor).grow(-1)
    own = replace(GRID, resolution=GRID.resolution * factor, extent=extent)
    times = ("2020-03-01", "2021-03-01", "2021-08-01", "2021-09-01")
    observations = tuple(Observation(datatake_id=day, time=np.datetime64(f"{day}T10:00:00")) for day in times)
    source = PricedSeries(
        bands=("B8",), grid=own, values=np.zeros((4, 1, *own.shape), np.uint16), observations=observations
    )
    item = MapInput(source=source, bands=("B8",), factor=factor, size=size, year=year)
    return replace(mapping, inputs={**mapping.inputs, "SENTINEL2_TS": item})


def centred(start: int, factor: int, size: int) -> tuple[int, int]:
    """Base pixels of a centred footprint on one axis, from its first to behind its last."""
    pixel = (Fraction(start) + Fraction(WINDOW, 2)) // factor - size // 2
    return int(pixel) * factor, (int(pixel) + size) * factor


@pytest.mark.parametrize("block", [40, 64])
def test_a_series_is_priced_over_its_own_footprints(block: int) -> None:
    factor, size = 5, 12
    mapping = with_series(job(block), factor=factor, size=size, shrunk=20, year=2021)
    pixels, partial, bounds = 0, 0, mapping.inputs["SENTINEL2_TS"].source.grid.extent.refine(factor)
    y, x = GRID.extent.y, GRID.extent.x
    for index in mapping.blocks:
        starts = windows_by_hand(mapping, mapping.blocks[index])
        ends = [[end for start in axis for end in centred(start, factor, size)] for axis in zip(*starts, strict=True)]
        sides = [(max(axis) - min(axis)) // factor for axis in ends]
        pixels += sides[0] * sides[1]
        for top, left in starts:
            (north, south), (west, east) = centred(top, factor, size), centred(left, factor, size)
            inside = bounds.y.start <= north and south <= bounds.y.stop and bounds.x.start <= west
            inside &= east <= bounds.x.stop and y.start <= top and top + WINDOW <= y.stop
            partial += not (inside and x.start <= left and left + WINDOW <= x.stop)
    plan, alone = planned(mapping), planned(job(block))
    assert plan.cost.bytes - alone.cost.bytes == 3 * 3 * pixels
    assert plan.cost.decoded_pixels["Zarr"] == 3 * pixels
    assert plan.partial_windows == partial > alone.partial_windows


def test_only_what_is_left_has_a_price() -> None:
    mapping = job()
    ledger = Ledger(mapping.blocks.shape)
    for index in list(mapping.blocks)[1:]:
        ledger.mark(index, BlockResult(state=BlockState.DONE, inputs=1))
    plan = planned(mapping, ledger)
    assert plan.windows == len(windows_by_hand(mapping, mapping.blocks[0, 0]))
    assert plan.block_redundancy == 1
    assert plan.map_pixels == 64 * 64
    ledger.mark((0, 0), BlockResult(state=BlockState.DONE, inputs=1))
    nothing = planned(mapping, ledger)
    assert (nothing.windows, nothing.cost.bytes, nothing.map_pixels, nothing.block_redundancy) == (0, 0, 0, 0)
    assert "nothing" in str(nothing)


def test_output_pixels_are_counted_at_their_own_size() -> None:
    assert planned(job(factor=4)).map_pixels == planned(job()).map_pixels // 16
    assert planned(job(factor=4)).block_px == (16, 16)


def test_a_gpu_is_told_beside_the_memory_of_its_worker() -> None:
    plan = planned(job())
    assert "of a GPU" not in str(plan)
    assert "; 1.50 GiB of a GPU" in str(replace(plan, memory=replace(MEMORY, gpu=3 * GIB // 2)))


def test_it_can_be_read() -> None:
    plan = planned(job())
    text, html = str(plan), plan._repr_html_()
    for part in ("24 of 24, 64 x 64 px", "1.78 x", "million pixels x bands of JP2OpenJPEG", "a word to the wise"):
        assert part in text
        assert part in html
    assert f"{MEMORY.worker / GIB:.2f} GiB, its libraries included" in text


def test_stale_blocks_are_named() -> None:
    mapping = job(40)
    ledger = Ledger(mapping.blocks.shape)
    for place, index in enumerate(mapping.blocks):
        ledger.mark(index, BlockResult(state=BlockState.DONE, inputs=1 if place > 1 else 9))
    text = str(planned(mapping, ledger))
    assert "2 (kept; --stale runs them again): blocks (0, 0), (0, 1)" in text
    assert "2 (run again): blocks (0, 0), (0, 1)" in str(planned(mapping, ledger, recompute_stale=True))
    for index in mapping.blocks:
        ledger.mark(index, BlockResult(state=BlockState.DONE, inputs=9))
    [line] = [line for line in str(planned(mapping, ledger)).splitlines() if line.startswith("stale")]
    assert line.endswith(", …")
    assert line.count("(") == NAMED + 1
