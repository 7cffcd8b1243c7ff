"""Size and cost of a model: parameters, operations, memory, strides and receptive field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from landweave.core.errors import CardError
from landweave.core.tables import Rows, Table
from landweave.models._torchvision import smp
from landweave.models.cards.card import ModelCard
from landweave.models.factory import build, build_on_meta, core, load_with_notes
from landweave.models.inspection.peak_memory import peak_bytes, tensor_bytes
from landweave.models.inspection.placement_consistency import PlacementConsistency
from landweave.models.inspection.receptive_field import ReceptiveField, measure_receptive_field
from landweave.models.inspection.strides import measure_strides, period_px
from landweave.models.networks.architectures import ExportedArchitecture
from landweave.models.networks.dummy_inputs import DATES, dummy_inputs
from landweave.models.networks.flair_hub import FlairHub
from landweave.models.networks.position_tables import check_window

MEGA, GIGA, MIB = 10**6, 10**9, 2**20


@dataclass(frozen=True, kw_only=True)
class Inspection(Table):
    """Measurements of a model.

    Attributes
    ----------
    name, window
        Of the card, and base pixels a side.
    parameters
        By part of the network.
    training_parameters
        Of the auxiliary decoders that exist in training only.
    operations
        Multiplications and additions for one window.
    weight_bytes, activation_bytes
        Bytes of the network, and the peak that one window adds to it, in float32.
    dates
        Dates of each series that the two are for; 0 where there is none.
    strides
        Pixels of each input for one of its network's deepest pixels.
    receptive_field
        How far from a pixel the inputs of its class lie.
    notes
        What was left out of the weights.
    placement_consistency
        Agreement of two placements of a window; None without imagery and weights.
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
    receptive_field: ReceptiveField
    notes: tuple[str, ...] = ()
    placement_consistency: PlacementConsistency | None = None

    @property
    def rows(self) -> Rows:
        """The measurements as lines of a table."""
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
            ("receptive field", str(self.receptive_field)),
            *[("note", note) for note in self.notes],
            *(self.placement_consistency.rows if self.placement_consistency else ()),
        ]


def inspect(card: ModelCard, window: int | None = None, *, weights: Path | None = None) -> Inspection:
    """Return the measurements of a model for windows of ``window`` base pixels.

    Weights that are given are loaded, and have to fit; nothing is measured with the values themselves. The receptive
    field takes a few passes of the network on a CPU.

    Parameters
    ----------
    card
        Of the model.
    window
        Base pixels a side; the card's by default.
    weights
        Their file; of a program of `torch.export`, which needs it, the ``.pt2``.

    Raises
    ------
    CardError
        When the network cannot be built, or is a program and its file was not given.
    WeightsError
        When weights do not fit.
    """
    window = card.window.size if window is None else window
    check_window(card, window)
    program = isinstance(card.architecture, ExportedArchitecture)
    if program and weights is None:
        raise CardError(f"Model {card.name} is a program of torch.export: give its .pt2 file as weights.")
    batch = card.numerics.batch if program else 1
    network, notes = load_with_notes(card, window, weights, batch_size=batch) if weights else (build(card, window), ())
    counted = network if program else build_on_meta(card, window)
    device = next((each.device for each in (*counted.parameters(), *counted.buffers())), torch.device("cpu"))
    inputs = dummy_inputs(card, (window, window), batch=batch, on=device)
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
        weight_bytes=tensor_bytes(network),
        activation_bytes=peak_bytes(lambda: counted(inputs, (window, window))) // batch,
        dates=DATES if card.series else 0,
        strides=strides,
        receptive_field=measure_receptive_field(card, network, window, period=period, batch=batch),
        notes=notes,
    )


def count_parameters(network: nn.Module) -> dict[str, int]:
    """Return parameters by part of a built network: encoders by input, decoders by output, and what joins them."""
    return {path: count for path, part in _parts(core(network), "") if (count := count_all(part))}


def count_all(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def _parts(network: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield children, and those of collections and of whole segmentation models inside it, one level down."""
    for name, child in network.named_children():
        inner = f"{path}{name}"
        if isinstance(child, nn.ModuleDict | smp.base.SegmentationModel):
            yield from _parts(child, f"{inner}.")
        else:
            yield inner, child


def _training_parameters(network: nn.Module) -> int:
    if not isinstance(network, FlairHub) or network.spec.aux:
        return 0
    with torch.device("meta"):
        return count_all(FlairHub(replace(network.spec, aux=True)).aux_decoders)
