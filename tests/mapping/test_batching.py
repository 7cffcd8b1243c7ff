"""Laws of batches: every window once, with its equals, and nobody waits for long."""

from hypothesis import given
from hypothesis import strategies as st

from landweave.mapping.batching import group_windows

KEYS = st.lists(st.sampled_from("aaabbc"), max_size=60)


@given(KEYS, st.integers(1, 5), st.integers(1, 20))
def test_windows_go_once_with_their_equals(keys: list[str], size: int, ahead: int) -> None:
    groups = list(group_windows(keys, size=size, ahead=ahead))
    assert sorted(place for group in groups for place in group) == list(range(len(keys)))
    for group in groups:
        assert 1 <= len(group) <= size
        assert len({keys[place] for place in group}) == 1
        assert list(group) == sorted(group)


@given(KEYS, st.integers(1, 5), st.integers(1, 20))
def test_no_more_than_some_wait_for_an_earlier_one(keys: list[str], size: int, ahead: int) -> None:
    drawn, waiting = [], set()

    def draw():
        for place, key in enumerate(keys):
            drawn.append(place)
            waiting.add(place)
            yield key

    for group in group_windows(draw(), size=size, ahead=ahead):
        oldest = min(waiting)
        assert drawn[-1] - oldest <= ahead
        waiting -= set(group)


@given(st.integers(0, 30), st.integers(1, 5), st.integers(1, 20))
def test_without_series_batches_are_runs(count: int, size: int, ahead: int) -> None:
    """Whoever looks ahead by at least a batch: it is what a map without series has always computed."""
    groups = list(group_windows([()] * count, size=size, ahead=size * ahead))
    assert groups == [tuple(range(start, min(start + size, count))) for start in range(0, count, size)]
