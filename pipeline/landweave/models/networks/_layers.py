"""Small parts that several networks share."""

from collections import OrderedDict
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from landweave.models.cards.inputs import days_input, mask_input


def resized(x: Tensor, size_yx: tuple[int, int]) -> Tensor:
    """Return an array at another height and width: bilinear, corners not aligned.

    Parameters
    ----------
    x
        ``(b, c, h, w)``.
    size_yx
        Height and width of the result.
    """
    if tuple(x.shape[-2:]) == tuple(size_yx):
        return x
    return functional.interpolate(x, size=size_yx, mode="bilinear", align_corners=False)


def size_of(x: Tensor) -> tuple[int, int]:
    """Return height and width of ``x (…, h, w)``."""
    return x.shape[-2], x.shape[-1]


def named(**layers: nn.Module) -> nn.Sequential:
    """Return layers applied one after the other, under the names that checkpoints give them."""
    return nn.Sequential(OrderedDict(layers))


def dated_series(inputs: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return a series, its day offsets and, where given, the mask of its real dates.

    Parameters
    ----------
    inputs
        By name.
    name
        Of the series, which ends in ``_TS``.
    """
    return inputs[name], inputs[days_input(name)], inputs.get(mask_input(name))


def dense(widths: tuple[int, ...], dropout: float, *, close: bool = False) -> nn.Sequential:
    """Return fully connected layers with dropout then ReLU between them.

    Parameters
    ----------
    widths
        Of the input and of every layer.
    dropout
        Share of values dropped in training.
    close
        Whether the last layer too has dropout and ReLU.
    """
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        layers += [nn.Linear(width, following), nn.Dropout(dropout), nn.ReLU()]
    return nn.Sequential(*(layers if close else layers[:-2]))


class StackedInputs(nn.Module):
    """A network of one tensor, called with inputs by name: they are concatenated on channels in the card's order.

    Parameters
    ----------
    network
        Takes ``(b, channel, y, x)``, returns logits ``(b, class, y, x)``.
    inputs
        Names of the inputs, in the order of their channels.
    output
        Name of the output.
    """

    def __init__(self, network: nn.Module, inputs: tuple[str, ...], output: str) -> None:
        super().__init__()
        self.network = network
        self.inputs = inputs
        self.output = output

    def forward(self, inputs: Mapping[str, Tensor], size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Return logits ``(b, class, Y, X)`` by output, resized to ``size`` where they are not of that size.

        Parameters
        ----------
        inputs
            Images ``(b, band, y, x)`` by name, normalised.
        size
            Height and width of the logits; by default those of the network.
        """
        logits = self.network(torch.cat([inputs[name] for name in self.inputs], dim=1))
        return {self.output: resized(logits, size) if size else logits}
