"""Legends from class names as training configurations write them."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Set
from typing import Any

from landweave.core.legend import LandClass, Legend
from landweave.models.cards.outputs import legend_content, named_legends


def legend_of(name: str, names: Mapping[int, str], untrained: Set[int]) -> str | dict[str, Any]:
    """Return the ``legend`` of a card.

    It is the name of one of `landweave.models.cards.outputs` where codes, names and training agree. Elsewhere classes
    have the colours and the French names of a known class of that name, or colours of their own.

    Parameters
    ----------
    name
        Of a legend that is not known.
    names
        Of the classes, by code.
    untrained
        Codes of classes without weight in the loss.
    """
    wanted = [(code, _key(names[code]), code not in untrained) for code in sorted(names)]
    for legend in named_legends().values():
        if wanted == [(each.code, _key(each.name), each.trained) for each in legend.classes]:
            return legend.name
    classes = tuple(_class(code, names[code], code not in untrained, len(names)) for code in sorted(names))
    return legend_content(Legend(name=name, classes=classes))


def _class(code: int, name: str, trained: bool, count: int) -> LandClass:
    known = {_key(each.name): each for legend in named_legends().values() for each in legend.classes}.get(_key(name))
    text = name.replace("_", " ")
    if known:
        return LandClass(code=code, name=text, name_fr=known.name_fr, color=known.color, trained=trained)
    rgb = (round(255 * share) for share in colorsys.hsv_to_rgb(code / count, 0.6, 0.9))
    return LandClass(code=code, name=text, color="#" + "".join(f"{value:02x}" for value in rgb), trained=trained)


def same_name(one: Mapping[int, str], other: Mapping[int, str]) -> bool:
    """Return whether two sets of classes have the same codes and, but for underscores and plurals, names.

    Parameters
    ----------
    one, other
        Names by code.
    """
    first, second = ({code: _key(name) for code, name in each.items()} for each in (one, other))
    return first == second


def _key(name: str) -> str:
    """Return a name without what differs between configurations: underscores and plurals."""
    return " ".join(word.rstrip("s") for word in name.lower().replace("_", " ").split())
