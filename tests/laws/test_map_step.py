"""Laws of one block and of many, with models whose right answer is known at every pixel."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from landweave.core.blending import Blend, Blending
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent, Lattice, Span
from landweave.core.legend import NODATA, LandClass, Legend
from landweave.core.protocols import BlockState
from landweave.mapping.inputs import MapInput
from landweave.mapping.job import MapJob
from tests.helpers.memory import ArraySource, ArrayStore, ConstantModel, EchoModel, PositionModel, gray_legend

GRID = Grid.from_bounds((700000, 6600000, 700060, 6600044), crs="EPSG:2154", resolution=0.2)
"""220 rows and 300 columns: neither square nor a multiple of anything below."""


def hashed(extent: Extent, classes: int = 250) -> NDArray[np.uint8]:
    """A value that depends on the pixel's place in the world: neighbours, flips and shifts all differ."""
    rows = np.arange(extent.y.start, extent.y.stop)[:, None]
    columns = np.arange(extent.x.start, extent.x.stop)[None, :]
    return ((rows * 73 + columns * 151 + (rows * columns) % 97) % classes).astype(np.uint8)


def source(extent: Extent = GRID.extent, valid: NDArray[np.bool_] | None = None) -> ArraySource:
    return ArraySource(bands=("R",), grid=GRID.with_extent(extent), values=hashed(extent)[None], valid=valid)


def job(model=None, *, extent=GRID.extent, block=64, factor=1, blend=Blend.COSINE, window=32, stride=24, **changes):
    model = model or EchoModel(classes=250)
    blocks = changes.pop("blocks", Blocks.covering(extent, block))
    legend = changes.pop("legend", gray_legend(model.classes))
    out = blocks.coarsen(factor)
    return MapJob(
        key="test",
        grid=GRID.with_extent(blocks.extent),
        blocks=blocks,
        factor=factor,
        blending=Blending(Lattice(window=window, stride=stride), blend),
        model=model,
        inputs=changes.pop("inputs", {"AERIAL_RGBI": MapInput(source=source(), bands=("R",))}),
        legend=legend,
        area=changes.pop("area", None),
        store=ArrayStore(blocks=out),
        **changes,
    )


def run(mapping: MapJob) -> ArrayStore:
    function = mapping.open()
    for index in mapping.blocks:
        result = function(index)
        assert result.state.finished
    return mapping.store


@pytest.mark.parametrize("blend", list(Blend))
@pytest.mark.parametrize("block", [40, 64, 96])
def test_an_echo_comes_back_pixel_for_pixel(blend: Blend, block: int) -> None:
    store = run(job(blend=blend, block=block))
    np.testing.assert_array_equal(store.cut("landcover", GRID.extent), hashed(GRID.extent))
    assert (store.cut("confidence", GRID.extent) == 250).all()


def test_beyond_the_imagery_is_nodata() -> None:
    store = run(job())
    outside = np.ones(store.blocks.extent.shape, bool)
    outside[GRID.extent.slices_in(store.blocks.extent)] = False
    assert outside.any()
    for array in store.arrays.values():
        assert (array[outside] == NODATA).all()


@pytest.mark.parametrize("blend", list(Blend))
def test_a_constant_model_gives_a_constant_map(blend: Blend) -> None:
    store = run(job(ConstantModel(classes=5, best=3), blend=blend))
    assert (store.cut("landcover", GRID.extent) == 3).all()
    assert (store.cut("confidence", GRID.extent) == round(250 * 10 / 21)).all()


@pytest.mark.parametrize("blend", list(Blend))
def test_blocks_equal_a_blend_of_the_whole_area(blend: Blend) -> None:
    """The oracle adds every window of the whole area in float64, with nothing of ours but the weights."""
    mapping = job(PositionModel(), blend=blend, arrays=("landcover", "confidence", "probability"))
    store = run(mapping)
    weights = np.outer(mapping.blending.weights, mapping.blending.weights).astype(float)
    place = np.arange(32) / 32
    answer = np.stack(np.broadcast_arrays(place[:, None] / 2, place[None, :] / 3))
    answer = np.concatenate([answer, 1 - answer.sum(0, keepdims=True)])
    height, width = GRID.shape
    sums, total = np.zeros((3, height + 64, width + 64)), np.zeros((height + 64, width + 64))
    top, left = GRID.extent.y.start - 32, GRID.extent.x.start - 32
    for row in range(-(-top // 24) * 24, GRID.extent.y.stop, 24):
        for column in range(-(-left // 24) * 24, GRID.extent.x.stop, 24):
            here = np.s_[row - top : row - top + 32, column - left : column - left + 32]
            total[here] += weights
            for channel in range(3):
                sums[channel][here] += weights * answer[channel]
    blended = (sums / np.where(total > 0, total, 1))[:, 32:-32, 32:-32]
    stored = store.cut("probability", GRID.extent) / 250
    np.testing.assert_allclose(stored, blended, atol=0.5 / 250 + 1e-5)
    best, second = np.sort(blended, axis=0)[:-3:-1]
    clear = best - second > 1e-5
    np.testing.assert_array_equal(store.cut("landcover", GRID.extent)[clear], blended.argmax(0)[clear])


@pytest.mark.parametrize(("block", "moved"), [(40, (0, 0)), (96, (1, 7)), (128, (33, 100))])
def test_bits_do_not_depend_on_block_or_area(block: int, moved: tuple[int, int]) -> None:
    arrays = ("landcover", "confidence", "probability")
    whole = run(job(PositionModel(), arrays=arrays))
    y, x = GRID.extent.y, GRID.extent.x
    part = Extent.of((y.start + moved[0], y.stop - 20), (x.start + moved[1], x.stop - 31))
    other = run(job(PositionModel(batch_size=3), arrays=arrays, extent=part, block=block))
    for name in arrays:
        np.testing.assert_array_equal(other.cut(name, part), whole.cut(name, part))


@pytest.mark.parametrize("blend", list(Blend))
@pytest.mark.parametrize(("height", "width", "corner"), [(40, 200, (3, 11)), (300, 24, (17, 5)), (13, 999, (0, 1))])
def test_bits_do_not_depend_on_where_blocks_begin(
    blend: Blend, height: int, width: int, corner: tuple[int, int]
) -> None:
    arrays = ("landcover", "confidence", "probability")
    whole = run(job(PositionModel(), arrays=arrays, blend=blend))
    y, x = GRID.extent.y, GRID.extent.x
    part = Extent.of((y.start + corner[0], y.stop - 7), (x.start + corner[1], x.stop))
    wanted = Extent.of((part.y.start + 9, part.y.stop - 30), (part.x.start + 14, part.x.stop - 3))
    blocks = Blocks(extent=part, height=height, width=width)
    other = job(PositionModel(batch_size=3), arrays=arrays, blend=blend, blocks=blocks, bounds=wanted)
    store, beyond = run(other), np.ones(part.shape, bool)
    beyond[wanted.slices_in(part)] = False
    for name in arrays:
        np.testing.assert_array_equal(store.cut(name, wanted), whole.cut(name, wanted))
        assert (store.arrays[name][..., beyond] == NODATA).all()


@pytest.mark.parametrize("blend", list(Blend))
@pytest.mark.parametrize("factor", [1, 2])
def test_windows_that_no_wanted_pixel_needs_are_neither_planned_nor_run(blend: Blend, factor: int) -> None:
    """Those whose weights on wanted pixels are all 0, tried one by one."""
    y, x = GRID.extent.y, GRID.extent.x
    wanted = Extent.of((y.start + 31, y.start + 121), (x.start + 77, x.start + 201)).snap(factor)
    mapping = job(PositionModel(), factor=factor, blend=blend, extent=GRID.extent.snap(factor), bounds=wanted, block=48)
    weighted = mapping.blending.weights > 0
    asked = Counter[Extent]()

    class Watched(type(mapping.open())):
        def _predictions(self, windows, inputs, watch):
            asked.update(windows)
            return super()._predictions(windows, inputs, watch)

    function = Watched(mapping, mapping.model.open())
    states = [function(index).state for index in mapping.blocks]
    planned = Counter(window for index in mapping.blocks for window in mapping.needed().of(mapping.blocks[index]))
    for index in mapping.blocks:
        mine = mapping.blocks[index].intersect(wanted)
        for top in range(mine.y.start // 24 * 24 - 48, mine.y.stop + 24, 24):
            for left in range(mine.x.start // 24 * 24 - 48, mine.x.stop + 24, 24):
                window = Extent.of((top, top + 32), (left, left + 32))
                here = window.intersect(mine).slices_in(window)
                if mine.size and weighted[here[0]].any() and weighted[here[1]].any():
                    asked[window] -= 1
                    planned[window] -= 1
    assert set(asked.values()) == set(planned.values()) == {0}
    assert BlockState.NO_INPUT in states
    assert BlockState.DONE in states


def test_an_outline_needs_few_windows_beyond_its_pixels() -> None:
    mapping = job(PositionModel(), area=Triangle(), blend=Blend.CROP, bounds=GRID.extent)
    function = mapping.open()
    run_windows = sum(function(index).counts.get("windows", 0) for index in mapping.blocks)
    planned = mapping.needed().counts(mapping.blocks.rows, mapping.blocks.columns).sum()
    everywhere = replace(mapping, area=None).needed().counts(mapping.blocks.rows, mapping.blocks.columns).sum()
    assert run_windows <= planned <= 1.2 * run_windows < 0.8 * everywhere


@dataclass(frozen=True)
class Triangle:
    """Pixels whose centre lies below a diagonal; touches are judged by the corner."""

    def touched(self, grid: Grid, rows: Sequence[Span], columns: Sequence[Span]) -> NDArray[np.bool_]:
        corners = [[grid.corner(row.stop, column.start) for column in columns] for row in rows]
        return np.array([[(x - 700000) + (y - 6600000) < 50 for x, y in row] for row in corners])

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        return (grid.x[None, :] - 700000) + (grid.y[:, None] - 6600000) < 50


def test_the_area_limits_what_is_written_never_what_is_read() -> None:
    mapping = job(PositionModel(), area=Triangle())
    whole, part = run(job(PositionModel())), run(mapping)
    inside = Triangle().mask(GRID)
    assert 0.1 < inside.mean() < 0.9
    expected = np.where(inside, whole.cut("landcover", GRID.extent), NODATA)
    np.testing.assert_array_equal(part.cut("landcover", GRID.extent), expected)
    states = {mapping.open()(index).state for index in mapping.blocks}
    assert states == {BlockState.DONE, BlockState.OUTSIDE}


def test_uncovered_pixels_are_nodata_and_their_windows_are_not_run() -> None:
    valid = np.ones(GRID.shape, bool)
    valid[50:170, 80:] = False
    valid[10, 10] = False
    holed = {"AERIAL_RGBI": MapInput(source=source(valid=valid), bands=("R",))}
    mapping = job(PositionModel(), inputs=holed)
    full = job(PositionModel())
    expected = np.where(valid, run(full).cut("landcover", GRID.extent), NODATA)
    np.testing.assert_array_equal(run(mapping).cut("landcover", GRID.extent), expected)
    counted = [sum(each.open()(index).counts.get("windows", 0) for index in each.blocks) for each in (mapping, full)]
    assert counted[0] < counted[1]


def test_a_block_without_imagery_has_no_input() -> None:
    far = GRID.extent.y.stop + 1000
    mapping = job(extent=Extent.of((far, far + 64), (GRID.extent.x.start, GRID.extent.x.start + 64)))
    assert {mapping.open()(index).state for index in mapping.blocks} == {BlockState.NO_INPUT}
    assert not mapping.store.arrays


@pytest.mark.parametrize("factor", [2, 4])
def test_coarser_output_averages_probabilities_then_decides(factor: int) -> None:
    arrays = ("landcover", "confidence", "probability")
    extent = GRID.extent.snap(factor)
    fine = run(job(ConstantModel(classes=3, best=1), arrays=arrays))
    coarse = run(job(ConstantModel(classes=3, best=1), arrays=arrays, factor=factor))
    assert (coarse.arrays["landcover"][coarse.arrays["landcover"] != NODATA] == 1).all()
    echo = job(EchoModel(classes=250), arrays=("landcover", "probability"), factor=factor, block=32, blend=Blend.CROP)
    store = run(echo)
    cells = extent.coarsen(factor).intersect(GRID.extent.coarsen(factor))
    counts = np.stack([(hashed(cells.refine(factor)) == code) for code in range(250)])
    shares = counts.reshape(250, cells.y.size, factor, cells.x.size, factor).mean((2, 4))
    covered = store.cut("landcover", cells) != NODATA
    assert covered[1:-1, 1:-1].all()
    np.testing.assert_array_equal(store.cut("landcover", cells)[covered], shares.argmax(0)[covered])
    assert fine.arrays["landcover"].shape[0] // factor == coarse.arrays["landcover"].shape[0]


def test_an_input_of_coarser_pixels_keeps_its_ground() -> None:
    coarse = GRID.coarsen(4)
    values = hashed(coarse.extent)
    nested = ArraySource(modality="SPOT_RGBI", bands=("R",), grid=coarse, values=values[None])

    @dataclass(frozen=True, kw_only=True)
    class Repeat(EchoModel):
        def predict(self, batch):
            part = batch["SPOT_RGBI"]
            return super().predict({"x": replace(part, values=part.values.repeat(4, 2).repeat(4, 3))})

    inputs = {"SPOT_RGBI": MapInput(source=nested, bands=("R",), factor=4)}
    store = run(job(Repeat(classes=250), inputs=inputs, block=40))
    fine = values.repeat(4, 0).repeat(4, 1)[GRID.extent.slices_in(coarse.extent.refine(4))]
    np.testing.assert_array_equal(store.cut("landcover", GRID.extent), fine)


def test_untrained_classes_never_reach_the_map() -> None:
    classes = tuple(LandClass(code=code, name=f"{code}", color="#000000", trained=code != 3) for code in (0, 3, 5))
    model = ConstantModel(classes=3, best=1)
    legend = Legend(name="some", classes=classes)
    assert set(np.unique(run(job(model, legend=legend)).cut("landcover", GRID.extent))) == {5}
    kept = run(job(model, legend=legend, keep_untrained=True))
    assert set(np.unique(kept.cut("landcover", GRID.extent))) == {3}


def test_where_untrained_classes_have_everything_the_map_has_nodata() -> None:
    """And not its first class, which may be a building."""
    classes = tuple(LandClass(code=code, name=f"{code}", color="#000000", trained=code % 2 == 0) for code in range(250))
    echoed = run(job()).cut("landcover", GRID.extent)
    store = run(job(legend=Legend(name="even", classes=classes), arrays=("landcover", "confidence")))
    wanted = np.where(echoed % 2 == 0, echoed, NODATA)
    np.testing.assert_array_equal(store.cut("landcover", GRID.extent), wanted)
    np.testing.assert_array_equal(store.cut("confidence", GRID.extent) == NODATA, wanted == NODATA)
