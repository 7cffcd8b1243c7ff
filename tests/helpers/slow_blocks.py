"""Preloaded by workers: a block takes eight seconds, so that a run outlives the lifetime of its first workers."""

import time

from landweave.mapping.job import MapFunction

_call = MapFunction.__call__


def slow(self, index):
    time.sleep(8)
    return _call(self, index)


MapFunction.__call__ = slow
