"""What a card's network is called with, looked at before it answers.

A network alone would take much for granted: days of one date stand for all, a series over other ground is resized.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import InputSpec
from landweave.models.networks.architectures import FlairHubArchitecture
from landweave.models.networks.flair1 import METADATA, METADATA_VALUES


def refusing_misfits(network: nn.Module, card: ModelCard, window: int) -> nn.Module:
    """``network`` itself, built for ``window`` base pixels, whose calls are from now on looked at by `check_call`."""

    def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        check_call(card, window, args[0] if args else kwargs["inputs"])

    network.register_forward_pre_hook(look, with_kwargs=True)
    return network


def check_call(card: ModelCard, window: int, inputs: Mapping[str, Tensor]) -> None:
    """Refuse inputs that are not what the network of ``card`` is called with; names of no input are left alone.

    Raises
    ------
    CardError
        With everything that is missing or of another shape, and inputs that differ in batch or ground.
    """
    problems = [text for name, spec in card.inputs.items() for text in _misfits(name, spec, inputs)]
    if getattr(card.architecture, "metadata", False):
        problems += _misshapen(METADATA, inputs, (None, METADATA_VALUES), f"(b, {METADATA_VALUES})")
    if problems := problems or [*_disagreements(card, inputs), *_missized(card, window, inputs)]:
        raise CardError(
            f"{card.name} was called with inputs that do not fit it:\n" + "\n".join(f"  - {each}" for each in problems)
        )


def _misfits(name: str, spec: InputSpec, inputs: Mapping[str, Tensor]) -> Iterator[str]:
    bands = len(spec.bands)
    if spec.dates is None:
        yield from _misshapen(name, inputs, (None, bands, None, None), f"(b, {bands}, y, x)", spec)
    elif problems := _misshapen(name, inputs, (None, None, bands, None, None), f"(b, t, {bands}, y, x)", spec):
        yield from problems
    else:
        yield from _misdated(name.removesuffix("TS"), inputs[name].shape[:2], inputs)
    size = spec.footprint.size
    if size is not None and name in inputs and tuple(inputs[name].shape[-2:]) != (size, size):
        yield f"{name} is {_by(*inputs[name].shape[-2:])} pixels, not {_by(size, size)}"


def _misshapen(
    name: str,
    inputs: Mapping[str, Tensor],
    sizes: tuple[int | None, ...],
    told: str,
    spec: InputSpec | None = None,
) -> list[str]:
    """What is wrong with the shape of one input, whose axes have ``sizes``; None where any will do."""
    if name not in inputs:
        optional = "" if spec is None or spec.required else f" (a map without it feeds {spec.fill:g} everywhere)"
        return [f"{name} {told} is missing{optional}"]
    shape = tuple(inputs[name].shape)
    fits = len(shape) == len(sizes) and all(shape)
    if fits and all(size in (None, own) for own, size in zip(shape, sizes, strict=True)):
        return []
    return [f"{name} is {shape}, not {told}"]


def _misdated(stem: str, dates: torch.Size, inputs: Mapping[str, Tensor]) -> Iterator[str]:
    """What is wrong with the days and the optional mask of a series of ``dates (b, t)``."""
    if f"{stem}DATES" not in inputs:
        yield f"{stem}DATES (b, t) is missing: the day of each date, counted from the card's reference"
    for name in (f"{stem}DATES", f"{stem}MASK"):
        if name in inputs and inputs[name].shape != dates:
            yield f"{name} is {tuple(inputs[name].shape)}, not {tuple(dates)}"
    mask = inputs.get(f"{stem}MASK")
    if mask is not None and mask.dtype != torch.bool:
        yield f"{stem}MASK is {str(mask.dtype).removeprefix('torch.')}, not bool: True where a date is real"


def _disagreements(card: ModelCard, inputs: Mapping[str, Tensor]) -> Iterator[str]:
    """Inputs, each right alone, that are not of the same windows."""
    batches = {name: inputs[name].shape[0] for name in (*card.inputs, METADATA) if name in inputs}
    if len(set(batches.values())) > 1:
        yield "inputs have another batch: " + ", ".join(f"{name} {batch}" for name, batch in batches.items())
    ground = {
        name: tuple(size * spec.pixel for size in inputs[name].shape[-2:])
        for name, spec in card.inputs.items()
        if spec.footprint.size is None
    }
    if len(set(ground.values())) > 1:
        sides = (f"{name} {_by(*(f'{float(side):g}' for side in each))} m" for name, each in ground.items())
        yield "inputs cover other ground: " + ", ".join(sides)


def _missized(card: ModelCard, window: int, inputs: Mapping[str, Tensor]) -> Iterator[str]:
    """Images of a network of FLAIR-HUB whose encoders are made for another size."""
    if not isinstance(card.architecture, FlairHubArchitecture):
        return
    for name, spec in card.inputs.items():
        size = card.input_size(name, window)
        if spec.dates is None and tuple(inputs[name].shape[-2:]) != (size, size):
            yield (
                f"{name} is {_by(*inputs[name].shape[-2:])} pixels, not {_by(size, size)}: build the network for the "
                f"window that it answers"
            )


def _by(rows: object, columns: object) -> str:
    return f"{rows} x {columns}"
