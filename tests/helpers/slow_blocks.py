"""Preloaded by workers: a block takes four seconds, so that a run outlives a walltime of a minute."""

import time

from landweave.mapping.job import MapFunction

_call = MapFunction.__call__


def slow(self, index):
    time.sleep(4)
    return _call(self, index)


MapFunction.__call__ = slow
