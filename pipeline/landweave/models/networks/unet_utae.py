"""A network of segmentation-models-pytorch whose encoder stages are told what a U-TAE saw in each time series.

::

    images ─ encoder ─ stages ──────┬── + ── decoder ── head ── logits
    series ─ U-TAE ─ one map ─┐     │
    series ─ U-TAE ─ one map ─┴ 1x1 ┘   resized to each joined stage

Without series it is the network as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models.networks._layers import resized
from landweave.models.networks.utae import Utae, UtaeSpec


@dataclass(frozen=True, kw_only=True)
class UnetUtaeSpec:
    """What a fused network reads and answers.

    Attributes
    ----------
    images
        Names of the inputs joined on channels, in their order.
    series
        The U-TAE of each time series, by name (which ends in ``_TS``); its scores are the map that is joined.
    stages
        Encoder stages that are joined: 0 is the image itself, each following one half the size.
    task
        Name of the answer.
    """

    images: tuple[str, ...]
    series: Mapping[str, UtaeSpec] = field(default_factory=dict)
    stages: tuple[int, ...] = ()
    task: str


class _Parts(Protocol):
    """What networks of segmentation-models-pytorch are made of; the library states no types."""

    encoder: Any
    decoder: Any
    segmentation_head: Any


class UnetUtae(nn.Module):
    """Class scores from images and time series of one window.

    Parameters
    ----------
    network
        Of segmentation-models-pytorch: with encoder, decoder and segmentation head.
    spec
        How series join it.

    Raises
    ------
    CardError
        When the encoder has not the stages that are to be joined.
    """

    def __init__(self, network: nn.Module, spec: UnetUtaeSpec) -> None:
        super().__init__()
        self.spec = spec
        self.network = network
        channels = tuple(cast(_Parts, network).encoder.out_channels)
        if absent := [stage for stage in spec.stages if not 0 <= stage < len(channels)]:
            raise CardError(f"Stages {absent} cannot be joined: the encoder has stages 0 to {len(channels) - 1}.")
        self.series = nn.ModuleDict({name: Utae(utae) for name, utae in spec.series.items()})
        width = sum(utae.score_widths[-1] for utae in spec.series.values())
        self.joins = nn.ModuleDict(
            {str(stage): nn.Conv2d(width, channels[stage], 1) for stage in spec.stages if spec.series}
        )

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Logits ``(b, class, Y, X)``, resized to ``size`` where they are not of that size.

        Parameters
        ----------
        inputs
            Images ``(b, band, y, x)`` and series ``(b, time, band, y, x)`` by name, normalised; beside a series
            ``…_TS`` its day offsets ``…_DATES (b, time)`` and, where some dates are padding, ``…_MASK``, True for
            the real ones.
        size
            Height and width of the answer.
        """
        network = cast(_Parts, self.network)
        stages = list(network.encoder(torch.cat([inputs[name] for name in self.spec.images], dim=1)))
        if self.joins:
            seen = torch.cat(self.maps(inputs), dim=1)
            for stage, join in self.joins.items():
                here = stages[int(stage)]
                stages[int(stage)] = here + resized(join(seen), (here.shape[-2], here.shape[-1]))
        logits: Tensor = network.segmentation_head(network.decoder(stages))
        return {self.spec.task: resized(logits, size) if size else logits}

    def maps(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """One map ``(b, width, h, w)`` of each series, all at the size of the first."""
        maps: list[Tensor] = []
        for name, utae in self.series.items():
            stem = name.removesuffix("TS")
            seen = utae(inputs[name], inputs[f"{stem}DATES"], inputs.get(f"{stem}MASK"))
            maps.append(resized(seen, (maps[0].shape[-2], maps[0].shape[-1])) if maps else seen)
        return maps
