"""Whether a checkpoint holds one network twice with different weights: which of the two is meant nobody can tell."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from landweave.models.file_bounds import tensor_problem

MOST_LEVELS = 8
"""Dictionaries within each other in which a network is looked for: a pickle may hold one that holds itself."""

WRAPPERS = re.compile(r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Names that torch adds inside the names of tensors, at any depth."""

_LOOKED_AT = 8
"""Names with one ending that are looked at: in a hostile file all end alike."""


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are plain, of one kind, and of the same bytes: of some kinds torch compares no numbers."""
    if one is other:
        return True
    if one.dtype != other.dtype or one.shape != other.shape or any(tensor_problem("", each) for each in (one, other)):
        return False
    plain = (each.resolve_conj().resolve_neg().contiguous().flatten() for each in (one, other))
    return torch.equal(*(each.view(torch.uint8) for each in plain))


def is_rival(own: Any, other: Any) -> bool:
    """Whether the second of two parts of a checkpoint holds the network of the first with different weights.

    Parameters
    ----------
    own, other
        Dictionaries of tensors, at any depth; names may have other beginnings. Anything else is no rival.
    """
    first, second = (dict(_below(each)) for each in (own, other))
    pairs = list(_pairs(first, second))
    return 2 * len(pairs) >= len(first) > 0 and not all(same(one, another) for one, another in pairs)


def _pairs(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Tensors of one shape and one name, after what most names of each part begin with."""
    ending = defaultdict[str, list[str]](list)
    for name in second:
        for end in _ends(name):
            ending[end].append(name)
    begun = Counter[tuple[str, str]]()
    for name in first:
        end = next((each for each in _ends(name) if each in ending), "")
        begun.update((name.removesuffix(end), each.removesuffix(end)) for each in ending.get(end, ())[:_LOOKED_AT])
    for (before, after), _ in begun.most_common(1):
        for name, tensor in first.items():
            found = second.get(after + name.removeprefix(before)) if name.startswith(before) else None
            if found is not None and found.shape == tensor.shape:
                yield tensor, found


def _ends(name: str) -> Iterator[str]:
    """The name, and what is left of it without its first parts: two parts at least."""
    yield name
    while (name := name.partition(".")[2]).count("."):
        yield name


def _below(part: Any) -> Iterator[tuple[str, Tensor]]:
    """Tensors at any depth; each dictionary once, as few bytes may hold one in itself, or any number of times."""
    seen, waiting = set[int](), [part]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping) and id(each) not in seen:
            seen.add(id(each))
            found = ((WRAPPERS.sub("", str(name)), value) for name, value in each.items())
            yield from ((name, value) for name, value in found if isinstance(value, Tensor))
            waiting.extend(reversed(list(each.values())))
