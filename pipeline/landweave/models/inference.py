"""Inference of a card's network: raw pixels of a batch of windows to class probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from landweave.core.blending import Array, Logits
from landweave.core.budget import SENT_AHEAD
from landweave.core.errors import CardError, PredictError
from landweave.core.protocols import InputBatch
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import HeightCoding, InputSpec, days_input, mask_input
from landweave.models.cards.outputs import OutputSpec
from landweave.models.exported import Program
from landweave.models.settings import InferenceSettings
from landweave.models.transfer import SentBatch, Transfer


class TorchPredictor:
    """A loaded network; one thread at a time calls it.

    Parameters
    ----------
    settings
        Which output, and how it is computed.
    network
        As `landweave.models.factory.load` or `landweave.models.engines.with_engine` returns it, on the device of
        ``settings``.

    Raises
    ------
    CardError
        When the output of some layer for a window would depend on the other windows of its batch.
    """

    def __init__(self, settings: InferenceSettings, network: nn.Module) -> None:
        _check_evaluation(network, settings.card)
        self._settings = settings
        self._network = network
        self._device = torch.device(settings.device)
        self._transfer = Transfer(self._device)
        inputs = settings.card.inputs
        self._normalisations = {name: Normalisation(spec, self._device) for name, spec in inputs.items()}

    @property
    def sent_ahead(self) -> int:
        """Batches that are sent to a GPU while it computes another; 0 on a CPU, whose cores do all of it."""
        return SENT_AHEAD if self._settings.on_gpu else 0

    def send(self, batch: Mapping[str, InputBatch]) -> SentBatch:
        """Return a batch on its way to the device, for `predict`; called from any thread.

        Raises
        ------
        PredictError
            When the batch has another shape than the settings, or the device has no room for it.
        """
        _check_batch(batch, self._settings)
        missing = {name: absent(self._settings, name) for name in self._settings.card.inputs if name not in batch}
        try:
            return self._transfer.send({**batch, **missing})
        except RuntimeError as error:
            raise PredictError(failure_text(error, self._settings)) from error

    def predict(self, batch: Mapping[str, InputBatch] | SentBatch) -> Array | Logits:
        """Return class probabilities, float32 ``(n, class, y, x)`` in base pixels.

        Of a CPU logits, where the card's output has them, and a numpy array otherwise: windows are then blended on
        the cores of the network. Of a GPU a contiguous tensor on it.

        Raises
        ------
        PredictError
            When the batch has another shape than the settings, the network fails, or a probability is not finite.
        """
        sent = self._sent(batch)
        try:
            with numerics(self._settings):
                values = self._values(sent)
                output = self._settings.output_spec
                blended = self._settings.blends_logits
                values = tempered(values, output) if blended else output_probabilities(values, output)
                finite = _are_finite(values)
                given = self._settings.output_spec.activation == "none"
                wrong = given and not are_probabilities(values)
        except RuntimeError as error:  # torch raises nothing narrower, out of memory included
            raise PredictError(failure_text(error, self._settings)) from error
        if not finite:
            raise PredictError(f"Model {self._settings.card.name} gave values that are not finite. {_advice(sent)}")
        if wrong:
            raise PredictError(
                f"Model {self._settings.card.name} gave values that are no probabilities, from "
                f"{float(values.min()):.3g} to {float(values.max()):.3g}: its card says activation: none."
            )
        if self._settings.blends_logits:
            return Logits(values.float().numpy(), threads=self._settings.torch_threads)
        return values.numpy() if values.device.type == "cpu" else values

    def probabilities(self, batch: Mapping[str, InputBatch] | SentBatch) -> Tensor:
        """Return the probabilities of `predict`, without its checks and in whatever mode the caller set."""
        return output_probabilities(self._values(self._sent(batch)), self._settings.output_spec)

    def _sent(self, batch: Mapping[str, InputBatch] | SentBatch) -> SentBatch:
        return batch if isinstance(batch, SentBatch) else self.send(batch)

    def _values(self, sent: SentBatch) -> Tensor:
        window = self._settings.window
        values: Tensor = self._network(self._inputs(sent), (window, window))[self._settings.output]
        return values

    def _inputs(self, sent: SentBatch) -> dict[str, Tensor]:
        """Return the tensors that the network is called with, by name; each series with its days and mask."""
        inputs, received = dict[str, Tensor](), sent.received()
        for name, normalise in self._normalisations.items():
            given = received[name]
            inputs[name] = normalise(given["values"], given["valid"])
            if "days" in given:
                inputs[days_input(name)] = given["days"]
                inputs[mask_input(name)] = given["present"]
        if self._settings.card.numerics.channels_last:
            last = torch.channels_last
            return {k: x.contiguous(memory_format=last) if x.ndim == 4 else x for k, x in inputs.items()}
        return inputs


def absent(settings: InferenceSettings, name: str, dates: int = 1) -> InputBatch:
    """Return one input without measurements; the dates of a series are all on the reference day.

    Parameters
    ----------
    settings
        Give the card, the window and the batch size.
    name
        Of the input.
    dates
        Of a series.
    """
    spec = settings.card.inputs[name]
    size = settings.card.input_size(name, settings.window)
    series = spec.dates is not None
    shape = (settings.batch_size, dates) if series else (settings.batch_size,)
    return InputBatch(
        # One value seen at every pixel: nothing is allocated before the device needs it.
        values=np.broadcast_to(np.float32(0), (*shape, len(spec.bands), size, size)),
        valid=np.broadcast_to(np.False_, (*shape, size, size)),
        days=np.zeros(shape, np.float32) if series else None,
        present=np.ones(shape, np.bool_) if series else None,
    )


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Give torch ``count`` threads in the calling thread, and restore its setting after.

    The setting is each thread's own: a change elsewhere in the process does not reach a thread that has computed.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def numerics(settings: InferenceSettings) -> Iterator[None]:
    """Set what decides the bits of a pass, and restore it after: cuDNN's flags for the process, the rest by thread.

    Matrix products of a GPU are in full float32 by torch's own default.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch_threads(settings.torch_threads))
        if settings.on_gpu:
            # Convolutions by a fixed choice of algorithm, in full float32: TF32 keeps three decimals only.
            # `flags` switches cuDNN off unless ``enabled`` is given.
            flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            stack.enter_context(flags)
        if settings.bfloat16:
            stack.enter_context(torch.autocast("cuda" if settings.on_gpu else "cpu", torch.bfloat16))
        yield


def output_probabilities(values: Tensor, output: OutputSpec) -> Tensor:
    """Return probabilities of the classes: float32 planes by class ``(n, class, y, x)``.

    Parameters
    ----------
    values
        Of the network, ``(n, channel, y, x)``.
    output
        What the card says of them.
    """
    values = tempered(values, output)
    if output.activation not in ("sigmoid", "none"):
        return class_probabilities(values)
    given = values.float().contiguous()
    probability = torch.sigmoid(given) if output.activation == "sigmoid" else given
    return probability if output.threshold is None else torch.cat([1 - probability, probability], dim=1)


_SUM_TOLERANCE, _RANGE_TOLERANCE = 0.01, 1e-4
"""Of a sum of probabilities, which a program may compute in bfloat16, and of each."""


def are_probabilities(values: Tensor) -> bool:
    """Return whether ``values (n, class, y, x)`` are within 0 and 1 and sum to one over the classes."""
    within = values.min() >= -_RANGE_TOLERANCE and values.max() <= 1 + _RANGE_TOLERANCE
    return bool(within and ((values.sum(1) - 1).abs() < _SUM_TOLERANCE).all())


def _are_finite(values: Tensor) -> bool:
    """Return whether no value is NaN, and none infinite but for logits of classes that are ruled out."""
    return bool(torch.isfinite(values.sum()) or torch.isfinite(class_probabilities(values).sum()))


def tempered(logits: Tensor, output: OutputSpec) -> Tensor:
    """Return the logits over the temperature that the card's output states, if it states one.

    Parameters
    ----------
    logits
        ``(n, class, y, x)``.
    output
        Of the card.
    """
    return logits if output.temperature is None else logits.float() / output.temperature


def class_probabilities(logits: Tensor) -> Tensor:
    """Return the softmax over the classes of ``logits (n, class, y, x)``: float32, planes by class."""
    return torch.softmax(logits.float().contiguous(), dim=1)


class Normalisation:
    """From raw values of one input to what the network takes; its constants are on the device.

    Parameters
    ----------
    spec
        Of the input.
    device
        Where values are normalised.
    """

    def __init__(self, spec: InputSpec, device: torch.device) -> None:
        bands = spec.bands.values()
        statistics = torch.tensor([band.statistics for band in bands], device=device)[:, :, None, None]
        self.mean, self.std, self.fill = statistics[:, 0], statistics[:, 1], spec.fill
        self.codings = {i: band.coding for i, band in enumerate(bands) if isinstance(band.coding, HeightCoding)}

    def __call__(self, values: Tensor, valid: Tensor) -> Tensor:
        """Return normalised float32 of ``values (…, band, y, x)``; ``fill`` where ``valid (…, y, x)`` is False."""
        x = values.to(torch.float32, copy=True)
        for band, coding in self.codings.items():
            x[..., band, :, :].mul_(coding.scale).add_(coding.offset).round_().clamp_(0, 255)
        return x.sub_(self.mean).div_(self.std).masked_fill_(~valid.unsqueeze(-3), self.fill)


def _check_batch(batch: Mapping[str, InputBatch], settings: InferenceSettings) -> None:
    card = settings.card
    for name, spec in card.inputs.items():
        if name not in batch and spec.required:
            raise PredictError(f"Input {name} of {card.name} is not in the batch, which has {', '.join(batch)}.")
        if name in batch:
            shape = batch[name].values.shape
            size = card.input_size(name, settings.window)
            wanted = (settings.batch_size, len(spec.bands), size, size)
            if (shape[0], *shape[-3:]) != wanted:
                raise PredictError(f"Input {name} came as {shape}; windows, bands, y and x must be {wanted}.")


def _check_evaluation(network: nn.Module, card: ModelCard) -> None:
    programs = {id(inner) for each in network.modules() if isinstance(each, Program) for inner in each.modules()}
    for name, layer in network.named_modules():
        if id(layer) in programs:  # checked when it was loaded: it has no modes left to look at
            continue
        # Instance norms keep no statistics either, but use the window's own alone.
        batch_norm = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        if layer.training or (batch_norm and layer.running_mean is None):
            state = "is in training mode" if layer.training else "normalises with the statistics of its batch"
            raise CardError(
                f"Layer {name} ({type(layer).__name__}) of {card.name} {state}: a window's output would depend on "
                f"its neighbours in the batch. Use a network without such layers."
            )


def failure_text(error: Exception, settings: InferenceSettings) -> str:
    """Return the message of a pass that failed.

    Parameters
    ----------
    error
        Of the network.
    settings
        Of the pass.
    """
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    full = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in first
    size = f" A batch has {settings.batch_size} windows of {settings.window} px: lower model.batch_size."
    return f"Model {settings.card.name} failed on {settings.device}: {first}{size if full else ''}"


def _advice(sent: SentBatch) -> str:
    for name, given in sent.tensors.items():
        seen = given["valid"].unsqueeze(-3).expand_as(given["values"])
        if not torch.isfinite(given["values"][seen]).all():
            return f"Input {name} holds values that are not finite where it is marked as measured."
    return "Its inputs are finite where they were measured: look at the weights."
