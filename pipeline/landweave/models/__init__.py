"""Models: cards that say what a network needs and gives, networks as published, and predictors that run them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from landweave.models.registry import find_card, list_cards

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build", "find_card", "list_cards"]


def build(name_or_path: str | Path, window: int | None = None) -> nn.Module:
    """The network of a card for windows of ``window`` base pixels (the card's by default), without weights.

    See `landweave.models.builders.build`; a window that the weights do not fit is refused with the tables listed.
    """
    from landweave.models import builders, position_tables  # torch takes seconds to import; cards are read without it

    card = find_card(name_or_path)
    window = window or card.window.size
    position_tables.check_window(card, window)
    return builders.build(card, window)
