"""A model with all settings resolved: a small record that is sent to workers and loaded there."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landweave.core.errors import CardError, ConfigError, WeightsError
from landweave.core.received import find_file
from landweave.models.cards.card import ModelCard
from landweave.models.factory import UNFIT, build_on_meta, load_with_notes
from landweave.models.inference import InferenceSettings, TorchPredictor, absent, failure_text
from landweave.models.inspection.peak_memory import peak_bytes, tensor_bytes
from landweave.models.networks.architectures import ExportedArchitecture
from landweave.models.networks.position_tables import check_window
from landweave.models.trial import try_network
from landweave.models.weights import check_sha256, file_sha256


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How a network is to be run, as a user sets it.

    Attributes
    ----------
    batch_size
        Windows in every call; the card's by default.
    torch_threads
        Threads of a process.
    device
        ``auto`` (a GPU where this machine has one), ``cpu``, ``cuda`` or ``cuda:N``.
    bfloat16
        Autocast on a GPU, where the card allows it.
    elsewhere
        Whether other machines compute: a named device is then not looked for here.
    only_planned
        Whether nothing is computed: the weights may be missing, but those of a program, which are its network.
    """

    batch_size: int | None = None
    torch_threads: int = 2
    device: str = "auto"
    bfloat16: bool = False
    elsewhere: bool = False
    only_planned: bool = False


@dataclass(frozen=True, kw_only=True)
class TorchModel:
    """A network before it is loaded, as `resolve_model` returns it.

    Attributes
    ----------
    settings
        Which output of which card, and how it is computed.
    weights, weights_sha256
        The file, and the checksum that it must have; empty where the file is not here, and only a plan is made.
    """

    settings: InferenceSettings
    weights: Path
    weights_sha256: str

    @property
    def batch_size(self) -> int:
        """Windows in every call."""
        return self.settings.batch_size

    @property
    def torch_threads(self) -> int:
        """Threads of a process."""
        return self.settings.torch_threads

    @property
    def loading_bytes(self) -> int:
        """Memory while loading: the network, and beside it the tensors of the file."""
        if not self.weights.is_file():
            return 2 * tensor_bytes(build_on_meta(self.settings.card, self.settings.window))
        return 2 * self.weights.stat().st_size

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Fields of the fingerprint; plain JSON values."""
        settings = self.settings
        return {
            "card": settings.card.sha256,
            "weights": self.weights_sha256,
            "output": settings.output,
            "numerics": {
                "device": torch.device(settings.device).type,
                "batch_size": settings.batch_size,
                "torch_threads": settings.torch_threads,
                "dtype": "bfloat16" if settings.bfloat16 else "float32",
                "channels_last": settings.card.numerics.channels_last,
            },
        }

    def memory_bytes(self) -> int:
        """Return bytes of the weights and of one batch at its peak, by a pass without values.

        Raises
        ------
        CardError
            When the network cannot be built.
        """
        settings = replace(self.settings, device="meta")
        card = settings.card
        if isinstance(card.architecture, ExportedArchitecture):
            # A program cannot run without values: its file is its weights, its logits give the scale of the rest.
            logits = 4 * settings.batch_size * len(settings.output_spec.legend) * settings.window**2
            return self.loading_bytes + 4 * logits
        return _network_bytes(settings)

    def open(self) -> TorchPredictor:
        """Return the network, loaded and checked, on its device.

        Raises
        ------
        WeightsError
            When the weights are not those of ``weights_sha256`` or do not fit.
        CardError
            When the network cannot be built, or is not one for inference.
        """
        found = find_file(self.weights, self.weights_sha256)
        if found is None:
            check_sha256(self.weights, self.weights_sha256)
        return replace(self, weights=found or self.weights)._loaded(self.settings)[0]

    def facts(self) -> Mapping[str, str]:
        """CPU, and GPU where one computes: what chooses the kernels, as `landweave.core.protocols.WorkerNeeds`."""
        found = {"CPU": cpu_name()}
        if self.settings.on_gpu and torch.cuda.is_available():
            found["GPU"] = torch.cuda.get_device_name(self.settings.device)
        return found

    def problems(self) -> tuple[str, ...]:
        """That there is no GPU, where one is to compute."""
        if self.settings.on_gpu and not torch.cuda.is_available():
            return (f"model.device is {self.settings.device}, and torch sees no GPU there",)
        return ()

    def sent_files(self) -> Mapping[str, Path]:
        """The weights, by their sha256."""
        return {self.weights_sha256: self.weights}

    def verify(self) -> tuple[str, ...]:
        """Load the network on the CPU and discard it, to raise here what `open` would raise on a worker.

        The file's checksum was checked when the model was resolved.

        Returns
        -------
        tuple of str
            Notes on what was left out of the weights, and on what the network gives.
        """
        return self._loaded(replace(self.settings, device="cpu", bfloat16=False))[1]

    def _loaded(self, settings: InferenceSettings) -> tuple[TorchPredictor, tuple[str, ...]]:
        network, notes = load_with_notes(settings.card, settings.window, self.weights, batch_size=settings.batch_size)
        network = with_memory_format(network, settings.card).to(settings.device)
        predictor = TorchPredictor(settings, network)
        return predictor, (*notes, *try_network(network, settings))


def cpu_name() -> str:
    """Kind and vendor of this machine's CPU, and the instructions that torch uses of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    vendors = (line.partition(":")[2].strip() for line in lines if line.startswith(("vendor_id", "CPU implementer")))
    return f"{platform.machine()} {next(vendors, platform.system())}, {torch.backends.cpu.get_cpu_capability()}"


def resolve_model(
    card: ModelCard,
    *,
    weights: str | Path | None = None,
    sha256: str | None = None,
    output: str | None = None,
    window: int | None = None,
    compute: Compute | None = None,
    dates: int = 1,
) -> TorchModel:
    """Return the model that will run: settings where they are given, the card's elsewhere.

    Parameters
    ----------
    card
        With every byte coding stated (`ModelCard.with_coding`).
    weights, sha256
        The file, and the checksum that it must have; the card's by default.
    output
        Which output, where the card has several.
    window
        Base pixels a side.
    compute
        Device, batch size, threads and precision.
    dates
        Of the longest series, padding included.

    Raises
    ------
    CardError
        When a coding, an output or a window is missing or contradicts the card.
    ConfigError
        When the device is unknown or not there, or bfloat16 is not allowed.
    WeightsError
        When the file is missing or has another checksum. Whether it fits is checked when it is loaded.
    """
    card.check_stated()
    compute = compute or Compute()
    settings = InferenceSettings(
        card=card,
        output=card.output_name(output),
        window=window or card.window.size,
        batch_size=compute.batch_size or card.numerics.batch,
        torch_threads=compute.torch_threads,
        device=resolve_device(compute, card),
        bfloat16=compute.bfloat16,
        dates=dates,
    )
    check_window(card, settings.window)
    # A card's checksum is that of its own weights; somebody's own training comes with its own, or none.
    wanted = sha256 or (card.weights.sha256 if weights is None else None)
    named = Path(weights or card.weights.file or "the weights")
    if compute.only_planned and not named.is_file() and not isinstance(card.architecture, ExportedArchitecture):
        return TorchModel(settings=settings, weights=named, weights_sha256=(wanted or "").lower())
    path = _weights_path(card, weights)
    if wanted is not None:
        check_sha256(path, wanted)
    return TorchModel(settings=settings, weights=path, weights_sha256=(wanted or file_sha256(path)).lower())


def resolve_device(compute: Compute, card: ModelCard) -> str:
    """Return the device that computes: ``cpu``, ``cuda`` or ``cuda:N``.

    Parameters
    ----------
    compute
        As the user sets it.
    card
        The model.

    Raises
    ------
    ConfigError
        When it is unknown or not there, or bfloat16 is not allowed.
    """
    available = torch.cuda.is_available()
    device = ("cuda" if available else "cpu") if compute.device == "auto" else compute.device
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ConfigError(f"model.device {device!r} is not a device: write auto, cpu, cuda or cuda:0.") from error
    if kind == "cuda" and not (available or compute.elsewhere):
        raise ConfigError(f"model.device {device} was asked for, but torch sees no GPU here: write cpu or auto.")
    if compute.bfloat16 and not (kind == "cuda" and card.numerics.bfloat16):
        reason = f"the device is {device}" if kind != "cuda" else f"the card of {card.name} does not"
        raise ConfigError(f"model.bfloat16 is for a GPU and a card that allows it, and {reason}: leave it out.")
    return device


def _weights_path(card: ModelCard, weights: str | Path | None) -> Path:
    named = weights or card.weights.file
    if named is None:
        where = f" They are published as {card.source}." if card.source else ""
        raise WeightsError(f"Model {card.name} needs its weights, and no file was named: set model.weights.{where}")
    return Path(os.path.abspath(named))  # noqa: PTH100  resolve() follows links, which workers may see otherwise


def with_memory_format(network: nn.Module, card: ModelCard) -> nn.Module:
    """Return ``network`` with its tensors in the memory layout that ``card`` states."""
    layout = torch.channels_last if card.numerics.channels_last else torch.contiguous_format
    network.to(memory_format=layout)  # type: ignore[call-overload]
    return network


@lru_cache(maxsize=32)
def _network_bytes(settings: InferenceSettings) -> int:
    """Bytes of a network and of one batch at its peak; takes a second or two, so once a process for equal settings."""
    network = with_memory_format(build_on_meta(settings.card, settings.window), settings.card)
    predictor = TorchPredictor(settings, network)
    batch = {name: absent(settings, name, settings.dates) for name in settings.card.inputs}
    weights = tensor_bytes(network)
    # While it loads, the file's tensors are in memory beside the network's.
    try:
        peak = peak_bytes(lambda: predictor.probabilities(batch))
    except UNFIT as error:
        problem = failure_text(error, settings).replace(
            " failed on meta", f" cannot take windows of {settings.window} px"
        )
        raise CardError(f"{problem}. Its card's window, inputs and architecture do not fit.") from error
    return weights + max(weights, peak)
