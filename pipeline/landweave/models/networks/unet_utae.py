"""A network of segmentation-models-pytorch whose encoder stages are summed with the map of a U-TAE over each series.

::

    images ─ encoder ─ stages ──────┬── + ── decoder ── head ── logits
    series ─ U-TAE ─ one map ─┐     │
    series ─ U-TAE ─ one map ─┴ 1x1 ┘   resized to each joined stage

Without series it is the network as the library has it. U-TAE: Sainte Fare Garnot and Landrieu 2021, arXiv 2107.07933.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models.networks._layers import dated_series, resized, size_of
from landweave.models.networks.utae import Utae, UtaeSpec


@dataclass(frozen=True, kw_only=True)
class UnetUtaeSpec:
    """Inputs and outputs of a U-Net with series.

    Attributes
    ----------
    images
        Names of the inputs that are concatenated on channels, in their order.
    series
        The U-TAE of each time series, by name (which ends in ``_TS``); its scores are the map that is added.
    stages
        Encoder stages that the maps are added to: 0 is the image itself, each following one half the size.
    output
        Name of the output.
    """

    images: tuple[str, ...]
    series: Mapping[str, UtaeSpec] = field(default_factory=dict)
    stages: tuple[int, ...] = ()
    output: str


class UnetUtae(nn.Module):
    """Class scores from images and time series of one window.

    Parameters
    ----------
    network
        Of segmentation-models-pytorch: with encoder, decoder and segmentation head.
    spec
        Inputs and outputs.

    Raises
    ------
    CardError
        When the encoder lacks a stage of ``spec``.
    """

    def __init__(self, network: nn.Module, spec: UnetUtaeSpec) -> None:
        super().__init__()
        self.spec = spec
        self.network: Any = network  # the library has no types
        channels = tuple(cast(Any, network).encoder.out_channels)
        if absent := [stage for stage in spec.stages if not 0 <= stage < len(channels)]:
            raise CardError(f"Stages {absent} cannot be joined: the encoder has stages 0 to {len(channels) - 1}.")
        self.series = nn.ModuleDict({name: Utae(utae) for name, utae in spec.series.items()})
        width = sum(utae.score_widths[-1] for utae in spec.series.values())
        self.joins = nn.ModuleDict(
            {str(stage): nn.Conv2d(width, channels[stage], 1) for stage in spec.stages if spec.series}
        )

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Return logits ``(b, class, Y, X)`` by output, resized to ``size`` where they are not of that size.

        Parameters
        ----------
        inputs
            Images ``(b, band, y, x)`` and series ``(b, time, band, y, x)`` by name, normalised; beside a series
            ``…_TS`` its day offsets ``…_DATES (b, time)`` and, where some dates are padding, ``…_MASK``, True for
            the real ones.
        size
            Height and width of the logits; by default those of the network.
        """
        stages = list(self.network.encoder(torch.cat([inputs[name] for name in self.spec.images], dim=1)))
        if self.joins:
            maps = torch.cat(self.maps(inputs), dim=1)
            for stage, join in self.joins.items():
                image = stages[int(stage)]
                stages[int(stage)] = image + resized(join(maps), size_of(image))
        logits: Tensor = self.network.segmentation_head(self.network.decoder(stages))
        return {self.spec.output: resized(logits, size) if size else logits}

    def maps(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Return one map ``(b, width, h, w)`` of each series, all at the size of the first; inputs as `forward`."""
        maps: list[Tensor] = []
        for name, utae in self.series.items():
            own = utae(*dated_series(inputs, name))
            maps.append(resized(own, size_of(maps[0])) if maps else own)
        return maps
