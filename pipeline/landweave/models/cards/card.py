"""Model cards: inputs band by band, window, outputs with their legends, and the network's architecture.

A card is a YAML file; `ModelCard` is its validated content. Nothing here loads a model: `landweave.models.factory`
builds the network of a card and `landweave.models.predictor` runs it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, model_validator

from landweave.core.blending import Blend
from landweave.core.errors import CardError
from landweave.core.lattice import nearest_multiples
from landweave.core.legend import Legend
from landweave.core.tables import as_html
from landweave.core.words import bullets
from landweave.models.cards.inputs import CardPart, HeightCoding, InputSpec
from landweave.models.cards.outputs import OutputSpec
from landweave.models.cards.trained_values import TrainedValues
from landweave.models.networks.architectures import Architecture

LARGEST_WINDOW = 2**16
"""Base pixels a side: the activations of any network on more do not fit a computer."""


class WindowRule(CardPart):
    """Windows in base pixels.

    Attributes
    ----------
    size, overlap, blend
        Defaults of a run.
    trained
        Sizes used in training; ``size`` alone when not given.
    min_untrained_size
        Smallest other size that the weights fit; none when not given.
    multiple
        Every size is a multiple of it (the network's total stride).
    """

    size: int = Field(gt=0)
    overlap: int = Field(ge=0)
    blend: Blend = Blend.COSINE
    trained: tuple[Annotated[int, Field(gt=0)], ...] = ()
    min_untrained_size: int | None = Field(default=None, gt=0)
    multiple: int = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _windows_advance(self) -> WindowRule:
        if self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap} is not less than size {self.size}")
        return self

    @property
    def trained_sizes(self) -> tuple[int, ...]:
        """Sizes used in training."""
        return self.trained or (self.size,)

    def check(self, window: int) -> None:
        """Refuse a window that the network cannot take.

        Raises
        ------
        CardError
            When it is not a multiple of the network's stride, or neither trained nor allowed otherwise.
        """
        if window <= 0 or window % self.multiple:
            raise CardError(f"A window of {window} px is not a multiple of {self.multiple}, as this network needs.")
        if window > LARGEST_WINDOW:
            raise CardError(f"A window of {window} px was asked for; no memory holds more than {LARGEST_WINDOW}.")
        if window in self.trained_sizes or (self.min_untrained_size is not None and window >= self.min_untrained_size):
            return
        known = ", ".join(str(size) for size in self.trained_sizes)
        others = f", or {self.min_untrained_size} and more" if self.min_untrained_size is not None else ""
        raise CardError(f"A window of {window} px was asked for; the weights fit windows of {known}{others}.")


class Numerics(CardPart):
    """How the network may be run: ``bfloat16``, ``channels_last`` in memory, windows in a ``batch``."""

    bfloat16: bool = False
    channels_last: bool = False
    batch: int = Field(default=4, gt=0)


class WeightsFile(CardPart):
    """Default file of the weights (beside the card unless absolute), and its checksum."""

    file: str | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


_NOT_IN_CHECKSUM = {"name", "title", "licence", "source", "facts", "unverified", "weights", "window", "numerics"}
"""Fields that may change without changing a single pixel."""


class ModelCard(CardPart):
    """A model: its inputs, its outputs, and how its network is built.

    Attributes
    ----------
    name, title, licence, source
        For people; ``source`` names where the weights are published (a model id, nothing is downloaded).
    facts
        Published figures.
    unverified
        Statements of the card without proof, a sentence each.
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
    weights: WeightsFile = WeightsFile()
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
    def rows(self) -> list[tuple[str, str]]:
        """Name, title, figures, inputs, windows and outputs as lines of a table."""
        inputs = [
            (
                name,
                f"{', '.join(spec.names)} of {float(spec.pixel):g} m{'' if spec.required else ', optional'}"
                f"{', ' + each if (each := TrainedValues.of(name, spec).dtype) else ''}",
            )
            for name, spec in self.inputs.items()
        ]
        outputs = [(name, f"{len(each.legend)} classes of {each.legend.name}") for name, each in self.outputs.items()]
        window = f"{self.window.size} px of {float(self.base_pixel):g} m, overlap {self.window.overlap}"
        facts = [(name.replace("_", " "), str(value)) for name, value in self.facts.items()]
        weights = [("weights", self.weights.file or self.source)]
        return [("model", f"{self.name}: {self.title}"), *facts, *inputs, ("window", window), *outputs, *weights]

    def _repr_html_(self) -> str:
        return as_html(self.rows) + "".join(output.legend._repr_html_() for output in self.outputs.values())

    @property
    def images(self) -> dict[str, InputSpec]:
        """Inputs of a single date, by name."""
        return {name: spec for name, spec in self.inputs.items() if spec.dates is None}

    @property
    def series(self) -> dict[str, InputSpec]:
        """Time series, by name."""
        return {name: spec for name, spec in self.inputs.items() if spec.dates is not None}

    @property
    def image_channels(self) -> int:
        """Bands of all images together."""
        return sum(len(spec.bands) for spec in self.images.values())

    @property
    def reads_metadata(self) -> bool:
        """Whether values of the aerial acquisition are an input of the network."""
        return bool(getattr(self.architecture, "metadata", False))

    @property
    def base_pixel(self) -> Fraction:
        """Side of a base pixel in metres: the finest of the outputs and the nested inputs."""
        return min(self._nested_pixels)

    @property
    def unit_px(self) -> int:
        """Base pixels after which the pixels of all nested inputs and outputs coincide again: 1 for aerial alone."""
        return math.lcm(*((pixel / self.base_pixel).numerator for pixel in self._nested_pixels))

    @property
    def _nested_pixels(self) -> tuple[Fraction, ...]:
        nested = (spec.pixel for spec in self.inputs.values() if spec.centred_size is None)
        return (*nested, *(output.pixel for output in self.outputs.values()))

    @property
    def input_pixel(self) -> Fraction:
        """Side in metres of the finest pixel of any input."""
        return min(spec.pixel for spec in self.inputs.values())

    def on_input_pixels(self) -> ModelCard:
        """Return the same model with outputs on the pixels of its finest input, where its own are finer.

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
        """Checksum of all fields that decide a prediction, without the weights, titles, facts and colours."""
        # Defaults are left out, so that a field added later leaves the checksums of old cards as they were.
        fields = self.model_dump(mode="json", exclude=_NOT_IN_CHECKSUM, exclude_defaults=True)
        for each in fields["inputs"].values():
            each.pop("dtype", None)
        return hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()

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
        """Return the pixels a side of an input.

        Parameters
        ----------
        modality
            Name of the input.
        window
            Base pixels a side of the window.
        """
        spec = self.inputs[modality]
        return spec.centred_size or int(window * self.base_pixel / spec.pixel)

    def legend(self, output: str | None = None) -> Legend:
        """Return the legend of an output; of the only one by default.

        Raises
        ------
        CardError
            When there is no such output, or several and none was named.
        """
        return self.outputs[self.output_name(output)].legend

    def output_name(self, output: str | None = None) -> str:
        """Return ``output`` where the model has it; the only one by default.

        Raises
        ------
        CardError
            As `legend` does.
        """
        names = tuple(self.outputs)
        if output is None and len(names) == 1:
            return names[0]
        if output not in names:
            raise CardError(f"Output {output or '(none named)'} of {self.name}: choose one of {', '.join(names)}.")
        return output

    def check_stated(self) -> None:
        """Refuse a card that leaves a byte coding open, or that needs an input no source of a map has.

        Raises
        ------
        CardError
            Naming every band and what to do.
        """
        problems = [text for name, spec in self.inputs.items() for text in _unstated_codings(name, spec)]
        if self.reads_metadata:
            problems.append(
                "it reads values of the aerial acquisition (AERIAL_METADATA), which no input of a map gives, and they "
                "are never made up: use a model without metadata"
            )
        if problems:
            raise CardError(f"Model {self.name} cannot run yet:{bullets(problems)}")

    def with_coding(self, coding: HeightCoding | Literal["delivered"]) -> ModelCard:
        """Return the card with the byte coding stated that it leaves open.

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
    """Refuse inputs that lack what ``card`` needs.

    Parameters
    ----------
    card
        Of the model.
    offers
        Names of the bands that each input has, by modality. More than the card needs is fine.

    Raises
    ------
    CardError
        With every mismatch: modalities, bands, and unstated byte codings.
    """
    problems = [text for modality, spec in card.inputs.items() for text in _mismatches(modality, spec, offers)]
    if problems:
        there = "; ".join(f"{name}: {', '.join(bands)}" for name, bands in offers.items()) or "none"
        raise CardError(f"The inputs do not fit model {card.name}:{bullets(problems)}\nInputs there are: {there}.")


def _mismatches(modality: str, spec: InputSpec, offers: Mapping[str, tuple[str, ...]]) -> list[str]:
    needed = ", ".join(spec.names)
    if modality not in offers:
        return [f"{modality} is missing (bands {needed})"] if spec.required else []
    problems = []
    if missing := [name for name in spec.names if name not in offers[modality]]:
        problems.append(
            f"{modality} lacks {', '.join(missing)} of {needed}: it has {', '.join(offers[modality]) or 'no band'}"
        )
    return problems + _unstated_codings(modality, spec)


def _unstated_codings(modality: str, spec: InputSpec) -> list[str]:
    return [
        f"{modality} {name}: training saw this height as bytes, coded in a way that was not published. State it "
        f"(model: {{coding: {{scale: ..., offset: ...}}}}; byte = metres * scale + offset)"
        for name in spec.unstated
    ]
