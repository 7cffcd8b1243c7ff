"""FLAIR#1 network: a U-Net over the aerial image, with or without the metadata of its acquisition.

Source: Garioud et al. 2022, "FLAIR #1: semantic segmentation and domain adaptation dataset", arXiv 2211.12979. The
U-Net is that of segmentation-models-pytorch (Ronneberger et al. 2015, arXiv 1505.04597).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models._torchvision import smp
from landweave.models.cards.inputs import METADATA, METADATA_VALUES
from landweave.models.networks._layers import dense, named, resized, size_of

AERIAL = "AERIAL_RGBIE"
"""Default name of the input that holds R, G, B, NIR and elevation above ground."""
METADATA_WINDOW = 512
"""The only window for which the metadata branch has a value for each row of the deepest stage."""


@dataclass(frozen=True, kw_only=True)
class FlairSpec:
    """Inputs and outputs of a network of FLAIR#1 or FLAIR#2.

    Attributes
    ----------
    images
        Names of the inputs that are concatenated on channels, in their order.
    channels, classes
        Bands of all images together, and number of classes.
    encoder
        Encoder of the U-Net, by its name in segmentation-models-pytorch.
    metadata
        Whether it reads the metadata of the acquisition.
    output
        Name of the output.
    """

    images: tuple[str, ...] = (AERIAL,)
    channels: int = 5
    classes: int = 19
    encoder: str = "resnet34"
    metadata: bool = False
    output: str = "AERIAL_LABEL"


class Flair1(nn.Module):
    """Class scores of one aerial window.

    Parameters
    ----------
    spec
        Inputs and outputs.
    """

    def __init__(self, spec: FlairSpec) -> None:
        super().__init__()
        self.spec = spec
        self.seg_model = unet(spec)
        if spec.metadata:
            self.enc = metadata_branch(0.4, close=True)

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Return logits ``(b, classes, H, W)`` by output.

        Parameters
        ----------
        inputs
            Images ``(b, band, h, w)`` by name, normalised; with metadata, `METADATA` ``(b, 45)`` too, and a window of
            512 pixels only.
        size
            Height and width of the logits; by default the images' own.

        Raises
        ------
        CardError
            When metadata is read and the window is not of 512 pixels.
        """
        image = torch.cat([inputs[name] for name in self.spec.images], dim=1)
        stages: list[Tensor] = self.seg_model.encoder(image)
        if self.spec.metadata:
            stages[-1] = with_metadata(stages[-1], self.enc(inputs[METADATA]))
        return {self.spec.output: unet_scores(self.seg_model, stages, size)}


def metadata_branch(dropout: float, *, close: bool = False) -> nn.Sequential:
    """Return the layers over the metadata: ``(b, 45)`` to one value ``(b, 16)`` for each row of the deepest stage.

    Parameters
    ----------
    dropout
        Share of values dropped in training.
    close
        Whether the last layer too has dropout and ReLU.
    """
    return named(enc_mlp=dense((METADATA_VALUES, 64, 32, METADATA_WINDOW // 32), dropout, close=close))


def unet(spec: FlairSpec) -> Any:
    """Return the U-Net of segmentation-models-pytorch with random weights."""
    return smp.Unet(spec.encoder, encoder_weights=None, in_channels=spec.channels, classes=spec.classes)


def unet_scores(net: Any, stages: list[Tensor], size: tuple[int, int] | None) -> Tensor:
    """Return scores ``(b, classes, H, W)`` of encoder stages.

    Parameters
    ----------
    net
        With a decoder and a segmentation head.
    stages
        The image first, then halving sizes.
    size
        Height and width of the scores; by default the image's.
    """
    scores: Tensor = net.segmentation_head(net.decoder(stages))
    return resized(scores, size or size_of(stages[0]))


def with_metadata(deepest: Tensor, rows: Tensor) -> Tensor:
    """Return the deepest stage plus one value a row, the same for every channel and column.

    Parameters
    ----------
    deepest
        ``(b, c, h, w)``.
    rows
        ``(b, h)``.

    Raises
    ------
    CardError
        When the stage does not have that many rows.
    """
    if deepest.shape[-2] != rows.shape[-1]:
        raise CardError(
            f"The metadata branch has {rows.shape[-1]} values, one a row, and the deepest stage "
            f"{deepest.shape[-2]} rows: use a window of {METADATA_WINDOW} px, or a model without metadata."
        )
    return deepest + rows[:, None, :, None]
