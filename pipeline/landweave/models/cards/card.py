"""What a model needs and gives, as a value: its inputs band by band, its window, its outputs with their legends.

A card is a YAML file; `ModelCard` is what it says, checked. Nothing here loads a model: `landweave.models.factory`
makes the network of a card and `landweave.models.predictor` runs it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from landweave.core.blending import Blend
from landweave.core.errors import CardError
from landweave.core.lattice import nearest_multiples
from landweave.core.legend import LandClass, Legend
from landweave.models.cards.inputs import CardPart, HeightCoding, InputSpec, Length
from landweave.models.cards.legends import find_legend
from landweave.models.networks.architectures import Architecture, Flair1Architecture, Flair2Architecture


def _legend(value: Any) -> Any:
    """The legend a card means: a name of `landweave.models.cards.legends`, or classes in channel order."""
    if isinstance(value, str):
        return find_legend(value)
    if not isinstance(value, Mapping):
        return value
    if unknown := sorted(set(value) - {"name", "classes"}):
        raise ValueError(f"a legend has a name and classes, not {', '.join(unknown)}")
    try:
        classes = tuple(LandClass(**each) for each in value["classes"])
        return Legend(name=value["name"], classes=classes)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a legend needs a name, and classes of code, name and color: {error}") from error


def _legend_meaning(legend: Legend) -> list[tuple[int, str, bool]]:
    return [(each.code, each.name, each.trained) for each in legend.classes]


CardLegend = Annotated[Legend, BeforeValidator(_legend), PlainSerializer(_legend_meaning)]


class WindowRule(CardPart):
    """Windows in base pixels.

    Attributes
    ----------
    size, overlap, blend
        Defaults of a run.
    trained
        Sizes that training saw; ``size`` alone when not given.
    min_untrained_size
        Smallest other size that the weights fit; none when not given.
    multiple
        Every size is a multiple of it (the network's total stride).
    """

    size: int = Field(gt=0)
    overlap: int = Field(ge=0)
    blend: Blend = Blend.COSINE
    trained: tuple[int, ...] = ()
    min_untrained_size: int | None = None
    multiple: int = Field(default=1, gt=0)

    @property
    def trained_sizes(self) -> tuple[int, ...]:
        """Sizes that training saw."""
        return self.trained or (self.size,)

    def check(self, window: int) -> None:
        """Refuse a window that the network cannot take.

        Raises
        ------
        CardError
            When it is off the network's stride, or neither trained nor allowed otherwise.
        """
        if window <= 0 or window % self.multiple:
            raise CardError(f"A window of {window} px is not a multiple of {self.multiple}, as this network needs.")
        if window in self.trained_sizes or (self.min_untrained_size is not None and window >= self.min_untrained_size):
            return
        known = ", ".join(str(size) for size in self.trained_sizes)
        others = f", or {self.min_untrained_size} and more" if self.min_untrained_size is not None else ""
        raise CardError(f"A window of {window} px was asked for; the weights fit windows of {known}{others}.")


class OutputSpec(CardPart):
    """One answer of a model: its classes, channel by channel, and its pixel in metres."""

    legend: CardLegend
    pixel: Length


class Numerics(CardPart):
    """How the network may be run: ``bfloat16`` on a GPU, ``channels_last`` in memory, windows in a ``batch``."""

    bfloat16: bool = False
    channels_last: bool = False
    batch: int = Field(default=4, gt=0)


class Weights(CardPart):
    """Where the weights lie by default (beside the card unless absolute), and their checksum."""

    file: str | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


_NO_MEANING = {"name", "title", "licence", "source", "facts", "unverified", "weights", "window", "numerics"}
"""Fields that may change without changing a single pixel."""


class ModelCard(CardPart):
    """A model: what it needs, what it gives, how it is built.

    Attributes
    ----------
    name, title, licence, source
        What people call it; where its weights are published (a model id, nothing is downloaded).
    facts
        Published figures.
    unverified
        What the card says without proof, each in a sentence.
    inputs
        By FLAIR-HUB's name of the modality.
    outputs
        By FLAIR-HUB's name of the label.
    """

    name: str
    title: str
    licence: str = ""
    source: str = ""
    facts: dict[str, float | str] = Field(default_factory=dict)
    unverified: tuple[str, ...] = ()
    architecture: Architecture
    weights: Weights = Weights()
    inputs: dict[str, InputSpec] = Field(min_length=1)
    window: WindowRule
    outputs: dict[str, OutputSpec] = Field(min_length=1)
    numerics: Numerics = Numerics()

    def __hash__(self) -> int:
        return hash(self.sha256)

    @model_validator(mode="after")
    def _windows_fit(self) -> ModelCard:
        self.check_window(self.window.size)
        return self

    @property
    def base_pixel(self) -> Fraction:
        """Side of a base pixel in metres: the finest of the outputs and the nested inputs."""
        return min(*self._nested_pixels, *(output.pixel for output in self.outputs.values()), Fraction(10**9))

    @property
    def unit_px(self) -> int:
        """Base pixels after which the pixels of all nested inputs and outputs meet again: 1 for aerial alone."""
        pixels = (*self._nested_pixels, *(output.pixel for output in self.outputs.values()))
        return math.lcm(*((pixel / self.base_pixel).numerator for pixel in pixels))

    @property
    def _nested_pixels(self) -> tuple[Fraction, ...]:
        return tuple(each.pixel for each in self.inputs.values() if each.footprint.kind == "nested")

    @property
    def input_pixel(self) -> Fraction:
        """Side in metres of the finest pixel that any input has."""
        return min(spec.pixel for spec in self.inputs.values())

    def on_input_pixels(self) -> ModelCard:
        """The same model answering on its inputs' own pixels: no finer than what it is given, as of Sentinel alone.

        Raises
        ------
        CardError
            When its windows are no whole number of those pixels.
        """
        ratio = self.input_pixel / self.base_pixel
        outputs = {name: each.model_copy(update={"pixel": self.input_pixel}) for name, each in self.outputs.items()}
        rule = self.window
        sizes = [Fraction(size) / ratio for size in (rule.size, rule.overlap, *rule.trained_sizes)]
        if any(size.denominator != 1 for size in sizes):
            raise CardError(
                f"Windows of {rule.size} px, {rule.overlap} px overlapping, are no whole number of {self.name}'s input "
                f"pixels of {float(self.input_pixel):g} m: map it on pixels of {float(self.base_pixel):g} m."
            )
        size, overlap, *trained = map(int, sizes)
        changed = {
            "size": size,
            "overlap": overlap,
            "trained": tuple(trained),
            "min_untrained_size": rule.min_untrained_size and math.ceil(rule.min_untrained_size / ratio),
            "multiple": max(1, math.ceil(rule.multiple / ratio)),
        }
        return self.model_copy(update={"outputs": outputs, "window": rule.model_copy(update=changed)})

    @property
    def sha256(self) -> str:
        """Of all that decides an answer but the weights: what titles, facts and colours say has no part in it."""
        # Defaults are left out, so that a field added later leaves the meaning of old cards as it was.
        meaning = self.model_dump(mode="json", exclude=_NO_MEANING, exclude_defaults=True)
        return hashlib.sha256(json.dumps(meaning, separators=(",", ":")).encode()).hexdigest()

    def check_window(self, window: int) -> None:
        """Refuse a window of ``window`` base pixels that the weights or an input's pixels do not allow.

        Raises
        ------
        CardError
            Also when ``window`` is not a whole number of pixels of some input or output.
        """
        self.window.check(window)
        if window % self.unit_px:
            raise CardError(
                f"A window of {window} px cuts pixels of {self.name}'s inputs: they meet every {self.unit_px} px, "
                f"use {nearest_multiples(window, self.unit_px)}."
            )

    def input_size(self, modality: str, window: int) -> int:
        """Pixels a side of that input for a window of ``window`` base pixels."""
        spec = self.inputs[modality]
        return spec.footprint.size or int(window * self.base_pixel / spec.pixel)

    def legend(self, task: str | None = None) -> Legend:
        """The legend of that output; of the only one by default.

        Raises
        ------
        CardError
            When there is no such output, or several and none was named.
        """
        return self.outputs[self.task(task)].legend

    def task(self, task: str | None = None) -> str:
        """The name of the output that is meant: ``task``, or the only one there is.

        Raises
        ------
        CardError
            As `legend` does.
        """
        names = tuple(self.outputs)
        if task is None and len(names) == 1:
            return names[0]
        if task not in names:
            raise CardError(f"Output {task or '(none named)'} of {self.name}: choose one of {', '.join(names)}.")
        return task

    def check_stated(self) -> None:
        """Refuse a card that leaves a byte coding open, or that reads what no source of a map gives.

        Raises
        ------
        CardError
            Naming every band and what to do.
        """
        problems = [text for name, spec in self.inputs.items() for text in _uncoded(name, spec)]
        if isinstance(self.architecture, Flair1Architecture | Flair2Architecture) and self.architecture.metadata:
            problems.append(
                "it reads values of the aerial acquisition (AERIAL_METADATA), which no input of a map gives, and they "
                "are never made up: use a model without metadata"
            )
        if problems:
            raise CardError(f"Model {self.name} cannot run yet:\n" + "\n".join(f"  - {each}" for each in problems))

    def with_coding(self, coding: HeightCoding | Literal["delivered"]) -> ModelCard:
        """The card with the byte coding stated that it leaves open.

        Raises
        ------
        CardError
            When it leaves none open.
        """
        if not any(spec.unstated for spec in self.inputs.values()):
            raise CardError(f"A byte coding was stated, but no band of {self.name} needs one: leave model.coding out.")
        inputs = {modality: spec.with_coding(coding) for modality, spec in self.inputs.items()}
        return self.model_copy(update={"inputs": inputs})


def check_inputs(card: ModelCard, offers: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse inputs that do not give what ``card`` needs.

    Parameters
    ----------
    card
        The model's.
    offers
        Names of the bands that each input can give, by modality. More than the card needs is fine.

    Raises
    ------
    CardError
        With every mismatch: modalities, bands, and byte codings that nobody stated.
    """
    problems = [text for modality, spec in card.inputs.items() for text in _mismatches(modality, spec, offers)]
    if problems:
        there = "; ".join(f"{name}: {', '.join(bands)}" for name, bands in offers.items()) or "none"
        raise CardError(
            f"The inputs do not fit model {card.name}:\n"
            + "\n".join(f"  - {each}" for each in problems)
            + f"\nInputs there are: {there}."
        )


def _mismatches(modality: str, spec: InputSpec, offers: Mapping[str, tuple[str, ...]]) -> list[str]:
    needed = ", ".join(spec.names)
    if modality not in offers:
        return [f"{modality} is missing (bands {needed})"] if spec.required else []
    problems = []
    if missing := [name for name in spec.names if name not in offers[modality]]:
        problems.append(
            f"{modality} lacks {', '.join(missing)} of {needed}: it has {', '.join(offers[modality]) or 'no band'}"
        )
    return problems + _uncoded(modality, spec)


def _uncoded(modality: str, spec: InputSpec) -> list[str]:
    return [
        f"{modality} {name}: training saw this height as bytes, coded in a way that was not published. State it "
        f"(model: {{coding: {{scale: ..., offset: ...}}}}; byte = metres * scale + offset)"
        for name in spec.unstated
    ]
