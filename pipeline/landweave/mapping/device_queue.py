"""The batches of a process on their way to its model, which one thread runs; a GPU never waits for the next one.

::

    thread of a block       reads and blends   <── probabilities ──┐
    look-ahead, with a GPU      cuts, sends    ── batches ──> the model's thread
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

from landweave.core.blending import Array, Logits
from landweave.core.look_ahead import look_ahead
from landweave.core.protocols import InputBatch, Predictor, SendingPredictor
from landweave.core.stopwatch import Stopwatch

Group = tuple[int, ...]
"""Numbers of the windows of a batch."""


class DeviceQueue:
    """Predicts the batches of several blocks, each block's in their order.

    On a CPU a batch is cut when the one before is blended: all work adds on the same cores, and another block has the
    model meanwhile. With a GPU batches are cut and sent in a thread of the block's own, and the next one is handed to
    the model before the probabilities of one are blended.

    Parameters
    ----------
    predictor
        The open model.

    Attributes
    ----------
    ahead
        Batches of a block that are sent ahead; 0 where the model has the cores that read and blend.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.ahead = predictor.sent_ahead if isinstance(predictor, SendingPredictor) else 0
        # One thread, not one lock: a numeric library keeps a team of threads for every thread that calls it, and the
        # team that waits would take the cores of the one that works (measured: a forward takes half as long again).
        self._device = ThreadPoolExecutor(max_workers=1, thread_name_prefix="landweave-device")

    def predict(
        self, batches: Generator[tuple[Group, Mapping[str, InputBatch]]], watch: Stopwatch
    ) -> Generator[tuple[Group, Array | Logits]]:
        """Every group with its probabilities, in order; when it is closed early no batch of it is left behind.

        Parameters
        ----------
        batches
            Of one block; what it raises is raised here.
        watch
            Adds up the seconds of ``send``, ``wait`` and ``predict``.
        """
        given: deque[tuple[Group, Future[Array | Logits]]] = deque()
        with closing(look_ahead(self._sent(batches, watch), self.ahead)) as ready:
            try:
                for group, batch in ready:
                    given.append((group, self._submit(batch, watch)))
                    if len(given) > min(self.ahead, 1):
                        yield _ended(given.popleft())
                while given:
                    yield _ended(given.popleft())
            finally:
                for _, future in given:
                    future.cancel()

    def _sent(
        self, batches: Generator[tuple[Group, Mapping[str, InputBatch]]], watch: Stopwatch
    ) -> Generator[tuple[Group, Any]]:
        with closing(batches):
            for group, batch in batches:
                if self.ahead and isinstance(self._predictor, SendingPredictor):
                    with watch("send"):
                        sent = self._predictor.send(batch)
                    yield group, sent
                else:
                    yield group, batch

    def _submit(self, batch: Any, watch: Stopwatch) -> Future[Array | Logits]:
        """The probabilities of a batch, to come; ``wait`` is the time that other batches had the model."""
        asked = time.perf_counter()

        def predict() -> Array | Logits:
            watch.seconds["wait"] += time.perf_counter() - asked
            with watch("predict"):
                return self._predictor.predict(batch)

        return self._device.submit(predict)


def _ended(given: tuple[Group, Future[Array | Logits]]) -> tuple[Group, Array | Logits]:
    group, future = given
    return group, future.result()
