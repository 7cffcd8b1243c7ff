"""Cards as files: the YAML from which a card can be read again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from landweave.core.errors import CardError
from landweave.models.cards.card import ModelCard
from landweave.models.cards.outputs import legend_content


def card_content(card: ModelCard) -> dict[str, Any]:
    """Return the keys and plain values of a card's file, without those left to a default."""
    content = card.model_dump(mode="json", exclude_unset=True)
    for name, output in card.outputs.items():
        content["outputs"][name]["legend"] = legend_content(output.legend)
    return content


def card_text(content: Mapping[str, Any], comment: str = "") -> str:
    """Return the content of a card as YAML, one line for a value without further lists.

    Parameters
    ----------
    content
        As `card_content` returns it.
    comment
        Lines above it.
    """
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    body: str = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return head + body


def write_card(content: Mapping[str, Any], path: Path, comment: str = "") -> None:
    """Write the content of a card as a new file.

    Parameters
    ----------
    content
        As `card_content` returns it.
    path
        Of the new file.
    comment
        Lines above it.

    Raises
    ------
    CardError
        When the file exists already, or cannot be written.
    """
    write_new(path, card_text(content, comment))


def write_new(path: Path, text: str) -> None:
    """Write a text as a new file.

    Parameters
    ----------
    path
        Of the new file.
    text
        Its content.

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
