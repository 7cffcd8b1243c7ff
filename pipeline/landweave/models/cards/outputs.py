"""Outputs of a model: the legend of each, as a card's file has it, and its pixel size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from landweave.core.legend import Legend
from landweave.models.cards.inputs import CardPart, Length
from landweave.models.cards.legends import find_legend, make_legend, named_legends


def _read_legend(value: Any) -> Any:
    """Return the legend of that name, or of a name and classes."""
    if isinstance(value, str):
        return find_legend(value)
    if not isinstance(value, Mapping):
        return value
    if unknown := sorted(set(value) - {"name", "classes"}):
        raise ValueError(f"a legend has a name and classes, not {', '.join(unknown)}")
    try:
        return make_legend(value["name"], value["classes"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"a legend needs a name, and classes of code, name and color: {error}") from error


def _fingerprint_fields(legend: Legend) -> list[tuple[int, str, bool]]:
    return [(each.code, each.name, each.trained) for each in legend.classes]


CardLegend = Annotated[Legend, BeforeValidator(_read_legend), PlainSerializer(_fingerprint_fields)]


class OutputSpec(CardPart):
    """One output of a model: the legend of its channels, and its pixel in metres."""

    legend: CardLegend
    pixel: Length


def legend_content(legend: Legend) -> str | dict[str, Any]:
    """Return a legend as a card's file has it: its name where a card may name it, its classes elsewhere."""
    if named_legends().get(legend.name) == legend:
        return legend.name
    defaults = {"trained": True, "name_fr": ""}
    classes = [{k: v for k, v in asdict(each).items() if defaults.get(k) != v} for each in legend.classes]
    return {"name": legend.name, "classes": classes}
