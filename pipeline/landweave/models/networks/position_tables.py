"""Position tables of attention windows: which windows they fit, and cards whose tables may be resized.

A Swin encoder (Liu et al. 2021, arXiv 2103.14030) learns one value a head for every offset inside its attention
window. Where a stage is smaller than that window, the window shrinks with it, and weights trained at another size no
longer fit. They can be interpolated, which is another model than the published one: it is done only when configured,
and is part of a run's fingerprint.
"""

from __future__ import annotations

from landweave.core.errors import CardError
from landweave.core.words import bullets
from landweave.models.cards.card import ModelCard
from landweave.models.networks.architectures import FlairHubArchitecture

TableShape = tuple[int, ...]


def changed_tensors(card: ModelCard, window: int) -> dict[str, tuple[TableShape, TableShape]]:
    """Return tensors whose shape depends on the window: in the card's own and in ``window``, by name.

    Nothing is allocated. The weights fit ``window`` as they are exactly when the result is empty.

    Parameters
    ----------
    card
        Of the model.
    window
        Base pixels a side.

    Raises
    ------
    CardError
        When ``window`` is not a multiple of the network's stride and of the inputs' pixels.
    """
    own, other = _shapes(card, card.window.size), _shapes(card, window)
    return {name: (own[name], other[name]) for name in own if own[name] != other[name]}


def check_window(card: ModelCard, window: int) -> None:
    """Refuse a window that the card does not allow; where the weights do not fit it, the message has the tables.

    Parameters
    ----------
    card
        Of the model.
    window
        Base pixels a side.

    Raises
    ------
    CardError
        As `landweave.models.cards.card.ModelCard.check_window`, or with the shapes of every table that changes.
    """
    try:
        card.check_window(window)
    except CardError:
        is_hub = isinstance(card.architecture, FlairHubArchitecture)
        if is_hub and window % card.window.multiple == window % card.unit_px == 0:
            refuse_changed(card, window)
        raise


def with_resized_tables(card: ModelCard) -> ModelCard:
    """Return the card with every window allowed, position tables resized where they must be.

    Raises
    ------
    CardError
        When its network has no such tables.
    """
    if not isinstance(card.architecture, FlairHubArchitecture):
        raise CardError(
            f"Position tables were asked to be resized, but {card.name} ({card.architecture.kind}) is no network of "
            f"FLAIR-HUB: leave model.resize_tables out."
        )
    architecture = card.architecture.model_copy(update={"resize_tables": True})
    return any_window(card).model_copy(update={"architecture": architecture})


def refuse_changed(card: ModelCard, window: int) -> None:
    """Refuse a window that the weights do not fit as they are.

    Parameters
    ----------
    card
        Of the model.
    window
        Base pixels a side.

    Raises
    ------
    CardError
        With every table, its shape in the weights and in that window.
    """
    if changed := changed_tensors(card, window):
        raise CardError(
            f"A window of {window} px was asked for; the weights of {card.name} are for {card.window.size} px, and "
            f"{len(changed)} tables would have another shape:"
            + bullets(f"{name}: {trained} in the weights, {here}" for name, (trained, here) in changed.items())
            + "\nUse a window that the card allows, or ask for position tables to be resized "
            "(model: {resize_tables: true}), which makes another model of it."
        )


def any_window(card: ModelCard) -> ModelCard:
    """Return the card with every multiple of the network's stride and of the inputs' pixels allowed."""
    window = card.window.model_copy(update={"min_untrained_size": card.window.multiple})
    return card.model_copy(update={"window": window})


def _shapes(card: ModelCard, window: int) -> dict[str, TableShape]:
    from landweave.models.factory import build_on_meta, core  # torch takes seconds to import

    network = core(build_on_meta(any_window(card), window))
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
