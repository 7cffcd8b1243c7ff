"""How a network is computed: plain records, made and sent to workers without torch, which takes seconds to import."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from landweave.core.errors import ConfigError
from landweave.models.cards.card import ModelCard
from landweave.models.cards.outputs import OutputSpec

_DEVICE = re.compile(r"(cpu|meta|cuda(:\d+)?)")

_GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")
"""What the driver of a GPU makes, by itself and inside WSL: without any of them torch is not asked for a GPU."""


def device_type(device: str) -> str:
    """``cpu``, ``cuda`` or ``meta``, of a device's name."""
    return device.partition(":")[0]


def gpu_available() -> bool:
    """Whether torch sees a GPU on this machine."""
    if not any(Path(file).exists() for file in _GPU_FILES):
        return False
    import torch

    return torch.cuda.is_available()


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
    """

    batch_size: int | None = None
    torch_threads: int = 2
    device: str = "auto"
    bfloat16: bool = False
    elsewhere: bool = False

    def resolve_device(self, card: ModelCard) -> str:
        """``cpu``, ``cuda`` or ``cuda:N``.

        Parameters
        ----------
        card
            Of the model, which may allow bfloat16.

        Raises
        ------
        ConfigError
            When the device is unknown or not there, or bfloat16 is not allowed.
        """
        device = ("cuda" if gpu_available() else "cpu") if self.device == "auto" else self.device
        if not _DEVICE.fullmatch(device):
            raise ConfigError(f"model.device {device!r} is not a device: write auto, cpu, cuda or cuda:0.")
        kind = device_type(device)
        if kind == "cuda" and not (self.elsewhere or gpu_available()):
            raise ConfigError(f"model.device {device} was asked for, but torch sees no GPU here: write cpu or auto.")
        if self.bfloat16 and not (kind == "cuda" and card.numerics.bfloat16):
            reason = f"the device is {device}" if kind != "cuda" else f"the card of {card.name} does not"
            raise ConfigError(f"model.bfloat16 is for a GPU and a card that allows it, and {reason}: leave it out.")
        return device


@dataclass(frozen=True, kw_only=True)
class InferenceSettings:
    """Which output of which model is computed, and how: all of it decides the bits of a map.

    Attributes
    ----------
    card, output
        The model, and the name of its output.
    window
        Base pixels a side.
    batch_size
        Windows in every call.
    torch_threads
        Threads of a process, never taken from the machine.
    device
        ``cpu``, ``cuda`` or ``cuda:N``; ``meta`` for a pass without values.
    bfloat16
        Autocast, on a GPU.
    dates
        Of the longest series, padding included; decides no bits, only the memory estimate.
    """

    card: ModelCard
    output: str
    window: int
    batch_size: int
    torch_threads: int
    device: str
    bfloat16: bool = False
    dates: int = 1

    @property
    def output_spec(self) -> OutputSpec:
        """What the card says of the output."""
        return self.card.outputs[self.output]

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return device_type(self.device) == "cuda"

    @property
    def blends_logits(self) -> bool:
        """Whether the softmax is left to blending, which takes it on a CPU alone, and pixel by pixel."""
        return device_type(self.device) == "cpu" and self.output_spec.activation not in ("sigmoid", "none")
