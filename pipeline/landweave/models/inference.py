"""A card's network at work: raw pixels of a batch of windows in, class probabilities out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from landweave.core.blending import Array
from landweave.core.errors import CardError, PredictError
from landweave.core.protocols import InputBatch
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import HeightCoding, InputSpec
from landweave.models.exported import Program


@dataclass(frozen=True, kw_only=True)
class Answering:
    """What is asked of a network, and how it computes: all of it decides the bits of a map.

    Attributes
    ----------
    card, task
        Which model, and which of its outputs.
    window
        Base pixels a side.
    batch_size
        Windows in every call.
    torch_threads
        Threads of a process, never taken from the machine.
    device
        ``cpu``, ``cuda`` or ``cuda:N``; ``meta`` for a pass without values.
    bfloat16
        Autocast, on a GPU.
    dates
        Of the longest series, padding included; decides no bits, only the memory that is asked for.
    """

    card: ModelCard
    task: str
    window: int
    batch_size: int
    torch_threads: int
    device: str
    bfloat16: bool = False
    dates: int = 1

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return torch.device(self.device).type == "cuda"


class TorchPredictor:
    """A network that answers; one thread at a time calls it.

    Parameters
    ----------
    asked
        What it answers.
    network
        As `landweave.models.factory.load` gives it, on the device of ``asked``.

    Raises
    ------
    CardError
        When some layer's answer for a window would depend on the other windows of its batch.
    """

    def __init__(self, asked: Answering, network: nn.Module) -> None:
        _check_evaluation(network, asked.card)
        self._asked = asked
        self._network = network
        self._device = torch.device(asked.device)
        self._preparations = {name: _Preparation.of(spec, self._device) for name, spec in asked.card.inputs.items()}

    def predict(self, batch: Mapping[str, InputBatch]) -> Array:
        """Class probabilities, float32 ``(n, class, y, x)`` in base pixels, contiguous.

        A tensor on the network's device; of a CPU, the same memory as a numpy array: windows are then blended by the
        calling thread alone, beside the network at work for another block.

        Raises
        ------
        PredictError
            When the batch is not as announced, the network fails, or an answer is not finite.
        """
        _check_batch(batch, self._asked)
        try:
            with numerics(self._asked):
                answer = self.probabilities(batch)
                finite = bool(torch.isfinite(answer.sum()))
        except RuntimeError as error:  # torch raises nothing narrower, out of memory included
            raise PredictError(_explained(error, self._asked)) from error
        if not finite:
            raise PredictError(f"Model {self._asked.card.name} gave values that are not finite. {_advice(batch)}")
        return answer.numpy() if answer.device.type == "cpu" else answer

    def probabilities(self, batch: Mapping[str, InputBatch]) -> Tensor:
        """What `predict` gives, unchecked, in whatever mode the caller set."""
        window = self._asked.window
        logits = self._network(self._inputs(batch), (window, window))[self._asked.task]
        return class_probabilities(logits)

    def _inputs(self, batch: Mapping[str, InputBatch]) -> dict[str, Tensor]:
        """What the network is called with: inputs by name, with the days and the real dates of a series beside it."""
        inputs: dict[str, Tensor] = {}
        for name, prepare in self._preparations.items():
            given = batch[name] if name in batch else absent(self._asked, name)
            inputs[name] = prepare(self._tensor(given.values), self._tensor(given.valid))
            if given.days is not None and given.present is not None:
                stem = name.removesuffix("TS")
                inputs[f"{stem}DATES"] = self._tensor(given.days)
                inputs[f"{stem}MASK"] = self._tensor(given.present)
        if self._asked.card.numerics.channels_last:
            return {name: _channels_last(tensor) for name, tensor in inputs.items()}
        return inputs

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        if self._device.type == "meta":
            return torch.empty(array.shape, dtype=_dtype(array), device="meta")
        # torch warns of arrays that it may not write to, even where it never does.
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(self._device)


def empty_batch(asked: Answering, steps: int = 1) -> dict[str, InputBatch]:
    """A batch in which nothing was measured: every input of the card, series with ``steps`` dates."""
    return {name: absent(asked, name, steps) for name in asked.card.inputs}


def absent(asked: Answering, name: str, steps: int = 1) -> InputBatch:
    """One input in which nothing was measured; a series has ``steps`` dates on the reference day."""
    spec = asked.card.inputs[name]
    size = asked.card.input_size(name, asked.window)
    series = spec.dates is not None
    shape = (asked.batch_size, steps) if series else (asked.batch_size,)
    return InputBatch(
        # One value seen at every pixel: nothing is allocated before the device needs it.
        values=np.broadcast_to(np.float32(0), (*shape, len(spec.bands), size, size)),
        valid=np.broadcast_to(np.False_, (*shape, size, size)),
        days=np.zeros(shape, np.float32) if series else None,
        present=np.ones(shape, np.bool_) if series else None,
    )


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """``count`` threads for torch in the calling thread, put back after.

    The setting is each thread's own: one made elsewhere in the process does not reach a thread that has computed.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def numerics(asked: Answering) -> Iterator[None]:
    """What decides the bits of a pass, set and put back after: cuDNN's part for the whole process, the rest a thread's.

    Matrix products of a GPU are in full float32 by torch's own default.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch_threads(asked.torch_threads))
        if asked.on_gpu:
            # Convolutions by a fixed choice of algorithm, in full float32: TF32 keeps three decimals only.
            # `flags` switches cuDNN off unless it is told not to.
            flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            stack.enter_context(flags)
            stack.enter_context(torch.autocast("cuda", torch.bfloat16, enabled=asked.bfloat16))
        yield


_STRIP_ROWS = 16
"""Of 512 pixels and 19 classes they take 0.6 MB a window."""


def class_probabilities(logits: Tensor) -> Tensor:
    """Softmax over the classes of ``logits (n, class, y, x)``: float32, one plane a class, as blending is fast on.

    A network that runs channels-last answers pixel by pixel. On a CPU that is turned into planes strip by strip: a
    strip stays in a core's cache meanwhile, and the threads share it: two thirds of the time, half of the memory.
    """
    if logits.is_contiguous() or logits.device.type == "cuda":
        return torch.softmax(logits.float().contiguous(), dim=1)
    planes = torch.empty(logits.shape, device=logits.device)
    for strip, answer in zip(logits.split(_STRIP_ROWS, dim=2), planes.split(_STRIP_ROWS, dim=2), strict=True):
        answer.copy_(torch.softmax(strip.float().contiguous(), dim=1))
    return planes


@dataclass(frozen=True)
class _Preparation:
    """Raw values of one input to what the network takes; its constants lie on the device."""

    mean: Tensor
    std: Tensor
    fill: float
    codings: Mapping[int, HeightCoding]

    @classmethod
    def of(cls, spec: InputSpec, device: torch.device) -> _Preparation:
        bands = spec.bands.values()
        return cls(
            torch.tensor([band.statistics[0] for band in bands], device=device)[:, None, None],
            torch.tensor([band.statistics[1] for band in bands], device=device)[:, None, None],
            spec.fill,
            {i: band.coding for i, band in enumerate(bands) if isinstance(band.coding, HeightCoding)},
        )

    def __call__(self, values: Tensor, valid: Tensor) -> Tensor:
        """Normalised float32 of ``values (…, band, y, x)``; exactly ``fill`` where ``valid (…, y, x)`` is False."""
        x = values.to(torch.float32, copy=True)
        for band, coding in self.codings.items():
            x[..., band, :, :].mul_(coding.scale).add_(coding.offset).round_().clamp_(0, 255)
        return x.sub_(self.mean).div_(self.std).masked_fill_(~valid.unsqueeze(-3), self.fill)


def _channels_last(tensor: Tensor) -> Tensor:
    is_image = tensor.ndim == 4
    return tensor.contiguous(memory_format=torch.channels_last) if is_image else tensor


def _dtype(array: NDArray[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, array.dtype)).dtype


def _check_batch(batch: Mapping[str, InputBatch], asked: Answering) -> None:
    card = asked.card
    for name, spec in card.inputs.items():
        if name not in batch and spec.required:
            raise PredictError(f"Input {name} of {card.name} is not in the batch, which has {', '.join(batch)}.")
        if name in batch:
            shape = batch[name].values.shape
            size = card.input_size(name, asked.window)
            wanted = (asked.batch_size, len(spec.bands), size, size)
            if (shape[0], *shape[-3:]) != wanted:
                raise PredictError(f"Input {name} came as {shape}; windows, bands, y and x must be {wanted}.")


def _check_evaluation(network: nn.Module, card: ModelCard) -> None:
    programs = {id(inner) for each in network.modules() if isinstance(each, Program) for inner in each.modules()}
    for name, layer in network.named_modules():
        if id(layer) in programs:  # looked at when it was loaded: it has no modes left to look at
            continue
        # Instance norms keep no statistics either, but use the window's own alone.
        batch_norm = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        if layer.training or (batch_norm and layer.running_mean is None):
            state = "is in training mode" if layer.training else "normalises with the statistics of its batch"
            raise CardError(
                f"Layer {name} ({type(layer).__name__}) of {card.name} {state}: a window's answer would depend on "
                f"its neighbours in the batch. Use a network without such layers."
            )


def _explained(error: RuntimeError, asked: Answering) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    full = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in first
    advice = f" A batch has {asked.batch_size} windows of {asked.window} px: lower model.batch_size." if full else ""
    return f"Model {asked.card.name} failed on {asked.device}: {first}{advice}"


def _advice(batch: Mapping[str, InputBatch]) -> str:
    for name, given in batch.items():
        seen = np.broadcast_to(np.expand_dims(given.valid, -3), given.values.shape)
        if not np.isfinite(given.values[seen]).all():
            return f"Input {name} holds values that are not finite where it says it was measured."
    return "Its inputs are finite where they were measured: look at the weights."
