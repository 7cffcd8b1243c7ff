"""The action of every block, from a ledger and from scenes as they are."""

import numpy as np

from landweave.core.protocols import BlockResult, BlockState
from landweave.jobs.ledger import Ledger
from landweave.jobs.plan import BlockAction, BlockActionGrid, plan_block_actions

BLOCKS = [(row, column) for row in range(2) for column in range(4)]
VERSION = 11


def ledger() -> Ledger:
    """New, done, stale, no input, failed in two ways, outside, worker died: in reading order."""
    marked = Ledger((2, 4))
    results = {
        (0, 1): BlockResult(state=BlockState.DONE, inputs=VERSION),
        (0, 2): BlockResult(state=BlockState.DONE, inputs=5),
        (0, 3): BlockResult(state=BlockState.NO_INPUT, inputs=VERSION),
        (1, 0): BlockResult(state=BlockState.READ_FAILED, reason="a tile"),
        (1, 1): BlockResult(state=BlockState.MODEL_FAILED, reason="not finite"),
        (1, 2): BlockResult(state=BlockState.OUTSIDE),
        (1, 3): BlockResult(state=BlockState.WORKER_DIED, reason="died"),
    }
    for index, result in results.items():
        marked.mark(index, result)
    return marked


def planned(*, stale: bool = False, outside=None, asked=None) -> BlockActionGrid:
    def version(index):
        if asked is not None:
            asked.append(index)
        return VERSION

    return plan_block_actions(ledger(), outside=outside, input_version=version, recompute_stale=stale)


def test_every_block_has_its_action() -> None:
    plan = planned()
    actions = [BlockAction(int(value)) for value in plan.actions.ravel()]
    assert actions == [
        BlockAction.NEW,
        BlockAction.DONE,
        BlockAction.STALE,
        BlockAction.DONE,
        BlockAction.FAILED,
        BlockAction.FAILED,
        BlockAction.OUTSIDE,
        BlockAction.FAILED,
    ]
    assert sum(plan.count(action) for action in BlockAction) == len(BLOCKS)


def test_what_is_left_is_run_and_stale_blocks_when_asked() -> None:
    assert planned().todo == [(0, 0), (1, 0), (1, 1), (1, 3)]
    assert planned(stale=True).todo == [(0, 0), (0, 2), (1, 0), (1, 1), (1, 3)]
    assert planned().blocks(BlockAction.STALE) == [(0, 2)]


def test_scenes_are_looked_at_for_finished_blocks_only() -> None:
    asked: list[tuple[int, int]] = []
    planned(asked=asked)
    assert asked == [(0, 1), (0, 2), (0, 3)]


def test_a_block_outside_the_area_is_never_run() -> None:
    plan = planned(outside=np.arange(2)[:, None] == np.zeros(4))
    assert plan.blocks(BlockAction.OUTSIDE) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 2)]


def test_a_new_ledger_is_all_to_do() -> None:
    plan = plan_block_actions(Ledger((2, 4)), outside=None, input_version=lambda _: 0)
    assert plan.todo == BLOCKS
