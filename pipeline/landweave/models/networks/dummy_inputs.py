"""Inputs of a card's network without imagery: tensors of the right names and shapes, all zero."""

from __future__ import annotations

from torch import Tensor, device, ones, zeros

from landweave.core.errors import CardError
from landweave.models.cards.card import ModelCard
from landweave.models.networks.flair1 import METADATA, METADATA_VALUES

DATES = 12
"""Dates of a series where nothing says how many: one a month."""


def blank_inputs(
    card: ModelCard, size_yx: tuple[int, int], *, batch: int = 1, dates: int = DATES, on: str | device = "cpu"
) -> dict[str, Tensor]:
    """Zeros for every input of ``card`` over ``size_yx`` base pixels, as its network is called with.

    Images are ``(batch, band, y, x)``, series ``(batch, dates, band, y, x)`` with their days and their mask of real
    dates beside them.

    Raises
    ------
    CardError
        When ``size_yx`` is not a whole number of pixels of some input.
    """
    inputs: dict[str, Tensor] = {}
    for name, spec in card.inputs.items():
        rows, columns = (_pixels(card, name, size) for size in size_yx)
        if spec.dates is None:
            inputs[name] = zeros(batch, len(spec.bands), rows, columns, device=on)
            continue
        stem = name.removesuffix("TS")
        inputs[name] = zeros(batch, dates, len(spec.bands), rows, columns, device=on)
        inputs[f"{stem}DATES"] = zeros(batch, dates, device=on)
        inputs[f"{stem}MASK"] = ones(batch, dates, device=on).bool()
    if getattr(card.architecture, "metadata", False):
        inputs.setdefault(METADATA, zeros(batch, METADATA_VALUES, device=on))
    return inputs


def _pixels(card: ModelCard, name: str, size: int) -> int:
    spec = card.inputs[name]
    if spec.footprint.size is not None:
        return spec.footprint.size
    pixels = size * card.base_pixel / spec.pixel
    if pixels.denominator != 1:
        raise CardError(f"{size} base pixels are {float(pixels):g} pixels of {name}: they meet every {card.unit_px}.")
    return int(pixels)
