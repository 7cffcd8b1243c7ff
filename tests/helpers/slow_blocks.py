"""Preloaded by workers: a block takes eight seconds, so that a run outlives the lifetime of its first workers."""

import time

from landweave.mapping.job import MapFunction


def dask_setup(worker):
    """Slow the blocks of this worker down; nothing changes where the module is only imported."""
    call = MapFunction.__call__

    def slow(self, index):
        time.sleep(8)
        return call(self, index)

    MapFunction.__call__ = slow
