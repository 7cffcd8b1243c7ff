"""Parts that the schemas of both tools' training configurations share.

A schema has the keys that a card needs; others are ignored. A value of another type is refused with its key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from landweave.core.errors import CardError
from landweave.core.words import bullets
from landweave.models.cards.inputs import validation_lines

Text = Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else str(value))]
NormType = Literal["custom", "scaling", "without"]
NoneIsEmpty = BeforeValidator(lambda value: {} if value is None else value)
"""Reads a section without content as one without keys."""

WINDOWS = {"size": 512, "overlap": 128, "blend": "cosine", "trained": [512], "multiple": 32}
"""Windows of the dataset's patches, and the total stride of the encoders."""

NUMERICS = {"bfloat16": True, "batch": 4}


class TrainingSection(BaseModel):
    """A section of a training configuration."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class TrainingConfig(TrainingSection):
    """A whole training configuration; each tool has its own."""

    def problems(self) -> Iterator[str]:
        """Yield what no network here has."""
        raise NotImplementedError

    def content(self) -> dict[str, Any]:
        """Return the content of a card, without its name and its weights."""
        raise NotImplementedError


def card_content_of(kind: type[TrainingConfig], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a card, without its name and its weights.

    Parameters
    ----------
    kind
        Schema of the tool.
    config
        Keys and values of the YAML.

    Raises
    ------
    CardError
        With every value of another type than the tool's own, by its key; else with everything that no network here has.
    """
    try:
        parsed = kind.model_validate(config)
    except ValidationError as error:
        slips = bullets(validation_lines(error))
        raise CardError(f"The training configuration says what its tool would not take:{slips}") from error
    if lines := bullets(parsed.problems()):
        raise CardError(f"The training configuration describes a network that cannot be built here:{lines}")
    return parsed.content()
