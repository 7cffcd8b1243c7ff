"""Cards as files: the YAML that gives a card again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from landweave.core.errors import CardError
from landweave.core.legend import LandClass, Legend
from landweave.models.cards.card import ModelCard
from landweave.models.cards.legends import LEGENDS


def card_content(card: ModelCard) -> dict[str, Any]:
    """What a file says that gives ``card`` again: keys and plain values, nothing that was left to a default."""
    content = card.model_dump(mode="json", exclude_unset=True)
    for name, output in card.outputs.items():
        content["outputs"][name]["legend"] = legend_content(output.legend)
    return content


def legend_content(legend: Legend) -> str | dict[str, Any]:
    """A legend's name where it is one of `landweave.models.cards.legends`, its classes elsewhere."""
    if LEGENDS.get(legend.name) == legend:
        return legend.name
    return {"name": legend.name, "classes": [_class_content(each) for each in legend.classes]}


def _class_content(land_class: LandClass) -> dict[str, Any]:
    content = asdict(land_class)
    if land_class.trained:
        del content["trained"]
    if not land_class.name_fr:
        del content["name_fr"]
    return content


def card_text(content: Mapping[str, Any], comment: str = "") -> str:
    """``content`` as YAML, one line for what holds no further lists, under lines of ``comment``."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    body: str = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return head + body


def write_card(content: Mapping[str, Any], path: Path, comment: str = "") -> None:
    """Write ``content`` as a new file.

    Raises
    ------
    CardError
        When there is a file already, or it cannot be written.
    """
    write_new(path, card_text(content, comment))


def write_new(path: Path, text: str) -> None:
    """Write ``text`` as a new file.

    Raises
    ------
    CardError
        As `write_card` does.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise CardError(f"{path} is there already: name another file, or remove it.") from error
    except OSError as error:
        raise CardError(f"{path} cannot be written: {error.strerror or error}.") from error
