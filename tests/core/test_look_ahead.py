"""Items made ahead: their order, how many at once, what is raised, and what is left when nobody wants the rest."""

import threading
from contextlib import closing

import pytest

from landweave.core.look_ahead import look_ahead


class Made:
    """Numbers of which it is noted when they are made and by whom, and whether the generator was closed."""

    def __init__(self, count, fails_at=None):
        self.count, self.fails_at = count, fails_at
        self.made, self.threads, self.closed = 0, set(), False

    def items(self):
        try:
            for number in range(self.count):
                if number == self.fails_at:
                    raise OSError(f"tile {number} is damaged")
                self.made += 1
                self.threads.add(threading.current_thread().name)
                yield number
        finally:
            self.closed = True


def threads_left():
    return [each.name for each in threading.enumerate() if each.name.startswith("landweave-ahead")]


@pytest.mark.parametrize("depth", [0, 1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 4])
def test_items_come_in_order_and_few_are_made_ahead(depth, count):
    source, seen = Made(count), []
    for item in look_ahead(source.items(), depth):
        seen.append(item)
        assert source.made <= len(seen) + depth
    assert seen == list(range(count))
    assert (source.closed, threads_left()) == (True, [])
    assert source.threads.isdisjoint({threading.current_thread().name}) is bool(depth) or not count


def test_the_next_item_is_made_while_one_is_used():
    """Each waits for the one before to be in use; without look-ahead, for ever."""
    in_use = [threading.Event() for _ in range(4)]

    def items():
        for number in range(4):
            assert not number or in_use[number - 1].wait(20)
            yield number

    made = Made(0)
    for number in look_ahead(items(), 1):
        in_use[number].set()
    assert made.made == 0


@pytest.mark.parametrize("depth", [0, 2])
def test_what_is_raised_comes_after_the_items_before_it(depth):
    source, seen = Made(5, fails_at=3), []
    with pytest.raises(OSError, match="tile 3 is damaged"):
        seen.extend(look_ahead(source.items(), depth))
    assert seen == [0, 1, 2]
    assert (source.closed, threads_left()) == (True, [])


@pytest.mark.parametrize("depth", [0, 2])
def test_whoever_stops_early_leaves_nothing_behind(depth):
    source = Made(100)
    with closing(look_ahead(source.items(), depth)) as items:
        next(items)
    assert source.made <= 1 + depth + 1
    assert (source.closed, threads_left()) == (True, [])
