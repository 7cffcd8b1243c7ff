"""Scores of the demo's networks on landscapes that training does not see."""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from landweave_demo.landscape.land_cover import CLASS_CODES, UNKNOWN
from landweave_demo.landscape.land_use import CROP_CODES, SEASONAL
from landweave_demo.training.batches import SEED, collate
from landweave_demo.training.windows import WINDOW, ModelCard, TrainingLandscape, cut_window, with_shuffled_days

_STRIDE = 384

_log = logging.getLogger(__name__)


def confusion(
    network: nn.Module, card: ModelCard, landscape: TrainingLandscape, *, shuffle_days: bool = False
) -> NDArray[np.int64]:
    """Return the confusion matrix (truth, map) over a landscape in its first year, mapped in blended windows.

    Parameters
    ----------
    network, card
        The model.
    landscape
        To map.
    shuffle_days
        Whether the dates of a series have each other's day offsets.
    """
    height, width = landscape.target.shape
    scores = np.zeros((len(CLASS_CODES), height, width), np.float32)
    ramp = np.sin(np.pi * (np.arange(WINDOW, dtype=np.float32) + 0.5) / WINDOW) ** 2
    rng, shuffle_rng = np.random.default_rng(SEED), np.random.default_rng(SEED)
    with torch.inference_mode():
        for top in _starts(height):
            for left in _starts(width):
                window = cut_window(landscape, card, landscape.years[0], (top, left), rng)
                inputs, _ = collate([with_shuffled_days(window, shuffle_rng) if shuffle_days else window], card)
                (logits,) = network(inputs).values()
                probabilities = torch.softmax(logits, dim=1)[0].numpy()
                scores[:, top : top + WINDOW, left : left + WINDOW] += probabilities * np.outer(ramp, ramp)
    known = landscape.target != UNKNOWN
    pairs = landscape.target[known].astype(np.int64) * len(CLASS_CODES) + scores.argmax(axis=0)[known]
    return np.bincount(pairs, minlength=len(CLASS_CODES) ** 2).reshape(len(CLASS_CODES), -1)


def _starts(size: int) -> list[int]:
    return sorted({min(start, size - WINDOW) for start in range(0, size, _STRIDE)})


def class_ious(matrix: NDArray[np.int64]) -> dict[int, float]:
    """Return the IoU of each class by its code, 0 for a class that is neither in the truth nor in the map."""
    hits = np.diag(matrix)
    iou = hits / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1) - hits, 1)
    return dict(zip(CLASS_CODES, iou.tolist(), strict=True))


def seasonal_iou(matrix: NDArray[np.int64]) -> float:
    """Return the mean IoU of the crops that only a series tells apart."""
    ious = class_ious(matrix)
    return float(np.mean([ious[CROP_CODES[crop]] for crop in SEASONAL]))


def log_scores(name: str, matrix: NDArray[np.int64]) -> None:
    """Log overall accuracy, mean IoU, mean IoU of seasonal crops, and the IoU of each class.

    Parameters
    ----------
    name
        Of the model.
    matrix
        From `confusion`.
    """
    ious = class_ious(matrix)
    accuracy, mean = np.diag(matrix).sum() / matrix.sum(), np.mean(list(ious.values()))
    _log.info("%s: accuracy %.4f, mIoU %.4f, seasonal crops %.4f", name, accuracy, mean, seasonal_iou(matrix))
    _log.info("  %s", ", ".join(f"{code}: {iou:.3f}" for code, iou in ious.items()))
