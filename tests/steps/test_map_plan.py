"""The price of a map, against windows counted one by one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from landweave.blending import Blend, Blending
from landweave.budget import GIB, BlockMemory
from landweave.grid import Grid
from landweave.lattice import Blocks, Extent, Lattice
from landweave.ports import BlockResult, Raster, ReadCost, State
from landweave.steps.map import MapInput, MapJob
from landweave.steps.map_plan import NAMED, MapPlan, plan_map
from landweave.testing import ArraySource, ArrayStore, ConstantModel, gray_legend
from landweave.work.ledger import Ledger
from landweave.work.plan import plan_blocks

GRID = Grid.from_bounds((700000, 6600000, 700060, 6600044), crs="EPSG:2154", resolution=0.2)
MEMORY = BlockMemory(inputs=GIB, band=0, outputs=0, model=GIB)
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
        store=ArrayStore(blocks=Blocks(extent=blocks.extent.coarsen(factor), size=block // factor)),
    )


def planned(mapping: MapJob, ledger: Ledger | None = None, **settings) -> MapPlan:
    blocks = plan_blocks(
        mapping.blocks,
        ledger or Ledger(mapping.blocks.shape),
        outside=mapping.outside,
        input_version=lambda index: 1,
        **settings,
    )
    return plan_map(mapping, blocks, memory=MEMORY, notes=("a word to the wise",))


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
    assert (plan.read_bytes, plan.decoded_pixels) == (pixels, {"JP2OpenJPEG": 2 * pixels})


def test_only_what_is_left_has_a_price() -> None:
    mapping = job()
    ledger = Ledger(mapping.blocks.shape)
    for index in list(mapping.blocks)[1:]:
        ledger.mark(index, BlockResult(state=State.DONE, inputs=1))
    plan = planned(mapping, ledger)
    assert plan.windows == len(windows_by_hand(mapping, mapping.blocks[0, 0]))
    assert plan.block_redundancy == 1
    assert plan.map_pixels == 64 * 64
    ledger.mark((0, 0), BlockResult(state=State.DONE, inputs=1))
    nothing = planned(mapping, ledger)
    assert (nothing.windows, nothing.read_bytes, nothing.map_pixels, nothing.block_redundancy) == (0, 0, 0, 0)
    assert "nothing" in str(nothing)


def test_output_pixels_are_counted_at_their_own_size() -> None:
    assert planned(job(factor=4)).map_pixels == planned(job()).map_pixels // 16
    assert planned(job(factor=4)).block_px == 16


def test_it_can_be_read() -> None:
    plan = planned(job())
    text, html = str(plan), plan._repr_html_()
    for part in ("24 of 24, 64 px a side", "1.78 x", "million pixels x bands of JP2OpenJPEG", "a word to the wise"):
        assert part in text
        assert part in html
    assert "3.00 GiB" in text


def test_stale_blocks_are_named() -> None:
    mapping = job(40)
    ledger = Ledger(mapping.blocks.shape)
    for place, index in enumerate(mapping.blocks):
        ledger.mark(index, BlockResult(state=State.DONE, inputs=1 if place > 1 else 9))
    text = str(planned(mapping, ledger))
    assert "2 (kept; --stale runs them again): blocks (0, 0), (0, 1)" in text
    assert "2 (run again): blocks (0, 0), (0, 1)" in str(planned(mapping, ledger, recompute_stale=True))
    for index in mapping.blocks:
        ledger.mark(index, BlockResult(state=State.DONE, inputs=9))
    [line] = [line for line in str(planned(mapping, ledger)).splitlines() if line.startswith("stale")]
    assert line.endswith(", …")
    assert line.count("(") == NAMED + 1
