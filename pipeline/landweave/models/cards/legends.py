"""The legends that a card may name: those of ``legends.yaml``, beside this module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from landweave.core.errors import CardError
from landweave.core.legend import LandClass, Legend


@cache
def named_legends() -> Mapping[str, Legend]:
    """Return every legend that a card may name, by name."""
    content = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return MappingProxyType({name: make_legend(name, classes) for name, classes in content.items()})


def make_legend(name: str, classes: Iterable[Mapping[str, Any]]) -> Legend:
    """Return a legend of classes as YAML has them.

    Parameters
    ----------
    name
        Of the legend.
    classes
        In channel order, each with the fields of `LandClass`.

    Raises
    ------
    CardError
        When codes do not ascend, or a colour is not ``#rrggbb``.
    """
    return Legend(name=name, classes=tuple(LandClass(**each) for each in classes))


def find_legend(name: str) -> Legend:
    """Return the legend of that name.

    Raises
    ------
    CardError
        When there is none; the message lists all.
    """
    known = named_legends()
    if name not in known:
        raise CardError(f"There is no legend {name!r}; a card may name {', '.join(known)}, or list its own classes.")
    return known[name]
