"""Laws of windows and blocks: brute force over small numbers, and any numbers hypothesis can think of."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landweave.core.errors import LatticeError
from landweave.core.lattice import Blocks, Extent, Lattice, Span, WindowFootprint

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


@settings(max_examples=15)
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
    assert lattice.read_extent(extent) == union
    assert lattice.count(extent) == len(windows)


@pytest.mark.parametrize(
    ("window", "stride", "message"),
    [
        (512, 384, r"stride of 384 .* unit of 256: use 256 or 512"),
        (500, 256, r"window of 500 .* use 256 or 512"),
        (256, 512, r"overlap of -256 .* windows of 256: .* from 0 to 0"),
        (512, 0, r"overlap of 512 .* windows of 512: .* from 0 to 256"),
    ],
)
def test_sizes_off_the_unit_name_their_neighbours(window: int, stride: int, message: str) -> None:
    with pytest.raises(LatticeError, match=message):
        Lattice(window=window, stride=stride, unit=256)


@settings(deadline=None, max_examples=40)
@given(spans, spans, st.integers(1, 50), st.integers(1, 50))
def test_blocks_of_any_sides_start_at_the_corner_of_any_extent(y: Span, x: Span, height: int, width: int) -> None:
    blocks = Blocks(extent=Extent(y, x), height=height, width=width)
    written = np.zeros(blocks.extent.shape, int)
    for row, column in blocks:
        assert blocks[row, column] == Extent(blocks.rows[row], blocks.columns[column])
        written[blocks[row, column].slices_in(blocks.extent)] += 1
    assert (written == 1).all()
    assert {span.size for span in blocks.rows[:-1]} <= {height}
    assert {span.size for span in blocks.columns[:-1]} <= {width}


def test_blocks_of_nothing_are_refused() -> None:
    for extent, size in ((Extent.of((0, 8), (1, 1)), 4), (Extent.of((0, 8), (1, 5)), 0)):
        with pytest.raises(LatticeError, match=f"Blocks of {size} x {size} pixels cannot tile"):
            Blocks.square(extent, size)


@pytest.mark.parametrize(("stride", "cost"), [(384, 16 / 9), (256, 4.0), (512, 1.0)])
def test_price_of_overlap(stride: int, cost: float) -> None:
    assert Lattice(window=512, stride=stride).model_pixels_per_map_pixel == pytest.approx(cost)


@given(spans, st.integers(1, 9))
def test_coarsen_and_refine_keep_the_ground(span: Span, factor: int) -> None:
    coarse = span.coarsen(factor)
    assert coarse.refine(factor) == span.snap(factor)
    assert span.refine(factor).coarsen(factor) == span


factors = st.one_of(st.integers(1, 60), st.fractions(Fraction(1, 4), 60, max_denominator=12))


@given(spans, factors)
def test_a_pixel_is_held_by_the_one_that_its_centre_lies_in(span: Span, factor: int | Fraction) -> None:
    holders = span.holders(factor)
    assert len(holders) == span.size
    for pixel, holder in zip(range(span.start, span.stop), holders, strict=True):
        assert holder * factor <= pixel + Fraction(1, 2) < (holder + 1) * factor
    held = span.coarsen(factor)
    assert all(held.start <= holder < held.stop for holder in holders)


@given(spans, factors, st.integers(1, 40))
def test_a_centred_cut_is_made_at_the_nearest_pixel(window: Span, factor: int | Fraction, size: int) -> None:
    cut = window.centred(factor, size)
    middle = Fraction(window.start + window.stop, 2)
    near = range(int(middle / factor) - 3, int(middle / factor) + 4)
    nearest = min(near, key=lambda pixel: (abs((pixel + Fraction(1, 2)) * factor - middle), -pixel))
    assert cut.size == size
    assert cut.start == nearest - size // 2


@given(st.integers(-5, 5), st.integers(1, 6), st.integers(2, 9), st.integers(0, 9), st.integers(0, 9))
def test_a_centred_cut_moves_with_its_window(shift: int, factor: int, size: int, top: int, extra: int) -> None:
    window = Span(top, top + 7 + extra)
    moved = window.grow(-shift * factor, shift * factor)
    assert moved.centred(factor, size) == window.centred(factor, size).grow(-shift, shift)


@settings(deadline=None, max_examples=40)
@given(lattices, spans, spans, factors, st.one_of(st.none(), st.integers(1, 30)))
def test_what_is_read_of_an_input_is_the_union_of_its_footprints(
    lattice: Lattice, y: Span, x: Span, factor: int | Fraction, size: int | None
) -> None:
    footprint = WindowFootprint(pixel=factor, size=size)
    extent = Extent(y, x)
    cuts = [footprint.cut(window) for window in lattice.windows(extent)]
    union = cuts[0]
    for cut in cuts:
        union = union.unite(cut)
    assert footprint.read_extent(lattice.read_extent(extent), lattice.window) == union
    assert size is None or {cut.shape for cut in cuts} == {(size, size)}


@given(st.integers(-300, 300), st.integers(1, 60), factors, st.one_of(st.none(), st.integers(1, 30)))
def test_a_footprint_reaches_no_farther_than_it_says(
    start: int, window: int, factor: int | Fraction, size: int | None
) -> None:
    if size is None:
        factor = 1
    footprint = WindowFootprint(pixel=factor, size=size)
    cut = footprint.span(Span(start, start + window))
    halo = footprint.halo(window)
    assert start - halo <= cut.start * factor
    assert cut.stop * factor <= start + window + halo


def test_flair_2_looks_at_400_metres_around_a_patch() -> None:
    cuts = [WindowFootprint(pixel=50, size=40).span(Span(start, start + 512)) for start in range(-512, 512, 128)]
    assert {cut.size for cut in cuts} == {40}
    assert all(0 < later.start - earlier.start <= 3 for earlier, later in pairwise(cuts))


@given(spans, spans, st.integers(0, 20), st.integers(1, 20))
def test_a_part_counts_from_the_corner(y: Span, x: Span, low: int, size: int) -> None:
    inner = Span(low, low + size)
    part = Extent(y, x).part(inner)
    assert part.slices_in(Extent(y, x)) == (slice(low, low + size),) * 2
    assert y.contains(part.y) == (low + size <= y.size)
