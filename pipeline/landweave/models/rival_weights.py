"""Whether a checkpoint holds one network twice with different weights: which of the two is meant nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from landweave.models.file_bounds import tensor_problem

MOST_LEVELS = 8
"""Dictionaries within each other in which a network is looked for: a pickle may hold one that holds itself."""


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
    first, second = (list(_below(each)) for each in (own, other))
    ends, others = ({".".join(name.split(".")[-2:]) for name, _ in each} for each in (first, second))
    if not 2 * len(ends & others) >= len(ends) > 0:
        return False
    return len(first) != len(second) or not all(same(a, b) for (_, a), (_, b) in zip(first, second, strict=True))


def _below(part: Any) -> Iterator[tuple[str, Tensor]]:
    """Tensors at any depth; each dictionary once, as few bytes may hold one in itself, or any number of times."""
    seen, waiting = set[int](), [part]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping) and id(each) not in seen:
            seen.add(id(each))
            yield from ((str(name), value) for name, value in each.items() if isinstance(value, Tensor))
            waiting.extend(reversed(list(each.values())))
