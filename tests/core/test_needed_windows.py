"""Windows that an area needs, against windows tried one by one."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from landweave.core.lattice import Blocks, Extent, Lattice, Span
from landweave.core.needed_windows import NeededWindows

spans = st.builds(lambda start, size: Span(start, start + size), st.integers(-90, 90), st.integers(1, 35))


@st.composite
def needs(draw: st.DrawFn) -> NeededWindows:
    window = draw(st.integers(2, 20))
    low = draw(st.integers(0, window // 2))
    support = Span(low, draw(st.integers(low + 1, window)))
    lattice = Lattice(window=window, stride=draw(st.integers(-(-support.size // 3), support.size)))
    found = NeededWindows(lattice=lattice, support=support, extent=Extent(draw(spans), draw(spans)))
    if draw(st.booleans()):
        return found
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return replace(found, needed=rng.random([len(starts) for starts in found.starts]) < 0.6)


def by_hand(needed: NeededWindows, extent: Extent) -> list[Extent]:
    tops, lefts = needed.starts
    wanted = extent.intersect(needed.extent)
    return [
        Extent.of((top, top + needed.lattice.window), (left, left + needed.lattice.window))
        for row, top in enumerate(tops)
        for column, left in enumerate(lefts)
        if (needed.needed is None or needed.needed[row, column])
        and wanted.intersect(Extent(Span(top, top).part(needed.support), Span(left, left).part(needed.support))).size
    ]


@settings(deadline=None, max_examples=20)
@given(needs(), spans, spans, st.integers(9, 40), st.integers(9, 40))
def test_windows_of_any_block_are_those_whose_support_touches_it(
    needed: NeededWindows, y: Span, x: Span, height: int, width: int
) -> None:
    blocks = Blocks(extent=Extent(y, x).unite(needed.extent), height=height, width=width)
    counts = needed.counts(blocks.rows, blocks.columns)
    for index in blocks:
        expected = by_hand(needed, blocks[index])
        assert needed.of(blocks[index]) == expected
        assert counts[index] == len(expected)


@settings(deadline=None, max_examples=20)
@given(needs(), st.data())
def test_counts_can_be_limited_to_some_rows_and_columns(needed: NeededWindows, data: st.DataObject) -> None:
    limits = []
    for starts in needed.starts:
        first = data.draw(st.integers(0, len(starts)))
        limits.append(range(first, data.draw(st.integers(first, len(starts)))))
    tops, lefts = ({starts[number] for number in limit} for starts, limit in zip(needed.starts, limits, strict=True))
    expected = [each for each in by_hand(needed, needed.extent) if each.y.start in tops and each.x.start in lefts]
    counted = needed.counts([needed.extent.y], [needed.extent.x], (limits[0], limits[1]))
    assert counted.tolist() == [[len(expected)]]
