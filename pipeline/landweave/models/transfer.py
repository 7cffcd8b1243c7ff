"""The way of a batch to the device: nothing to do on a CPU; on a GPU copies go on while another batch is computed.

::

    reading thread    arrays ──> page-locked memory ──> copy, on a stream of its own ──┐
    device thread                        network on the batch before, then waits ──────┴──> network on this one
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landweave.core.protocols import InputBatch

_FIELDS = ("values", "valid", "days", "present")


@dataclass(frozen=True, kw_only=True)
class SentBatch:
    """A batch on its way to a device.

    Attributes
    ----------
    tensors
        By input and field of `InputBatch`; to be used after `received` alone.
    arrival
        Event of a GPU; None where there is nothing to wait for.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    arrival: torch.cuda.Event | None = None

    def received(self) -> Mapping[str, Mapping[str, Tensor]]:
        """The tensors, for the calling thread's current stream."""
        if self.arrival is not None:
            stream = torch.cuda.current_stream(next(iter(next(iter(self.tensors.values())).values())).device)
            stream.wait_event(self.arrival)
            for tensor in (each for fields in self.tensors.values() for each in fields.values()):
                tensor.record_stream(stream)  # its memory is free once this stream has used it
        return self.tensors


class Transfer:
    """Sends batches to one device; called from any thread.

    Parameters
    ----------
    device
        ``cpu``, ``cuda`` or ``meta``.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, batch: Mapping[str, InputBatch]) -> SentBatch:
        """Begin to copy a batch; on a GPU the arrays are free when this returns, on a CPU they are the tensors."""
        if self._stream is None:
            return SentBatch(tensors=self._sent(batch))
        with torch.cuda.stream(self._stream):
            return SentBatch(tensors=self._sent(batch), arrival=self._stream.record_event())

    def _sent(self, batch: Mapping[str, InputBatch]) -> dict[str, dict[str, Tensor]]:
        return {
            name: {field: self._tensor(array) for field in _FIELDS if (array := getattr(given, field)) is not None}
            for name, given in batch.items()
        }

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        if self._device.type == "meta":
            # One value seen everywhere, so that memory is counted without what the caller holds.
            dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
            return torch.empty((), dtype=dtype, device="meta").expand(array.shape)
        # torch warns of arrays that it may not write to, even where it never does.
        tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        return tensor if self._stream is None else tensor.pin_memory().to(self._device, non_blocking=True)
