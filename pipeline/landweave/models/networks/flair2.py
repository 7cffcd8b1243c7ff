"""FLAIR#2 network (U-T&T): a U-Net over the aerial image, with a U-TAE over Sentinel-2 added stage by stage.

::

    aerial ───── encoder ── stage 1 … stage 5 ──────── decoder ── scores
                               +         + ── metadata, by row
    Sentinel-2 ─ U-TAE ─┬─ its centre, 1x1, resized
                        └─ its mean over the ground, dense

It is right for any batch: each window gets the mean over its own ground.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models.networks._layers import dense, resized
from landweave.models.networks.flair1 import (
    AERIAL,
    METADATA,
    METADATA_ROWS,
    METADATA_VALUES,
    METADATA_WINDOW,
    unet,
    unet_scores,
    with_metadata,
)
from landweave.models.networks.utae import Utae, UtaeSpec

SERIES = "SENTINEL2_TS"
DATES = "SENTINEL2_DATES"
MASK = "SENTINEL2_MASK"
_WIDTHS = (64, 64, 128, 128)


@dataclass(frozen=True, kw_only=True)
class Flair2Spec:
    """What a FLAIR#2 network reads and answers.

    Attributes
    ----------
    channels, series_channels, classes
        Bands of the aerial image, bands of a Sentinel-2 date, and number of scores.
    encoder
        Encoder of the U-Net, by its name in segmentation-models-pytorch.
    metadata
        Whether it reads the metadata of the aerial acquisition.
    centre
        Sentinel-2 pixels a side, in the middle of the series, that stand for the aerial window.
    task
        Name of the answer.
    """

    channels: int = 5
    series_channels: int = 10
    classes: int = 13
    encoder: str = "resnet34"
    metadata: bool = True
    centre: int = 10
    task: str = "AERIAL_LABEL"


class Flair2(nn.Module):
    """Class scores of one aerial window and the series around it: the U-Net branch's.

    The scores of the U-TAE branch alone serve training; their layers are held for their weights, never run.

    Parameters
    ----------
    spec
        What the network reads and answers.
    """

    def __init__(self, spec: Flair2Spec) -> None:
        super().__init__()
        self.spec = spec
        self.arch_vhr = unet(spec.encoder, spec.channels, spec.classes)
        self.arch_hr = Utae(_series_spec(spec))
        widths = tuple(self.arch_vhr.encoder.out_channels)
        self.fm_utae_featmap_cropped = _Centre(_WIDTHS[0], widths)
        self.fm_utae_featmap_collapsed = _Mean(_WIDTHS[0], widths)
        if spec.metadata:
            self.mtd_mlp = _Metadata()
        size = (METADATA_WINDOW, METADATA_WINDOW)
        self.reshape_utae_output = nn.Sequential(nn.Upsample(size=size), nn.Conv2d(_WIDTHS[0], spec.classes, 1))

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Logits ``(b, classes, H, W)`` under the name of the task.

        Parameters
        ----------
        inputs
            `AERIAL` ``(b, channels, h, w)``, scaled; `SERIES` ``(b, t, channels, y, x)`` around the window,
            with its day offsets `DATES` ``(b, t)`` and, where some dates are padding, `MASK` ``(b, t)``, True
            for the real ones; with metadata, `METADATA` ``(b, 45)`` too, and a window of 512 pixels only.
        size
            Height and width of the answer; by default the aerial image's own.
        """
        stages: list[Tensor] = self.arch_vhr.encoder(inputs[AERIAL])
        if self.spec.metadata:
            stages[-1] = with_metadata(stages[-1], self.mtd_mlp(inputs[METADATA]))
        ground = self.arch_hr.maps(inputs[SERIES], inputs[DATES], inputs.get(MASK))[-1]
        sizes = [(stage.shape[-2], stage.shape[-1]) for stage in stages[1:]]
        near = self.fm_utae_featmap_cropped(centred(ground, self.spec.centre), sizes)
        around = self.fm_utae_featmap_collapsed(ground.mean((-2, -1)))
        joined = [stage + (here + there) for stage, here, there in zip(stages[1:], near, around, strict=True)]
        return {self.spec.task: unet_scores(self.arch_vhr, [stages[0], *joined], size)}


def centred(x: Tensor, pixels: int) -> Tensor:
    """The middle ``pixels`` x ``pixels`` of ``x (b, c, h, w)``.

    Raises
    ------
    CardError
        When they cannot lie in the middle.
    """
    height, width = x.shape[-2:]
    if min(height, width) < pixels or (height - pixels) % 2 or (width - pixels) % 2:
        raise CardError(f"{pixels} pixels cannot lie in the middle of {height} x {width}: give an even margin.")
    top, left = (height - pixels) // 2, (width - pixels) // 2
    return x[..., top : top + pixels, left : left + pixels]


def _series_spec(spec: Flair2Spec) -> UtaeSpec:
    return UtaeSpec(
        channels=spec.series_channels,
        encoder_widths=_WIDTHS,
        decoder_widths=_WIDTHS,
        score_widths=(32, spec.classes),
        kernel=4,
        stride=2,
        padding=1,
    )


class _Centre(nn.Module):
    """What the series saw of the window itself, for each stage; the image's layer is held, never run."""

    def __init__(self, width: int, stages: Sequence[int]) -> None:
        super().__init__()
        self.conv_list = nn.ModuleList(nn.Conv2d(width, stage, 1) for stage in stages)

    def forward(self, x: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Maps ``(b, stage, h, w)`` at ``sizes``, one for each stage after the image."""
        return [resized(conv(x), size) for conv, size in zip(list(self.conv_list)[1:], sizes, strict=True)]


class _Mean(nn.Module):
    """What the series saw around the window, one value a channel; the image's layers are held, never run."""

    def __init__(self, width: int, stages: Sequence[int]) -> None:
        super().__init__()
        self.mlps = nn.ModuleList(dense(stepped_widths(width, stage), 0.3) for stage in stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Values ``(b, stage, 1, 1)`` of ``x (b, c)``, one for each stage after the image."""
        return [mlp(x)[:, :, None, None] for mlp in list(self.mlps)[1:]]


def stepped_widths(width: int, following: int) -> tuple[int, int, int, int]:
    """Widths from one to the other in three steps; through twice the width where they are the same.

    >>> stepped_widths(64, 128), stepped_widths(64, 5), stepped_widths(64, 64)
    ((64, 85, 106, 128), (64, 45, 26, 5), (64, 128, 128, 64))
    """
    if width == following:
        return width, width * 2, width * 2, following
    step = abs(following - width) // 3 * (1 if following > width else -1)
    return width, width + step, width + 2 * step, following


class _Metadata(nn.Module):
    """The metadata branch, under the name that checkpoints give it."""

    def __init__(self) -> None:
        super().__init__()
        self.enc_mlp = dense((METADATA_VALUES, 64, 32, METADATA_ROWS), 0.5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.enc_mlp(x)
        return out
