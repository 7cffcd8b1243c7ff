"""Train the demo's models: ``python -m landweave_demo.train [--sensors aerial]``, under twenty minutes on two cores.

Both learn the classes of `landscape.CLASS_CODES` from made-up landscapes other than the demo's, each landscape seen through
several made-up years: ``demo-fusion`` from aerial images, elevation and the series of Sentinel-2 and Sentinel-1,
``demo-unet`` from images and elevation alone, with the same windows and steps. ``--score`` trains nothing and tells
what the series are worth on landscapes that neither has seen. The script starts itself again where its process would give
memory back between batches.

Reproducible means: the same seeds, order, thread count and torch build on the same type of CPU give the same
bytes; on another CPU, or with other threads, the weights differ, and the scores by some hundredths.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from landweave.engine.malloc import MALLOC_ENVIRONMENT
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import InputSpec
from landweave.models.cards.registry import read_card
from landweave.models.factory import build, core, load
from landweave.models.networks.unet_utae import UnetUtae
from landweave_demo.landscape.land_use import CROP_CODES, SEASONAL
from landweave_demo.training_windows import (
    WINDOW,
    WindowSeries,
    TrainingLandscape,
    TrainingWindow,
    class_pixels,
    normalise,
    pick_corner,
    prepare_landscape,
    with_shuffled_days,
    augmented,
    cut_window,
)
from landweave_demo.landscape.landscape import CLASS_CODES, UNKNOWN, make_landscape

_FOLDER = Path(__file__).parent
CARDS: Mapping[str, Path] = {
    "all": _FOLDER / "models" / "demo-fusion.yaml",
    "aerial": _FOLDER / "models" / "demo-unet.yaml",
}
"""Cards that come with the package, by what their models see."""

TRAIN_SEEDS = (101, 102, 103, 104, 105, 106, 107, 108)
TRAINING_SEED = 31
UNSEEN_SEEDS = (201, 202, 203)
TRAIN_SHAPE = (2048, 2304)
YEARS = 6
"""Made-up years of each landscape."""

THREADS = 2
BATCH = 4
STRIDE = 384

_AERIAL, _HEIGHT = "AERIAL_RGBI", "DEM_ELEV"
_STEEPEST_WEIGHT = 5.0

Batch = tuple[dict[str, Tensor], Tensor]
"""What a network is called with, and what it should probabilities."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """One rise and fall of the learning rate: number of batches, highest rate, windows in a batch."""

    steps: int
    rate: float
    batch: int = BATCH


SERIES_CYCLE = OneCycle(steps=350, rate=6e-3, batch=6)
"""The series' own: they learn alone what lies under each of their pixels, and keep it."""

NETWORK_CYCLE = OneCycle(steps=600, rate=4e-3)
"""Of all the rest."""


def collate(windows: Sequence[TrainingWindow], card: ModelCard) -> Batch:
    """Return what a network is called with, and the target (n, y, x); short series are padded and masked."""
    images = np.stack([window.images for window in windows])
    parts = {_AERIAL: images[:, :4], _HEIGHT: images[:, 4:]}
    inputs = {
        name: torch.from_numpy(normalise(part, card.inputs[name])).to(memory_format=torch.channels_last)
        for name, part in parts.items()
    }
    for name in windows[0].series:
        inputs |= _padded(name, [window.series[name] for window in windows], card.inputs[name])
    target = torch.from_numpy(np.stack([window.target for window in windows]).astype(np.int64))
    return inputs, target


def _padded(name: str, series: Sequence[WindowSeries], spec: InputSpec) -> dict[str, Tensor]:
    longest, shape = max(len(each.days) for each in series), series[0].values.shape[1:]
    values = np.zeros((len(series), longest, *shape), np.float32)
    days, real = np.zeros((len(series), longest), np.float32), np.zeros((len(series), longest), np.bool_)
    for row, each in enumerate(series):
        count = len(each.days)
        values[row, :count], days[row, :count], real[row, :count] = normalise(each.values, spec), each.days, True
    stem = name.removesuffix("TS")
    arrays = {name: values, f"{stem}DATES": days, f"{stem}MASK": real}
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def train(
    landscapes: Sequence[TrainingLandscape], card: ModelCard, *, series_cycle: OneCycle, cycle: OneCycle
) -> nn.Module:
    """Return the network of ``card`` after both cycles; without series the first is left out."""
    torch.manual_seed(TRAINING_SEED)
    network = build(card, WINDOW).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stub lacks this form
    if isinstance(network, UnetUtae):
        _train_series(network, landscapes, card, series_cycle)
        # Kept as they are: what images teach is so much easier that seasons would be forgotten for it.
        network.series.eval().requires_grad_(requires_grad=False)
    _train_rest(network, landscapes, card, cycle)
    return network.eval()


def _train_series(network: UnetUtae, landscapes: Sequence[TrainingLandscape], card: ModelCard, cycle: OneCycle) -> None:
    """Teach the series alone, in place: what share every class has of each of their pixels."""
    width = sum(utae.score_widths[-1] for utae in network.spec.series.values())
    head = nn.Conv2d(width, len(CLASS_CODES), 1)

    def loss_of(inputs: dict[str, Tensor], target: Tensor) -> Tensor:
        scores = head(torch.cat(network.maps(inputs), dim=1))
        one_hot = functional.one_hot(target, len(CLASS_CODES)).movedim(-1, 1).float()
        return functional.cross_entropy(scores, functional.adaptive_avg_pool2d(one_hot, scores.shape[-2:]))

    _minimise([*network.series.parameters(), *head.parameters()], loss_of, (landscapes, card, cycle))


def _train_rest(network: nn.Module, landscapes: Sequence[TrainingLandscape], card: ModelCard, cycle: OneCycle) -> None:
    """Teach all that is not yet settled, in place."""
    weights = _class_weights(landscapes)

    def loss_of(inputs: dict[str, Tensor], target: Tensor) -> Tensor:
        logits = network(inputs)[card.task()]
        return functional.cross_entropy(logits, target, weight=weights, ignore_index=UNKNOWN)

    _minimise([each for each in network.parameters() if each.requires_grad], loss_of, (landscapes, card, cycle))


def _minimise(
    parameters: list[nn.Parameter],
    loss_of: Callable[[dict[str, Tensor], Tensor], Tensor],
    course: tuple[Sequence[TrainingLandscape], ModelCard, OneCycle],
) -> None:
    """Lower a loss through one rise and fall of the learning rate."""
    landscapes, card, cycle = course
    optimizer = torch.optim.AdamW(parameters, lr=cycle.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cycle.rate, total_steps=cycle.steps, pct_start=0.2)
    begun = time.monotonic()
    for step, (inputs, target) in enumerate(_prefetched(_batches(landscapes, card, cycle))):
        loss = loss_of(inputs, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 20 == 0 or step == cycle.steps - 1:
            _log.info("step %d of %d: loss %.4f, %.0f s", step, cycle.steps, loss.item(), time.monotonic() - begun)


def _prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Give ``batches`` as they are, each made by another thread while the one before it is learned from."""
    with ThreadPoolExecutor(max_workers=1) as maker:
        coming = maker.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = maker.submit(next, batches, None)
            yield batch


def _batches(landscapes: Sequence[TrainingLandscape], card: ModelCard, cycle: OneCycle) -> Iterator[Batch]:
    rng = np.random.default_rng(TRAINING_SEED)
    places = [class_pixels(landscape) for landscape in landscapes]
    for _ in range(cycle.steps):
        windows = []
        for _ in range(cycle.batch):
            which = int(rng.integers(len(landscapes)))
            corner, own = pick_corner(landscapes[which], places[which], rng), np.random.default_rng(rng.integers(2**32))
            # A stream of its own for what follows, so that both sensors' models are given the same windows.
            year = landscapes[which].years[int(own.integers(len(landscapes[which].years)))]
            windows.append(augmented(cut_window(landscapes[which], card, year, corner, own), rng))
        yield collate(windows, card)


def _class_weights(landscapes: Sequence[TrainingLandscape]) -> Tensor:
    count = sum(np.bincount(landscape.target.ravel(), minlength=256)[: len(CLASS_CODES)] for landscape in landscapes)
    share = np.asarray(count, np.float64) / np.sum(count)
    weight = np.clip((np.median(share) / np.maximum(share, 1e-9)) ** 0.35, 1 / _STEEPEST_WEIGHT, _STEEPEST_WEIGHT)
    return torch.tensor(weight / weight.mean(), dtype=torch.float32)


def confusion(
    network: nn.Module, card: ModelCard, landscape: TrainingLandscape, *, in_season: bool = True
) -> NDArray[np.int64]:
    """Return the confusion matrix (truth, probabilities) over a landscape in its first year, in blended windows.

    Parameters
    ----------
    network, card
        What answers.
    landscape
        The landscape.
    in_season
        False to give every image another one's day.
    """
    height, width = landscape.target.shape
    scores = np.zeros((len(CLASS_CODES), height, width), np.float32)
    ramp = np.sin(np.pi * (np.arange(WINDOW, dtype=np.float32) + 0.5) / WINDOW) ** 2
    rng, shuffles = np.random.default_rng(TRAINING_SEED), np.random.default_rng(TRAINING_SEED)
    with torch.inference_mode():
        for top in _starts(height):
            for left in _starts(width):
                window = cut_window(landscape, card, landscape.years[0], (top, left), rng)
                inputs, _ = collate([window if in_season else with_shuffled_days(window, shuffles)], card)
                probabilities = torch.softmax(network(inputs)[card.task()], dim=1)[0].numpy()
                scores[:, top : top + WINDOW, left : left + WINDOW] += probabilities * np.outer(ramp, ramp)
    known = landscape.target != UNKNOWN
    pairs = landscape.target[known].astype(np.int64) * len(CLASS_CODES) + scores.argmax(axis=0)[known]
    return np.bincount(pairs, minlength=len(CLASS_CODES) ** 2).reshape(len(CLASS_CODES), -1)


def _starts(size: int) -> list[int]:
    return sorted({min(start, size - WINDOW) for start in range(0, size, STRIDE)})


def class_ious(matrix: NDArray[np.int64]) -> dict[int, float]:
    """Return the IoU of each class by its code; 0 where it is neither there nor answered."""
    hits = np.diag(matrix)
    iou = hits / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1) - hits, 1)
    return dict(zip(CLASS_CODES, iou.tolist(), strict=True))


def seasonal_iou(matrix: NDArray[np.int64]) -> float:
    """Return the mean IoU of the crops that only their year tells."""
    ious = class_ious(matrix)
    return float(np.mean([ious[CROP_CODES[crop]] for crop in SEASONAL]))


def load_demo_model(sensors: str) -> tuple[ModelCard, nn.Module]:
    """Return a card that comes with the package and its network, ready to probabilities."""
    card = read_card(CARDS[sensors])
    return card, load(card, WINDOW, Path(str(card.weights.file)), batch_size=1)


def save_half(network: nn.Module, path: Path) -> None:
    """Write weights in half precision: whoever loads them computes in single precision again."""
    state = {name: tensor.contiguous() for name, tensor in core(network).state_dict().items()}
    save_file({name: each.half() if each.is_floating_point() else each for name, each in state.items()}, path)


def log_scores(name: str, matrix: NDArray[np.int64]) -> None:
    """Log overall accuracy, mean IoU, that of the crops that only their year tells, and each class's IoU."""
    ious = class_ious(matrix)
    accuracy, mean = np.diag(matrix).sum() / matrix.sum(), np.mean(list(ious.values()))
    _log.info("%s: accuracy %.4f, mIoU %.4f, crops of year %.4f", name, accuracy, mean, seasonal_iou(matrix))
    _log.info("  %s", ", ".join(f"{code}: {iou:.3f}" for code, iou in ious.items()))


def score_unseen() -> dict[str, NDArray[np.int64]]:
    """Return confusion over `UNSEEN_SEEDS` of the shipped models: ``all``, ``aerial``, and ``with_shuffled_days`` days."""
    landscapes = _training_landscapes(UNSEEN_SEEDS, years=1)
    networks = {sensors: load_demo_model(sensors) for sensors in CARDS}
    answers = {"all": ("all", True), "aerial": ("aerial", True), "with_shuffled_days": ("all", False)}
    found = {}
    for name, (sensors, in_season) in answers.items():
        card, network = networks[sensors]
        parts = [confusion(network, card, landscape, in_season=in_season) for landscape in landscapes]
        found[name] = np.sum(parts, axis=0)
    return found


def _training_landscapes(seeds: Sequence[int], *, years: int) -> list[TrainingLandscape]:
    height, width = TRAIN_SHAPE
    with ThreadPoolExecutor(THREADS) as makers:
        landscapes = makers.map(lambda seed: make_landscape(seed, height=height, width=width), seeds)
        return [prepare_landscape(landscape, years=years) for landscape in landscapes]


def main() -> None:
    """Train and save one model, or score both on landscapes that training has not seen."""
    parser = argparse.ArgumentParser(description="Train a model of the demo, or score both on unseen landscapes.")
    parser.add_argument("--sensors", choices=sorted(CARDS), default="all", help="what the model sees")
    parser.add_argument("--out", type=Path, help="where the weights go; by default to their place in the package")
    parser.add_argument("--score", action="store_true", help="train nothing, score the weights that are there")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(mode=True)
    if chosen.score:
        for name, matrix in score_unseen().items():
            log_scores(name, matrix)
        return
    card = read_card(CARDS[chosen.sensors])
    network = train(
        _training_landscapes(TRAIN_SEEDS, years=YEARS), card, series_cycle=SERIES_CYCLE, cycle=NETWORK_CYCLE
    )
    path = chosen.out or Path(str(card.weights.file))
    save_half(network, path)
    _log.info("%s: sha256 %s", path.name, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    if not MALLOC_ENVIRONMENT.items() <= os.environ.items():  # read by the C library once, when a process starts
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **MALLOC_ENVIRONMENT})
    main()
