"""FLAIR-1's configuration of a zone detection, and which of both tools' detections a file is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, StrictFloat, StrictInt, ValidationError

from landweave.core.errors import CardError
from landweave.core.words import bullets
from landweave.models.cards.inputs import validation_lines
from landweave.models.cards.outputs import find_legend
from landweave.models.flair_import.flair1_config import HEIGHT, LABEL, Flair1Config
from landweave.models.flair_import.schema import NormType, TrainingSection
from landweave.models.flair_import.zonal_config import (
    Detection,
    NoneIsNothing,
    ZonalConfig,
    ZonalInput,
    is_detection,
)

_LEGENDS = {count: f"flair1-{count}" for count in (12, 13, 15, 19)}
"""Legends by their number of classes."""


class _Norm(TrainingSection):
    norm_type: NormType = "custom"
    norm_means: Annotated[list[StrictFloat], NoneIsNothing] = Field(default_factory=list)
    norm_stds: Annotated[list[StrictFloat], NoneIsNothing] = Field(default_factory=list)


class Flair1Detection(Detection):
    """Configuration of FLAIR-1's zone detection: one image, whose fifth band may be height as a byte."""

    tool = "FLAIR-1's zone detection"
    card_schema = Flair1Config
    input_img_path: str
    channels: list[StrictInt] = Field(min_length=1)
    n_classes: StrictInt = Field(gt=1, lt=255)
    norma_task: list[_Norm] = Field(min_length=1)
    model_framework: dict[str, Any] | None = None
    encoder_name: str | None = None
    model_architecture: str | None = None

    @property
    def images(self) -> dict[str, ZonalInput]:
        """The aerial bands, and height, of the one image."""
        aerial = [number for number in self.channels if number != HEIGHT]
        numbers = {"AERIAL_RGBI": aerial, "DEM_ELEV": [HEIGHT] * (HEIGHT in self.channels)}
        path = self.input_img_path
        return {name: ZonalInput(input_img_path=path, channels=each) for name, each in numbers.items() if each}

    @property
    def label_names(self) -> tuple[str, ...]:
        """The one label of the tool."""
        return (LABEL,)

    @property
    def training(self) -> dict[str, Any]:
        """The keys of a training configuration that say the same of the network."""
        norm = self.norma_task[0]
        network = {
            "model_framework": self.model_framework,
            "encoder_name": self.encoder_name,
            "model_architecture": self.model_architecture,
        }
        return {
            **{key: value for key, value in network.items() if value is not None},
            "channels": self.channels,
            "classes": self._classes,
            "use_weights": True,
            **norm.model_dump(),
        }

    @property
    def _trained(self) -> int | None:
        """Number of classes that the name of the weights says were trained: 15 of ``FLAIR-INC_rgbie_15cl_…``."""
        said = re.search(r"(\d+)cl(?![a-z])", self.model_weights)
        return int(said[1]) if said and self.n_classes == 19 and said[1] in ("12", "15") else None

    @property
    def _classes(self) -> dict[int, tuple[float, str]]:
        """Weight and name of each class: 1 and a number where nothing is known of it."""
        if self.n_classes not in _LEGENDS:
            return {code: (1, f"class {code}") for code in range(1, self.n_classes + 1)}
        name = _LEGENDS[self.n_classes] + (f"-trained-{self._trained}" if self._trained else "")
        return {each.code: (float(each.trained), each.name) for each in find_legend(name).classes}

    def notes(self) -> Iterator[str]:
        """Yield what the detection leaves open."""
        if self._trained:
            yield f"{self._trained} of {self.n_classes} classes were trained, by the name of the weights"
        elif self.n_classes in _LEGENDS:
            yield (
                f"n_classes: {self.n_classes} names no class: they are those of {_LEGENDS[self.n_classes]}, all "
                "trained (landweave models list has cards of which fewer are)"
            )
        else:
            yield f"n_classes: {self.n_classes} names no class: give them their names in the card's legend"
        if HEIGHT in self.channels:
            yield "band 5 is fed as it is (model.coding: delivered): bytes, coded as in the training"


def read_detection(config: Mapping[str, Any], origin: str) -> Detection:
    """Return the detection of keys and values: FLAIR-HUB's, or FLAIR-1's.

    Parameters
    ----------
    config
        Keys and values of the YAML.
    origin
        What messages call it.

    Raises
    ------
    CardError
        When it is neither; else with every value of another type, by its key, or with what no run here has.
    """
    if not is_detection(config):
        raise CardError(
            f"{origin} is not one of a detection by FLAIR-HUB's or FLAIR-1's tool, which has img_pixels_detection, "
            f"margin, model_weights, …. It has: {', '.join(map(str, config)) or 'nothing'}. The card of a training: "
            "landweave models new."
        )
    kind = Flair1Detection if "norma_task" in config else ZonalConfig
    try:
        parsed = kind.model_validate(config)
        problems = list(parsed.problems())
    except ValidationError as error:
        raise CardError(f"{origin} says what its tool would not take:{bullets(validation_lines(error))}") from error
    if problems:
        raise CardError(f"{origin} cannot be run here:{bullets(problems)}")
    return parsed
