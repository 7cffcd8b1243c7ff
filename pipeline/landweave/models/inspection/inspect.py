"""What a model is made of and what it costs: parameters, operations, memory, stride, and how far it looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from landweave.core.errors import CardError
from landweave.core.tables import as_html, as_text
from landweave.models._torchvision import smp
from landweave.models.cards.card import ModelCard
from landweave.models.factory import build, core, load
from landweave.models.inspection.peak_memory import peak_bytes
from landweave.models.inspection.placement_consistency import PlacementConsistency
from landweave.models.inspection.receptive_field import ReceptiveField, measure_reach
from landweave.models.inspection.strides import measure_strides, period_px
from landweave.models.networks.architectures import ExportedArchitecture
from landweave.models.networks.dummy_inputs import DATES, blank_inputs
from landweave.models.networks.flair_hub import FlairHub
from landweave.models.networks.position_tables import check_window

MEGA, GIGA, MIB = 10**6, 10**9, 2**20


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A model as it was measured.

    Attributes
    ----------
    name, window
        Which card, for windows of how many base pixels a side.
    parameters
        By part of the network.
    training_parameters
        Of the auxiliary decoders that its training has besides; no map needs them.
    operations
        Multiplications and additions for one window.
    weight_bytes, activation_bytes
        What the network holds, and the most that one window adds to it, in float32.
    dates
        Dates of each series that the two are for; 0 where there is none.
    strides
        Pixels of each input for one of its network's deepest pixels.
    reach
        How far an answer looks.
    placements
        What moving a window changes; None without imagery and weights.
    """

    name: str
    window: int
    parameters: Mapping[str, int]
    training_parameters: int
    operations: int
    weight_bytes: int
    activation_bytes: int
    dates: int
    strides: Mapping[str, int]
    reach: ReceptiveField
    placements: PlacementConsistency | None = None

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The findings as lines of a table."""
        total = sum(self.parameters.values())
        training = f", and {self.training_parameters / MEGA:.1f} M in training" if self.training_parameters else ""
        series = f" of {self.dates} dates" if self.dates else ""
        return [
            ("model", self.name),
            ("window", f"{self.window} px"),
            ("parameters", f"{total / MEGA:.1f} M{training}"),
            *[(f"  {part}", f"{count / MEGA:.2f} M") for part, count in self.parameters.items()],
            ("operations", f"{self.operations / GIGA:,.1f} G a window{series}"),
            ("memory", f"{self.weight_bytes / MIB:,.0f} MiB, and {self.activation_bytes / MIB:,.0f} MiB a window"),
            *[(f"stride of {name}", f"{stride} px") for name, stride in self.strides.items()],
            ("reach", str(self.reach)),
            *(self.placements.rows if self.placements else ()),
        ]

    def __str__(self) -> str:
        return as_text(self.rows)

    def _repr_html_(self) -> str:
        return as_html(self.rows)

    def with_placements(self, placements: PlacementConsistency) -> Inspection:
        """The same with what `landweave.models.inspection.placement_consistency.compare_placements` found."""
        return replace(self, placements=placements)


def inspect(card: ModelCard, window: int | None = None, *, weights: Path | None = None) -> Inspection:
    """The model of ``card``, measured for windows of ``window`` base pixels (the card's by default).

    Nothing is measured with the weights themselves: they are needed only where the network is in their file (a
    program of `torch.export`). Finding the reach runs the network a few times on a CPU.

    Raises
    ------
    CardError
        When the network cannot be built, or is a program and its file was not given.
    """
    window = card.window.size if window is None else window
    check_window(card, window)
    network, batch = _network(card, window, weights)
    program = isinstance(card.architecture, ExportedArchitecture)
    counted = network if program else _without_values(card, window)
    inputs = blank_inputs(card, (window, window), batch=batch, on=_device(counted))
    with torch.no_grad(), FlopCounterMode(display=False) as operations:
        counted(inputs, (window, window))
    strides = {} if program else measure_strides(card, counted, window)
    period = card.window.multiple if program else period_px(card, strides)
    return Inspection(
        name=card.name,
        window=window,
        parameters=count_parameters(network),
        training_parameters=_training_parameters(network),
        operations=operations.get_total_flops() // batch,
        weight_bytes=sum(each.nbytes for each in (*network.parameters(), *network.buffers())),
        activation_bytes=peak_bytes(lambda: counted(inputs, (window, window))) // batch,
        dates=DATES if any(spec.dates for spec in card.inputs.values()) else 0,
        strides=strides,
        reach=measure_reach(card, network, window, period=period, batch=batch),
    )


def count_parameters(network: nn.Module) -> dict[str, int]:
    """Parameters by part of a built network: encoders by input, decoders by task, and what joins them."""
    return {path: count for path, part in _parts(core(network), "") if (count := _count(part))}


def _parts(network: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Children, and those of collections and of whole segmentation models inside it, one level down."""
    for name, child in network.named_children():
        inner = f"{path}{name}"
        if isinstance(child, nn.ModuleDict | smp.base.SegmentationModel):
            yield from _parts(child, f"{inner}.")
        else:
            yield inner, child


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _training_parameters(network: nn.Module) -> int:
    if not isinstance(network, FlairHub) or network.spec.aux:
        return 0
    with torch.device("meta"):
        return _count(FlairHub(replace(network.spec, aux=True)).aux_decoders)


def _network(card: ModelCard, window: int, weights: Path | None) -> tuple[nn.Module, int]:
    """The network with values, any will do, and the batch that it takes."""
    if not isinstance(card.architecture, ExportedArchitecture):
        return build(card, window), 1
    if weights is None:
        raise CardError(f"Model {card.name} is a program of torch.export: give its .pt2 file as weights.")
    batch = card.numerics.batch
    return load(card, window, weights, batch_size=batch), batch


def _without_values(card: ModelCard, window: int) -> nn.Module:
    with torch.device("meta"):
        # Some encoders make their first layer anew, on the CPU, where the bands are not three.
        return build(card, window).to("meta")


def _device(network: nn.Module) -> torch.device:
    return next((each.device for each in (*network.parameters(), *network.buffers())), torch.device("cpu"))
