"""Batches of training windows, as the demo's networks take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from landweave_demo.training.windows import (
    InputSpec,
    ModelCard,
    TrainingLandscape,
    TrainingWindow,
    WindowSeries,
    augmented,
    class_pixels,
    cut_window,
    normalise,
    pick_corner,
)

Batch = tuple[dict[str, Tensor], Tensor]
"""Inputs of a network by name, and the target, int64 (n, y, x), 255 = unknown."""

SEED = 31
"""Of all random numbers of training."""

_AERIAL, _HEIGHT = "AERIAL_RGBI", "DEM_ELEV"


def collate(windows: Sequence[TrainingWindow], card: ModelCard) -> Batch:
    """Return windows as one batch; short series are padded and masked.

    Parameters
    ----------
    windows
        With the series that the card needs.
    card
        Model card, with the normalisation of each input.
    """
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


def random_batches(
    landscapes: Sequence[TrainingLandscape], card: ModelCard, *, count: int, size: int
) -> Iterator[Batch]:
    """Yield batches of random, augmented windows; the same windows for every card.

    Parameters
    ----------
    landscapes
        That windows are cut from.
    card
        Model card.
    count
        Number of batches.
    size
        Windows in a batch.
    """
    rng = np.random.default_rng(SEED)
    pixels = [class_pixels(landscape) for landscape in landscapes]
    for _ in range(count):
        windows = []
        for _ in range(size):
            which = int(rng.integers(len(landscapes)))
            landscape, corner = landscapes[which], pick_corner(landscapes[which], pixels[which], rng)
            # A stream of its own for year and noise: a card without series is given the same windows.
            series_rng = np.random.default_rng(rng.integers(2**32))
            year = landscape.years[int(series_rng.integers(len(landscape.years)))]
            windows.append(augmented(cut_window(landscape, card, year, corner, series_rng), rng))
        yield collate(windows, card)


def prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield the same batches, each made in another thread while the one before it is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        following = pool.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = pool.submit(next, batches, None)
            yield batch
