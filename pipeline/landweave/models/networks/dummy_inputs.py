"""Inputs of zeros for a card's network: tensors of the right names and shapes."""

from __future__ import annotations

from torch import Tensor, device, ones, zeros

from landweave.core.errors import CardError
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import METADATA, METADATA_VALUES, days_input, mask_input

DATES = 12
"""Default number of dates of a series: one a month."""


def dummy_inputs(
    card: ModelCard, size_yx: tuple[int, int], *, batch: int = 1, dates: int = DATES, on: str | device = "cpu"
) -> dict[str, Tensor]:
    """Return zeros for every input of a card, as its network is called with.

    Images are ``(batch, band, y, x)``, series ``(batch, dates, band, y, x)`` with their days and their mask of real
    dates beside them.

    Parameters
    ----------
    card
        Of the model.
    size_yx
        Height and width in base pixels.
    batch, dates
        Windows, and dates of each series.
    on
        Device.

    Raises
    ------
    CardError
        When ``size_yx`` is not a whole number of pixels of some input.
    """
    inputs: dict[str, Tensor] = {}
    for name, spec in card.inputs.items():
        shape = (len(spec.bands), *(_pixels(card, name, size) for size in size_yx))
        if spec.dates is None:
            inputs[name] = zeros(batch, *shape, device=on)
            continue
        inputs[name] = zeros(batch, dates, *shape, device=on)
        inputs[days_input(name)] = zeros(batch, dates, device=on)
        inputs[mask_input(name)] = ones(batch, dates, device=on).bool()
    if card.reads_metadata:
        inputs[METADATA] = zeros(batch, METADATA_VALUES, device=on)
    return inputs


def _pixels(card: ModelCard, name: str, size: int) -> int:
    spec = card.inputs[name]
    pixels = size * card.base_pixel / spec.pixel
    if spec.centred_size is None and pixels.denominator != 1:
        raise CardError(f"{size} base pixels are {float(pixels):g} pixels of {name}: they meet every {card.unit_px}.")
    return card.input_size(name, size)
