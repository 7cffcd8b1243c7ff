"""U-TAE: a U-Net over every date of a series, whose dates are then averaged by attention.

Source: Sainte Fare Garnot and Landrieu 2021, "Panoptic Segmentation of Satellite Image Time Series with Convolutional
Temporal Attention Networks", arXiv 2107.07933; the attention is L-TAE (Sainte Fare Garnot and Landrieu 2020, arXiv
2007.00586). One difference: a mask gives the real dates, which are never guessed from the pixels, and padding enters
no statistic. The scores of a series therefore do not depend on its padding or on the other series of its batch.

::

    dates      in_conv ─────────────── averaged ──── up ── scores      widths[0]
               down ────────────── averaged ──── up                    widths[1]
               down ──────────── averaged ─ up                         widths[2]
               down ─ attention ─┘                                     widths[3]
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models.networks._layers import named, resized, size_of

PERIOD_DAYS = 1000.0
"""Base of the wavelengths that code the day of a date."""

_NORM_GROUPS = 4


@dataclass(frozen=True, kw_only=True)
class UtaeSpec:
    """The shape of a U-TAE.

    Attributes
    ----------
    channels
        Bands of a date.
    encoder_widths, decoder_widths
        Channels from the finest stage to the deepest; the deepest is the same in both.
    score_widths
        Channels of the last convolutions; the last is the number of classes.
    kernel, stride
        Of the convolutions that go from one stage to the next; a stride of 1 keeps every stage at full size.
    heads, model_width, key_width
        Of the attention over dates.
    """

    channels: int
    encoder_widths: tuple[int, ...] = (64, 64, 64, 128)
    decoder_widths: tuple[int, ...] = (32, 32, 64, 128)
    score_widths: tuple[int, ...] = (32, 19)
    kernel: int = 3
    stride: int = 1
    heads: int = 16
    model_width: int = 256
    key_width: int = 4

    def __post_init__(self) -> None:
        encoder, decoder = self.encoder_widths, self.decoder_widths
        if len(encoder) != len(decoder) or encoder[-1] != decoder[-1]:
            raise CardError(
                f"U-TAE widths {encoder} down and {decoder} up: both need as many, and the same deepest one."
            )
        uneven = [width for width in (*encoder, self.model_width) if width % self.heads]
        if uneven:
            raise CardError(f"U-TAE widths {uneven} cannot be shared by {self.heads} attention heads.")


class Utae(nn.Module):
    """Class scores, or feature maps, of an image time series.

    Parameters
    ----------
    spec
        The shape of the network.
    """

    def __init__(self, spec: UtaeSpec) -> None:
        super().__init__()
        self.spec = spec
        down, up = spec.encoder_widths, spec.decoder_widths
        self.in_conv = named(conv=_convolutions((spec.channels, down[0], down[0]), "group"))
        self.down_blocks = nn.ModuleList(_Down(spec, *widths) for widths in pairwise(down))
        self.up_blocks = nn.ModuleList(
            _Up(spec, up[stage], up[stage - 1], down[stage - 1]) for stage in range(len(up) - 1, 0, -1)
        )
        self.temporal_encoder = _TemporalEncoder(spec)
        self.out_conv = named(conv=_convolutions((up[0], *spec.score_widths), "batch"))

    def forward(self, x: Tensor, days: Tensor, real: Tensor | None = None) -> Tensor:
        """Return class scores ``(b, classes, h, w)``, never negative (the last layer is a ReLU).

        Parameters
        ----------
        x
            Series ``(b, t, channels, h, w)``. Values of dates that are not real are ignored.
        days
            Position of each date in days, ``(b, t)``; any order.
        real
            ``(b, t)``, True where a date is real; all of them when left out. A series without any real date
            gives finite, meaningless scores.
        """
        return cast(Tensor, self.out_conv(self.maps(x, days, real)[-1]))

    def maps(self, x: Tensor, days: Tensor, real: Tensor | None = None) -> list[Tensor]:
        """Return feature maps ``(b, width, h, w)`` of the decoder, from the deepest stage to the finest.

        Parameters
        ----------
        x, days, real
            As for `forward`.
        """
        if real is None:
            real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        x = torch.where(real[:, :, None, None, None], x, torch.zeros_like(x))
        days = torch.where(real, days, torch.zeros_like(days))
        stages = [_by_date(self.in_conv, x)]
        for block in self.down_blocks:
            stages.append(_by_date(block, stages[-1]))
        deepest, attention = self.temporal_encoder(stages.pop(), days, real)
        maps: list[Tensor] = [deepest]
        attention = attention * real[:, None, :, None, None]
        for block in self.up_blocks:
            maps.append(block(maps[-1], attended(stages.pop(), attention)))
        return maps


def attended(stage: Tensor, attention: Tensor) -> Tensor:
    """Return the mean over dates ``(b, c, h, w)`` of a stage, in which each head weights its own share of channels.

    Parameters
    ----------
    stage
        ``(b, t, c, h, w)``.
    attention
        ``(b, heads, t, h', w')``; sums to one over the dates, and is resized to the stage.
    """
    heads = attention.shape[1]
    flat = resized(attention.flatten(0, 1), size_of(stage))
    weights = torch.unflatten(flat, 0, (-1, heads))
    shares = torch.unflatten(stage, 2, (heads, -1))
    return torch.einsum("bnthw,btnchw->bnchw", weights, shares).flatten(1, 2)


def day_signal(days: Tensor, width: int) -> Tensor:
    """Return the positional encoding ``(b, t, width)``: sines and cosines whose periods grow towards `PERIOD_DAYS`.

    Parameters
    ----------
    days
        ``(b, t)``.
    width
        Number of values a date.
    """
    pair = torch.arange(width, device=days.device, dtype=torch.float32) // 2
    angle = days.float()[..., None] / PERIOD_DAYS ** (2 * pair / width)
    even = torch.arange(width, device=days.device) % 2 == 0
    return torch.where(even, angle.sin(), angle.cos())


def normalised_over_dates(series: Tensor, real: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Return a series after a group norm over the real dates of each pixel.

    With every date real this is ``norm`` itself; padding changes neither mean nor variance.

    Parameters
    ----------
    series
        ``(b, pixels, c, t)``.
    real
        ``(b, t)``, True where a date is real.
    norm
        Gives groups, weight and bias.
    """
    groups = torch.unflatten(series.float(), 2, (norm.num_groups, -1))
    weights = real[:, None, None, None, :].to(groups.dtype)
    count = weights.sum(-1, keepdim=True).clamp(min=1) * groups.shape[3]
    mean = (groups * weights).sum((3, 4), keepdim=True) / count
    centred = groups - mean
    variance = (centred.square() * weights).sum((3, 4), keepdim=True) / count
    scaled = (centred * (variance + norm.eps).rsqrt()).flatten(2, 3).to(series.dtype)
    return scaled * norm.weight[:, None] + norm.bias[:, None]


def _by_date(block: nn.Module, x: Tensor) -> Tensor:
    """Return ``x (b, t, c, h, w)`` after ``block``, date by date."""
    out: Tensor = block(x.flatten(0, 1))
    return torch.unflatten(out, 0, x.shape[:2])


def _convolutions(
    widths: tuple[int, ...], norm: Literal["batch", "group"], kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    """Return convolutions with a reflected border, each followed by a norm and ReLU."""
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        conv = nn.Conv2d(width, following, kernel, stride, padding=1, padding_mode="reflect")
        scaled = nn.GroupNorm(_NORM_GROUPS, following) if norm == "group" else nn.BatchNorm2d(following)
        layers += [conv, scaled, nn.ReLU()]
    return named(conv=nn.Sequential(*layers))


class _Down(nn.Module):
    """One stage deeper, date by date."""

    def __init__(self, spec: UtaeSpec, width: int, following: int) -> None:
        super().__init__()
        self.down = _convolutions((width, width), "group", spec.kernel, spec.stride)
        self.conv1 = _convolutions((width, following), "group")
        self.conv2 = _convolutions((following, following), "group")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv1(self.down(x))
        refined: Tensor = self.conv2(out)
        return out + refined


class _Up(nn.Module):
    """One stage finer, joined with the averaged dates of that stage."""

    def __init__(self, spec: UtaeSpec, width: int, following: int, skip: int) -> None:
        super().__init__()
        self.skip_conv = nn.Sequential(nn.Conv2d(skip, skip, 1), nn.BatchNorm2d(skip), nn.ReLU())
        self.up = nn.Sequential(
            nn.ConvTranspose2d(width, following, spec.kernel, spec.stride, padding=1),
            nn.BatchNorm2d(following),
            nn.ReLU(),
        )
        self.conv1 = _convolutions((following + skip, following), "batch")
        self.conv2 = _convolutions((following, following), "batch")

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.conv1(torch.cat([self.up(x), self.skip_conv(skip)], dim=1))
        refined: Tensor = self.conv2(out)
        return out + refined


class _TemporalEncoder(nn.Module):
    """Lightweight attention over the dates of each pixel: one learned query a head, the same for all series."""

    def __init__(self, spec: UtaeSpec) -> None:
        super().__init__()
        width = spec.encoder_widths[-1]
        self.heads = spec.heads
        self.inconv = nn.Conv1d(width, spec.model_width, 1)
        self.attention_heads = _Attention(spec)
        self.in_norm = nn.GroupNorm(spec.heads, width)
        self.out_norm = nn.GroupNorm(spec.heads, width)
        self.mlp = nn.Sequential(nn.Linear(spec.model_width, width), nn.BatchNorm1d(width), nn.ReLU())
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor, days: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Return one map ``(b, c, h, w)`` of ``x (b, t, c, h, w)``, and the attention ``(b, heads, t, h, w)``."""
        rows, columns = x.shape[-2:]
        series = x.permute(0, 3, 4, 2, 1).flatten(1, 2)
        series = normalised_over_dates(series, real, self.in_norm)
        series = torch.unflatten(self.inconv(series.flatten(0, 1)), 0, series.shape[:2])
        signal = day_signal(days, series.shape[2] // self.heads).to(series.dtype)
        series = series + signal.repeat(1, 1, self.heads).transpose(1, 2)[:, None]
        summary, attention = self.attention_heads(series, real)
        out = self.out_norm(self.dropout(self.mlp(summary.flatten(0, 1))))
        out = torch.unflatten(out, 0, (-1, rows, columns)).permute(0, 3, 1, 2)
        return out, torch.unflatten(attention, 1, (rows, columns)).permute(0, 3, 4, 1, 2)


class _Attention(nn.Module):
    """Softmax over the real dates, head by head."""

    def __init__(self, spec: UtaeSpec) -> None:
        super().__init__()
        self.Q = nn.Parameter(torch.empty(spec.heads, spec.key_width))
        self.fc1_k = nn.Linear(spec.model_width, spec.heads * spec.key_width)
        self.dropout = nn.Dropout(0.1)
        for weight in (self.Q, self.fc1_k.weight):
            nn.init.normal_(weight, std=math.sqrt(2 / spec.key_width))

    def forward(self, series: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(b, pixels, width)`` of ``series (b, pixels, width, t)``; attention ``(b, pixels, heads, t)``."""
        heads, key_width = self.Q.shape
        keys = torch.unflatten(self.fc1_k(series.transpose(2, 3)), -1, (heads, key_width))
        match = torch.einsum("bpthk,hk->bpht", keys, self.Q) / math.sqrt(key_width)
        match = match.masked_fill(~real[:, None, None, :], torch.finfo(match.dtype).min)
        attention: Tensor = self.dropout(match.softmax(-1))
        summary = torch.einsum("bpht,bphdt->bphd", attention, torch.unflatten(series, 2, (heads, -1)))
        return summary.flatten(2), attention
