"""Laws of windows and blocks: brute force over small numbers, and any numbers hypothesis can think of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landweave.errors import LatticeError
from landweave.lattice import Blocks, Extent, Lattice, Span

lattices = st.integers(1, 40).flatmap(
    lambda window: st.builds(Lattice, window=st.just(window), stride=st.integers(1, window))
)
spans = st.builds(lambda start, size: Span(start, start + size), st.integers(-200, 200), st.integers(1, 90))


@given(lattices, spans)
def test_windows_are_exactly_those_that_touch(lattice: Lattice, span: Span) -> None:
    touching = [
        start
        for start in range(span.start - 100, span.stop + 100)
        if start % lattice.stride == 0 and start < span.stop and start + lattice.window > span.start
    ]
    assert list(lattice.starts(span)) == touching


@given(lattices, spans)
def test_windows_cover_every_pixel(lattice: Lattice, span: Span) -> None:
    covered = {pixel for start in lattice.starts(span) for pixel in range(start, start + lattice.window)}
    assert set(range(span.start, span.stop)) <= covered


@given(lattices, spans, st.data())
def test_windows_with_a_support_touch_with_it(lattice: Lattice, span: Span, data: st.DataObject) -> None:
    low = data.draw(st.integers(0, lattice.window - 1))
    support = Span(low, data.draw(st.integers(low + 1, lattice.window)))
    expected = [
        start
        for start in range(span.start - 100, span.stop + 100)
        if start % lattice.stride == 0 and start + support.start < span.stop and start + support.stop > span.start
    ]
    assert list(lattice.starts(span, support)) == expected


@settings(deadline=None, max_examples=40)
@given(lattices, spans, spans, st.integers(7, 50))
def test_a_part_of_the_ground_keeps_its_windows(lattice: Lattice, y: Span, x: Span, size: int) -> None:
    whole = Extent(y, x)
    parts = set()
    for index in (blocks := Blocks.covering(whole, size)):
        parts |= set(lattice.windows(blocks[index]))
    assert parts == set(lattice.windows(blocks.extent))


@given(spans, spans, st.integers(1, 50))
def test_blocks_write_each_pixel_once(y: Span, x: Span, size: int) -> None:
    blocks = Blocks.covering(Extent(y, x), size)
    written = np.zeros(blocks.extent.shape, int)
    for index in blocks:
        assert blocks[index].y.start % size == 0
        assert blocks[index].x.start % size == 0
        written[blocks[index].slices_in(blocks.extent)] += 1
    assert (written == 1).all()
    assert len(list(blocks)) == len(blocks)
    assert blocks.extent.contains(Extent(y, x))


@given(lattices, spans, spans)
def test_reach_is_the_union_of_windows(lattice: Lattice, y: Span, x: Span) -> None:
    extent = Extent(y, x)
    windows = list(lattice.windows(extent))
    union = windows[0]
    for window in windows:
        union = union.unite(window)
    assert lattice.reach(extent) == union
    assert lattice.count(extent) == len(windows)


@pytest.mark.parametrize(
    ("window", "stride", "message"),
    [
        (512, 384, r"stride of 384 .* unit of 256: use 256 or 512"),
        (500, 256, r"window of 500 .* use 256 or 512"),
        (256, 512, r"leaves gaps .* from 0 to 0"),
        (512, 0, r"stride of 0"),
    ],
)
def test_sizes_off_the_unit_name_their_neighbours(window: int, stride: int, message: str) -> None:
    with pytest.raises(LatticeError, match=message):
        Lattice(window=window, stride=stride, unit=256)


def test_blocks_off_their_size_are_refused() -> None:
    with pytest.raises(LatticeError, match="whole number of blocks of 4"):
        Blocks(extent=Extent.of((0, 8), (1, 5)), size=4)


@pytest.mark.parametrize(("stride", "cost"), [(384, 16 / 9), (256, 4.0), (512, 1.0)])
def test_price_of_overlap(stride: int, cost: float) -> None:
    assert Lattice(window=512, stride=stride).model_pixels_per_map_pixel == pytest.approx(cost)


@given(spans, st.integers(1, 9))
def test_coarsen_and_refine_keep_the_ground(span: Span, factor: int) -> None:
    coarse = span.coarsen(factor)
    assert coarse.refine(factor) == span.snap(factor)
    assert span.refine(factor).coarsen(factor) == span
