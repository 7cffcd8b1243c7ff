"""Batches on their way to a device: the same map, few at once, the network busy while windows are blended."""

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from landweave.core.budget import SENT_AHEAD
from landweave.core.errors import PredictError, ReadError
from landweave.core.protocols import SendingPredictor
from landweave.core.stopwatch import Stopwatch
from landweave.mapping.device_queue import DeviceQueue
from landweave.mapping.inputs import MapInput
from landweave.mapping.loaded_inputs import BlockInputs
from tests.helpers.memory import PositionModel
from tests.laws.test_map_step import GRID, job, source


@dataclass(frozen=True, kw_only=True)
class Sending(PositionModel):
    """A model beyond the CPU: each batch has to be sent to it, by another thread than its own, and only once."""

    sent_ahead: int = SENT_AHEAD
    fails_at: tuple[str, int] = ("", 0)
    on_the_way: list[int] = field(default_factory=list, compare=False)
    most: list[int] = field(default_factory=lambda: [0], compare=False)
    calls: dict[str, int] = field(default_factory=lambda: {"send": 0, "predict": 0}, compare=False)

    def send(self, batch):
        self.count("send")
        assert threading.current_thread().name.startswith("landweave-ahead")
        self.on_the_way.append(id(batch))
        self.most[0] = max(self.most[0], len(self.on_the_way))
        return ("sent", id(batch), batch)

    def predict(self, batch):
        self.count("predict")
        kind, number, given = batch
        assert kind == "sent"
        assert threading.current_thread().name.startswith("landweave-device")
        self.on_the_way.remove(number)
        return super().predict(given)

    def count(self, what):
        self.calls[what] += 1
        if self.fails_at == (what, self.calls[what]):
            raise PredictError(f"the device is full at {what} {self.calls[what]}")


def mapped(model, **changes):
    mapping = job(model, arrays=("landcover", "confidence", "probability"), block=96, **changes)
    function = mapping.open()
    for index in mapping.blocks:
        assert function(index).state.finished
    return mapping.store


def nothing_is_left():
    return not [each for each in threading.enumerate() if each.name.startswith("landweave-ahead")]


def test_batches_that_are_sent_ahead_give_the_same_map():
    model = Sending()
    assert isinstance(model, SendingPredictor)
    assert not isinstance(PositionModel(), SendingPredictor)
    here, there = mapped(PositionModel()), mapped(model)
    for name in ("landcover", "confidence", "probability"):
        np.testing.assert_array_equal(there.cut(name, GRID.extent), here.cut(name, GRID.extent))
    assert model.calls["send"] == model.calls["predict"] > 20
    assert 2 <= model.most[0] <= model.sent_ahead + 2  # beside those sent ahead one is handed over, one is computed
    assert nothing_is_left()


def test_the_next_batch_is_predicted_while_the_windows_of_one_are_blended():
    predicted = [threading.Event() for _ in range(5)]

    class Slow:
        sent_ahead = SENT_AHEAD

        def send(self, batch):
            return batch

        def predict(self, batch):
            predicted[batch].set()
            return batch

    batches = (((number,), number) for number in range(5))
    for (number,), _ in DeviceQueue(Slow()).predict(batches, Stopwatch()):
        assert predicted[min(number + 1, 4)].wait(20)  # for ever, if it began only after this window


@pytest.mark.parametrize("what", ["send", "predict", "cut", "blend"])
def test_a_block_that_fails_says_why_and_leaves_nothing_behind(what, monkeypatch):
    model = Sending(fails_at=(what, 3))
    function = job(model, block=96).open()
    wanted = f"the device is full at {what} 3"
    if what == "cut":
        wanted, cut = "tile 7 is damaged", BlockInputs.batch

        def batch(self, windows, dates):
            if model.calls["send"] == 2:
                raise ReadError(wanted)
            return cut(self, windows, dates)

        monkeypatch.setattr(BlockInputs, "batch", batch)
    if what == "blend":
        wanted = "no room for sums"
        monkeypatch.setattr(
            "landweave.mapping.job.BlockAccumulator.add", lambda *_: (_ for _ in ()).throw(PredictError(wanted))
        )
    with pytest.raises((PredictError, ReadError), match=wanted):
        function((0, 0))
    assert nothing_is_left()
    assert model.calls["send"] <= 5
    monkeypatch.undo()
    assert function((0, 1)).state.finished  # the model serves the other blocks


def test_files_are_decoded_by_more_threads_beside_a_gpu_alone(monkeypatch):
    from landweave.mapping import job as mapping
    from landweave.sources import files

    seen = []

    @dataclass(frozen=True, kw_only=True)
    class Watching(type(source())):
        def read(self, grid, bands):
            seen.append(files._DECODERS.get())
            return super().read(grid, bands)

    plain = source()
    watching = Watching(**{name: getattr(plain, name) for name in plain.__dataclass_fields__})
    inputs = {"AERIAL_RGBI": MapInput(source=watching, bands=("R",))}
    monkeypatch.setattr(mapping, "decoding_threads", lambda cores: 5)
    for model in (PositionModel(), Sending()):
        assert job(model, block=96, inputs=inputs).open()((0, 0)).state.finished
    assert seen == [1, 5]
