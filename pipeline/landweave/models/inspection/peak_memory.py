"""What a network holds at once: the most bytes alive at any moment of a call, counted without values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_BLOCK = 16
"""Channels that oneDNN computes together."""


class _Alive(TorchDispatchMode):
    """Counts the storages that operators make and nobody has let go of yet."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        answer = operator(*args, **(kwargs or {}))
        self._storages = {key: each for key, each in self._storages.items() if not each[0].expired()}
        for tensor in tree_leaves(answer):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        held = sum(size for _, size in self._storages.values())
        self.peak = max(self.peak, held + (_reordered(args[0], answer) if _is_convolution(operator) else 0))
        return answer


def _is_convolution(operator: Any) -> bool:
    return "convolution" in str(operator)


def _reordered(x: Tensor, answer: Tensor) -> int:
    """Bytes of the copies that a convolution makes on a CPU.

    oneDNN works on blocks of 16 channels: what lies plane by plane is copied in and out, channels-last is not.
    """
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return 0
    return sum(each.nbytes // each.shape[1] * -(-each.shape[1] // _BLOCK) * _BLOCK for each in (x, answer))


def peak_bytes(call: Callable[[], Any]) -> int:
    """Most bytes that tensors made during ``call`` hold at once; run it on the meta device to allocate none."""
    with torch.no_grad(), _Alive() as alive:
        call()
    return int(alive.peak)
