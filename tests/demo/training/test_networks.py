"""The weights that come with the package fit their cards, and training runs, learns and repeats itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import landweave as lw
from landweave_demo.landscape.land_cover import CLASS_CODES
from landweave_demo.train import MODELS, THREADS
from landweave_demo.training.networks import TrainingCycle, load_trained, save_half_precision, train
from landweave_demo.training.windows import WINDOW, ModelCard, TrainingLandscape

SHORT = TrainingCycle(batches=2, rate=1e-3, batch_size=2)


@pytest.fixture(autouse=True)
def training_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", sorted(MODELS.values()))
def test_the_weights_fit_and_are_small(name: str) -> None:
    card, network = load_trained(name)
    path = Path(card.weights.file)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == card.weights.sha256
    assert path.stat().st_size < 3_000_000
    assert card.legend().codes == CLASS_CODES
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16, torch.int64}
    assert {each.dtype for each in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", sorted(MODELS.values()))
def test_weights_are_saved_in_half_precision(name: str, tmp_path: Path) -> None:
    network = lw.load_model(name, WINDOW)
    save_half_precision(network, tmp_path / "half.safetensors")
    again = lw.load_model(name, WINDOW, weights=tmp_path / "half.safetensors")
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one.half().float(), other)


@pytest.mark.slow
def test_training_gives_the_same_weights_again(training_landscape: TrainingLandscape, card: ModelCard) -> None:
    first, second = (train([training_landscape], card, series_cycle=SHORT, cycle=SHORT).state_dict() for _ in range(2))
    untrained = lw.load_model(card.name, WINDOW).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], untrained[name]) for name in first if name.endswith("conv.weight"))
