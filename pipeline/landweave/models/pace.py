"""Pace of a model on a machine: measured by `landweave bench`, kept for the user, taken by plans for hours."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.core.errors import ConfigError
from landweave.core.tables import Rows, Table
from landweave.core.user_cache import cache_folder
from landweave.models.cards.card import ModelCard
from landweave.models.networks.architectures import ExportedArchitecture
from landweave.models.settings import Compute, InferenceSettings, cpu_fact, device_type

if TYPE_CHECKING:
    from landweave.models.inference import TorchPredictor


@dataclass(frozen=True, kw_only=True)
class Pace(Table):
    """How fast one process predicts windows; shown as a table in a notebook.

    Attributes
    ----------
    windows_per_second
        Of the network, with the way of its pixels to the device and back.
    card, window, batch_size, torch_threads, device, bfloat16, engine
        What was measured; ``device`` is ``cpu`` or ``cuda``.
    hardware, torch, measured
        The processor, the build of torch, and when.
    """

    windows_per_second: float
    card: str
    window: int
    batch_size: int
    torch_threads: int
    device: str
    bfloat16: bool
    hardware: str
    torch: str
    measured: str
    engine: str = "eager"

    @property
    def rows(self) -> Rows:
        """The measurement as rows of a table."""
        kind = "bfloat16" if self.bfloat16 else "float32"
        return [
            ("model", self.card),
            ("windows", f"{self.window} px, {self.batch_size} in a batch, {kind}, {self.engine}"),
            ("device", f"{self.device}, {self.torch_threads} threads: {self.hardware}"),
            ("pace", f"{self.windows_per_second:.3g} windows a second in one process"),
            ("kept in", str(pace_file())),
        ]


def measure_pace(
    card: ModelCard,
    *,
    windows: int = 32,
    size: int | None = None,
    compute: Compute | None = None,
) -> Pace:
    """Measure the pace of a model in this process, and keep it for plans.

    The pace does not depend on the values: the weights are random, but those of a program, which are its network.

    Parameters
    ----------
    card
        The model.
    windows
        To predict, after one batch that is not counted.
    size
        Of a window in base pixels; the card's by default.
    compute
        Device, batch size, threads, precision and engine.

    Raises
    ------
    ConfigError
        When the device is unknown or not there, or the pace cannot be kept.
    CardError
        When the network cannot be built.
    WeightsError
        When a program is not there.
    """
    import torch

    from landweave.models.engines import with_engine
    from landweave.models.factory import build, load_with_notes
    from landweave.models.inference import TorchPredictor, absent
    from landweave.models.loading import with_memory_format

    settings = _settings(card, size, compute or Compute())
    if isinstance(card.architecture, ExportedArchitecture):
        program = Path(card.weights.file or "")
        network = load_with_notes(card, settings.window, program, batch_size=settings.batch_size)[0]
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)  # the graph that an engine keeps of them is the next call's too
            network = build(card, settings.window)
    network = with_memory_format(network, card).to(settings.device)
    if settings.engine != "eager":
        network = with_engine(network, settings, "random")[0]
    predictor = TorchPredictor(settings, network)
    batch = {name: absent(settings, name, settings.dates) for name in card.inputs}
    seconds = list(_batch_seconds(predictor, batch, count=max(1, -(-windows // settings.batch_size))))
    pace = Pace(
        windows_per_second=settings.batch_size * len(seconds) / sum(seconds),
        hardware=hardware(settings.device),
        torch=torch.__version__,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        **_key(settings),
    )
    _keep(pace)
    return pace


def known_pace(settings: InferenceSettings) -> Pace | None:
    """The pace that was measured of a model with these settings, the newest; None where there is none."""
    key = _key(settings)
    found = [pace for pace in _kept() if all(getattr(pace, name) == value for name, value in key.items())]
    return max(found, key=lambda pace: pace.measured, default=None)


def bench_options(settings: InferenceSettings) -> str:
    """Options of ``landweave bench`` that measure the pace of these settings, a blank before each."""
    given = {
        "size": settings.window if settings.window != settings.card.window.size else None,
        "batch-size": settings.batch_size if settings.batch_size != settings.card.numerics.batch else None,
        "torch-threads": settings.torch_threads if settings.torch_threads != Compute().torch_threads else None,
        "device": device_type(settings.device),
        "engine": settings.engine if settings.engine != "eager" else None,
    }
    options = "".join(f" --{name} {value}" for name, value in given.items() if value is not None)
    return options + " --bfloat16" * settings.bfloat16


def pace_file() -> Path:
    """Where measurements are kept: ``landweave/paces.json`` in the user's cache (``XDG_CACHE_HOME``)."""
    return cache_folder() / "paces.json"


def hardware(device: str) -> str:
    """The name of a device's processor."""
    if device_type(device) == "cuda":
        import torch

        return str(torch.cuda.get_device_name(device))
    return cpu_fact("model name") or platform.processor() or platform.machine()


def _settings(card: ModelCard, size: int | None, compute: Compute) -> InferenceSettings:
    from landweave.models.networks.dummy_inputs import DATES

    return InferenceSettings(
        card=card,
        output=next(iter(card.outputs)),
        window=size or card.window.size,
        batch_size=compute.batch_size or card.numerics.batch,
        torch_threads=compute.torch_threads,
        device=compute.resolve_device(card),
        bfloat16=compute.bfloat16,
        engine=compute.engine,
        dates=DATES if any(spec.dates for spec in card.inputs.values()) else 1,
    )


def _key(settings: InferenceSettings) -> dict[str, Any]:
    return {
        "card": settings.card.name,
        "window": settings.window,
        "batch_size": settings.batch_size,
        "torch_threads": settings.torch_threads,
        "device": device_type(settings.device),
        "bfloat16": settings.bfloat16,
        "engine": settings.engine,
    }


def _batch_seconds(predictor: TorchPredictor, batch: Any, count: int) -> Iterator[float]:
    predictor.predict(batch)  # libraries choose their kernels, memory is mapped
    for _ in range(count):
        started = time.perf_counter()
        values = predictor.predict(batch)
        np.asarray(values.cpu() if hasattr(values, "cpu") else values)  # a GPU has ended then
        yield time.perf_counter() - started


def _kept() -> list[Pace]:
    try:
        return [Pace(**each) for each in json.loads(pace_file().read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):  # none yet, or of another version: measured again when it matters
        return []


def _keep(pace: Pace) -> None:
    path, same = (
        pace_file(),
        ("card", "window", "batch_size", "torch_threads", "device", "bfloat16", "engine", "hardware"),
    )
    others = [each for each in _kept() if any(getattr(each, name) != getattr(pace, name) for name in same)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(each) for each in (*others, pace)], indent=1), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"The pace cannot be kept in {path}: {error.strerror}. Set XDG_CACHE_HOME.") from error
