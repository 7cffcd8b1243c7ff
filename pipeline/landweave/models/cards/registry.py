"""Cards as YAML files: found by name, among those that come with the package, or by path; read and written."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from landweave.core.errors import CardError
from landweave.core.whole_files import part_folder
from landweave.core.words import bullets, content_kind, counted
from landweave.core.yaml_text import load_yaml_file
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import validation_lines
from landweave.models.cards.outputs import legend_content

_PACKAGE = Path(__file__).parents[2]
_FOLDERS = (
    _PACKAGE.parents[1] / "configs" / "models",  # a checkout
    _PACKAGE / "configs" / "models",  # an installed wheel
    _PACKAGE.parent / "landweave_demo" / "models",
)


def list_cards() -> tuple[str, ...]:
    """Return the names of the cards that come with the package, sorted."""
    return tuple(sorted(_known()))


def find_card(name_or_path: str | Path) -> ModelCard:
    """Return the card of that name, or of the file at that path (anything with a folder or ``.yaml`` in it).

    Raises
    ------
    CardError
        When there is none (the message has near names), or when it is not valid (the message lists every problem).
    """
    return read_card(card_path(name_or_path))


def card_path(name_or_path: str | Path) -> Path:
    """Return the file of the card that `find_card` returns.

    Raises
    ------
    CardError
        When no card has that name; the message has near names.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.name != str(name_or_path):
        return path
    known = _known()
    if str(name_or_path) not in known:
        near = difflib.get_close_matches(str(name_or_path), known, n=3, cutoff=0.5)
        advice = f"did you mean {' or '.join(near)}?" if near else f"those there are: {', '.join(sorted(known))}."
        raise CardError(f"There is no model card {name_or_path!r}: {advice} A file's path, ending in .yaml, does too.")
    return known[str(name_or_path)]


def read_card(path: Path) -> ModelCard:
    """Return the card in the YAML file ``path``; a weights file that it names is taken from beside it.

    Raises
    ------
    CardError
        When the file cannot be read as a card; the message lists every problem.
    """
    card = parse_card(read_yaml(path, "Model card"), f"Model card {path}")
    if card.weights.file is None:
        return card
    beside = str(path.parent / card.weights.file)  # an absolute path stays what it is
    return card.model_copy(update={"weights": card.weights.model_copy(update={"file": beside})})


def parse_card(content: Mapping[str, Any], origin: str) -> ModelCard:
    """Return the card of that content.

    Parameters
    ----------
    content
        Keys and plain values, as in a card's file.
    origin
        What messages call it.

    Raises
    ------
    CardError
        When it is not valid; the message lists every problem.
    """
    try:
        return ModelCard.model_validate(content)
    except ValidationError as error:
        wrong = validation_lines(error)
        raise CardError(f"{origin} is wrong in {counted(len(wrong), 'place')}:{bullets(wrong)}") from error
    except CardError as error:
        raise CardError(f"{origin}: {error}") from error


def read_yaml(path: Path, kind: str) -> Mapping[str, Any]:
    """Return the keys and values of a YAML file.

    Parameters
    ----------
    path
        Of the file.
    kind
        What messages call it.

    Raises
    ------
    CardError
        When it cannot be read, is not YAML, or holds anything but keys and values.
    """
    try:
        content = load_yaml_file(path)
    except OSError as error:
        raise CardError(f"{kind} {path} cannot be read: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CardError(f"{kind} {path} is not YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise CardError(f"{kind} {path} holds {content_kind(content)}, not keys and values.")
    return content


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
        with part_folder(path) as folder:
            (folder / path.name).write_text(text, encoding="utf-8")
            os.link(folder / path.name, path)  # whole, and never over a file that came meanwhile
    except FileExistsError as error:
        raise CardError(f"{path} is there already: name another file, or remove it.") from error
    except OSError as error:
        raise CardError(f"{path} cannot be written: {error.strerror or error}.") from error


def _known() -> dict[str, Path]:
    """Return the file of every card, by name; the first folder that has a name wins."""
    files = (file for folder in reversed(_FOLDERS) for file in folder.glob("*.yaml"))
    return {file.stem: file for file in files}
