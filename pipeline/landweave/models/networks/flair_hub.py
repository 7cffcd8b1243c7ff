"""FLAIR-HUB networks: an encoder for each image, a U-TAE for each time series, one decoder for each task.

::

    AERIAL_RGBI ── encoder ─┐ stages
    DEM_ELEV ───── encoder ─┤                       ┌─ UPerNet ── AERIAL_LABEL-COSIA
    …                       ├─ resized, joined, 1x1 ┤
    SENTINEL2_TS ─ U-TAE ───┤                       └─ UPerNet ── ALL_LABEL-LPIS
    …                       ┘ maps

Stages are resized to those of the first image. An image alone goes straight to its decoder; time series alone
give the mean of their class scores.

Source: Garioud et al. 2025, "FLAIR-HUB: Large-scale Multimodal Dataset for Land Cover and Crop Mapping", arXiv
2506.07080. Its image encoder is a Swin Transformer (Liu et al. 2021, arXiv 2103.14030).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, cast

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models._torchvision import smp, timm
from landweave.models.networks._layers import dated_series, named, resized, size_of
from landweave.models.networks.upernet import UPerNet
from landweave.models.networks.utae import Utae, UtaeSpec

SWIN_BASE = "swin_base_patch4_window12_384"

MODALITY_ORDER = (
    "AERIAL_RGBI",
    "AERIAL-RLT_PAN",
    "DEM_ELEV",
    "SPOT_RGBI",
    "SENTINEL2_TS",
    "SENTINEL1-ASC_TS",
    "SENTINEL1-DESC_TS",
)
"""The modalities of FLAIR-HUB, in the order in which its networks concatenate them."""


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One input of a FLAIR-HUB network.

    Attributes
    ----------
    name
        FLAIR-HUB's name; that of a time series ends in ``_TS``.
    channels
        Bands that the network reads.
    window
        Pixels a side of the window that its encoder is built for.
    scale
        Output pixels for one pixel of this input (8 for 1.6 m under a map of 0.2 m).
    """

    name: str
    channels: int
    window: int
    scale: Fraction = Fraction(1)

    @property
    def is_series(self) -> bool:
        """Whether it is a time series."""
        return self.name.endswith("_TS")


@dataclass(frozen=True, kw_only=True)
class FlairHubSpec:
    """Inputs and outputs of a FLAIR-HUB network.

    Attributes
    ----------
    modalities
        Inputs. Their order here does not matter: images come first, each kind in the order of `MODALITY_ORDER`.
    classes
        Number of classes of each output, by FLAIR-HUB's name of the label.
    encoder
        Encoder of the images: a name of segmentation-models-pytorch, else of timm.
    aux
        Whether to have the decoder that each image has in training, so that its checkpoint loads whole.
    """

    modalities: tuple[Modality, ...]
    classes: Mapping[str, int]
    encoder: str = SWIN_BASE
    aux: bool = False

    def __post_init__(self) -> None:
        names = [modality.name for modality in self.modalities]
        if not names or not self.classes:
            raise CardError(f"A network needs an input and an output; got {names} and {len(self.classes)} outputs.")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise CardError(f"Inputs given twice: {', '.join(repeated)}.")

    @property
    def images(self) -> tuple[Modality, ...]:
        """Inputs of a single date, in the order in which they are concatenated."""
        return _ordered(each for each in self.modalities if not each.is_series)

    @property
    def series(self) -> tuple[Modality, ...]:
        """Time series, in the order in which they are concatenated."""
        return _ordered(each for each in self.modalities if each.is_series)

    @property
    def score_count(self) -> int:
        """Number of classes of all outputs together."""
        return sum(self.classes.values())


def _ordered(modalities: Iterable[Modality]) -> tuple[Modality, ...]:
    rank = {name: place for place, name in enumerate(MODALITY_ORDER)}
    return tuple(sorted(modalities, key=lambda modality: rank.get(modality.name, len(rank))))


class FlairHub(nn.Module):
    """Class scores of every output, from images and time series of one window.

    Parameters
    ----------
    spec
        Inputs and outputs.

    Raises
    ------
    CardError
        When neither library has the encoder.
    """

    def __init__(self, spec: FlairHubSpec) -> None:
        super().__init__()
        self.spec = spec
        encoders = {each.name: _public_encoder(spec.encoder, each) for each in spec.images}
        self.encoders = nn.ModuleDict({name: named(seg_model=each) for name, each in encoders.items()})
        # Channels of the stages: the image first, 0 where a stage has none.
        images: list[tuple[int, ...]] = [tuple(each.out_channels) for each in encoders.values()]
        channels = images[0] if images else ()
        utaes = {each.name: _utae_spec(each, spec.score_count, channels) for each in spec.series}
        self.encoders.update({name: Utae(each) for name, each in utaes.items()})
        # Widths deepest first, which is the order in which maps of a series meet the image stages.
        self.fusion_handler = _Fusion(images, [each.decoder_widths[::-1] for each in utaes.values()])
        self.main_decoders = nn.ModuleDict({name: _decoder(spec, channels, name) for name in spec.classes})
        self.aux_decoders = nn.ModuleDict()
        if spec.aux and len(spec.modalities) > 1:
            pairs = [(name, image.name) for name in spec.classes for image in spec.images]
            self.aux_decoders.update({f"{image}__{name}": _decoder(spec, channels, name) for name, image in pairs})

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Return logits ``(b, classes, H, W)`` by output.

        Parameters
        ----------
        inputs
            By name of modality, normalised: images ``(b, channels, h, w)``, series ``…_TS (b, t, channels, h, w)``
            with their day offsets ``…_DATES (b, t)`` and, where some dates are padding, ``…_MASK (b, t)``, True for
            the real ones. Other names are ignored.
        size
            Height and width of the logits; by default the first input's own times its scale.
        """
        size = size or self._own_size(inputs)
        if self.spec.images:
            stages = self._joined_stages(inputs)
            return {name: resized(decoder(stages), size) for name, decoder in self.main_decoders.items()}
        names = [each.name for each in self.spec.series]
        scores = torch.stack([self.encoders[name](*dated_series(inputs, name)) for name in names]).mean(0)
        if len(self.spec.classes) == 1:  # as published: the 1x1 convolution of a single output never runs
            return {name: resized(scores, size) for name in self.spec.classes}
        return {name: resized(decoder(scores), size) for name, decoder in self.main_decoders.items()}

    def _joined_stages(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the stages of the first image, joined with all other inputs."""
        images = [self.encoders[each.name](inputs[each.name]) for each in self.spec.images]
        utaes = {each.name: cast(Utae, self.encoders[each.name]) for each in self.spec.series}
        series = [utae.maps(*dated_series(inputs, name)) for name, utae in utaes.items()]
        return cast(list[Tensor], self.fusion_handler(images, series))

    def _own_size(self, inputs: Mapping[str, Tensor]) -> tuple[int, int]:
        first = (*self.spec.images, *self.spec.series)[0]
        height, width = size_of(inputs[first.name])
        return round(height * first.scale), round(width * first.scale)


def _public_encoder(encoder: str, modality: Modality) -> Any:
    """Return the encoder of segmentation-models-pytorch by that name, else timm's; with random weights.

    It turns ``(b, channels, h, w)`` into stages, from the image itself to the deepest.
    """
    bare = encoder.removeprefix("tu-")
    name = encoder if encoder in smp.encoders.encoders else f"tu-{bare}"
    if name.startswith("tu-") and not timm.is_model(bare):
        raise CardError(
            f"The encoder {encoder!r} is in neither segmentation-models-pytorch nor timm {timm.__version__}: "
            f"{SWIN_BASE}, resnet34 and convnext_base are three that are."
        )
    known = timm.models.get_pretrained_cfg(bare) if name.startswith("tu-") else None
    # Built for one size of image, where timm says so.
    size = {"img_size": modality.window} if known and known.fixed_input_size else {}
    return smp.encoders.get_encoder(name, in_channels=modality.channels, depth=5, weights=None, **size)


def _first_joined_stage(channels: Sequence[int]) -> int:
    """Return the first stage that is joined: encoders that begin at a quarter of the size have two empty ones."""
    return 2 if 0 in channels else 0


def _utae_spec(modality: Modality, classes: int, channels: tuple[int, ...]) -> UtaeSpec:
    """Return the U-TAE of one series: as published without images, else one stage for each image stage."""
    spec = UtaeSpec(channels=modality.channels)
    if classes != spec.score_widths[-1]:
        spec = replace(spec, score_widths=(*spec.score_widths, classes))
    if not channels:
        return spec
    widths = respaced_widths(spec.encoder_widths, len(channels) - _first_joined_stage(channels))
    return replace(spec, encoder_widths=widths, decoder_widths=widths)


def respaced_widths(widths: tuple[int, ...], stages: int) -> tuple[int, ...]:
    """Return ``stages`` widths over the same range as ``widths``, each the power of two nearest to even spacing.

    Parameters
    ----------
    widths
        Channels of the stages as published.
    stages
        How many are needed.

    >>> respaced_widths((64, 64, 64, 128), 4)
    (64, 64, 128, 128)
    """
    low, high = min(widths) - 1, max(widths) + 1
    even = [low + (high - low) * stage // (stages - 1) for stage in range(stages)]
    return tuple(2 ** round(math.log2(width)) for width in even)


def _decoder(spec: FlairHubSpec, channels: tuple[int, ...], output: str) -> nn.Module:
    """Return a UPerNet over image stages; without images, a convolution from all outputs' scores to this one's."""
    if not channels:
        return nn.Conv2d(spec.score_count, spec.classes[output], 1)
    return named(seg_model=UPerNet((1, *channels[1:]), spec.classes[output]))


class _Fusion(nn.Module):
    """Joins the stages of all inputs: one 1x1 convolution a stage, back to the channels of the first image.

    Convolutions with nothing to join exist for the checkpoint and never run: all of them where there is one input
    only, and that of the image itself, since decoders use its size alone.
    """

    def __init__(self, images: Sequence[tuple[int, ...]], maps: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.first = _first_joined_stage(images[0]) if images else 0
        parts = [*(channels[self.first :] for channels in images), *maps] if images else [(1,)]
        joined = [sum(widths) for widths in zip(*parts, strict=True)]
        self.conv_f = nn.ModuleList(nn.Conv2d(*widths, 1) for widths in zip(joined, parts[0], strict=True))

    def forward(self, images: Sequence[list[Tensor]], series: Sequence[list[Tensor]]) -> list[Tensor]:
        """Return the stages of the first of ``images``, each joined with that stage of the others and of the maps."""
        if len(images) + len(series) == 1:
            return images[0]
        start = max(self.first, 1)
        parts = [*(image[start:] for image in images), *(maps[start - self.first :] for maps in series)]
        joined = images[0][:start]
        for conv, stages in zip(self.conv_f[start - self.first :], zip(*parts, strict=True), strict=True):
            joined.append(conv(torch.cat([resized(stage, size_of(stages[0])) for stage in stages], dim=1)))
        return joined
