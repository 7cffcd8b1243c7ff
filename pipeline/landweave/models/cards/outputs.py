"""Outputs of a model: the legend of each, as a card's file has it, and its pixel size.

A card may name a legend of ``legends.yaml``, beside this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from landweave.core.errors import CardError
from landweave.core.legend import LandClass, Legend
from landweave.models.cards.inputs import CardPart, Length, validation_lines


class _ClassEntry(CardPart):
    """One class as YAML has it."""

    code: StrictInt
    name: StrictStr
    color: StrictStr
    name_fr: StrictStr = ""
    trained: StrictBool = True


_ENTRIES = TypeAdapter(list[_ClassEntry])


@cache
def named_legends() -> Mapping[str, Legend]:
    """Return every legend that a card may name, by name."""
    content = yaml.safe_load(Path(__file__).with_name("legends.yaml").read_text(encoding="utf-8"))
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
        When a class lacks a field or has one of another type, codes do not ascend, or a colour is not ``#rrggbb``.
    """
    try:
        entries = _ENTRIES.validate_python(list(classes))
    except ValidationError as error:
        slips = (f"classes.{line}" for line in validation_lines(error))
        raise CardError(f"Legend {name!r}: {'; '.join(slips)}") from error
    return Legend(name=name, classes=tuple(LandClass(**entry.model_dump()) for entry in entries))


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


def _read_legend(value: Any) -> Any:
    """Return the legend of that name, or of a name and classes."""
    if isinstance(value, str):
        return find_legend(value)
    if not isinstance(value, Mapping):
        return value
    if unknown := sorted(set(value) - {"name", "classes"}):
        raise ValueError(f"a legend has a name and classes, not {', '.join(unknown)}")
    name, classes = value.get("name"), value.get("classes")
    if not isinstance(name, str) or not isinstance(classes, list | tuple):
        raise ValueError("a legend needs a name, and a list of classes")
    return make_legend(name, classes)


def _fingerprint_fields(legend: Legend) -> list[tuple[int, str, bool]]:
    return [(each.code, each.name, each.trained) for each in legend.classes]


CardLegend = Annotated[Legend, BeforeValidator(_read_legend), PlainSerializer(_fingerprint_fields)]


class OutputSpec(CardPart):
    """One output of a model.

    Attributes
    ----------
    legend
        Classes of its channels.
    pixel
        Metres.
    activation
        What makes probabilities of the network's values: ``softmax`` over the classes, ``sigmoid`` of one channel, or
        ``none`` where the network ends in either itself. A softmax by default, unless the values look like
        probabilities already.
    threshold
        Of a network with one channel, the probability from which a pixel is of the second of two classes.
    temperature
        Divides the network's logits before they become probabilities, so that these agree with how often it is right;
        `landweave.evaluate_model` fits one. A window's classes stay as they are.
    """

    legend: CardLegend
    pixel: Length
    activation: Literal["softmax", "sigmoid", "none"] | None = None
    threshold: float | None = Field(default=None, gt=0, lt=1)
    temperature: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_channel_for_two_classes(self) -> OutputSpec:
        if len(self.legend) == 1:
            raise ValueError("a legend of one class maps every pixel to it: list two, with a threshold between them")
        if self.activation == "sigmoid" and self.threshold is None:
            raise ValueError("activation: sigmoid needs the threshold from which a pixel is of the second class")
        if self.threshold is not None and self.activation not in ("sigmoid", "none"):
            raise ValueError("a threshold is for one channel, with activation: sigmoid, or none where it is inside")
        if self.temperature is not None and self.activation == "none":
            raise ValueError("a temperature divides logits, and activation: none says that the network gives none")
        if self.threshold is not None and self.legend.trained != (True, True):
            raise ValueError(f"a threshold parts two trained classes, and the legend has {len(self.legend)}")
        return self

    @property
    def channels(self) -> int:
        """Channels of the network's output: one for each class, or a single one that a threshold parts in two."""
        return len(self.legend) if self.threshold is None else 1


def legend_content(legend: Legend) -> str | dict[str, Any]:
    """Return a legend as a card's file has it: its name where a card may name it, its classes elsewhere."""
    if named_legends().get(legend.name) == legend:
        return legend.name
    defaults = {"trained": True, "name_fr": ""}
    classes = [{k: v for k, v in asdict(each).items() if defaults.get(k) != v} for each in legend.classes]
    return {"name": legend.name, "classes": classes}
