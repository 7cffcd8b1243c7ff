"""Models: cards that say what a network needs and gives, networks as published, and predictors that run them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from landweave.models.cards.registry import find_card, list_cards

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build", "find_card", "list_cards"]


def build(
    name_or_path: str | Path,
    window: int | None = None,
    *,
    weights: str | Path | None = None,
    resize_tables: bool = False,
) -> nn.Module:
    """The network of a card, in evaluation mode; without weights its values are as they were drawn.

    Called with ``{modality: (b, band, y, x)}``, normalised; a series ``…_TS (b, t, band, y, x)`` has its days beside
    it, ``…_DATES (b, t)``, and, where some dates are padding, ``…_MASK (b, t)``, True for the real ones. A second
    argument is the answer's height and width. It gives logits by label: ``{"AERIAL_LABEL-COSIA": (b, 19, y, x)}``.

    Parameters
    ----------
    name_or_path
        Of the card.
    window
        Base pixels a side; the card's by default.
    weights
        A ``.safetensors``, ``.ckpt`` or ``.pth`` file as it is published.
    resize_tables
        Allow windows in which position tables have another shape: they are interpolated, which is another model.

    Raises
    ------
    CardError
        For a window that the weights do not fit, with the tables listed; by the network, for a call that does not fit.
    WeightsError
        When weights do not fit; all that differs is listed.
    """
    from landweave.models import factory
    from landweave.models.networks import position_tables
    from landweave.models.networks.input_checks import refusing_misfits

    card = find_card(name_or_path)
    card = position_tables.with_resized_tables(card) if resize_tables else card
    window = card.window.size if window is None else window
    position_tables.check_window(card, window)
    if weights is None:
        return refusing_misfits(factory.build(card, window), card, window)
    network = factory.load(card, window, Path(weights), batch_size=card.numerics.batch)
    return refusing_misfits(network, card, window)
