"""Legends from class names as training configurations write them."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Any

from landweave.core.legend import LandClass, Legend
from landweave.models.cards.card_file import legend_content
from landweave.models.cards.legends import LEGENDS


def legend_of(name: str, names: Mapping[int, str], untrained: frozenset[int]) -> str | dict[str, Any]:
    """The legend of classes ``names`` by code, of which ``untrained`` had no weight: a card's ``legend``.

    It is one of `landweave.models.cards.legends` where codes, names and training agree. Elsewhere classes have the
    colours and the French names that known legends give classes of that name, or colours of their own.
    """
    wanted = [(code, _key(names[code]), code not in untrained) for code in sorted(names)]
    for legend in LEGENDS.values():
        if wanted == [(each.code, _key(each.name), each.trained) for each in legend.classes]:
            return legend.name
    classes = tuple(_class(code, names[code], code not in untrained, len(names)) for code in sorted(names))
    return legend_content(Legend(name=name, classes=classes))


def _class(code: int, name: str, trained: bool, count: int) -> LandClass:
    known = {_key(each.name): each for legend in LEGENDS.values() for each in legend.classes}.get(_key(name))
    told = name.replace("_", " ")
    if known:
        return LandClass(code=code, name=told, name_fr=known.name_fr, color=known.color, trained=trained)
    rgb = (round(255 * share) for share in colorsys.hsv_to_rgb(code / count, 0.6, 0.9))
    return LandClass(code=code, name=told, color="#" + "".join(f"{value:02x}" for value in rgb), trained=trained)


def _key(name: str) -> str:
    """What stays of a name between one configuration and another: neither underscores nor plurals do."""
    return " ".join(word.rstrip("s") for word in name.lower().replace("_", " ").split())
