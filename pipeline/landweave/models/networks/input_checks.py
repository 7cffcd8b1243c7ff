"""Checks of the tensors that a card's network is called with.

A network alone would accept too much: the days of one date broadcast to all, a series over another area is resized.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.core.words import bullets
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import METADATA, METADATA_VALUES, InputSpec, days_input, mask_input
from landweave.models.networks.architectures import FlairHubArchitecture


def with_input_checks(network: nn.Module, card: ModelCard, window: int) -> nn.Module:
    """Return ``network`` itself, whose calls run `check_tensors` first from now on.

    Parameters
    ----------
    network
        Of the card, built for ``window``.
    card
        Of the model.
    window
        Base pixels a side.
    """

    def check(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        check_tensors(card, window, args[0] if args else kwargs["inputs"])

    network.register_forward_pre_hook(check, with_kwargs=True)
    return network


def check_tensors(card: ModelCard, window: int, inputs: Mapping[str, Tensor]) -> None:
    """Refuse tensors that the network of a card is not called with; names of no input are ignored.

    Parameters
    ----------
    card
        Of the model.
    window
        Base pixels a side that the network was built for.
    inputs
        By name: images ``(b, band, y, x)``, series ``(b, t, band, y, x)``, their days and masks ``(b, t)``.

    Raises
    ------
    CardError
        With everything that is missing or of another shape, and inputs that differ in batch or area.
    """
    problems = [text for name, spec in card.inputs.items() for text in _input_problems(name, spec, inputs)]
    if card.reads_metadata:
        problems += _shape_problems(METADATA, inputs, (None, METADATA_VALUES))
    if problems := problems or [*_disagreements(card, inputs), *_size_problems(card, window, inputs)]:
        raise CardError(f"{card.name} was called with inputs that do not fit it:{bullets(problems)}")


def _input_problems(name: str, spec: InputSpec, inputs: Mapping[str, Tensor]) -> Iterator[str]:
    dates = () if spec.dates is None else (None,)
    if problems := _shape_problems(name, inputs, (None, *dates, len(spec.bands), None, None), spec):
        yield from problems
    elif spec.dates is not None:
        yield from _date_problems(name, inputs)
    size = spec.centred_size
    if size is not None and name in inputs and tuple(inputs[name].shape[-2:]) != (size, size):
        yield f"{name} is {_by(*inputs[name].shape[-2:])} pixels, not {_by(size, size)}"


_AXES = {2: "b?", 4: "b?yx", 5: "bt?yx"}
"""Names of the axes whose size is free, by number of axes."""


def _shape_problems(
    name: str, inputs: Mapping[str, Tensor], sizes: tuple[int | None, ...], spec: InputSpec | None = None
) -> list[str]:
    """Return what is wrong with the shape of one input, whose axes have ``sizes``; None where any is allowed."""
    axes = zip(_AXES[len(sizes)], sizes, strict=True)
    expected = ", ".join(letter if size is None else str(size) for letter, size in axes)
    if name not in inputs:
        optional = "" if spec is None or spec.required else f" (a map without it feeds {spec.fill:g} everywhere)"
        return [f"{name} ({expected}) is missing{optional}"]
    shape = tuple(inputs[name].shape)
    fits = len(shape) == len(sizes) and all(shape)
    if fits and all(size in (None, own) for own, size in zip(shape, sizes, strict=True)):
        return []
    return [f"{name} is {shape}, not ({expected})"]


def _date_problems(name: str, inputs: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield what is wrong with the days and the optional mask of a series ``(b, t, band, y, x)``."""
    dates, days, mask = inputs[name].shape[:2], days_input(name), mask_input(name)
    if days not in inputs:
        yield f"{days} (b, t) is missing: the day of each date, counted from the card's reference"
    for each in (days, mask):
        if each in inputs and inputs[each].shape != dates:
            yield f"{each} is {tuple(inputs[each].shape)}, not {tuple(dates)}"
    if mask in inputs and inputs[mask].dtype != torch.bool:
        yield f"{mask} is {str(inputs[mask].dtype).removeprefix('torch.')}, not bool: True where a date is real"


def _disagreements(card: ModelCard, inputs: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield inputs, each right alone, that are not of the same windows."""
    batches = {name: inputs[name].shape[0] for name in (*card.inputs, METADATA) if name in inputs}
    if len(set(batches.values())) > 1:
        yield "inputs have another batch: " + ", ".join(f"{name} {batch}" for name, batch in batches.items())
    metres = {
        name: tuple(size * spec.pixel for size in inputs[name].shape[-2:])
        for name, spec in card.inputs.items()
        if spec.centred_size is None
    }
    if len(set(metres.values())) > 1:
        sides = (f"{name} {_by(*(f'{float(side):g}' for side in each))} m" for name, each in metres.items())
        yield "inputs cover other areas: " + ", ".join(sides)


def _size_problems(card: ModelCard, window: int, inputs: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield images of a network of FLAIR-HUB whose encoders are built for another size."""
    if not isinstance(card.architecture, FlairHubArchitecture):
        return
    for name in card.images:
        size = card.input_size(name, window)
        if tuple(inputs[name].shape[-2:]) != (size, size):
            yield (
                f"{name} is {_by(*inputs[name].shape[-2:])} pixels, not {_by(size, size)}: build the network for the "
                f"window that it is called with"
            )


def _by(rows: object, columns: object) -> str:
    return f"{rows} x {columns}"
