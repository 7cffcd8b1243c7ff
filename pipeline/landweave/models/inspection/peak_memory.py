"""Memory of a network: its weights, and the peak of its activations, counted without values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_ONEDNN_BLOCK = 16
"""Channels that oneDNN computes together."""


def tensor_bytes(network: nn.Module) -> int:
    """Return the bytes of a network's parameters and buffers."""
    return sum(int(tensor.nbytes) for tensor in (*network.parameters(), *network.buffers()))


def peak_bytes(call: Callable[[], Any]) -> int:
    """Return the most bytes of tensors created during ``call`` that exist at once.

    On the meta device nothing is allocated.
    """
    mode = _PeakMemoryMode()
    with torch.no_grad(), mode:
        call()
    return mode.peak


class _PeakMemoryMode(TorchDispatchMode):
    """Counts the storages that operators create, until they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = operator(*args, **(kwargs or {}))
        self._storages = {key: each for key, each in self._storages.items() if not each[0].expired()}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        current = sum(size for _, size in self._storages.values())
        copies = _reordered_bytes(args[0], result) if "convolution" in str(operator) else 0
        self.peak = max(self.peak, current + copies)
        return result


def _reordered_bytes(x: Tensor, result: Tensor) -> int:
    """Return the bytes of the copies that a convolution makes on a CPU.

    oneDNN works on blocks of 16 channels: planes by channel are copied in and out, channels-last is not.
    """
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return 0
    blocks = (-(-each.shape[1] // _ONEDNN_BLOCK) * _ONEDNN_BLOCK for each in (x, result))
    return sum(each.nbytes // each.shape[1] * channels for each, channels in zip((x, result), blocks, strict=True))
