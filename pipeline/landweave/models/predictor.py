"""A model with all settings resolved: a small record that is sent to workers and loaded there."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landweave.core.errors import WeightsError
from landweave.core.received import find_file
from landweave.models.cards.card import ModelCard
from landweave.models.checksums import check_sha256, file_sha256
from landweave.models.known_trials import known_trial
from landweave.models.networks.architectures import ExportedArchitecture
from landweave.models.networks.position_tables import check_window
from landweave.models.published_memory import model_bytes
from landweave.models.settings import Compute, InferenceSettings, cpu_fact, device_type, gpu_available

if TYPE_CHECKING:
    from landweave.models.inference import TorchPredictor


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
        """Memory while loading: the network, and beside it the tensors of the file, or a graph and its session."""
        return (5 if self.settings.runs_graph else 2) * self._weights_bytes

    @property
    def _weights_bytes(self) -> int:
        if self.weights.is_file():
            return self.weights.stat().st_size
        from landweave.models.loading import weights_bytes

        return weights_bytes(self.settings)

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Fields of the fingerprint; plain JSON values."""
        settings = self.settings
        return {
            "card": settings.card.sha256,
            "weights": self.weights_sha256,
            "output": settings.output,
            "numerics": {
                "device": device_type(settings.device),
                "batch_size": settings.batch_size,
                "torch_threads": settings.torch_threads,
                "engine": settings.engine,
                "dtype": "bfloat16" if settings.bfloat16 else "float32",
                "channels_last": settings.card.numerics.channels_last,
            },
        }

    def memory_bytes(self) -> int:
        """Return bytes of the weights and of one batch at its peak, by a pass without values.

        Of an exported graph what opening it takes, which is more than running it: all copies of the weights, and one
        batch in either library, as their logits are compared. Measured for U-Net ResNet-34, batches of four: 1.4 to 1.5
        GiB with onnxruntime and OpenVINO, where this says 1.5.

        Raises
        ------
        CardError
            When the network cannot be built.
        """
        settings = self.settings
        if isinstance(settings.card.architecture, ExportedArchitecture):
            # A program cannot run without values: its file is its weights, its logits give the scale of the rest.
            logits = 4 * settings.batch_size * len(settings.output_spec.legend) * settings.window**2
            return self.loading_bytes + 4 * logits
        found = model_bytes(settings)
        return found if not self.settings.runs_graph else self.loading_bytes + 2 * (found - self._weights_bytes)

    def open(self) -> TorchPredictor:
        """Return the network, loaded and checked, on its device.

        Raises
        ------
        WeightsError
            When the weights are not those of ``weights_sha256`` or do not fit.
        CardError
            When the network cannot be built, or is not one for inference.
        """
        from landweave.models.loading import load_predictor

        found = find_file(self.weights, self.weights_sha256)
        if found is None:
            check_sha256(self.weights, self.weights_sha256)
        return load_predictor(self.settings, found or self.weights, self.weights_sha256)[0]

    def facts(self) -> Mapping[str, str]:
        """CPU, and GPU where one computes: what chooses the kernels, as `landweave.core.protocols.WorkerNeeds`."""
        import torch

        found = {"CPU": cpu_name()}
        if self.settings.on_gpu and gpu_available():
            found["GPU"] = torch.cuda.get_device_name(self.settings.device)
        return found

    def problems(self) -> tuple[str, ...]:
        """That there is no GPU, where one is to compute."""
        if self.settings.on_gpu and not gpu_available():
            return (f"model.device is {self.settings.device}, and torch sees no GPU there",)
        return ()

    def sent_files(self) -> Mapping[str, Path]:
        """The weights, by their sha256."""
        return {self.weights_sha256: self.weights}

    def verify(self) -> tuple[str, ...]:
        """Load the network on the CPU and discard it, to raise here what `open` would raise on a worker.

        The file's checksum was checked when the model was resolved. What was tried before is not loaded again.

        Returns
        -------
        tuple of str
            Notes on what was left out of the weights, and on what the network gives.
        """
        settings = replace(self.settings, device="cpu", bfloat16=False)
        if (known := known_trial(settings, self.weights_sha256)) is not None:
            return known
        from landweave.models.loading import load_predictor

        return load_predictor(settings, self.weights, self.weights_sha256)[1]


def cpu_name() -> str:
    """Kind and vendor of this machine's CPU, and the instructions that torch uses of it."""
    import torch

    vendor = cpu_fact("vendor_id") or cpu_fact("CPU implementer") or platform.system()
    return f"{platform.machine()} {vendor}, {torch.backends.cpu.get_cpu_capability()}"


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
        Device, batch size, threads, precision and engine.
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
        device=compute.resolve_device(card),
        bfloat16=compute.bfloat16,
        engine=compute.engine,
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


def _weights_path(card: ModelCard, weights: str | Path | None) -> Path:
    named = weights or card.weights.file
    if named is None:
        where = f" They are published as {card.source}." if card.source else ""
        raise WeightsError(f"Model {card.name} needs its weights, and no file was named: set model.weights.{where}")
    return Path(os.path.abspath(named))  # noqa: PTH100  resolve() follows links, which workers may see otherwise
