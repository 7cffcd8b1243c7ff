"""UPerNet decoder: pyramid pooling at the deepest stage, then a feature pyramid up to a quarter of the size.

Layers and names are those of segmentation-models-pytorch 0.4.0, with which FLAIR-HUB weights were made; later
releases of that library changed the decoder and cannot hold them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models.networks._layers import resized

POOLED_SIZES = (1, 2, 3, 6)
_SHORTEST = 4
_HEAD_SCALE = 4


class UPerNet(nn.Module):
    """Class scores from the stages of an encoder.

    Parameters
    ----------
    channels
        Channels of the encoder's stages as segmentation-models-pytorch counts them: the image first, then
        halving sizes; 0 for a stage that the encoder does not have.
    classes
        Number of scores.
    pyramid, bottleneck
        Channels of the pyramid and of the features under the last convolution.
    """

    def __init__(self, channels: Sequence[int], classes: int, *, pyramid: int = 256, bottleneck: int = 64) -> None:
        super().__init__()
        self.decoder = UPerNetDecoder(channels, pyramid=pyramid, bottleneck=bottleneck)
        self.segmentation_head = nn.Sequential(
            nn.Conv2d(bottleneck, classes, 1),
            nn.Upsample(scale_factor=_HEAD_SCALE, mode="bilinear", align_corners=True),
        )

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Scores ``(b, classes, h, w)`` at the size of the first stage, rounded down to a multiple of 4."""
        scores: Tensor = self.segmentation_head(self.decoder(stages))
        return scores


class UPerNetDecoder(nn.Module):
    """Features at a quarter of the image's size.

    Checkpoints carry a pyramid stage for the image itself, which has never been used; it is held, not run.
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
        """Features ``(b, bottleneck, h // 4, w // 4)`` of ``stages``; the first lends its size only."""
        image, *others = stages
        quarter = (image.shape[-2] // 4, image.shape[-1] // 4)
        deepest, *finer = reversed(others)
        pyramid: list[Tensor] = [self.psp(deepest)]
        for stage, block in zip(finer, self.fpn_stages, strict=False):
            pyramid.append(block(pyramid[-1], stage))
        out: Tensor = self.fpn_bottleneck(torch.cat([resized(level, quarter) for level in pyramid], dim=1))
        return out


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
        size_yx = (x.shape[-2], x.shape[-1])
        pooled = [resized(block(x), size_yx) for block in self.blocks]
        out: Tensor = self.out_conv(torch.cat([x, *pooled], dim=1))
        return out


class _PyramidStage(nn.Module):
    """The pyramid one stage finer; an encoder stage without channels lends its size only."""

    def __init__(self, channels: int, pyramid: int) -> None:
        super().__init__()
        self.skip_conv = _conv_norm_relu(channels, pyramid) if channels else nn.Identity()

    def forward(self, x: Tensor, stage: Tensor) -> Tensor:
        x = resized(x, (stage.shape[-2], stage.shape[-1]))
        return x + self.skip_conv(stage) if stage.shape[1] else x


def _conv_norm_relu(channels: int, following: int, kernel: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, following, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(following), nn.ReLU())
