"""Training of the demo's networks: first the branches of the series alone, then everything else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import landweave as lw
from landweave_demo.landscape.land_cover import CLASS_CODES, UNKNOWN
from landweave_demo.training.batches import SEED, Batch, prefetched, random_batches
from landweave_demo.training.windows import WINDOW, ModelCard, TrainingLandscape

_STEEPEST_WEIGHT = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingCycle:
    """One rise and fall of the learning rate (Smith & Topin 2019, "1cycle").

    Attributes
    ----------
    batches
        Number of batches.
    rate
        Highest learning rate.
    batch_size
        Windows in a batch.
    """

    batches: int
    rate: float
    batch_size: int = 4


SERIES_CYCLE = TrainingCycle(batches=350, rate=6e-3, batch_size=6)
"""Of the branches of the series."""

NETWORK_CYCLE = TrainingCycle(batches=600, rate=4e-3)
"""Of everything else."""


def train(
    landscapes: Sequence[TrainingLandscape], card: ModelCard, *, series_cycle: TrainingCycle, cycle: TrainingCycle
) -> nn.Module:
    """Return the trained network of a card, in evaluation mode.

    Parameters
    ----------
    landscapes
        That windows are cut from.
    card
        One of the demo's model cards.
    series_cycle
        Of the branches of the series; not used for a card without series.
    cycle
        Of everything else.
    """
    torch.manual_seed(SEED)
    network: Any = lw.load_model(card.name, WINDOW).train()
    network.to(memory_format=torch.channels_last)
    if hasattr(network, "series"):
        _train_series(network, _batches(landscapes, card, series_cycle), series_cycle)
        # Frozen from here: images alone lower the loss so much faster that the series would unlearn their seasons.
        network.series.eval().requires_grad_(requires_grad=False)
    _train_network(network, landscapes, _batches(landscapes, card, cycle), cycle)
    trained: nn.Module = network.eval()
    return trained


def _batches(landscapes: Sequence[TrainingLandscape], card: ModelCard, cycle: TrainingCycle) -> Iterator[Batch]:
    return random_batches(landscapes, card, count=cycle.batches, size=cycle.batch_size)


def _train_series(network: Any, batches: Iterator[Batch], cycle: TrainingCycle) -> None:
    """Train the branches of the series, in place, on the share of every class in each of their pixels."""
    width = next(iter(network.joins.values())).in_channels
    head = nn.Conv2d(width, len(CLASS_CODES), 1)

    def loss_of(inputs: Mapping[str, Tensor], target: Tensor) -> Tensor:
        scores = head(torch.cat(network.maps(inputs), dim=1))
        one_hot = functional.one_hot(target, len(CLASS_CODES)).movedim(-1, 1).float()
        return functional.cross_entropy(scores, functional.adaptive_avg_pool2d(one_hot, scores.shape[-2:]))

    _minimise([*network.series.parameters(), *head.parameters()], loss_of, batches, cycle)


def _train_network(
    network: Any, landscapes: Sequence[TrainingLandscape], batches: Iterator[Batch], cycle: TrainingCycle
) -> None:
    """Train everything that is not frozen, in place."""
    weights = _class_weights(landscapes)

    def loss_of(inputs: Mapping[str, Tensor], target: Tensor) -> Tensor:
        (logits,) = network(inputs).values()
        return functional.cross_entropy(logits, target, weight=weights, ignore_index=UNKNOWN)

    _minimise([each for each in network.parameters() if each.requires_grad], loss_of, batches, cycle)


def _minimise(
    parameters: list[nn.Parameter],
    loss_of: Callable[[Mapping[str, Tensor], Tensor], Tensor],
    batches: Iterator[Batch],
    cycle: TrainingCycle,
) -> None:
    optimizer = torch.optim.AdamW(parameters, lr=cycle.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cycle.rate, total_steps=cycle.batches, pct_start=0.2)
    started = time.monotonic()
    for number, (inputs, target) in enumerate(prefetched(batches)):
        loss = loss_of(inputs, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if number % 20 == 0 or number == cycle.batches - 1:
            seconds = time.monotonic() - started
            _log.info("batch %d of %d: loss %.4f, %.0f s", number, cycle.batches, loss.item(), seconds)


def _class_weights(landscapes: Sequence[TrainingLandscape]) -> Tensor:
    """Return a weight for each class, larger for rare ones, mean 1."""
    count = sum(np.bincount(each.target.ravel(), minlength=256)[: len(CLASS_CODES)] for each in landscapes)
    share = np.asarray(count, np.float64) / np.sum(count)
    weight = np.clip((np.median(share) / np.maximum(share, 1e-9)) ** 0.35, 1 / _STEEPEST_WEIGHT, _STEEPEST_WEIGHT)
    return torch.tensor(weight / weight.mean(), dtype=torch.float32)


def load_trained(name: str) -> tuple[ModelCard, nn.Module]:
    """Return one of the demo's model cards and its network with the weights of the package."""
    card: ModelCard = lw.list_models()[name]
    return card, lw.load_model(name, WINDOW, weights=card.weights.file)


def save_half_precision(network: nn.Module, path: Path) -> None:
    """Write weights in half precision under the names that weights files use; they are loaded in single precision.

    Parameters
    ----------
    network
        From `landweave.load_model`.
    path
        File to write, ``.safetensors``.
    """
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    parts = {name.partition(".")[0] for name in state}
    if len(parts) == 1:  # a network inside one that joins its inputs: files name what is inside
        state = {name.partition(".")[2]: tensor for name, tensor in state.items()}
    save_file({name: each.half() if each.is_floating_point() else each for name, each in state.items()}, path)
