"""UPerNet decoder: pyramid pooling at the deepest stage, then a feature pyramid up to a quarter of the size.

Source: Xiao et al. 2018, "Unified Perceptual Parsing for Scene Understanding", arXiv 1807.10221.
Layers and names are those of segmentation-models-pytorch 0.4.0, with which FLAIR-HUB weights were made; later
releases of that library changed the decoder and cannot hold them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models.networks._layers import resized, size_of

POOLED_SIZES = (1, 2, 3, 6)
_SHORTEST = 4
_HEAD_SCALE = 4


class UPerNet(nn.Sequential):
    """Class scores ``(b, classes, h, w)`` from the stages of an encoder.

    They have the size of the first stage, rounded down to a multiple of 4.

    Parameters
    ----------
    channels
        Channels of the encoder's stages as segmentation-models-pytorch counts them: the image first, then
        halving sizes; 0 for a stage that the encoder does not have.
    classes
        Number of classes.
    pyramid, bottleneck
        Channels of the pyramid and of the features before the last convolution.
    """

    def __init__(self, channels: Sequence[int], classes: int, *, pyramid: int = 256, bottleneck: int = 64) -> None:
        head = nn.Conv2d(bottleneck, classes, 1)
        resize = nn.Upsample(scale_factor=_HEAD_SCALE, mode="bilinear", align_corners=True)
        decoder = UPerNetDecoder(channels, pyramid=pyramid, bottleneck=bottleneck)
        super().__init__(OrderedDict(decoder=decoder, segmentation_head=nn.Sequential(head, resize)))


class UPerNetDecoder(nn.Module):
    """Features at a quarter of the image's size.

    Checkpoints have a pyramid stage for the image itself; it exists for them and never runs.

    Parameters
    ----------
    channels, pyramid, bottleneck
        As for `UPerNet`.

    Raises
    ------
    CardError
        For fewer than four stages.
    """

    def __init__(self, channels: Sequence[int], *, pyramid: int = 256, bottleneck: int = 64) -> None:
        super().__init__()
        if len(channels) < _SHORTEST:
            raise CardError(f"UPerNet needs {_SHORTEST} encoder stages or more, image included, not {len(channels)}.")
        deepest, *others = reversed(channels)
        self.psp = _PyramidPooling(deepest, pyramid)
        self.fpn_stages = nn.ModuleList(_PyramidStage(width, pyramid) for width in others)
        self.fpn_bottleneck = _conv_norm_relu((len(channels) - 1) * pyramid, bottleneck, kernel=3)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return features ``(b, bottleneck, h // 4, w // 4)`` of ``stages``; only the size of the first is used."""
        image, *others = stages
        quarter = (image.shape[-2] // 4, image.shape[-1] // 4)
        deepest, *finer = reversed(others)
        pyramid: list[Tensor] = [self.psp(deepest)]
        for stage, block in zip(finer, self.fpn_stages, strict=False):
            pyramid.append(block(pyramid[-1], stage))
        return cast(Tensor, self.fpn_bottleneck(torch.cat([resized(level, quarter) for level in pyramid], dim=1)))


class _PyramidPooling(nn.Module):
    """The deepest stage beside its own averages over 1, 2, 3 and 6 parts a side."""

    def __init__(self, channels: int, pyramid: int) -> None:
        super().__init__()
        share = channels // len(POOLED_SIZES)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), _conv_norm_relu(channels, share)) for size in POOLED_SIZES
        )
        self.out_conv = _conv_norm_relu(channels + share * len(POOLED_SIZES), pyramid)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [resized(block(x), size_of(x)) for block in self.blocks]
        return cast(Tensor, self.out_conv(torch.cat([x, *pooled], dim=1)))


class _PyramidStage(nn.Module):
    """The pyramid one stage finer; only the size of a stage without channels is used."""

    def __init__(self, channels: int, pyramid: int) -> None:
        super().__init__()
        self.skip_conv = _conv_norm_relu(channels, pyramid) if channels else nn.Identity()

    def forward(self, x: Tensor, stage: Tensor) -> Tensor:
        x = resized(x, size_of(stage))
        return x + self.skip_conv(stage) if stage.shape[1] else x


def _conv_norm_relu(channels: int, following: int, kernel: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, following, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(following), nn.ReLU())
