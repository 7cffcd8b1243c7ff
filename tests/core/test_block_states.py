import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from landweave.core.block_states import CHARACTERS, most_urgent, reduced, states_text
from landweave.core.protocols import BlockState

GRIDS = npst.arrays(
    np.uint8, npst.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from(BlockState)
)


def test_every_state_has_a_character_of_its_own() -> None:
    assert set(CHARACTERS) == set(BlockState)
    assert len(set(CHARACTERS.values())) == len(BlockState)


@given(grid=GRIDS, largest=st.integers(1, 12))
def test_a_cell_is_the_most_urgent_of_its_blocks(grid: np.ndarray, largest: int) -> None:
    """No failure is lost by making the grid smaller."""
    order = list(CHARACTERS)
    small = reduced(grid, largest)
    assert max(small.shape) <= largest
    assert max(map(order.index, small.ravel())) == max(map(order.index, grid.ravel()))
    if max(grid.shape) <= largest:
        assert (small == grid).all()


@given(grid=GRIDS)
def test_of_several_layers_the_most_urgent_counts(grid: np.ndarray) -> None:
    order = list(CHARACTERS)
    expected = [order[max(order.index(value) for value in column)] for column in grid.T]
    assert most_urgent(grid).tolist() == expected


def test_lines_are_north_up_and_explained() -> None:
    grid = np.array([[BlockState.DONE, BlockState.OUTSIDE], [BlockState.WORKER_DIED, BlockState.NO_INPUT]], np.uint8)
    assert states_text(grid).splitlines() == ["█ ", "w░", "░ no input, █ done, w worker died"]
