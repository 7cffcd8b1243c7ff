"""Weights into a network: every tensor must be there, once, with its shape, or nothing is loaded."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from landweave.core.errors import WeightsError

_WRAPPERS = ("", "model.seg_model.", "model.", "seg_model.", "module.")
"""What training tools put before the names of a network's tensors."""

_NESTED = ("state_dict", "model_state_dict", "model")
"""Where a training checkpoint keeps the network's tensors among other things."""

_TRAINING_ONLY = ("criterion.", "aux_decoders.")
"""Tensors that serve training: accepted, and left out where the network has none of that name."""

_PATHS = ("pathlib", "pathlib._local")
_NUMPY = ("numpy._core.multiarray", "numpy.core.multiarray")
"""Where numpy's arrays say that they come from, new and old."""

_multiarray: Any = import_module("numpy._core.multiarray")
_INERT: list[Any] = [
    *((PurePosixPath, f"{module}.PosixPath") for module in _PATHS),
    *((PureWindowsPath, f"{module}.WindowsPath") for module in _PATHS),  # the other one cannot be made on Linux
    *((_multiarray.scalar, f"{module}.scalar") for module in _NUMPY),
    *((_multiarray._reconstruct, f"{module}._reconstruct") for module in _NUMPY),
    *(type(np.dtype(kind)) for kind in "?bhilqBHILQefd"),
    *(np.ndarray, np.dtype, argparse.Namespace),
]
"""Plain values that training tools keep beside tensors: paths, numbers, settings. Making one runs no code of a file."""

Adapt = Callable[[Mapping[str, Tensor], nn.Module], dict[str, Tensor]]
"""Changes tensors to suit a network, both by the network's names."""

_SHOWN = 8
"""Names of a long list that a message shows."""


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, as hexadecimal digits.

    Raises
    ------
    WeightsError
        When it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"Weights {path} cannot be read: {error.strerror or error}.") from error


def check_sha256(path: Path, wanted: str) -> None:
    """Refuse a file whose bytes are not those of ``wanted``.

    Raises
    ------
    WeightsError
        With both checksums.
    """
    found = file_sha256(path)
    if found != wanted.lower():
        raise WeightsError(
            f"Weights {path} have sha256 {found}, not {wanted}: they are another version, or damaged. "
            f"Fetch them again, or state the sha256 of these."
        )


def load_weights(network: nn.Module, path: Path, *, adapt: Adapt | None = None) -> None:
    """Fill ``network`` with the tensors of ``path``: a ``.safetensors`` file, or a ``.ckpt`` or ``.pth`` of torch.

    Prefixes that training tools add are removed; tensors that serve training only are left out. Nothing else is
    changed, unless ``adapt`` is asked to.

    Raises
    ------
    WeightsError
        When a tensor is missing, unexpected, misshapen, of another kind of number or not finite (all are listed), when
        the file is broken, or when it holds more than plain tensors and values. The network is then as it was.
    """
    found = _fitted(read_tensors(path), network, path)
    if adapt is not None:
        found = adapt(found, network)
    wanted = network.state_dict()
    problems = _differences(found, wanted)
    if problems:
        fitting = sum(name in wanted and found[name].shape == wanted[name].shape for name in found)
        raise WeightsError(
            f"Weights {path} do not fit the network: {fitting} of its {len(wanted)} tensors are there.\n"
            + "\n".join(f"  - {each}" for each in problems)
        )
    network.load_state_dict(dict(found), strict=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a weights file by name, on the CPU, as they are named there.

    Raises
    ------
    WeightsError
        When the file is broken, of an unknown kind, or holds more than plain tensors.
    """
    if not path.is_file():
        raise WeightsError(f"Weights {path} cannot be read: there is no such file.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".ckpt", ".pth", ".pt"):
        return _read_checkpoint(path)
    raise WeightsError(f"Weights {path} end in {path.suffix or 'nothing'}: give .safetensors, .ckpt or .pth.")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"Weights {path} are broken ({error}): fetch them again.") from error


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    try:
        # Mapped, not read: a training checkpoint holds two or three times the network in optimiser state.
        with torch.serialization.safe_globals(_INERT):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"Weights {path} hold more than plain tensors, or are broken, and were not loaded: loading them would run "
            f"code that came with the file{_strange(error)}. Save the network's state_dict alone, where you trust it."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"Weights {path} are broken ({_first_line(error)}): fetch them again.") from error
    return _tensors(content, path)


def _strange(error: pickle.UnpicklingError) -> str:
    """What the file asked for, where torch says it."""
    named = re.search(r"GLOBAL (\S+)", str(error))
    return f": {named[1]}" if named else ""


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The dictionary of tensors in a checkpoint, however deep training tools put it."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _NESTED if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"Weights {path} hold {type(content).__name__}, not a state_dict of tensors.")
    if strange := [str(name) for name, value in content.items() if not isinstance(value, Tensor)]:
        raise WeightsError(f"Weights {path} hold no state_dict: {_listed(strange)} are not tensors.")
    return {str(name): value for name, value in content.items()}


def _fitted(tensors: Mapping[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    """The tensors under the network's names: with the prefix removed that leaves most of them known."""
    wanted = set(network.state_dict())
    wrapper = max(_WRAPPERS, key=lambda each: sum(name.removeprefix(each) in wanted for name in tensors))
    if twice := [name for name in tensors if wrapper and wrapper + name in tensors]:
        raise WeightsError(
            f"Weights {path} hold {len(twice)} twice, with and without {wrapper!r}: {_listed(twice)}. Which of the two "
            f"is the network's cannot be told: save its state_dict alone."
        )
    named = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in named.items() if name in wanted or not _is_training_only(name)}


def _is_training_only(name: str) -> bool:
    return any(name.removeprefix(wrapper).startswith(_TRAINING_ONLY) for wrapper in _WRAPPERS)


def _differences(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    both = [name for name in wanted if name in found]
    misshapen = [
        f"{name} is {tuple(found[name].shape)}, the network's {tuple(wanted[name].shape)}"
        for name in both
        if found[name].shape != wanted[name].shape
    ]
    kinds = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": misshapen,
        "of another kind": [
            f"{name} is {_kind(found[name])}, the network's {_kind(wanted[name])}"
            for name in both
            if found[name].is_floating_point() != wanted[name].is_floating_point()
        ],
        "not finite": [name for name in both if not torch.isfinite(found[name]).all()],
    }
    return [f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds.items() if names]


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f", … and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
