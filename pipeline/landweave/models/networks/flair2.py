"""FLAIR#2 network (U-T&T): a U-Net over the aerial image, with a U-TAE over Sentinel-2 added stage by stage.

::

    aerial ───── encoder ── stage 1 … stage 5 ──────── decoder ── scores
                               +         + ── metadata, by row
    Sentinel-2 ─ U-TAE ─┬─ its centre, 1x1, resized
                        └─ its mean over all pixels, dense

Source: Garioud et al. 2023, "FLAIR: a Country-Scale Land Cover Semantic Segmentation Dataset From Multi-Source Optical
Imagery", NeurIPS, arXiv 2310.13336. Unlike the published code, each window of a batch gets the mean of its own series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models.cards.inputs import METADATA
from landweave.models.networks._layers import dated_series, dense, resized, size_of
from landweave.models.networks.flair1 import (
    METADATA_WINDOW,
    FlairSpec,
    metadata_branch,
    unet,
    unet_scores,
    with_metadata,
)
from landweave.models.networks.utae import Utae, UtaeSpec

SERIES = "SENTINEL2_TS"
SERIES_CHANNELS = 10
CENTRE = 10
"""Sentinel-2 pixels a side, in the middle of the series, that cover the aerial window."""

_WIDTHS = (64, 64, 128, 128)


class Flair2(nn.Module):
    """Class scores of one aerial window and the series around it: those of the U-Net branch.

    The scores of the U-TAE branch alone serve training; their layers are there for their weights and never run.

    Parameters
    ----------
    spec
        Inputs and outputs.
    """

    def __init__(self, spec: FlairSpec) -> None:
        super().__init__()
        self.spec = spec
        self.arch_vhr = unet(spec)
        utae = UtaeSpec(channels=SERIES_CHANNELS, encoder_widths=_WIDTHS, decoder_widths=_WIDTHS, kernel=4, stride=2)
        self.arch_hr = Utae(replace(utae, score_widths=(32, spec.classes)))
        widths = tuple(self.arch_vhr.encoder.out_channels)
        self.fm_utae_featmap_cropped = _CentreMaps(_WIDTHS[0], widths)
        self.fm_utae_featmap_collapsed = _SeriesMean(_WIDTHS[0], widths)
        if spec.metadata:
            self.mtd_mlp = metadata_branch(0.5)
        size = (METADATA_WINDOW, METADATA_WINDOW)
        self.reshape_utae_output = nn.Sequential(nn.Upsample(size=size), nn.Conv2d(_WIDTHS[0], spec.classes, 1))

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Return logits ``(b, classes, H, W)`` by output.

        Parameters
        ----------
        inputs
            Images ``(b, band, h, w)`` by name, scaled; `SERIES` ``(b, t, channels, y, x)`` around the window,
            with its day offsets ``…_DATES (b, t)`` and, where some dates are padding, ``…_MASK (b, t)``, True
            for the real ones; with metadata, `METADATA` ``(b, 45)`` too, and a window of 512 pixels only.
        size
            Height and width of the logits; by default the images' own.

        Raises
        ------
        CardError
            When the series has no centre of whole pixels, or metadata is read and the window is not of 512 pixels.
        """
        stages: list[Tensor] = self.arch_vhr.encoder(torch.cat([inputs[name] for name in self.spec.images], dim=1))
        if self.spec.metadata:
            stages[-1] = with_metadata(stages[-1], self.mtd_mlp(inputs[METADATA]))
        series = self.arch_hr.maps(*dated_series(inputs, SERIES))[-1]
        near = self.fm_utae_featmap_cropped(centred(series, CENTRE), [size_of(each) for each in stages[1:]])
        around = self.fm_utae_featmap_collapsed(series.mean((-2, -1)))
        joined = [stage + (here + there) for stage, here, there in zip(stages[1:], near, around, strict=True)]
        return {self.spec.output: unet_scores(self.arch_vhr, [stages[0], *joined], size)}


def centred(x: Tensor, pixels: int) -> Tensor:
    """Return the middle ``pixels`` x ``pixels`` of an array.

    Parameters
    ----------
    x
        ``(b, c, h, w)``.
    pixels
        Size of the centre, on both axes.

    Raises
    ------
    CardError
        When the margins are not even.
    """
    height, width = x.shape[-2:]
    if min(height, width) < pixels or (height - pixels) % 2 or (width - pixels) % 2:
        raise CardError(f"{pixels} pixels cannot lie in the middle of {height} x {width}: give an even margin.")
    top, left = (height - pixels) // 2, (width - pixels) // 2
    return x[..., top : top + pixels, left : left + pixels]


class _CentreMaps(nn.Module):
    """Maps of the series over the window itself, one for each stage; the layer of the image is never run."""

    def __init__(self, width: int, stages: Sequence[int]) -> None:
        super().__init__()
        self.conv_list = nn.ModuleList(nn.Conv2d(width, stage, 1) for stage in stages)

    def forward(self, x: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Return maps ``(b, stage, h, w)`` at ``sizes``, one for each stage after the image."""
        return [resized(conv(x), size) for conv, size in zip(list(self.conv_list)[1:], sizes, strict=True)]


class _SeriesMean(nn.Module):
    """Values of the series around the window, one a channel; the layers of the image are never run."""

    def __init__(self, width: int, stages: Sequence[int]) -> None:
        super().__init__()
        self.mlps = nn.ModuleList(dense(stepped_widths(width, stage), 0.3) for stage in stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return values ``(b, stage, 1, 1)`` of ``x (b, c)``, one for each stage after the image."""
        return [mlp(x)[:, :, None, None] for mlp in list(self.mlps)[1:]]


def stepped_widths(width: int, following: int) -> tuple[int, int, int, int]:
    """Return widths from one to the other in three steps; through twice the width where they are the same.

    Parameters
    ----------
    width, following
        The first and the last.

    >>> stepped_widths(64, 128), stepped_widths(64, 5), stepped_widths(64, 64)
    ((64, 85, 106, 128), (64, 45, 26, 5), (64, 128, 128, 64))
    """
    if width == following:
        return width, width * 2, width * 2, following
    step = abs(following - width) // 3 * (1 if following > width else -1)
    return width, width + step, width + 2 * step, following
