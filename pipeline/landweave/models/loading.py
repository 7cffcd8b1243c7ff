"""A network with its settings: loaded and tried, or built without values for its memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from landweave.core.errors import CardError, ConfigError
from landweave.models.cards.card import ModelCard
from landweave.models.engines import kept_engine, with_engine
from landweave.models.factory import UNFIT, build_on_meta, load_with_notes
from landweave.models.inference import TorchPredictor, absent, failure_text
from landweave.models.inspection.peak_memory import peak_bytes, tensor_bytes
from landweave.models.known_trials import keep_trial, known_trial
from landweave.models.settings import InferenceSettings, cpu_has_bfloat16
from landweave.models.trial import try_network


def load_predictor(
    settings: InferenceSettings, weights: Path, weights_sha256: str
) -> tuple[TorchPredictor, tuple[str, ...]]:
    """Return a network on its device, loaded and tried, and notes on its weights and on what it gives.

    A network that was tried before, with the same weights, is not tried again; where an engine has its graph, none is
    built.

    Parameters
    ----------
    settings
        Which output of which card, and how it is computed.
    weights, weights_sha256
        The file, and its checksum.

    Raises
    ------
    WeightsError
        When the weights do not fit.
    CardError
        When the network cannot be built, or does not give what its card says.
    ConfigError
        When this machine lacks bfloat16, or what the engine needs.
    """
    if settings.bfloat16 and not (settings.on_gpu or cpu_has_bfloat16()):
        raise ConfigError("model.bfloat16 was asked for, and this worker's CPU has no arithmetic for it: leave it out.")
    known = known_trial(settings, weights_sha256)
    if known is not None and (kept := kept_engine(settings, weights_sha256)):
        return TorchPredictor(settings, kept), known
    network, notes = load_with_notes(settings.card, settings.window, weights, batch_size=settings.batch_size)
    network = with_memory_format(network, settings.card).to(settings.device)
    predictor = TorchPredictor(settings, network)
    notes = known if known is not None else (*notes, *try_network(network, settings))
    if settings.engine != "eager":
        runner, note = with_engine(network, settings, weights_sha256)
        predictor, notes = TorchPredictor(settings, runner), (notes if known is not None else (*notes, note))
    if known is None:  # once all of it works
        keep_trial(settings, weights_sha256, notes)
    return predictor, notes


def with_memory_format(network: nn.Module, card: ModelCard) -> nn.Module:
    """Return ``network`` with its tensors in the memory layout that ``card`` states."""
    layout = torch.channels_last if card.numerics.channels_last else torch.contiguous_format
    network.to(memory_format=layout)  # type: ignore[call-overload]
    return network


def weights_bytes(settings: InferenceSettings) -> int:
    """Return bytes of a network's tensors."""
    return tensor_bytes(build_on_meta(settings.card, settings.window))


def network_bytes(settings: InferenceSettings) -> int:
    """Return bytes of a network and of one batch at its peak: a pass without values, which takes a second or two.

    Raises
    ------
    CardError
        When the network cannot be built, or does not take such windows.
    """
    settings = replace(settings, device="meta")
    network = with_memory_format(build_on_meta(settings.card, settings.window), settings.card)
    predictor = TorchPredictor(settings, network)
    batch = predictor.send({name: absent(settings, name, settings.dates) for name in settings.card.inputs})
    weights = tensor_bytes(network)
    # While it loads, the file's tensors are in memory beside the network's.
    try:
        peak = peak_bytes(lambda: predictor.probabilities(batch))
    except UNFIT as error:
        problem = failure_text(error, settings).replace(
            " failed on meta", f" cannot take windows of {settings.window} px"
        )
        raise CardError(f"{problem}. Its card's window, inputs and architecture do not fit.") from error
    return weights + max(weights, peak)
