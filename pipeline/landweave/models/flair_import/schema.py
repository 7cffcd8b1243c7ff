"""Parts that the schemas of both tools' training configurations share.

A schema has the keys that a card needs; others are ignored. A value of another type is refused with its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from landweave.core.errors import CardError

Text = Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else str(value))]
NormType = Literal["custom", "scaling", "without"]
NoneIsEmpty = BeforeValidator(lambda value: {} if value is None else value)
"""Reads a section without content as one without keys."""

WINDOW, OVERLAP = 512, 128
WINDOWS = {"size": WINDOW, "overlap": OVERLAP, "blend": "cosine", "trained": [WINDOW], "multiple": 32}
"""Windows of the dataset's patches, and the total stride of the encoders."""

NUMERICS = {"bfloat16": True, "batch": 4}


class TrainingSection(BaseModel):
    """A section of a training configuration."""

    model_config = ConfigDict(extra="ignore", frozen=True)


ConfigType = TypeVar("ConfigType", bound=TrainingSection)


def parse(kind: type[ConfigType], config: Mapping[str, Any]) -> ConfigType:
    """Return a configuration's validated content.

    Parameters
    ----------
    kind
        Schema of the tool.
    config
        Keys and values of the YAML.

    Raises
    ------
    CardError
        With every value of another type than the tool's own, by its key.
    """
    try:
        return kind.model_validate(config)
    except ValidationError as error:
        slips = dict.fromkeys(f"  - {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise CardError("The training configuration says what its tool would not take:\n" + "\n".join(slips)) from error


def refuse(problems: Iterable[str]) -> None:
    """Refuse a configuration with any problem.

    Raises
    ------
    CardError
        With all of them.
    """
    if lines := [f"  - {each}" for each in problems]:
        raise CardError(
            "The training configuration describes a network that cannot be built here:\n" + "\n".join(lines)
        )
