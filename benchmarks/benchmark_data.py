"""Data of the benchmarks: synthetic tiles, a card for U-Net ResNet-34, and a configuration over any area."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rasterio
import torch
import yaml
from affine import Affine
from safetensors.torch import save_file

from landweave.config.load import load_config
from landweave.config.schema import Config
from landweave.models.cards.registry import find_card
from landweave.models.factory import build, core

BANDS = ("R", "G", "B", "NIR")
ORIGIN = (700416.0, 6598656.0)
"""North-west corner: a multiple of 15360 pixels from the anchor, so that blocks of the usual sizes begin there."""

NUMERICS = {"channels_last": True, "bfloat16": True, "batch": 4}
"""Those of the published FLAIR cards of this architecture."""

PIXEL = 0.2
TILE = 1024


def write_tiles(folder: Path, side: int) -> None:
    """Textured RGBI tiles, deflate GeoTIFF, over ``side`` x ``side`` pixels south-east of `ORIGIN`."""
    folder.mkdir(parents=True, exist_ok=True)
    corners = product(range(0, side, TILE), repeat=2)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda corner: _write_tile(folder, *corner), corners))


def _write_tile(folder: Path, top: int, left: int) -> None:
    profile: dict[str, Any] = {
        "driver": "GTiff", "dtype": "uint8", "count": len(BANDS), "width": TILE, "height": TILE, "crs": "EPSG:2154",
        "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate",
    }  # fmt: skip
    rng = np.random.default_rng((top, left))
    # Neighbouring pixels are alike, as in real images: noise alone would not compress.
    coarse = rng.integers(40, 200, (len(BANDS), TILE // 8, TILE // 8), np.uint8)
    pixels = coarse.repeat(8, 1).repeat(8, 2) + rng.integers(0, 9, (len(BANDS), TILE, TILE), np.uint8)
    transform = Affine(PIXEL, 0, ORIGIN[0] + left * PIXEL, 0, -PIXEL, ORIGIN[1] - top * PIXEL)
    with rasterio.open(folder / f"{top}_{left}.tif", "w", transform=transform, **profile) as dataset:
        dataset.write(pixels)


def write_published_weights(folder: Path, name: str) -> str:
    """Random weights for a published card, and its name."""
    _write_weights(folder, name)
    return name


def write_card(folder: Path, *, encoder: str, window: int) -> str:
    """A card for a U-Net over `BANDS` with the 19 classes of CoSIA, random ``weights``, and the card's file name."""
    normal = {"mean": 110.0, "std": 50.0}
    content = {
        "name": "benchmark",
        "title": f"U-Net with {encoder}, random weights",
        "architecture": {"kind": "smp", "name": "Unet", "arguments": {"encoder_name": encoder}},
        "inputs": {"AERIAL_RGBI": {"pixel": PIXEL, "bands": {band: normal for band in BANDS}}},
        "window": {"size": window, "overlap": window // 4, "multiple": 32},
        "numerics": NUMERICS,
        "outputs": {"AERIAL_LABEL-COSIA": {"pixel": PIXEL, "legend": "cosia"}},
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    _write_weights(folder, folder / "card.yaml")
    return "card.yaml"


def _write_weights(folder: Path, card: str | Path) -> None:
    """The same weights each time: by chance, a class that is never trained takes all that float32 holds."""
    torch.manual_seed(0)
    found = find_card(card)
    save_file(core(build(found, found.window.size)).state_dict(), folder / "weights.safetensors")


def write_config(
    folder: Path,
    *,
    side: int,
    block: int | None,
    chunk: int,
    workers: int = 1,
    compute: Mapping[str, Any] | None = None,
    card: str = "card.yaml",
) -> Config:
    """The configuration of a map over ``side`` x ``side`` px to a store of its own; ``compute`` is set in ``model``.

    Without ``block`` the run plans it.
    """
    x0, y1 = ORIGIN
    content = {
        "area": {"bounds": [x0, y1 - side * PIXEL, x0 + side * PIXEL, y1]},
        "grid": {"crs": "EPSG:2154"},
        "inputs": {
            "AERIAL_RGBI": {
                "kind": "mosaic",
                "bands": {band: {"files": "tiles", "band": number} for number, band in enumerate(BANDS, 1)},
            }
        },
        "model": {"card": card, "weights": "weights.safetensors", **(compute or {})},
        "output": {"store": f"map-{side}.zarr", "block": block, "chunk": chunk},
        "engine": {"kind": "dask", "workers": workers},
    }
    path = folder / f"map-{side}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_config(path)


def machine() -> str:
    """The machine that a table comes from, in a line."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    cpu = model.partition(":")[2].strip() or platform.processor()
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    libraries = f"torch {version('torch')}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores of {cpu}, {memory:.0f} GiB, load {load:.1f}; {libraries}"
