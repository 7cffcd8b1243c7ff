"""How a network is computed: plain records, made and sent to workers without torch, which takes seconds to import."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from landweave.core.errors import ConfigError
from landweave.models.cards.card import ModelCard
from landweave.models.cards.outputs import OutputSpec
from landweave.models.engine_names import LIBRARIES, Engine
from landweave.models.networks.architectures import ExportedArchitecture

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


@cache
def cpu_has_bfloat16() -> bool:
    """Whether this machine's CPU computes in bfloat16, by the flags that Linux states."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(cpu_flags().split())


def cpu_flags() -> str:
    """Instructions that this machine's CPU has, by their names in Linux; empty elsewhere."""
    return f"{cpu_fact('flags')} {cpu_fact('Features')}".strip()


def cpu_fact(name: str) -> str:
    """What Linux states of this machine's first CPU, such as its ``model name``; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    facts = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in facts if key.strip() == name), "")


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
        Autocast, where the device has it and the card allows it.
    engine
        What runs the network on a CPU.
    elsewhere
        Whether other machines compute: a named device is then not looked for here.
    only_planned
        Whether nothing is computed: the weights may be missing, but those of a program, which are its network.
    """

    batch_size: int | None = None
    torch_threads: int = 2
    device: str = "auto"
    bfloat16: bool = False
    engine: Engine = "eager"
    elsewhere: bool = False
    only_planned: bool = False

    def resolve_device(self, card: ModelCard) -> str:
        """``cpu``, ``cuda`` or ``cuda:N``.

        Parameters
        ----------
        card
            Of the model, which may allow bfloat16.

        Raises
        ------
        ConfigError
            When the device is unknown or not there, or bfloat16 or the engine cannot be had.
        """
        device = ("cuda" if gpu_available() else "cpu") if self.device == "auto" else self.device
        if not _DEVICE.fullmatch(device):
            raise ConfigError(f"model.device {device!r} is not a device: write auto, cpu, cuda or cuda:0.")
        kind = device_type(device)
        if kind == "cuda" and not (self.elsewhere or gpu_available()):
            raise ConfigError(f"model.device {device} was asked for, but torch sees no GPU here: write cpu or auto.")
        if self.bfloat16:
            self._check_bfloat16(card, kind)
        if self.engine != "eager":
            self._check_engine(card, device)
        return device

    def _check_bfloat16(self, card: ModelCard, kind: str) -> None:
        reasons = {
            f"the card of {card.name} does not allow it": not card.numerics.bfloat16,
            "this machine's CPU has no arithmetic for it": kind == "cpu" and not (self.elsewhere or cpu_has_bfloat16()),
            "model.engine onnxruntime does not compute in it": self.engine == "onnxruntime",
        }
        if reason := next((reason for reason, holds in reasons.items() if holds), None):
            raise ConfigError(f"model.bfloat16 was asked for, and {reason}: leave it out.")

    def _check_engine(self, card: ModelCard, device: str) -> None:
        missing = [name for name in LIBRARIES[self.engine] if not (self.elsewhere or find_spec(name))]
        reasons = {
            f"the device is {device}: it is for cpu": device_type(device) != "cpu",
            f"{', '.join(missing)} is missing: pip install 'landweave[engines]'": bool(missing),
            f"{card.name} is a program, which is run as it is": isinstance(card.architecture, ExportedArchitecture),
            f"{card.name} reads {', '.join(card.series)}, whose number of dates differs by window": bool(card.series),
            f"{card.name} reads metadata beside its images": card.reads_metadata,
        }
        if reason := next((reason for reason, holds in reasons.items() if holds), None):
            raise ConfigError(f"model.engine {self.engine} was asked for, and {reason}. Leave it out for eager torch.")


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
        Autocast.
    engine
        What runs the network.
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
    engine: Engine = "eager"
    dates: int = 1

    @property
    def output_spec(self) -> OutputSpec:
        """What the card says of the output."""
        return self.card.outputs[self.output]

    @property
    def runs_graph(self) -> bool:
        """Whether an exported graph is run, by another library."""
        return bool(LIBRARIES[self.engine])

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return device_type(self.device) == "cuda"

    @property
    def blends_logits(self) -> bool:
        """Whether the softmax is left to blending, which takes it on a CPU alone, and pixel by pixel."""
        return device_type(self.device) == "cpu" and self.output_spec.activation not in ("sigmoid", "none")
