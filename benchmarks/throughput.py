"""The whole run beside bare forward passes: ``python benchmarks/throughput.py`` (about ten minutes on two cores).

``--engines eager onnxruntime openvino`` gives a table for each, ``--lc-a`` that of LC-A (25 minutes).

All use the same network, batch, memory layout and torch threads, and take turns, since machines are shared and noisy;
the ratio is what counts. Bare passes do nothing but ``network(batch)``; the run reads tiles, normalises, predicts,
takes the softmax, blends, takes the argmax and writes Zarr, on a Dask worker behind its nanny. Bare passes are timed
twice: in a plain process, as anybody would call the network (a third of the windows), and in the worker, whose C
library keeps freed memory for the next batch: the first ratio is what a user gains, the second what the run adds.

On a GPU ``--device cuda --bfloat16 --batch 16``; it is fast enough that reading and writing on the cores count, so name
``--workers`` for half of the cores, and a ``--side`` with blocks for all of their threads. Bare passes are one
process's then, beside a run of all of them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmark_data import machine, write_card, write_config, write_published_weights, write_tiles
from distributed import Client

from landweave import api
from landweave.config.schema import Config
from landweave.engine.clusters import local_engine
from landweave.engine.dask import DaskEngine
from landweave.models.engines import with_engine
from landweave.models.factory import load
from landweave.models.inference import numerics
from landweave.models.predictor import TorchModel
from landweave.models.settings import InferenceSettings
from landweave.models.trial import noise_inputs
from landweave.setup.map_setup import set_up_map

STRIDE = 384
"""Pixels from one window to the next; inner chunks of the map have them a side."""

Measured = Callable[[TorchModel, int], float]
"""Seconds that something takes for so many windows."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One measured run: what it mapped, its seconds, those of as many bare passes in a plain process and in a worker.

    Seconds of stages are summed over the workers' threads, each with what it waits: ``predict`` for the network that
    answers for the other thread. ``blend`` takes the softmax on a CPU, ``predict`` on a GPU.
    """

    pixels: int
    windows: int
    run_seconds: float
    bare_seconds: float
    worker_seconds: float
    stages: Mapping[str, float]

    @property
    def ratio(self) -> float:
        """Bare passes of a plain process over the run: above 1 where kept memory gains more than all the rest costs."""
        return self.bare_seconds / self.run_seconds

    @property
    def worker_ratio(self) -> float:
        """Bare passes in the worker over the run: 1 when everything but the network were free."""
        return self.worker_seconds / self.run_seconds


def measure(
    folder: Path,
    *,
    side: int,
    block: int | None,
    turns: int,
    workers: int,
    network: dict[str, Any] | None,
    compute: dict[str, Any],
) -> list[Turn]:
    """Take turns of a whole run and of bare passes over the same number of windows."""
    write_tiles(folder / "tiles", side)
    card = write_card(folder, **network) if network else write_published_weights(folder, "LC-A")
    config = write_config(folder, side=side, block=block, chunk=STRIDE, workers=workers, compute=compute, card=card)
    model = set_up_map(config).job.model
    with local_engine(workers=workers, torch_threads=model.torch_threads) as engine:
        # A first pass of each, before the clock runs: libraries are imported, and memory is there.
        _bare_seconds(model, 1)
        client = engine.client
        client.gather(
            [client.submit(_bare_seconds, model, 1, workers=[each], pure=False) for each in client.nthreads()]
        )
        return [_printed(_turn(config, model, engine, number)) for number in range(turns)]


def _printed(turn: Turn) -> Turn:
    print(
        f"{turn.windows} windows: run {turn.run_seconds:.1f} s, bare {turn.bare_seconds:.1f} s, "
        f"in the worker {turn.worker_seconds:.1f} s",
        flush=True,
    )
    return turn


def _turn(config: Config, model: TorchModel, engine: DaskEngine, number: int) -> Turn:
    output = config.output.model_copy(update={"store": f"turn-{number}.zarr"})
    config = config.model_copy(update={"output": output})
    started = time.perf_counter()
    summary = api.run(config, engine=engine)
    seconds = time.perf_counter() - started
    # Those that ran: the plan also counts windows that turn out to lie beyond the imagery.
    windows = int(api.open_ledger(config.path(config.output.store)).windows.sum())
    return Turn(
        pixels=int(summary.pixels),
        windows=windows,
        run_seconds=seconds,
        bare_seconds=_bare_seconds(model, windows // 3) * windows / (windows // 3),
        worker_seconds=_in_worker(engine.client, _bare_seconds, model, windows),
        stages=summary.stage_seconds,
    )


def _in_worker(client: Client, measured: Measured, model: TorchModel, windows: int) -> float:
    seconds: float = client.submit(measured, model, windows, pure=False).result()
    return seconds


def _bare_seconds(model: TorchModel, windows: int) -> float:
    """Seconds of ``windows`` windows through the network alone, in a row, as the run has them: no best of several."""
    settings = model.settings
    network = load(settings.card, settings.window, model.weights, batch_size=settings.batch_size)
    network = network.to(device=settings.device, memory_format=_layout(model))
    batch = noise_inputs(settings, settings.batch_size)
    if settings.engine != "eager":
        network, _ = with_engine(network, settings, model.weights_sha256)
    elif settings.card.numerics.channels_last:
        batch = {name: each.contiguous(memory_format=torch.channels_last) for name, each in batch.items()}
    size = (settings.window, settings.window)
    passes = -(-windows // settings.batch_size)
    with numerics(settings):
        network(batch, size)
        return _timed(lambda: network(batch, size), passes, settings) / passes / settings.batch_size * windows


def _layout(model: TorchModel) -> torch.memory_format:
    return torch.channels_last if model.settings.card.numerics.channels_last else torch.contiguous_format


def _timed(call: Callable[[], object], times: int, settings: InferenceSettings) -> float:
    _wait(settings)
    started = time.perf_counter()
    for _ in range(times):
        call()
    _wait(settings)
    return time.perf_counter() - started


def _wait(settings: InferenceSettings) -> None:
    """Until a GPU has done what it was given."""
    if settings.on_gpu:
        torch.cuda.synchronize(settings.device)


def report(turns: list[Turn]) -> str:
    """The turns as a table, with the median ratios."""
    lines = [f"{'windows':>8} {'Mpx/s':>8} {'run s':>8} {'bare s':>8} {'ratio':>6} {'worker s':>9} {'ratio':>6}"]
    lines += [
        f"{t.windows:>8} {t.pixels / t.run_seconds / 1e6:>8.2f} {t.run_seconds:>8.1f} {t.bare_seconds:>8.1f} "
        f"{t.ratio:>6.3f} {t.worker_seconds:>9.1f} {t.worker_ratio:>6.3f}"
        for t in turns
    ]
    middle = sorted(turns, key=lambda turn: turn.worker_ratio)[len(turns) // 2]
    plain, inside = (statistics.median(getattr(turn, which) for turn in turns) for which in ("ratio", "worker_ratio"))
    lines.append(f"median ratio {plain:.3f} beside bare passes in a plain process, {inside:.3f} in the worker")
    lines.append("milliseconds a window of the middle turn, summed over all threads:")
    for stage, seconds in middle.stages.items():
        lines.append(f"  {stage:<8} {1000 * seconds / middle.windows:>8.2f}")
    lines.append(f"  {'(bare)':<8} {1000 * middle.bare_seconds / middle.windows:>8.2f}")
    lines.append(f"  {'(worker)':<8} {1000 * middle.worker_seconds / middle.windows:>8.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    # 13 and 11 strides have 14 and 12 windows a side: whole batches, as nearly all are in the blocks of a department.
    parser.add_argument("--side", type=int, help="pixels a side of the area, else for 196 windows (144 of LC-A)")
    parser.add_argument("--block", type=int, help="pixels a side of a block, else as a run plans it")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--bfloat16", action="store_true", help="autocast, where the device has it")
    parser.add_argument("--engines", nargs="+", default=["eager"], help="eager, compile, onnxruntime or openvino")
    parser.add_argument("--threads", type=int, default=2, help="of torch, or of the engine")
    parser.add_argument("--lc-a", action="store_true", help="the network of LC-A, a Swin, in place of a U-Net")
    asked = parser.parse_args()
    settings = {
        "side": asked.side or STRIDE * (11 if asked.lc_a else 13),
        "block": asked.block,
        "turns": asked.turns,
        "workers": asked.workers,
        "network": None if asked.lc_a else {"encoder": asked.encoder, "window": asked.window},
        "compute": {"device": asked.device, "batch_size": asked.batch, "bfloat16": asked.bfloat16},
    }
    print(machine())
    for engine in asked.engines:
        settings["compute"] |= {"engine": engine, "torch_threads": asked.threads}
        print(f"{'LC-A' if asked.lc_a else f'U-Net {asked.encoder}'}, {engine}, {asked.threads} threads", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            print(report(measure(Path(folder), **settings)), flush=True)


if __name__ == "__main__":
    main()
