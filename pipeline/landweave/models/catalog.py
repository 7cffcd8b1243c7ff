"""The models by name: which there are, what a card contains, and the network of one with its weights."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from landweave.core.tables import as_html
from landweave.models.cards.card import ModelCard
from landweave.models.cards.registry import card_path, find_card, list_cards

if TYPE_CHECKING:
    from torch import nn

_NO_BREAK = "\N{NO-BREAK SPACE}"
"""Replaces the spaces inside a class's name, so that no line ends there."""


class ModelList(dict[str, ModelCard]):
    """The cards that come with the package, by name; printed as a table."""

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """Name, millions of parameters and mIoU in percent as published (empty where not), and title of each."""
        return [
            (name, str(card.facts.get("parameters_millions", "")), str(card.facts.get("miou_percent", "")), card.title)
            for name, card in self.items()
        ]

    @property
    def plain(self) -> list[dict[str, object]]:
        """What is listed of each, for JSON."""
        return [{"name": name, "title": card.title, **card.facts} for name, card in self.items()]

    def __repr__(self) -> str:
        rows = [_HEADINGS, *self.rows]
        width = max(len(row[0]) for row in rows)
        return "\n".join(f"{name:<{width}}  {size:>6}  {miou:>5}  {title}" for name, size, miou, title in rows)

    def _repr_html_(self) -> str:
        return as_html([_HEADINGS, *self.rows])


_HEADINGS = ("name", "Mparam", "mIoU", "what it is")


def list_models() -> ModelList:
    """Return every card that comes with the package.

    Examples
    --------
    >>> models = list_models()
    >>> models["LC-D"].inputs["SENTINEL2_TS"].names[:3]
    ('B2', 'B3', 'B4')
    """
    return ModelList({name: find_card(name) for name in list_cards()})


def load_model(
    name_or_path: str | Path,
    window: int | None = None,
    weights: str | Path | None = None,
    *,
    resize_tables: bool = False,
) -> nn.Module:
    """Return the network of a card, in evaluation mode; without weights, with random ones.

    Called with ``{modality: (b, band, y, x)}``, normalised; a series ``…_TS (b, t, band, y, x)`` has its days beside
    it, ``…_DATES (b, t)``, and, where some dates are padding, ``…_MASK (b, t)``, True for the real ones. A second
    argument is the height and width of the output. It returns logits: ``{"AERIAL_LABEL-COSIA": (b, 19, y, x)}``.

    Parameters
    ----------
    name_or_path
        Of the card.
    window
        Base pixels a side; the card's by default.
    weights
        A ``.safetensors``, ``.ckpt`` or ``.pth`` file as it is published; the ``.pt2`` file of a program.
    resize_tables
        Allow windows in which position tables have another shape: they are interpolated, which is another model.

    Raises
    ------
    CardError
        For a window that the weights do not fit, with the tables listed; by the network, for a call that does not fit.
    WeightsError
        When weights do not fit; the message lists every difference.

    Examples
    --------
    >>> network = load_model("LC-G")  # random weights: to see what goes in and comes out
    >>> sum(each.numel() for each in network.parameters())
    922487
    """
    from landweave.models import factory
    from landweave.models.networks.input_checks import with_input_checks
    from landweave.models.networks.position_tables import check_window, with_resized_tables

    card = find_card(name_or_path)
    card = with_resized_tables(card) if resize_tables else card
    window = card.window.size if window is None else window
    check_window(card, window)
    if weights is None:
        network = factory.build(card, window)
    else:
        network = factory.load(card, window, Path(weights), batch_size=card.numerics.batch)
    return with_input_checks(network, card, window)


class CardText(str):
    """A card as text, with its content for JSON."""

    __slots__ = ("plain",)

    plain: dict[str, object]


def show_model(name_or_path: str | Path) -> CardText:
    """Return the YAML file of a card, below comments with what follows from it.

    Raises
    ------
    CardError
        When there is no such card, or it is not valid.
    """
    card, path = find_card(name_or_path), card_path(name_or_path)
    lines = "".join(f"# {line}\n" for line in _derived_lines(card, path))
    text = CardText(f"{lines}\n{path.read_text(encoding='utf-8')}")
    text.plain = {"path": path, "sha256": card.sha256, **card.model_dump(mode="json")}
    return text


def _derived_lines(card: ModelCard, path: Path) -> Iterator[str]:
    yield f"{path}"
    yield f"sha256 of the fields that decide a prediction: {card.sha256}"
    if card.unit_px > 1:
        yield f"windows, overlaps and blocks are multiples of {card.unit_px} px"
    for name, output in card.outputs.items():
        texts = (f"{each.code} {each.name}{'' if each.trained else '*'}" for each in output.legend.classes)
        classes = ", ".join(each.replace(" ", _NO_BREAK) for each in texts)
        untrained = "" if all(output.legend.trained) else " (* never trained, dropped before the argmax)"
        for line in textwrap.wrap(f"{name}: {classes}{untrained}", 110, subsequent_indent="  "):
            yield line.replace(_NO_BREAK, " ")
