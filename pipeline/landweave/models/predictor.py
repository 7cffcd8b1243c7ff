"""A model with everything decided: a small record that travels to workers and is loaded there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landweave.core.errors import ConfigError, WeightsError
from landweave.models.cards.card import ModelCard
from landweave.models.factory import build, load
from landweave.models.inference import Answering, TorchPredictor, empty_batch
from landweave.models.inspection.peak_memory import peak_bytes
from landweave.models.networks.architectures import ExportedArchitecture
from landweave.models.networks.position_tables import check_window
from landweave.models.weights import check_sha256, file_sha256


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How a network is to be run, as settings.

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
        Whether other machines compute: what a named device is there is not looked for here.
    """

    batch_size: int | None = None
    torch_threads: int = 2
    device: str = "auto"
    bfloat16: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, kw_only=True)
class TorchModel:
    """A network before it is loaded. `resolve_model` makes it from settings.

    Attributes
    ----------
    asked
        What it answers, and how it computes.
    weights, weights_sha256
        The file, and what its bytes must be.
    """

    asked: Answering
    weights: Path
    weights_sha256: str

    @property
    def batch_size(self) -> int:
        """Windows in every call."""
        return self.asked.batch_size

    @property
    def torch_threads(self) -> int:
        """Threads of a process."""
        return self.asked.torch_threads

    @property
    def loading_bytes(self) -> int:
        """What loading takes: the network, and beside it the tensors of the file."""
        return 2 * self.weights.stat().st_size

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """What the fingerprint holds of the model; plain JSON values."""
        asked = self.asked
        return {
            "card": asked.card.sha256,
            "weights": self.weights_sha256,
            "task": asked.task,
            "numerics": {
                "device": torch.device(asked.device).type,
                "batch_size": asked.batch_size,
                "torch_threads": asked.torch_threads,
                "dtype": "bfloat16" if asked.bfloat16 else "float32",
                "channels_last": asked.card.numerics.channels_last,
            },
        }

    def memory_bytes(self) -> int:
        """Bytes of the weights and of one batch at its peak, by a pass without values.

        Raises
        ------
        CardError
            When the network cannot be built.
        """
        asked = replace(self.asked, device="meta")
        if isinstance(asked.card.architecture, ExportedArchitecture):
            # A program cannot run without values: its file is its weights, its logits tell the scale of the rest.
            logits = 4 * asked.batch_size * len(asked.card.legend(asked.task)) * asked.window**2
            return self.loading_bytes + 4 * logits
        return _network_bytes(asked)

    def open(self) -> TorchPredictor:
        """The network, loaded and checked, on its device.

        Raises
        ------
        WeightsError
            When the weights are not those of ``weights_sha256`` or do not fit.
        CardError
            When the network cannot be built, or is not one for inference.
        """
        check_sha256(self.weights, self.weights_sha256)
        return self._loaded()

    def verify(self) -> None:
        """Load the network on the CPU and let it go: what `open` would raise on a worker is raised here.

        The file's checksum was looked at when the model was resolved.
        """
        replace(self, asked=replace(self.asked, device="cpu", bfloat16=False))._loaded()

    def _loaded(self) -> TorchPredictor:
        asked = self.asked
        network = load(asked.card, asked.window, self.weights, batch_size=asked.batch_size)
        return TorchPredictor(asked, _laid_out(network, asked.card).to(asked.device))


def resolve_model(
    card: ModelCard,
    *,
    weights: str | Path | None = None,
    sha256: str | None = None,
    task: str | None = None,
    window: int | None = None,
    compute: Compute | None = None,
    dates: int = 1,
) -> TorchModel:
    """The model that will run: settings where they are given, the card's elsewhere.

    Parameters
    ----------
    card
        With every byte coding stated (`ModelCard.with_coding`).
    weights, sha256
        The file, and the checksum that it must have; the card's by default.
    task
        Which output, where the card has several.
    window
        Base pixels a side.
    dates
        Of the longest series it will be given.
    compute
        How to run it. The device is this machine's: where workers have another, name it.

    Raises
    ------
    CardError
        When a coding, an output or a window is missing or contradicts the card.
    ConfigError
        When the device is unknown or not there, or bfloat16 is not allowed.
    WeightsError
        When the file is missing or has another checksum. Whether it fits is seen when it is loaded.
    """
    card.check_stated()
    compute = compute or Compute()
    asked = Answering(
        card=card,
        task=card.task(task),
        window=window or card.window.size,
        batch_size=compute.batch_size or card.numerics.batch,
        torch_threads=compute.torch_threads,
        device=_device(compute, card),
        bfloat16=compute.bfloat16,
        dates=dates,
    )
    check_window(card, asked.window)
    path = _weights_path(card, weights)
    # A card's checksum is that of its own weights; somebody's own training comes with its own, or none.
    wanted = sha256 or (card.weights.sha256 if weights is None else None)
    if wanted is not None:
        check_sha256(path, wanted)
    return TorchModel(asked=asked, weights=path, weights_sha256=(wanted or file_sha256(path)).lower())


def _device(compute: Compute, card: ModelCard) -> str:
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


def _laid_out(network: nn.Module, card: ModelCard) -> nn.Module:
    layout = torch.channels_last if card.numerics.channels_last else torch.contiguous_format
    laid_out: nn.Module = network.to(memory_format=layout)  # type: ignore[call-overload]
    return laid_out


@lru_cache(maxsize=32)
def _network_bytes(asked: Answering) -> int:
    """Bytes of a network and of one batch at its peak; a second or two, so once a process for the same settings."""
    with torch.device("meta"):
        # Some encoders make their first layer anew, on the CPU, where the bands are not three.
        network = _laid_out(build(asked.card, asked.window).to("meta"), asked.card)
    predictor, batch = TorchPredictor(asked, network), empty_batch(asked, asked.dates)
    weights = _held_bytes(network)
    # While it loads, the file's tensors stand beside the network's.
    return weights + max(weights, peak_bytes(lambda: predictor.probabilities(batch)))


def _held_bytes(network: nn.Module) -> int:
    held = (*network.parameters(), *network.buffers())
    return int(sum(tensor.nbytes for tensor in held))
