"""Loading of weights: every tensor must be there, once, with its shape, or nothing is loaded."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from landweave.core.errors import WeightsError

_PREFIXES = ("", "model.seg_model.", "model.", "seg_model.", "module.")
"""Prefixes that training tools add to the names of a network's tensors."""

_NESTED = ("state_dict", "model_state_dict", "model")
"""Keys of a training checkpoint that hold the network's tensors."""

_TRAINING_ONLY = ("criterion.", "aux_decoders.")
"""Tensors used in training alone: accepted, and left out where the network has none of that name."""

_PATHS = ("pathlib", "pathlib._local")
_NUMPY = ("numpy._core.multiarray", "numpy.core.multiarray")
"""Modules that pickled numpy arrays name, new and old."""

_multiarray: Any = import_module("numpy._core.multiarray")
_PLAIN_GLOBALS: list[Any] = [
    *((PurePosixPath, f"{module}.PosixPath") for module in _PATHS),
    *((PureWindowsPath, f"{module}.WindowsPath") for module in _PATHS),  # the other one does not exist on Linux
    *((_multiarray.scalar, f"{module}.scalar") for module in _NUMPY),
    *((_multiarray._reconstruct, f"{module}._reconstruct") for module in _NUMPY),
    *(type(np.dtype(kind)) for kind in "?bhilqBHILQefd"),
    *(np.ndarray, np.dtype, argparse.Namespace),
]
"""Plain values that training tools store beside tensors: paths, numbers, settings. Unpickling one runs no code."""

_SHOWN = 8
"""Longest list of names in a message."""


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, as hexadecimal digits.

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
    """Refuse a file with another checksum.

    Parameters
    ----------
    path
        Of the file.
    wanted
        The sha256 that it must have, in either case.

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


def load_weights(network: nn.Module, path: Path, *, resize_tables: bool = False) -> None:
    """Fill ``network`` with the tensors of ``path``: a ``.safetensors`` file, or a ``.ckpt`` or ``.pth`` of torch.

    Prefixes that training tools add are removed; tensors used in training alone are left out. Nothing else is
    changed, except by ``resize_tables``.

    Parameters
    ----------
    network
        On any device but meta.
    path
        Of the file.
    resize_tables
        Whether position tables of another window are interpolated before they are checked.

    Raises
    ------
    WeightsError
        When a tensor is missing, unexpected, misshapen, of another kind of number or not finite (all are listed), when
        the file is broken, or when it holds more than plain tensors and values. The network is then as it was.
    """
    found = _renamed(read_tensors(path), network, path)
    if resize_tables:
        from landweave.models.networks.resizing import resized_tables  # timm takes seconds to import

        found = resized_tables(found, network)
    wanted = network.state_dict()
    if problems := _differences(found, wanted):
        fitting = sum(name in wanted and found[name].shape == wanted[name].shape for name in found)
        raise WeightsError(
            f"Weights {path} do not fit the network: {fitting} of its {len(wanted)} tensors are there.\n"
            + "\n".join(f"  - {each}" for each in problems)
        )
    network.load_state_dict(dict(found), strict=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file by the names in it, on the CPU.

    Raises
    ------
    WeightsError
        When the file is broken, of an unknown kind, or holds more than plain tensors.
    """
    if not path.is_file():
        raise WeightsError(f"Weights {path} cannot be read: there is no such file.")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"Weights {path} are broken ({error}): fetch them again.") from error
    if path.suffix in (".ckpt", ".pth", ".pt"):
        return _read_checkpoint(path)
    raise WeightsError(f"Weights {path} end in {path.suffix or 'nothing'}: give .safetensors, .ckpt or .pth.")


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    try:
        # Mapped, not read: a training checkpoint holds two or three times the network in optimiser state.
        with torch.serialization.safe_globals(_PLAIN_GLOBALS):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))  # the name that the file would import, where torch gives it
        raise WeightsError(
            f"Weights {path} hold more than plain tensors, or are broken, and were not loaded: loading them would "
            f"run code that came with the file{f': {named[1]}' if named else ''}. Save the network's state_dict alone, "
            f"where you trust it."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"Weights {path} are broken ({_first_line(error)}): fetch them again.") from error
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the dictionary of tensors in a checkpoint, at any depth."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _NESTED if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"Weights {path} hold {type(content).__name__}, not a state_dict of tensors.")
    if others := [str(name) for name, value in content.items() if not isinstance(value, Tensor)]:
        raise WeightsError(f"Weights {path} hold no state_dict: {_listed(others)} are not tensors.")
    return {str(name): value for name, value in content.items()}


def _renamed(tensors: Mapping[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    """Return the tensors under the network's names: without the prefix that matches most of them."""
    wanted = set(network.state_dict())
    prefix = max(_PREFIXES, key=lambda each: sum(name.removeprefix(each) in wanted for name in tensors))
    if twice := [name for name in tensors if prefix and prefix + name in tensors]:
        raise WeightsError(
            f"Weights {path} hold {len(twice)} twice, with and without {prefix!r}: {_listed(twice)}. Which of the two "
            f"belongs to the network is unknown: save its state_dict alone."
        )
    named = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in named.items() if name in wanted or not _is_training_only(name)}


def _is_training_only(name: str) -> bool:
    return any(name.removeprefix(prefix).startswith(_TRAINING_ONLY) for prefix in _PREFIXES)


def _differences(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    both = {name: (found[name], wanted[name]) for name in wanted if name in found}
    kinds = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} is {tuple(own.shape)}, the network's {tuple(other.shape)}"
            for name, (own, other) in both.items()
            if own.shape != other.shape
        ],
        "of another kind": [
            f"{name} is {own.dtype}, the network's {other.dtype}".replace("torch.", "")
            for name, (own, other) in both.items()
            if own.is_floating_point() != other.is_floating_point()
        ],
        "not finite": [name for name, (own, _) in both.items() if not torch.isfinite(own).all()],
    }
    return [f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds.items() if names]


def _listed(names: Sequence[str]) -> str:
    more = f", … and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
