"""Train the demo's model: ``python -m landweave.demo.train [--out FILE]``, about ten minutes on two cores.

A small U-Net learns the classes of `scene.CLASS_CODES` from made-up scenes other than the demo's, then is
scored on the demo's. Its input is, in this order, NIR, R, G, B (0..255) and the height above ground in metres
(DSM minus DTM), each ``(x - mean) / std`` with `MEANS` and `STDS`; its output is one score a class, in the order
of ``CLASS_CODES``.

Reproducible means: the same seeds, order, thread count and torch build on the same type of CPU give the same
bytes; on another CPU the weights differ, and the scores by about a hundredth.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from landweave.demo.scene import CLASS_CODES, DEMO_SEED, DEMO_SHAPE, UNKNOWN, Scene, make_scene
from landweave.models._torchvision import smp

WEIGHTS = Path(__file__).parent / "weights" / "demo-unet.safetensors"
"""The weights that come with the package."""

ENCODER = "tu-mobilenetv4_conv_small_050"
DECODER_CHANNELS = (48, 48, 32, 16, 8)
BANDS = ("NIR", "R", "G", "B", "NDSM")
MEANS = (135.0, 118.0, 124.0, 98.0, 2.0)
STDS = (47.0, 45.0, 37.0, 31.0, 4.0)

TRAIN_SEEDS = (101, 102, 103, 104, 105, 106, 107)
TRAIN_SHAPE = (2048, 2304)
THREADS = 2
BATCH = 12
CROP = 256
WINDOW = 512
STRIDE = 384

_STEEPEST_WEIGHT = 4.0
_BALANCED_SHARE = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """One rise and fall of the learning rate: number of batches, highest rate."""

    steps: int
    rate: float


CYCLES = (Cycle(steps=460, rate=4e-3), Cycle(steps=300, rate=3e-3))


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One scene made ready: ``inputs`` float16 (band, y, x) in `BANDS` order, ``target`` uint8 channels."""

    inputs: NDArray[np.float16]
    target: NDArray[np.uint8]


def build_model() -> nn.Module:
    """Return the demo's network, its weights not yet learnt."""
    model: nn.Module = smp.Unet(
        encoder_name=ENCODER,
        encoder_weights=None,
        decoder_channels=DECODER_CHANNELS,
        in_channels=len(BANDS),
        classes=len(CLASS_CODES),
    )
    return model


def prepare(scene: Scene) -> Lesson:
    """Return a scene as the model sees it, not yet normalised; 255 stays 255 in the target."""
    height = (scene.dsm - scene.dtm)[None]
    channel = np.full(256, UNKNOWN, np.uint8)
    channel[list(CLASS_CODES)] = np.arange(len(CLASS_CODES))
    inputs = np.concatenate([scene.rgbi[[3, 0, 1, 2]], height]).astype(np.float16)
    return Lesson(inputs=inputs, target=channel[scene.truth])


def normalise(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return inputs (..., band, y, x) as the model takes them."""
    means, stds = np.array(MEANS, np.float32), np.array(STDS, np.float32)
    return (inputs - means[:, None, None]) / stds[:, None, None]


def train(lessons: list[Lesson], *, cycles: tuple[Cycle, ...]) -> nn.Module:
    """Return the model after the cycles, one after the other."""
    torch.manual_seed(DEMO_SEED)
    model = build_model()
    for number, cycle in enumerate(cycles):
        run_cycle(model, lessons, cycle, np.random.default_rng(DEMO_SEED + number))
    model.eval()
    return model


def run_cycle(model: nn.Module, lessons: list[Lesson], cycle: Cycle, rng: np.random.Generator) -> None:
    """Train a model in place through one rise and fall of the learning rate."""
    model.train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stub lacks this form
    places = [_class_places(lesson) for lesson in lessons]
    loss_of = nn.CrossEntropyLoss(weight=_class_weights(lessons), ignore_index=UNKNOWN)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cycle.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cycle.rate, total_steps=cycle.steps, pct_start=0.2)
    begun = time.monotonic()
    for step in range(cycle.steps):
        inputs, target = _batch(lessons, places, rng)
        loss = loss_of(model(inputs), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 20 == 0 or step == cycle.steps - 1:
            _log.info("step %d of %d: loss %.4f, %.0f s", step, cycle.steps, loss.item(), time.monotonic() - begun)


def _class_places(lesson: Lesson) -> list[NDArray[np.intp]]:
    """Return, for each class the lesson holds, some of its pixels as flat places: rare classes are sought out."""
    flat = lesson.target.ravel()[::7]
    found = [np.flatnonzero(flat == channel) * 7 for channel in range(len(CLASS_CODES))]
    return [places for places in found if places.size]


def _class_weights(lessons: list[Lesson]) -> Tensor:
    count = sum(np.bincount(lesson.target.ravel(), minlength=256)[: len(CLASS_CODES)] for lesson in lessons)
    share = np.asarray(count, np.float64) / np.sum(count)
    weight = np.clip((np.median(share) / np.maximum(share, 1e-9)) ** 0.3, 1 / _STEEPEST_WEIGHT, _STEEPEST_WEIGHT)
    return torch.tensor(weight / weight.mean(), dtype=torch.float32)


def _batch(
    lessons: list[Lesson], places: list[list[NDArray[np.intp]]], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    crops = []
    for _ in range(BATCH):
        which = int(rng.integers(len(lessons)))
        crops.append(_varied(*_crop(lessons[which], places[which], rng), rng))
    inputs = torch.from_numpy(np.stack([normalise(crop) for crop, _ in crops]))
    target = torch.from_numpy(np.stack([own for _, own in crops]).astype(np.int64))
    return inputs.to(memory_format=torch.channels_last), target


def _crop(
    lesson: Lesson, places: list[NDArray[np.intp]], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    height, width = lesson.target.shape
    row, col = int(rng.integers(height)), int(rng.integers(width))
    if rng.random() < _BALANCED_SHARE:
        own = places[int(rng.integers(len(places)))]
        row, col = divmod(int(own[rng.integers(own.size)]), width)
        row, col = row + int(rng.integers(-CROP // 3, CROP // 3)), col + int(rng.integers(-CROP // 3, CROP // 3))
    top, left = (min(max(at - CROP // 2, 0), size - CROP) for at, size in ((row, height), (col, width)))
    window = slice(top, top + CROP), slice(left, left + CROP)
    return lesson.inputs[:, *window].astype(np.float32), lesson.target[window]


def _varied(
    inputs: NDArray[np.float32], target: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return a crop turned, mirrored, and in another light: the tone of a flight strip must not matter."""
    turns = int(rng.integers(4))
    inputs, target = np.rot90(inputs, turns, (1, 2)), np.rot90(target, turns)
    if rng.random() < 0.5:
        inputs, target = inputs[:, :, ::-1], target[:, ::-1]
    inputs = np.ascontiguousarray(inputs)
    gain = rng.uniform(0.88, 1.12) * rng.uniform(0.95, 1.05, 4)
    inputs[:4] *= gain.astype(np.float32)[:, None, None]
    inputs[:4] += rng.normal(0, rng.uniform(0, 3), inputs[:4].shape).astype(np.float32)
    inputs[4] = inputs[4] * np.float32(rng.uniform(0.92, 1.08)) + np.float32(rng.normal(0, 0.08))
    return inputs, np.ascontiguousarray(target)


def confusion(model: nn.Module, lesson: Lesson) -> NDArray[np.int64]:
    """Return the confusion matrix (truth, answer) of a model over a scene, in blended windows."""
    height, width = lesson.target.shape
    scores = np.zeros((len(CLASS_CODES), height, width), np.float32)
    ramp = np.sin(np.pi * (np.arange(WINDOW, dtype=np.float32) + 0.5) / WINDOW) ** 2
    weight = np.outer(ramp, ramp)
    with torch.inference_mode():
        for top in _starts(height):
            for left in _starts(width):
                window = slice(top, top + WINDOW), slice(left, left + WINDOW)
                inputs = normalise(lesson.inputs[:, *window].astype(np.float32))
                answer = torch.softmax(model(torch.from_numpy(inputs[None])), dim=1)[0].numpy()
                scores[:, *window] += answer * weight
    answer = scores.argmax(axis=0)
    known = lesson.target != UNKNOWN
    pairs = lesson.target[known].astype(np.int64) * len(CLASS_CODES) + answer[known]
    return np.bincount(pairs, minlength=len(CLASS_CODES) ** 2).reshape(len(CLASS_CODES), -1)


def _starts(size: int) -> list[int]:
    return sorted({min(start, size - WINDOW) for start in range(0, size, STRIDE)})


def log_scores(matrix: NDArray[np.int64]) -> None:
    """Log overall accuracy, the mean of the classes' IoU, and each class's IoU."""
    hits = np.diag(matrix)
    iou = hits / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1) - hits, 1)
    _log.info("overall accuracy %.4f, mIoU %.4f", hits.sum() / matrix.sum(), iou.mean())
    for code, value in zip(CLASS_CODES, iou, strict=True):
        _log.info("class %2d: IoU %.3f", code, value)


def main() -> None:
    """Train, save, load again and score on the demo's scene."""
    parser = argparse.ArgumentParser(description="Train the demo's model and score it on the demo's scene.")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where the weights go")
    parser.add_argument("--score-only", action="store_true", help="score the weights that are there")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(mode=True)
    if not chosen.score_only:
        height, width = TRAIN_SHAPE
        lessons = [prepare(make_scene(seed, height=height, width=width)) for seed in TRAIN_SEEDS]
        model = train(lessons, cycles=CYCLES)
        state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(state, chosen.out)
    learnt = build_model()
    learnt.load_state_dict(load_file(chosen.out))
    _log.info("%s: sha256 %s", chosen.out.name, hashlib.sha256(chosen.out.read_bytes()).hexdigest())
    height, width = DEMO_SHAPE
    log_scores(confusion(learnt.eval(), prepare(make_scene(DEMO_SEED, height=height, width=width))))


if __name__ == "__main__":
    main()
