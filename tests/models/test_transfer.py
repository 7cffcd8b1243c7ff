"""The way to the device: the same tensors; on a GPU copies go on beside what computes, and arrays are free at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from landweave.core.protocols import InputBatch
from landweave.models.predictor import resolve_model
from landweave.models.settings import Compute
from landweave.models.transfer import Transfer
from tests.models.test_predictor import batch_of

SERIES = InputBatch(
    values=np.arange(48, dtype=np.int16).reshape(1, 2, 1, 4, 6),
    valid=np.broadcast_to(np.True_, (1, 2, 4, 6)),
    days=np.array([[3.0, 5.0]], np.float32),
    present=np.ones((1, 2), np.bool_),
)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_every_array_comes_as_it_is(device):
    batch = {**batch_of(2), "SENTINEL2_TS": SERIES}
    received = Transfer(torch.device(device)).send(batch).received()
    assert received.keys() == batch.keys()
    assert [*received["DEM_ELEV"]] == ["values", "valid"]
    for name, fields in received.items():
        for field, tensor in fields.items():
            assert tensor.device.type == device
            np.testing.assert_array_equal(tensor.cpu().numpy(), getattr(batch[name], field))


def test_on_a_cpu_nothing_is_copied():
    batch = batch_of(2)
    sent = Transfer(torch.device("cpu")).send(batch)
    assert sent.arrival is None
    assert np.shares_memory(sent.tensors["AERIAL_RGBI"]["values"].numpy(), batch["AERIAL_RGBI"].values)


@pytest.mark.gpu
def test_a_batch_arrives_while_the_gpu_computes_and_its_arrays_are_free():
    transfer, batch = Transfer(torch.device("cuda")), batch_of(2, size=1024)
    wanted = batch["AERIAL_RGBI"].values.copy()
    torch.cuda._sleep(2_000_000_000)  # about a second of the current stream
    busy = torch.cuda.current_stream().record_event()
    sent = transfer.send(batch)
    batch["AERIAL_RGBI"].values[:] = 0
    sent.arrival.synchronize()
    assert not busy.query()
    np.testing.assert_array_equal(sent.received()["AERIAL_RGBI"]["values"].cpu().numpy(), wanted)


@pytest.mark.gpu
def test_batches_that_are_sent_ahead_by_other_threads_have_the_same_predictions(small_card, weights_of):
    card = small_card()
    model = resolve_model(card, weights=weights_of(card), compute=Compute(batch_size=2, torch_threads=1, device="cuda"))
    predictor = model.open()
    assert predictor.sent_ahead
    batches = [batch_of(2, seed=seed) for seed in range(12)]
    wanted = [predictor.predict(batch).cpu() for batch in batches]
    with ThreadPoolExecutor(2) as threads:
        for sent, expected in zip(threads.map(predictor.send, batches), wanted, strict=True):
            assert torch.equal(predictor.predict(sent).cpu(), expected)
    here = replace(model, settings=replace(model.settings, device="cpu")).open()
    assert here.sent_ahead == 0
