"""Train the demo's models: ``python -m landweave_demo.train [--sensors aerial]``, under twenty minutes on two cores.

Both learn the classes of `land_cover.CLASS_CODES` from landscapes other than the demo's, each in several satellite
years: ``demo-fusion`` from aerial images, elevation and the series of Sentinel-2 and Sentinel-1, ``demo-unet`` from
images and elevation alone, with the same windows. ``--score`` trains nothing and logs what the series are worth on
landscapes that neither has seen.

The same seeds, order, thread count and torch build on the same type of CPU give the same bytes; on another CPU, or
with other threads, the weights differ, and the scores by some hundredths. The weights of the package were trained when
the landscapes, too, depended on the CPU: training again gives others.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import landweave as lw
from landweave_demo.landscape.landscape import make_landscape
from landweave_demo.training.networks import NETWORK_CYCLE, SERIES_CYCLE, load_trained, save_half_precision, train
from landweave_demo.training.scores import confusion, log_scores
from landweave_demo.training.windows import ModelCard, TrainingLandscape, prepare_landscape

MODELS: Mapping[str, str] = {"all": "demo-fusion", "aerial": "demo-unet"}
"""Name of the model by the sensors that it sees."""

TRAIN_SEEDS = (101, 102, 103, 104, 105, 106, 107, 108)
UNSEEN_SEEDS = (201, 202, 203)
SHAPE = (2048, 2304)
"""Height and width of every landscape in pixels."""

YEARS = 6
"""Satellite years of each training landscape."""

THREADS = 2

_MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""The C library reads these when a process starts: freed memory stays for the next batch. Otherwise activations above
32 MiB are returned and paid for page by page at every batch, and a forward pass takes 1.25 times as long."""

_log = logging.getLogger(__name__)


def make_training_landscapes(seeds: Sequence[int], *, years: int) -> list[TrainingLandscape]:
    """Return landscapes, made in several threads.

    Parameters
    ----------
    seeds
        Of the landscapes.
    years
        Satellite years of each.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        landscapes = pool.map(lambda seed: make_landscape(seed, height=SHAPE[0], width=SHAPE[1]), seeds)
        return [prepare_landscape(landscape, years=years) for landscape in landscapes]


def score_unseen() -> dict[str, NDArray[np.int64]]:
    """Return the confusion matrix over `UNSEEN_SEEDS` of each model, and of the one with series with shuffled days.

    Keys are ``all``, ``aerial`` and ``shuffled``.
    """
    landscapes = make_training_landscapes(UNSEEN_SEEDS, years=1)
    models = {sensors: load_trained(name) for sensors, name in MODELS.items()}
    matrices = {}
    for name, sensors in {"all": "all", "aerial": "aerial", "shuffled": "all"}.items():
        card, network = models[sensors]
        parts = [confusion(network, card, each, shuffle_days=name == "shuffled") for each in landscapes]
        matrices[name] = np.sum(parts, axis=0)
    return matrices


def main() -> None:
    """Train and save one model, or score both on landscapes that training has not seen."""
    parser = argparse.ArgumentParser(description="Train a model of the demo, or score both on unseen landscapes.")
    parser.add_argument("--sensors", choices=sorted(MODELS), default="all", help="what the model sees")
    parser.add_argument("--out", type=Path, help="where the weights go; by default to their place in the package")
    parser.add_argument("--score", action="store_true", help="train nothing, score the weights that are there")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(mode=True)
    if options.score:
        for name, matrix in score_unseen().items():
            log_scores(name, matrix)
        return
    card: ModelCard = lw.list_models()[MODELS[options.sensors]]
    landscapes = make_training_landscapes(TRAIN_SEEDS, years=YEARS)
    network = train(landscapes, card, series_cycle=SERIES_CYCLE, cycle=NETWORK_CYCLE)
    path = options.out or Path(card.weights.file)
    save_half_precision(network, path)
    _log.info("%s: sha256 %s", path.name, hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    if not _MALLOC.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **_MALLOC})
    main()
