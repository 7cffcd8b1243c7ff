"""The same map by other means: ``python benchmarks/peers.py`` (half an hour on two cores).

Beside this package, as whole commands in a process of their own and as loops from the first window on:

- ``zonal loop``: what the public zonal tools do, written here: a ``DataLoader`` reads windows of a GeoTIFF, the network
  predicts them, their margins are cropped, classes go to a GeoTIFF window by window;
- ``MONAI``: its sliding window over the raster in memory, gaussian, with the weights of this package (its own are the
  same, but at least 0.001 each); left out where ``monai`` is not installed.

All have the same network, weights, raster, window, overlap, batch, memory layout and torch threads. Equal answers come
first: the zonal loop against a map with ``crop``; MONAI, whose last windows are shifted, against a gaussian map, where
the windows are the same. Shifted windows are fewer than those of a lattice: ratios are of whole commands, and of these
a window. Peak memory is that of the process and its children, as are CPU seconds, which tell more than the clock where
others use the machine too.

Medians are of commands that come second, as with any program whose libraries have been loaded before: what the first
command with some weights finds out, and keeps in the user's cache (the graph of an engine, its logits beside eager
torch's), is made by a ``check`` before the first turn, whose seconds are printed. The cache is the benchmark's own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rasterio
import torch
import yaml
from benchmark_data import ORIGIN, PIXEL, TILE, machine, write_card, write_config, write_tiles
from rasterio.windows import Window
from torch.utils.data import DataLoader, Dataset

from landweave import api
from landweave.config.load import load_config
from landweave.core.blending import Blend, profile
from landweave.core.lattice import Extent
from landweave.models.cards.registry import find_card
from landweave.models.factory import load
from landweave.store.maps.store import open_store
from landweave.store.objects import Target

MEAN, STD = 110.0, 50.0
CARD = "AERIAL_RGBI"


class Windows(Dataset[tuple[torch.Tensor, int, int]]):
    """Windows of a raster at multiples of a stride whose middle is over it, normalised; zeros beyond it."""

    def __init__(self, raster: Path, size: int, overlap: int) -> None:
        self.raster, self.size = raster, size
        with rasterio.open(raster) as file:
            height, width = file.shape
        stride, margin = size - overlap, overlap // 2
        rows, columns = (
            range(-(-(1 - size + margin) // stride) * stride, side - margin, stride) for side in (height, width)
        )
        self.starts = [(top, left) for top in rows for left in columns]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int, int]:
        top, left = self.starts[number]
        with rasterio.open(self.raster) as file:
            window = Window(left, top, self.size, self.size)
            values = file.read(window=window, boundless=True, fill_value=round(MEAN)).astype(np.float32)
        return torch.from_numpy((values - MEAN) / STD), top, left


def network_of(config: Path) -> Any:
    """The card and the network of a configuration, in the memory layout of its card, and how classes are decided.

    The classes that the card was never trained on are not answers of a map, so they are none of a peer either.
    """
    settings = load_config(config)
    card = find_card(settings.path("card.yaml"))
    weights = settings.path("weights.safetensors")
    network = load(card, card.window.size, Path(weights), batch_size=4).to(memory_format=torch.channels_last)
    name, trained = card.output_name(), torch.tensor(card.legend().trained)[:, None, None]
    torch.set_num_threads(settings.model.torch_threads)

    def logits(x: torch.Tensor) -> torch.Tensor:
        return network({CARD: x.contiguous(memory_format=torch.channels_last)}, x.shape[-2:])[name]

    def decide(probabilities: torch.Tensor) -> np.ndarray:
        best, classes = probabilities.where(trained, 0).max(-3)
        return classes.where(best > 0, 255).byte().numpy()

    return card, logits, decide


def zonal_loop(config: Path, raster: Path, path: Path) -> dict[str, Any]:
    """Map a raster window by window, margins cropped."""
    card, network, decide = network_of(config)
    size, overlap = card.window.size, card.window.overlap
    margin, inner = overlap // 2, size - overlap
    windows = Windows(raster, size, overlap)
    with rasterio.open(raster) as file, torch.inference_mode():
        profile = {**file.profile, "count": 1, "dtype": "uint8", "compress": "deflate"}
        height, width = file.shape
        started = time.perf_counter()
        with rasterio.open(path, "w", **profile) as target:
            for values, tops, lefts in DataLoader(windows, batch_size=4, num_workers=1):
                classes = decide(torch.softmax(network(values), 1))
                for part, top, left in zip(classes, tops.tolist(), lefts.tolist(), strict=True):
                    y0, x0 = max(top + margin, 0), max(left + margin, 0)
                    y1, x1 = min(top + margin + inner, height), min(left + margin + inner, width)
                    cut = part[y0 - top : y1 - top, x0 - left : x1 - left]
                    target.write(cut, 1, window=Window(x0, y0, x1 - x0, y1 - y0))
    return {"windows": len(windows), "loop": time.perf_counter() - started}


def monai(config: Path, raster: Path, path: Path) -> dict[str, Any]:
    """Map a raster as a whole, in memory, by MONAI's sliding window."""
    from monai.inferers import sliding_window_inference

    card, network, decide = network_of(config)
    size, overlap = card.window.size, card.window.overlap
    weights = torch.from_numpy(profile(Blend.GAUSSIAN, size, overlap))
    with rasterio.open(raster) as file, torch.inference_mode():
        started = time.perf_counter()
        values = torch.from_numpy((file.read().astype(np.float32) - MEAN) / STD)[None]
        options = {"overlap": overlap / size, "roi_weight_map": weights[:, None] * weights}
        logits = sliding_window_inference(values, (size, size), 4, lambda x: torch.softmax(network(x), 1), **options)
        with rasterio.open(
            path, "w", **{**file.profile, "count": 1, "dtype": "uint8", "compress": "deflate"}
        ) as target:
            target.write(decide(logits[0]), 1)
    steps = [-(-max(side - size, 0) // (size - overlap)) + 1 for side in values.shape[-2:]]
    return {"windows": steps[0] * steps[1], "loop": time.perf_counter() - started}


def landweave(config: Path, raster: Path, path: Path) -> dict[str, Any]:
    """Run a configuration; its loop begins with the first batch."""
    from landweave.models.inference import TorchPredictor

    predict, first = TorchPredictor.predict, []

    def timed(self: TorchPredictor, batch: Any) -> Any:
        first.append(time.perf_counter())
        return predict(self, batch)

    TorchPredictor.predict = timed  # type: ignore[method-assign]
    settings = load_config(config)
    result = api.run(settings, progress=False)
    assert result.exit_code == 0, result
    windows = int(api.open_ledger(settings.path(settings.output.store)).windows.sum())
    return {"windows": windows, "loop": time.perf_counter() - first[0]}


def check(config: Path, raster: Path, path: Path) -> dict[str, Any]:
    """Load and try the network of a configuration, as its first command does; no window is mapped."""
    api.check(load_config(config))
    return {}


MEANS: Mapping[str, Callable[[Path, Path, Path], dict[str, Any]]] = {
    "zonal loop": zonal_loop,
    "MONAI": monai,
    "landweave": landweave,
    "check": check,
}


def command(means: str, config: Path, raster: Path, path: Path) -> dict[str, Any]:
    """The measures of a whole command, in a process of its own; memory in MiB."""
    call = [sys.executable, __file__, "--one", means, str(config), str(raster), str(path)]
    own = {**os.environ, "XDG_CACHE_HOME": str(config.parent / "cache")}
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=own) as process:
        with peak_memory(process.pid) as peak:
            printed, _ = process.communicate()
        assert process.returncode == 0, printed
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(printed.splitlines()[-1]), "wall": time.perf_counter() - started, "cpu": cpu, "peak": peak()}


class peak_memory:  # noqa: N801  a context manager
    """The largest resident memory of a process and its children, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self.process, self.largest, self.over = psutil.Process(pid), 0.0, threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Callable[[], float]:
        self.thread.start()
        return lambda: self.largest

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.over.wait(0.1):
            try:
                each = [self.process, *self.process.children(recursive=True)]
                self.largest = max(self.largest, sum(one.memory_info().rss for one in each) / 2**20)
            except psutil.NoSuchProcess:
                continue


def write_raster(folder: Path, side: int) -> Path:
    """One GeoTIFF of what `write_tiles` makes, which every means reads."""
    write_tiles(folder / "parts", side)
    path = folder / "tiles" / "area.tif"
    path.parent.mkdir()
    profile: dict[str, Any] = {}
    for top in range(0, side, TILE):
        for left in range(0, side, TILE):
            with rasterio.open(folder / "parts" / f"{top}_{left}.tif") as part:
                profile = profile or {**part.profile, "width": side, "height": side}
                with rasterio.open(path, "r+" if path.exists() else "w", **({} if path.exists() else profile)) as file:
                    size = min(TILE, side - left), min(TILE, side - top)
                    values = part.read(window=Window(0, 0, *size))
                    file.write(values, window=Window(left, top, *size))
    return path


def variant(folder: Path, side: int, blend: str, engine: str, threads: int) -> Path:
    """A configuration with a blend and an engine, in one process and with the default blocks."""
    path = folder / f"{blend}-{engine}.yaml"
    content = yaml.safe_load((folder / f"map-{side}.yaml").read_text())
    content["output"] = {"store": f"{path.stem}.zarr", "chunk": content["output"]["chunk"]}
    content["engine"] = {"kind": "inline"}
    content["model"] = {**content["model"], "engine": engine, "torch_threads": threads}
    content["windows"] = {"blend": blend}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def classes_of(path: Path, side: int) -> np.ndarray:
    """The classes over the area, of a GeoTIFF or of a map."""
    if path.suffix == ".tif":
        with rasterio.open(path) as file:
            return np.asarray(file.read(1))
    top, left = round(-ORIGIN[1] / PIXEL), round(ORIGIN[0] / PIXEL)
    extent = Extent.of((top, top + side), (left, left + side))
    return open_store(Target.parse(path)).read("landcover", extent)


def contenders(folder: Path, side: int, engines: list[str], threads: int) -> Iterator[tuple[str, str, Path, Path]]:
    """Name, means, configuration and output of each, the peer of a blend before the maps with it."""
    for blend, peer in (("crop", "zonal loop"), ("gaussian", "MONAI")):
        if peer == "MONAI" and not find_spec("monai"):
            print("MONAI is not installed: left out")
            continue
        yield peer, peer, variant(folder, side, blend, "eager", threads), folder / f"{blend}-peer.tif"
        for engine in engines:
            config = variant(folder, side, blend, engine, threads)
            yield f"landweave {blend} {engine}", "landweave", config, config.with_suffix(".zarr")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096, help="pixels a side of the area")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--engines", nargs="+", default=["eager", "onnxruntime", "openvino"])
    parser.add_argument("--threads", type=int, default=2, help="of torch, or of an engine")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        means, config, raster, path = asked.one
        print(json.dumps(MEANS[means](Path(config), Path(raster), Path(path))))
        return
    print(machine())
    print(
        f"{asked.side} px a side, windows of {asked.window} px, overlap {asked.window // 4}, {asked.encoder}, ", end=""
    )
    print(f"{asked.threads} threads")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raster = write_raster(folder, asked.side)
        write_card(folder, encoder=asked.encoder, window=asked.window)
        write_config(folder, side=asked.side, block=asked.window, chunk=asked.window)
        compete(
            list(contenders(folder, asked.side, asked.engines, asked.threads)),
            raster,
            asked.side,
            asked.window,
            asked.turns,
        )


def compete(each: list[tuple[str, str, Path, Path]], raster: Path, side: int, margin: int, turns: int) -> None:
    """Check each, take turns, compare the answers of the first one, and print medians."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in each}
    for name, means, config, path in each:
        if means == "landweave":
            print(f"first check of {name}: {command('check', config, raster, path)['wall']:.1f} s", flush=True)
    for turn in range(turns):
        peer = np.empty(0)
        for name, means, config, path in each:
            rows[name].append(command(means, config, raster, path))
            classes = classes_of(path, side)
            if means != "landweave":
                peer = classes
            elif turn == 0:
                inner = slice(margin, side - margin) if side > 3 * margin else slice(None)
                print(f"{name}: {(classes == peer)[inner, inner].mean():.6f} of the pixels as the peer", flush=True)
            if path.suffix == ".zarr":
                path.rename(path.with_name(f"{turn}-{path.name}"))
    print(
        f"{'':32} {'windows':>8} {'wall s':>8} {'of peer':>8} {'a window':>8} {'loop s':>8} {'CPU s':>8} "
        f"{'of peer':>8} {'peak MiB':>9}"
    )
    peers = rows[each[0][0]]
    for name, means, *_ in each:
        peers = rows[name] if means != "landweave" else peers
        middle = {key: statistics.median(row[key] for row in rows[name]) for key in rows[name][0]}
        wall, cpu = (
            statistics.median(own[key] / other[key] for own, other in zip(rows[name], peers, strict=True))
            for key in ("wall", "cpu")
        )
        a_window = wall * peers[0]["windows"] / middle["windows"]
        print(
            f"{name:32} {middle['windows']:8.0f} {middle['wall']:8.1f} {wall:8.3f} {a_window:8.3f} "
            f"{middle['loop']:8.1f} {middle['cpu']:8.1f} {cpu:8.3f} {middle['peak']:9.0f}"
        )


if __name__ == "__main__":
    main()
