"""Whether a checkpoint holds one network twice with different weights: which of the two is meant nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from landweave.models.file_bounds import tensor_problem

MOST_LEVELS = 8
"""Dictionaries within each other that are followed: a pickle may hold one that holds itself."""


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are plain, of one kind, and of the same bytes: of some kinds torch compares no numbers."""
    if one is other:
        return True
    if one.dtype != other.dtype or one.shape != other.shape or any(tensor_problem("", each) for each in (one, other)):
        return False
    return torch.equal(*(each.flatten().view(torch.uint8) for each in (one, other)))


def is_rival(own: Any, other: Any) -> bool:
    """Whether the second of two parts of a checkpoint holds the network of the first with different weights.

    Parameters
    ----------
    own, other
        Dictionaries of tensors, at any depth; names may have other beginnings. Anything else is no rival.
    """
    first, second = (list(_below(each, MOST_LEVELS)) for each in (own, other))
    ends, others = ({".".join(name.split(".")[-2:]) for name, _ in each} for each in (first, second))
    alike = 2 * len(ends & others) >= len(ends) > 0
    equal = len(first) == len(second) and all(same(a, b) for (_, a), (_, b) in zip(first, second, strict=True))
    return alike and not equal


def _below(part: Any, levels: int) -> Iterator[tuple[str, Tensor]]:
    for name, value in part.items() if isinstance(part, Mapping) and levels else ():
        if isinstance(value, Tensor):
            yield str(name), value
        else:
            yield from _below(value, levels - 1)
