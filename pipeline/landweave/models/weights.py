"""Loading of weights: every tensor must be there, once, with its shape, or nothing is loaded."""

from __future__ import annotations

import argparse
import io
import pickle
import re
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from landweave.core.errors import WeightsError
from landweave.core.words import bullets
from landweave.models.checksums import refuse_foreign
from landweave.models.file_bounds import (
    HEADER_BYTES,
    archive_problem,
    is_archive,
    nested_problem,
    pickle_problem,
    tensor_problem,
)
from landweave.models.file_kinds import begins_as_safetensors, is_plain_pickle, pickled_module
from landweave.models.rival_weights import MOST_LEVELS, WRAPPERS, is_rival, same

_NESTED = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights")
"""Keys of a training checkpoint that hold the network's tensors."""

_AVERAGED = re.compile(r"(^|[._])(ema|swa)([._]|$)")
"""Keys and prefixes of weights that training tools average beside the network's own."""

_TRAINING_ONLY = re.compile(
    r"((model|module|net|network|seg_model)\.)*"
    r"(n_averaged$|aux_decoders\.|(\w+_)?(criterion|criterions|loss|losses|loss_fn|metric|metrics)\."
    r"|(train|val|valid|validation|test)_\w+\.)"
)
"""Tensors used in training alone: accepted, and left out where the network has none of that name."""

_COUNTER = "num_batches_tracked"
"""Batches that a norm layer saw in training: prediction does not use it."""

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

_BROKEN = (
    *(RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, MemoryError, ImportError),
    *(AssertionError, ArithmeticError, zipfile.BadZipFile, struct.error),
)
"""What torch, pickle and zipfile raise at damaged files."""

_UNKNOWN = "Which of the two belongs to the network is unknown: save its state_dict alone."

_SHOWN = 8
"""Longest list of names in a message."""


def load_weights(network: nn.Module, path: Path, *, resize_tables: bool = False) -> tuple[str, ...]:
    """Fill ``network`` with the tensors of ``path``, a file of safetensors or of torch, and return notes on them.

    Prefixes that training tools add are removed; averaged weights beside the network's own and tensors used in
    training alone are left out, and noted. Nothing else is changed, except by ``resize_tables``.

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
    stored, notes = read_tensors(path)
    found, dropped = _renamed(stored, network.state_dict(), path)
    if resize_tables:
        from landweave.models.networks.resizing import resized_tables  # timm takes seconds to import

        found = resized_tables(found, network)
    wanted = network.state_dict()
    if problems := _differences(found, wanted):
        fitting = sum(name in wanted and found[name].shape == wanted[name].shape for name in found)
        raise WeightsError(
            f"Weights {path} do not fit the network: {fitting} of its {len(wanted)} tensors are there."
            + bullets(problems)
        )
    network.load_state_dict(dict(found), strict=True)
    return (*notes, *dropped, *_number_notes(found))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of a weights file by the names in it, on the CPU, and notes on what is beside them.

    Raises
    ------
    WeightsError
        When the file is broken, of an unknown kind, or holds more than plain tensors.
    """
    if not path.is_file():
        raise WeightsError(f"Weights {path} cannot be read: there is no such file.")
    refuse_foreign(path)
    with path.open("rb") as file:
        head = file.read(9)
    # The name alone does not tell: torch's two kinds begin otherwise.
    if begins_as_safetensors(head) or (path.suffix == ".safetensors" and not head.startswith((b"PK", b"\x80"))):
        if (header := int.from_bytes(head[:8], "little")) > HEADER_BYTES:
            raise WeightsError(
                f"Weights {path} are broken (they state a header of {header:,} bytes, and {HEADER_BYTES:,} are read): "
                "fetch them again."
            )
        try:
            return load_file(path), []
        except (SafetensorError, *_BROKEN) as error:
            raise WeightsError(f"Weights {path} are broken ({error}): fetch them again.") from error
    return _read_checkpoint(path)


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    try:
        packed = is_archive(path)
        _refuse_unbounded(path, (archive_problem(path) if packed else "") or pickle_problem(path))
        # Mapped, not read: a training checkpoint holds two or three times the network in optimiser state.
        if is_plain_pickle(path):
            with path.open("rb") as file:
                content = _TensorUnpickler(file).load()
        else:
            # Torch goes by the name .safetensors, whatever is inside; what is read from memory has no name.
            named = path.suffix != ".safetensors"
            source = path if named else io.BytesIO(path.read_bytes())
            with torch.serialization.safe_globals(_PLAIN_GLOBALS):
                content = torch.load(source, map_location="cpu", weights_only=True, mmap=named and packed)
    except WeightsError:
        raise
    except pickle.UnpicklingError as error:
        raise WeightsError(f"Weights {path} {_code_text(path, error)}") from error
    except _BROKEN as error:
        raise WeightsError(f"Weights {path} are broken ({_first_line(error)}): fetch them again.") from error
    return _tensors(content, path)


class _TensorUnpickler(pickle.Unpickler):
    """Reads tensors that `pickle` wrote without torch: what each names is made here, and nothing else is imported."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what makes a tensor; anything else raises."""
        makers = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
            "torch.storage._load_from_bytes": _load_from_bytes,
        }
        if f"{module}.{name}" not in makers:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")
        return makers[f"{module}.{name}"]


def _refuse_unbounded(path: Path, problem: str) -> None:
    if problem:
        raise WeightsError(f"Weights {path} were not loaded: the file {problem}. Fetch them again, or save them anew.")


def _load_from_bytes(content: bytes) -> Any:
    if problem := nested_problem(content):
        raise ValueError(f"it {problem}")
    return torch.load(io.BytesIO(content), weights_only=True)


def _code_text(path: Path, error: Exception) -> str:
    """Return what a file holds that is no tensor."""
    if module := pickled_module(path):
        return (
            f"hold a whole pickled module, {module}, and were not loaded: that would run code that came with it. Where "
            f"you trust it, load it in the project that has its class, and save its state_dict() alone."
        )
    named = re.search(r"GLOBAL (\S+)", str(error))  # the name that the file would import, where torch gives it
    return (
        f"hold more than plain tensors, or are broken, and were not loaded: loading them would run code "
        f"that came with the file{f': {named[1]}' if named else ''}. Save the network's state_dict alone, where you "
        f"trust it."
    )


def _tensors(content: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the dictionary of tensors in a checkpoint, at any depth, and notes on others beside it."""
    notes: list[str] = []
    for _ in range(MOST_LEVELS):
        parts = content if isinstance(content, Mapping) else {}
        averaged = [key for key, value in parts.items() if isinstance(value, Mapping) and _AVERAGED.search(str(key))]
        named = [key for key in _NESTED if isinstance(parts.get(key), Mapping)]
        if not named and not averaged:
            break
        key, *alike = named or averaged
        rivals = [each for each in parts if each != key and is_rival(parts[key], parts[each])]
        if undecided := [each for each in alike if each in rivals]:
            raise WeightsError(
                f"Weights {path} hold the network twice, as {key} and {undecided[0]}, with different values. {_UNKNOWN}"
            )
        if averaged:
            used = f"are left out beside {key}" if named else "are used, as there are no others"
            notes.append(f"averaged weights ({', '.join(averaged)}) {used}")
        if others := [str(each) for each in rivals if each not in averaged]:
            notes.append(f"other weights ({_listed(others)}) are left out beside {key}")
        content = parts[key]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"Weights {path} hold {type(content).__name__}, not a state_dict of tensors.")
    if others := [str(name) for name, value in content.items() if not isinstance(value, Tensor)]:
        raise WeightsError(f"Weights {path} hold no state_dict: {_listed(others)} are not tensors.")
    for name, each in content.items():
        _refuse_unbounded(path, tensor_problem(str(name), each))
    return {str(name): value for name, value in content.items()}, notes


def _renamed(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors under the network's names, and notes on those that are left out or stand in."""
    plain: dict[str, Tensor] = {}
    if twice := [
        name for name, each in tensors.items() if not same(plain.setdefault(WRAPPERS.sub("", name), each), each)
    ]:
        raise WeightsError(
            f"Weights {path} hold {len(twice)} twice, with and without a name that torch adds: {_listed(twice)}. "
            f"{_UNKNOWN}"
        )
    prefix, copies = _prefix(plain, wanted, path)
    own = {name.removeprefix(prefix): tensor for name, tensor in plain.items() if name.startswith(prefix)}
    others = {name: tensor for name, tensor in plain.items() if name.removeprefix(prefix) not in wanted}
    averaged = [name for name in others if _AVERAGED.search(name)]
    training = [name for name in others if _TRAINING_ONLY.match(name) and name not in averaged]
    left_out = {*averaged, *training, *copies}
    unknown = {name.removeprefix(prefix): each for name, each in others.items() if name not in left_out}
    fits = not own.keys().isdisjoint(wanted)
    counters = {name: each for name, each in wanted.items() if fits and name.endswith(_COUNTER) and name not in own}
    notes = [
        *([f"averaged weights are left out: {_listed(averaged)}"] if averaged else ()),
        *([f"tensors of training alone are left out: {_listed(training)}"] if training else ()),
        *([f"{len(counters)} of {_COUNTER} are missing, which prediction does not use"] if counters else ()),
        *([f"the averaged weights ({prefix}) are used, as there are no others"] if _AVERAGED.search(prefix) else ()),
    ]
    return {name: each for name, each in own.items() if name in wanted} | unknown | counters, notes


def _prefix(names: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> tuple[str, set[str]]:
    """Return what stands before the network's names in a file: the prefix that has most of them, and half at least.

    And the names under which a file has the same tensors again.
    """
    found = Counter(
        prefix
        for name in names
        for prefix in _prefixes(name)
        if name.removeprefix(prefix) in wanted and not name.endswith(_COUNTER)
    )
    count, there = (sum(not name.endswith(_COUNTER) for name in each) for each in (wanted, names))
    ranked = sorted(found, key=lambda each: (-found[each], _AVERAGED.search(each) is not None, len(each)))
    if not ranked or found[ranked[0]] < min(count, there) / 2:  # a few names are alike in most networks
        return "", set()
    prefix, copies = ranked[0], set[str]()
    for other in ranked[1:]:
        whole = found[other] == count and (not _AVERAGED.search(other) or _AVERAGED.search(prefix))
        twice = [each for each in wanted if {prefix + each, other + each} <= names.keys()] if whole or not other else []
        if not all(same(names[prefix + each], names[other + each]) for each in twice):
            raise WeightsError(
                f"Weights {path} hold {len(twice)} twice, {_after(other)} and {_after(prefix)}: {_listed(twice)}. "
                f"{_UNKNOWN}"
            )
        copies |= {other + each for each in twice}
    return prefix, copies


def _prefixes(name: str) -> Iterator[str]:
    """Yield every beginning of a name that ends at a full stop, the empty one first."""
    yield ""
    yield from (name[: end + 1] for end, letter in enumerate(name) if letter == ".")


def _after(prefix: str) -> str:
    return f"with {prefix!r}" if prefix else "without a prefix"


def _number_notes(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    kinds = {str(each.dtype).removeprefix("torch.") for each in tensors.values() if each.is_floating_point()}
    if other := sorted(kinds - {"float32"}):
        yield f"stored as {', '.join(other)}, computed as float32"


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
        "not finite": [  # as they are computed: a large number of float64 is infinite in float32
            name
            for name, (own, other) in both.items()
            if own.is_floating_point() and not torch.isfinite(own.to(other.dtype)).all()
        ],
    }
    return [f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds.items() if names]


def _listed(names: Sequence[str]) -> str:
    more = f", … and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
