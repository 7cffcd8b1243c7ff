"""A trial of a network before it maps: what it gives for noise and for nothing, against what its card says.

A program from outside may give too many channels, probabilities in place of logits, or a window that depends on its
neighbours in the batch. Each of these maps without an error, and wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models.cards.outputs import OutputSpec
from landweave.models.factory import UNFIT
from landweave.models.inference import are_probabilities, failure_text, numerics
from landweave.models.networks.architectures import ExportedArchitecture
from landweave.models.networks.dummy_inputs import dummy_inputs
from landweave.models.settings import InferenceSettings

_DATES = 2
"""Of each series: enough to be one."""

_NEIGHBOUR_TOLERANCE = 0.01
"""Of the largest value, by which a window may change with the other windows of its batch."""

_NEAR_END = 0.1
"""Of 0 and of 1: values that reach as near to both, and not beyond, are no logits by chance."""

_SAME = 1e-6
"""Range of values that are all the same, and say nothing of how they were made."""


def try_network(network: nn.Module, settings: InferenceSettings) -> tuple[str, ...]:
    """Refuse a network that does not give what its card says, after one or two passes.

    Networks that are built here take one window of noise, half of it without a measurement. A program takes its whole
    batch, twice: with noise, and with nothing in the first window.

    Parameters
    ----------
    network
        As `landweave.models.factory.load` returns it, on the device of ``settings``.
    settings
        Which output, and how it is computed.

    Returns
    -------
    tuple of str
        Notes on values that chance may have given as well.

    Raises
    ------
    CardError
        With what the network gives, and what the card says.
    """
    is_program = isinstance(settings.card.architecture, ExportedArchitecture)
    noise = noise_inputs(settings, settings.batch_size if is_program else 1)
    values = _values(network, settings, noise)
    others = _values(network, settings, _without_first(noise)) if is_program else values
    subject = f"Output {settings.output} of {settings.card.name}: the network gives"
    if problem := next(_problems(values, others, settings.output_spec), None):
        raise CardError(f"{subject} {problem}")
    doubt = _like_sigmoids(values, settings.output_spec)
    return (f"{subject} {doubt}",) if doubt else ()


def noise_inputs(settings: InferenceSettings, batch: int) -> dict[str, Tensor]:
    """Return normalised inputs of noise; nothing is measured in the upper half of images and series.

    Parameters
    ----------
    settings
        Of the network.
    batch
        Windows.
    """
    size = (settings.window, settings.window)
    inputs = dummy_inputs(settings.card, size, batch=batch, dates=_DATES, on=settings.device)
    generator = torch.Generator().manual_seed(0)
    for name in settings.card.inputs:
        lower = inputs[name][..., inputs[name].shape[-2] // 2 :, :]
        lower.copy_(torch.randn(lower.shape, generator=generator))
    return inputs


def _without_first(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.cat([torch.zeros_like(tensor[:1]), tensor[1:]]) for name, tensor in inputs.items()}


def _values(network: nn.Module, settings: InferenceSettings, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return float32 values ``(n, channel, y, x)`` of the output, once their shape is that of the card."""
    window = settings.window
    try:
        with numerics(settings):
            values: Tensor = network(inputs, (window, window))[settings.output].float()
    except UNFIT as error:
        raise CardError(failure_text(error, settings)) from error
    wanted = (*next(iter(inputs.values())).shape[:1], settings.output_spec.channels, window, window)
    if tuple(values.shape) != wanted:
        raise CardError(
            f"Output {settings.output} of {settings.card.name}: the network gives {tuple(values.shape)}, the card says "
            f"(windows, channels, y, x) {wanted}."
        )
    return values


def _problems(values: Tensor, others: Tensor, output: OutputSpec) -> Iterator[str]:
    """Yield what is wrong with the values of two passes, the second without input in its first window."""
    if not (torch.isfinite(values).all() and torch.isfinite(others).all()):
        yield "values that are not finite, for noise or where nothing is measured: look at the weights."
    if len(values) > 1 and (values - others)[1:].abs().max() > _NEIGHBOUR_TOLERANCE * values.abs().max():
        yield "a window other values when another window of its batch changes: export one without such layers."
    yield from _activation_problems(values, output)


def _activation_problems(values: Tensor, output: OutputSpec) -> Iterator[str]:
    """Yield where values are probabilities already, or are none, against what the card says."""
    within = bool(values.min() >= 0 and values.max() <= 1)
    if output.activation == "none":
        if not (within if output.channels == 1 else are_probabilities(values)):
            yield f"{_range(values)} that are no probabilities of its classes, and the card says activation: none."
    elif output.channels > 1 and are_probabilities(values):
        yield (
            "probabilities that sum to one over the classes: a softmax is inside already, and a second one would "
            "flatten them. Write activation: none in the card."
        )
    elif values.min() < _NEAR_END and values.max() > 1 - _NEAR_END and (text := _like_sigmoids(values, output)):
        yield text


def _like_sigmoids(values: Tensor, output: OutputSpec) -> str:
    """Return what values say that lie within 0 and 1, as sigmoids do and a few logits may; empty where none do."""
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1 or high - low <= _SAME or output.activation == "none":
        return ""
    if output.channels == 1:
        return f"{_range(values)}: a sigmoid is inside already, it seems. Write activation: none in the card if it is."
    if output.activation is None and low > 0:  # 0 is a ReLU's, which sigmoids do not give
        return (
            f"{_range(values)} that do not sum to one over the classes, as sigmoids of each class do, and classes "
            "exclude each other here. Write activation: softmax in the card if they are logits."
        )
    return ""


def _range(values: Tensor) -> str:
    return f"values from {float(values.min()):.3g} to {float(values.max()):.3g}"
