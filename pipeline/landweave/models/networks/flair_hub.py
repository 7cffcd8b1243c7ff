"""FLAIR-HUB networks: an encoder for each image, a U-TAE for each time series, one decoder for each task.

::

    AERIAL_RGBI ── encoder ─┐ stages
    DEM_ELEV ───── encoder ─┤                       ┌─ UPerNet ── AERIAL_LABEL-COSIA
    …                       ├─ resized, joined, 1x1 ┤
    SENTINEL2_TS ─ U-TAE ───┤                       └─ UPerNet ── ALL_LABEL-LPIS
    …                       ┘ maps

Stages are resized to those of the first image. An image alone goes straight to its decoder; time series alone
give the mean of their class scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models._torchvision import smp, timm
from landweave.models.networks._layers import resized
from landweave.models.networks.upernet import UPerNet
from landweave.models.networks.utae import Utae, UtaeSpec

SWIN_BASE = "swin_base_patch4_window12_384"


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
        Pixels a side of the window it is made for.
    scale
        Pixels of the answer for one pixel of this input (8 for 1.6 m under a map of 0.2 m).
    """

    name: str
    channels: int
    window: int
    scale: Fraction = Fraction(1)

    @property
    def is_series(self) -> bool:
        """Whether it has dates."""
        return self.name.endswith("_TS")

    @property
    def dates(self) -> str:
        """Name of the input that holds its day offsets."""
        return self.name.removesuffix("TS") + "DATES"

    @property
    def mask(self) -> str:
        """Name of the optional input that says which dates are real."""
        return self.name.removesuffix("TS") + "MASK"


@dataclass(frozen=True, kw_only=True)
class FlairHubTask:
    """One answer: FLAIR-HUB's name of the label, and how many classes it has."""

    name: str
    classes: int


MODALITIES: Mapping[str, Modality] = MappingProxyType(
    {
        modality.name: modality
        for modality in (
            Modality(name="AERIAL_RGBI", channels=3, window=512),
            Modality(name="AERIAL-RLT_PAN", channels=1, window=256, scale=Fraction(2)),
            Modality(name="DEM_ELEV", channels=2, window=512),
            Modality(name="SPOT_RGBI", channels=3, window=64, scale=Fraction(8)),
            Modality(name="SENTINEL2_TS", channels=10, window=10, scale=Fraction(256, 5)),
            Modality(name="SENTINEL1-ASC_TS", channels=2, window=10, scale=Fraction(256, 5)),
            Modality(name="SENTINEL1-DESC_TS", channels=2, window=10, scale=Fraction(256, 5)),
        )
    }
)
"""The seven modalities as published models read them, in the order in which they are joined."""

COSIA = FlairHubTask(name="AERIAL_LABEL-COSIA", classes=19)
LPIS = FlairHubTask(name="ALL_LABEL-LPIS", classes=23)


@dataclass(frozen=True, kw_only=True)
class FlairHubSpec:
    """What a FLAIR-HUB network reads and answers.

    Attributes
    ----------
    modalities
        Inputs. Their order here does not matter: images come first, each kind in the order of `MODALITIES`.
    tasks
        Answers.
    encoder
        Encoder of the images: a name of segmentation-models-pytorch, else of timm.
    aux
        Whether to hold the decoder that each image has in training, so that its checkpoint loads whole.
    """

    modalities: tuple[Modality, ...]
    tasks: tuple[FlairHubTask, ...] = (COSIA,)
    encoder: str = SWIN_BASE
    aux: bool = False

    def __post_init__(self) -> None:
        names = [modality.name for modality in self.modalities]
        if not names or not self.tasks:
            raise CardError(f"A network needs an input and a task; got {names} and {len(self.tasks)} tasks.")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise CardError(f"Inputs given twice: {', '.join(repeated)}.")

    @property
    def images(self) -> tuple[Modality, ...]:
        """Inputs of a single date, in the order in which they are joined."""
        return tuple(sorted((each for each in self.modalities if not each.is_series), key=_rank))

    @property
    def series(self) -> tuple[Modality, ...]:
        """Time series, in the order in which they are joined."""
        return tuple(sorted((each for each in self.modalities if each.is_series), key=_rank))

    @property
    def classes(self) -> int:
        """Classes of all tasks together."""
        return sum(task.classes for task in self.tasks)

    def with_size(self, size: int) -> FlairHubSpec:
        """The same network for answers of ``size`` pixels a side: each window in proportion.

        Whether weights of another size still fit is another question: compare `tensor_shapes`.

        Raises
        ------
        CardError
            When ``size`` is not a whole number of pixels of some input.
        """
        sizes = [size / each.scale for each in self.modalities]
        uneven = [f"{each.name} ({float(own):g})" for each, own in zip(self.modalities, sizes, strict=True) if own % 1]
        if uneven:
            raise CardError(f"{size} px of answer are not whole pixels of {', '.join(uneven)}.")
        windows = tuple(replace(each, window=int(own)) for each, own in zip(self.modalities, sizes, strict=True))
        return replace(self, modalities=windows)


def _rank(modality: Modality) -> int:
    names = list(MODALITIES)
    return names.index(modality.name) if modality.name in MODALITIES else len(names)


def _published(task: FlairHubTask, *names: str) -> FlairHubSpec:
    return FlairHubSpec(modalities=tuple(MODALITIES[name] for name in names), tasks=(task,))


_AERIAL, _HISTORY, _ELEVATION, _SPOT, _S2, _S1_ASC, _S1_DESC = MODALITIES
_S1 = (_S1_ASC, _S1_DESC)

FLAIR_HUB_MODELS: Mapping[str, FlairHubSpec] = MappingProxyType(
    {
        "LC-A": _published(COSIA, _AERIAL),
        "LC-B": _published(COSIA, _AERIAL, _ELEVATION),
        "LC-C": _published(COSIA, _AERIAL, _ELEVATION, _SPOT),
        "LC-D": _published(COSIA, _AERIAL, _S2),
        "LC-E": _published(COSIA, _AERIAL, *_S1),
        "LC-F": _published(COSIA, _AERIAL, _S2, *_S1),
        "LC-G": _published(COSIA, _S2),
        "LC-H": _published(COSIA, *_S1),
        "LC-I": _published(COSIA, _SPOT),
        "LC-J": _published(COSIA, _ELEVATION),
        "LC-K": _published(COSIA, _AERIAL, _HISTORY),
        "LC-L": _published(COSIA, _AERIAL, _ELEVATION, _SPOT, _S2, *_S1),
        "LC-ALL": _published(COSIA, *MODALITIES),
        "LPIS-A": _published(LPIS, _AERIAL),
        "LPIS-B": _published(LPIS, _AERIAL, _SPOT),
        "LPIS-C": _published(LPIS, _AERIAL, _S2),
        "LPIS-D": _published(LPIS, _AERIAL, _S2, *_S1),
        "LPIS-E": _published(LPIS, _AERIAL, _SPOT, _S2),
        "LPIS-F": _published(LPIS, _S2),
        "LPIS-G": _published(LPIS, *_S1),
        "LPIS-H": _published(LPIS, _S2, *_S1),
        "LPIS-I": _published(LPIS, _SPOT, _S2, *_S1),
        "LPIS-J": _published(LPIS, _AERIAL, _SPOT, _S2, *_S1),
        "LPIS-K": _published(LPIS, _SPOT),
    }
)
"""The published models, by name."""


class FlairHub(nn.Module):
    """Class scores of every task, from images and time series of one window.

    Parameters
    ----------
    spec
        What the network reads and answers.
    """

    def __init__(self, spec: FlairHubSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoders = nn.ModuleDict({each.name: _ImageEncoder(spec.encoder, each) for each in spec.images})
        images = [each.channels for each in self.encoders.values() if isinstance(each, _ImageEncoder)]
        channels = images[0] if images else ()
        for each in spec.series:
            self.encoders[each.name] = Utae(_series_spec(each, spec.classes, channels))
        self.fusion_handler = _Fusion(images, _maps_widths(spec, channels))
        self.main_decoders = nn.ModuleDict({task.name: _decoder(spec, channels, task) for task in spec.tasks})
        self.aux_decoders = nn.ModuleDict(_aux_decoders(spec, channels))

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Logits ``(b, classes, H, W)`` by name of task.

        Parameters
        ----------
        inputs
            By name of modality, normalised: images ``(b, channels, h, w)``, series ``(b, t, channels, h, w)``
            with their day offsets ``(b, t)`` under `Modality.dates` and, where some dates are padding,
            ``(b, t)`` True for the real ones under `Modality.mask`. Other names are left alone.
        size
            Height and width of the answer; by default the first input's own times its scale.
        """
        size = size or self._own_size(inputs)
        if self.spec.images:
            fused = self._fused(inputs)
            return {name: resized(decoder(fused), size) for name, decoder in self.main_decoders.items()}
        scores = torch.stack([self._utae(each)(*_dated(each, inputs)) for each in self.spec.series]).mean(0)
        if len(self.spec.tasks) == 1:  # as published: the one task's own 1x1 convolution is held, never run
            return {self.spec.tasks[0].name: resized(scores, size)}
        return {name: resized(decoder(scores), size) for name, decoder in self.main_decoders.items()}

    def _fused(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Stages of the first image, joined with everything else that was given."""
        images = [self.encoders[each.name](inputs[each.name]) for each in self.spec.images]
        series = [self._utae(each).maps(*_dated(each, inputs)) for each in self.spec.series]
        fused: list[Tensor] = self.fusion_handler(images, series)
        return fused

    def _utae(self, modality: Modality) -> Utae:
        return cast(Utae, self.encoders[modality.name])

    def _own_size(self, inputs: Mapping[str, Tensor]) -> tuple[int, int]:
        first = (*self.spec.images, *self.spec.series)[0]
        height, width = inputs[first.name].shape[-2:]
        return round(height * first.scale), round(width * first.scale)


def tensor_shapes(spec: FlairHubSpec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that weights of ``spec`` hold; nothing is allocated.

    Weights made for another window fit exactly when these are equal: for Swin, from 384 px a side upwards.
    """
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in FlairHub(spec).state_dict().items()}


class _ImageEncoder(nn.Module):
    """A public encoder, made for the window of one modality."""

    def __init__(self, encoder: str, modality: Modality) -> None:
        super().__init__()
        self.seg_model = _public_encoder(encoder, modality)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of its stages: the image first, 0 where a stage is only a size."""
        return tuple(cast(Sequence[int], self.seg_model.out_channels))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Stages of ``x (b, channels, h, w)``, from the image itself to the deepest."""
        stages: list[Tensor] = self.seg_model(x)
        return stages


def _public_encoder(encoder: str, modality: Modality) -> nn.Module:
    """The encoder of segmentation-models-pytorch by that name, else timm's; without weights."""
    bare = encoder.removeprefix("tu-")
    name = encoder if encoder in smp.encoders.encoders else f"tu-{bare}"
    size = {"img_size": modality.window} if name.startswith("tu-") and _wants_size(bare) else {}
    options = {"in_channels": modality.channels, "depth": 5, "weights": None, **size}
    if name.startswith("tu-") and not timm.is_model(bare):
        raise CardError(
            f"The encoder {encoder!r} is in neither segmentation-models-pytorch nor timm {timm.__version__}: "
            f"{SWIN_BASE}, resnet34 and convnext_base are three that are."
        )
    return cast(nn.Module, smp.encoders.get_encoder(name, **options))


def _wants_size(encoder: str) -> bool:
    """Whether timm makes this encoder for one size of image."""
    known = timm.models.get_pretrained_cfg(encoder)
    return bool(known and known.fixed_input_size)


def _fused_from(channels: Sequence[int]) -> int:
    """First stage that is fused: encoders that begin at a quarter of the size have two empty ones before."""
    return 2 if 0 in channels else 0


def _series_spec(modality: Modality, classes: int, channels: tuple[int, ...]) -> UtaeSpec:
    """U-TAE of one series: as published when alone, one stage for each image stage when fused."""
    spec = UtaeSpec(channels=modality.channels)
    if classes != spec.score_widths[-1]:
        spec = replace(spec, score_widths=(*spec.score_widths, classes))
    if not channels:
        return spec
    widths = respaced_widths(spec.encoder_widths, len(channels) - _fused_from(channels))
    return replace(spec, encoder_widths=widths, decoder_widths=widths)


def respaced_widths(widths: tuple[int, ...], stages: int) -> tuple[int, ...]:
    """``stages`` widths over the same range as ``widths``, each the power of two nearest to an even spacing.

    >>> respaced_widths((64, 64, 64, 128), 4)
    (64, 64, 128, 128)
    """
    low, high = min(widths) - 1, max(widths) + 1
    even = [low + (high - low) * stage // (stages - 1) for stage in range(stages)]
    return tuple(2 ** round(math.log2(width)) for width in even)


def _maps_widths(spec: FlairHubSpec, channels: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Widths of every series' maps, deepest first, which is the order in which they meet the image stages."""
    return tuple(_series_spec(each, spec.classes, channels).decoder_widths[::-1] for each in spec.series)


def _decoder(spec: FlairHubSpec, channels: tuple[int, ...], task: FlairHubTask) -> nn.Module:
    """UPerNet over image stages; without images, a convolution from all tasks' scores to this one's."""
    if not channels:
        return nn.Conv2d(spec.classes, task.classes, 1)
    return _Decoder((1, *channels[1:]), task.classes)


def _aux_decoders(spec: FlairHubSpec, channels: tuple[int, ...]) -> dict[str, nn.Module]:
    """One decoder for each image and task, where there is more than one modality and they are wanted."""
    if not spec.aux or len(spec.modalities) == 1:
        return {}
    pairs = [(task, image) for task in spec.tasks for image in spec.images]
    return {f"{image.name}__{task.name}": _decoder(spec, channels, task) for task, image in pairs}


class _Decoder(nn.Module):
    """`UPerNet` under the name that checkpoints give it."""

    def __init__(self, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.seg_model = UPerNet(channels, classes)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Scores ``(b, classes, h, w)`` at the size of the first stage."""
        scores: Tensor = self.seg_model(stages)
        return scores


class _Fusion(nn.Module):
    """Stages of all inputs joined: one 1x1 convolution a stage, back to the channels of the first image.

    Convolutions with nothing to join are held but not run, which is how checkpoints have them: all of them
    where there is one input only, and that of the image itself, since decoders look at its size alone.
    """

    def __init__(self, images: Sequence[tuple[int, ...]], maps: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.first = _fused_from(images[0]) if images else 0
        parts = [*(channels[self.first :] for channels in images), *maps] if images else [(1,)]
        joined = [sum(widths) for widths in zip(*parts, strict=True)]
        self.conv_f = nn.ModuleList(nn.Conv2d(*widths, 1) for widths in zip(joined, parts[0], strict=True))

    def forward(self, images: Sequence[list[Tensor]], series: Sequence[list[Tensor]]) -> list[Tensor]:
        """Stages of the first of ``images``, each joined with that stage of the others and of the maps."""
        if len(images) + len(series) == 1:
            return images[0]
        start = max(self.first, 1)
        parts = [*(image[start:] for image in images), *(maps[start - self.first :] for maps in series)]
        fused = images[0][:start]
        for conv, stages in zip(self.conv_f[start - self.first :], zip(*parts, strict=True), strict=True):
            size_yx = (stages[0].shape[-2], stages[0].shape[-1])
            fused.append(conv(torch.cat([resized(stage, size_yx) for stage in stages], dim=1)))
        return fused


def _dated(modality: Modality, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Series, day offsets and, where given, the mask of real dates."""
    return inputs[modality.name], inputs[modality.dates], inputs.get(modality.mask)
