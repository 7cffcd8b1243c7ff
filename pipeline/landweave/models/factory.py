"""The network of a card: always called with inputs by name, always answering logits by name of the task."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from landweave.core.errors import CardError, WeightsError
from landweave.models._torchvision import smp
from landweave.models.cards.card import ModelCard
from landweave.models.exported import load_exported
from landweave.models.networks._layers import resized
from landweave.models.networks.architectures import (
    ExportedArchitecture,
    Flair1Architecture,
    Flair2Architecture,
    FlairHubArchitecture,
    SmpArchitecture,
    UnetUtaeArchitecture,
)
from landweave.models.networks.flair1 import AERIAL, Flair1, Flair1Spec
from landweave.models.networks.flair2 import Flair2, Flair2Spec
from landweave.models.networks.flair_hub import FlairHub, FlairHubSpec, FlairHubTask, Modality
from landweave.models.networks.resizing import resized_tables
from landweave.models.networks.unet_utae import UnetUtae, UnetUtaeSpec
from landweave.models.networks.utae import UtaeSpec
from landweave.models.weights import load_weights


def build(card: ModelCard, window: int) -> nn.Module:
    """The network of ``card`` for windows of ``window`` base pixels, without its weights, in evaluation mode.

    Its call takes ``{modality: (b, band, y, x) or (b, time, band, y, x)}``, normalised, and optionally the height and
    width of the answer; it gives ``{task: logits (b, class, y, x)}``.

    Raises
    ------
    CardError
        When the card cannot be built: an unknown architecture or encoder, a window it does not allow, or a program
        (``exported``), which is nothing without its file.
    """
    card.check_window(window)
    with torch.random.fork_rng(devices=[]):  # first values are drawn, then overwritten: nobody else's are touched
        return _bare(card, window).eval()


def load(card: ModelCard, window: int, weights: Path, *, batch_size: int) -> nn.Module:
    """The network of ``card`` as `build` gives it, with the weights of a file; for batches of ``batch_size`` windows.

    Raises
    ------
    CardError
        As `build` does.
    WeightsError
        When the weights do not fit.
    """
    if isinstance(card.architecture, ExportedArchitecture):
        card.check_window(window)
        program = load_exported(weights)
        channels = sum(len(spec.bands) for spec in card.inputs.values())
        _check_shape(program.shape_nchw, (batch_size, channels, window, window), weights)
        return Joined(program, tuple(card.inputs), card.task()).eval()
    with _Undrawn():
        network = build(card, window)
    resize = isinstance(card.architecture, FlairHubArchitecture) and card.architecture.resize_tables
    load_weights(core(network), weights, adapt=resized_tables if resize else None)
    return network


class _Undrawn(TorchFunctionMode):
    """Networks are made without drawing first values, which takes longer than reading those that replace them all."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Leave a tensor as it is where it would be filled at random."""
        kwargs = kwargs or {}
        if function in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


_DRAWS = (
    *(Tensor.uniform_, Tensor.normal_, Tensor.erfinv_),
    *(nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_),  # hand themselves to the mode, and draw outside it
)


def core(network: nn.Module) -> nn.Module:
    """The part of a built network whose tensors have the names that weights files give them."""
    return network.network if isinstance(network, Joined | Renamed) else network


class Joined(nn.Module):
    """A network of one tensor, called with inputs by name: they are joined on channels in the card's order.

    Parameters
    ----------
    network
        Takes ``(b, channel, y, x)``, gives logits ``(b, class, y, x)``.
    inputs
        Names of its inputs, in the order of its channels.
    task
        Name of its answer.
    """

    def __init__(self, network: nn.Module, inputs: tuple[str, ...], task: str) -> None:
        super().__init__()
        self.network = network
        self.inputs = inputs
        self.task = task

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Logits ``(b, class, Y, X)``, resized to ``size`` where they are not of that size."""
        logits = self.network(torch.cat([inputs[name] for name in self.inputs], dim=1))
        return {self.task: resized(logits, size) if size else logits}


class Renamed(nn.Module):
    """A FLAIR#1 or FLAIR#2 network, whose one aerial input is several of the card's, joined on channels."""

    def __init__(self, network: nn.Module, joined: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.joined = joined

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Logits by task, as the network gives them."""
        aerial = torch.cat([inputs[name] for name in self.joined], dim=1)
        answers: dict[str, Tensor] = self.network({**inputs, AERIAL: aerial}, size)
        return answers


def _bare(card: ModelCard, window: int) -> nn.Module:
    settings = card.architecture
    if isinstance(settings, SmpArchitecture):
        return Joined(_smp(card, settings), tuple(card.inputs), card.task())
    if isinstance(settings, UnetUtaeArchitecture):
        return UnetUtae(_smp(card, settings), _fused_spec(card, settings))
    if isinstance(settings, FlairHubArchitecture):
        return FlairHub(_flair_hub_spec(card, settings, window))
    if isinstance(settings, Flair1Architecture):
        return _flair1(card, settings)
    if isinstance(settings, Flair2Architecture):
        return _flair2(card, settings)
    raise CardError(f"Model {card.name} is a program of torch.export: it is loaded from its .pt2 file, not built.")


def _smp(card: ModelCard, settings: SmpArchitecture | UnetUtaeArchitecture) -> nn.Module:
    architecture = getattr(smp, settings.name, None)
    if not (isinstance(architecture, type) and issubclass(architecture, nn.Module)):
        raise CardError(
            f"Model {card.name} names the architecture {settings.name!r}, which "
            f"segmentation-models-pytorch {smp.__version__} does not have; Unet is one."
        )
    # What the architecture does not know goes to its encoder, and encoders that are not timm's drop it in silence.
    unknown = sorted(set(settings.arguments) - set(inspect.signature(architecture).parameters))
    if unknown and not str(settings.arguments.get("encoder_name")).startswith("tu-"):
        raise CardError(f"Model {card.name} gives {settings.name} arguments it has not: {', '.join(unknown)}.")
    try:
        return architecture(
            encoder_weights=None, in_channels=_channels(card), classes=len(card.legend()), **settings.arguments
        )
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise CardError(f"Model {card.name} cannot be built as {settings.name}: {error}") from error


def _check_shape(found: tuple[int, ...], wanted: tuple[int, ...], path: Path) -> None:
    if found != wanted:
        raise WeightsError(
            f"Program {path} was exported for a tensor of shape {found}; the run's batch (windows, bands, y, x) "
            f"is {wanted}: export it for that, or run it with its own batch_size and window."
        )


def _flair_hub_spec(card: ModelCard, settings: FlairHubArchitecture, window: int) -> FlairHubSpec:
    modalities = tuple(
        Modality(
            name=name,
            channels=len(spec.bands),
            window=card.input_size(name, window),
            scale=spec.pixel / card.base_pixel,
        )
        for name, spec in card.inputs.items()
    )
    tasks = tuple(FlairHubTask(name=name, classes=len(output.legend)) for name, output in card.outputs.items())
    return FlairHubSpec(modalities=modalities, tasks=tasks, encoder=settings.encoder)


def _images(card: ModelCard) -> tuple[str, ...]:
    return tuple(name for name, spec in card.inputs.items() if spec.dates is None)


def _channels(card: ModelCard) -> int:
    return sum(len(card.inputs[name].bands) for name in _images(card))


def _fused_spec(card: ModelCard, settings: UnetUtaeArchitecture) -> UnetUtaeSpec:
    shape = settings.series
    return UnetUtaeSpec(
        images=_images(card),
        series={
            name: UtaeSpec(
                channels=len(spec.bands),
                encoder_widths=shape.widths,
                decoder_widths=shape.widths,
                score_widths=(shape.answer,),
                heads=shape.heads,
                model_width=shape.model_width,
            )
            for name, spec in card.inputs.items()
            if spec.dates is not None
        },
        stages=settings.stages,
        task=card.task(),
    )


def _flair1(card: ModelCard, settings: Flair1Architecture) -> nn.Module:
    spec = Flair1Spec(
        channels=_channels(card), classes=len(card.legend()), metadata=settings.metadata, task=card.task()
    )
    return Renamed(Flair1(spec), _images(card))


def _flair2(card: ModelCard, settings: Flair2Architecture) -> nn.Module:
    spec = Flair2Spec(
        channels=_channels(card), classes=len(card.legend()), metadata=settings.metadata, task=card.task()
    )
    return Renamed(Flair2(spec), _images(card))
