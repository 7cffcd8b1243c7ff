"""FLAIR#1 network: a U-Net over the aerial image, with or without the metadata of its acquisition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models._torchvision import smp
from landweave.models.networks._layers import dense, resized

AERIAL = "AERIAL_RGBIE"
"""Name of the input that holds R, G, B, NIR and elevation above ground."""
METADATA = "AERIAL_METADATA"
"""Name of the input that holds the values of the aerial acquisition, in metres, days and one-hot codes."""
METADATA_VALUES = 45
METADATA_WINDOW = 512
"""The only window for which the metadata branch has a value for each row of the deepest stage."""
METADATA_ROWS = METADATA_WINDOW // 32


@dataclass(frozen=True, kw_only=True)
class Flair1Spec:
    """What a FLAIR#1 network reads and answers.

    Attributes
    ----------
    channels, classes
        Bands of the aerial image, and number of scores.
    encoder
        Encoder of the U-Net, by its name in segmentation-models-pytorch.
    metadata
        Whether it reads the metadata of the acquisition.
    task
        Name of the answer.
    """

    channels: int = 5
    classes: int = 19
    encoder: str = "resnet34"
    metadata: bool = False
    task: str = "AERIAL_LABEL"


class Flair1(nn.Module):
    """Class scores of one aerial window.

    Parameters
    ----------
    spec
        What the network reads and answers.
    """

    def __init__(self, spec: Flair1Spec) -> None:
        super().__init__()
        self.spec = spec
        self.seg_model = unet(spec.encoder, spec.channels, spec.classes)
        if spec.metadata:
            self.enc = _Metadata()

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Logits ``(b, classes, H, W)`` under the name of the task.

        Parameters
        ----------
        inputs
            `AERIAL` ``(b, channels, h, w)``, normalised; with metadata, `METADATA` ``(b, 45)`` too, and
            a window of 512 pixels only.
        size
            Height and width of the answer; by default the image's own.
        """
        stages: list[Tensor] = self.seg_model.encoder(inputs[AERIAL])
        if self.spec.metadata:
            stages[-1] = with_metadata(stages[-1], self.enc(inputs[METADATA]))
        return {self.spec.task: unet_scores(self.seg_model, stages, size)}


class _Metadata(nn.Module):
    """The metadata branch, under the name that checkpoints give it."""

    def __init__(self) -> None:
        super().__init__()
        self.enc_mlp = dense((METADATA_VALUES, 64, 32, METADATA_ROWS), 0.4, close=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.enc_mlp(x)
        return out


def unet(encoder: str, channels: int, classes: int) -> Any:
    """The U-Net of segmentation-models-pytorch as it is, without weights."""
    return smp.Unet(encoder, encoder_weights=None, in_channels=channels, classes=classes)


def unet_scores(net: Any, stages: list[Tensor], size: tuple[int, int] | None) -> Tensor:
    """Scores ``(b, classes, H, W)`` of encoder stages: the image first, then halving sizes."""
    scores: Tensor = net.segmentation_head(net.decoder(stages))
    return resized(scores, size or (stages[0].shape[-2], stages[0].shape[-1]))


def with_metadata(deepest: Tensor, rows: Tensor) -> Tensor:
    """``deepest (b, c, h, w)`` plus one value a row, ``rows (b, h)``, the same for every channel and column.

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
