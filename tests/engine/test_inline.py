from itertools import islice

import pytest

from landweave.core.errors import WeightsError
from landweave.core.protocols import BlockState
from landweave.engine.inline import InlineEngine
from tests.block_jobs import SquareJob, grid_of


def test_blocks_come_in_order_and_the_job_is_opened_once(tmp_path):
    job = SquareJob(folder=tmp_path)
    results = list(InlineEngine().run(job, grid_of(3, 2)))
    assert [index for index, _ in results] == grid_of(3, 2)
    assert {result.state for _, result in results} == {BlockState.DONE}
    assert job.opened().total() == 1


def test_nothing_is_done_before_it_is_asked_for(tmp_path):
    job = SquareJob(folder=tmp_path)
    results = InlineEngine().run(job, iter(grid_of(3, 2)))
    assert not job.opened()
    list(islice(results, 2))
    results.close()
    assert job.tried().total() == 2


def test_a_job_that_cannot_be_opened_raises(tmp_path):
    class Unfit(SquareJob):
        def open(self):
            raise WeightsError("3 tensors are missing")

    with pytest.raises(WeightsError, match="3 tensors"):
        next(InlineEngine().run(Unfit(folder=tmp_path), [(0, 0)]))
