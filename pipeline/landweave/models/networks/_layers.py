"""Small parts that several networks share."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional


def resized(x: Tensor, size_yx: tuple[int, int]) -> Tensor:
    """``x (b, c, h, w)`` at another height and width: bilinear, corners not aligned."""
    if tuple(x.shape[-2:]) == tuple(size_yx):
        return x
    return functional.interpolate(x, size=size_yx, mode="bilinear", align_corners=False)


def dense(widths: tuple[int, ...], dropout: float, *, close: bool = False) -> nn.Sequential:
    """Fully connected layers with dropout then ReLU between them, and after the last one when ``close``."""
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        layers += [nn.Linear(width, following), nn.Dropout(dropout), nn.ReLU()]
    return nn.Sequential(*(layers if close else layers[:-2]))
