"""Loading of a `torch.export` program from its ``.pt2`` file, after checks of the archive.

`torch.export.load` falls back on unrestricted pickles, resolves operators by attribute, and generates Python source
from names, guards and symbolic sizes in the file. Each of these ways to run code is checked before it is called: only
plain tensors, tensor operators, plain names and fixed sizes are accepted. Still, torch promises nothing for untrusted
files, and a card should state the sha256 of its program.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from landweave.core.errors import WeightsError
from landweave.core.words import bullets
from landweave.models.file_bounds import archive_problem, text_problem
from landweave.models.file_kinds import foreign_kind

_OPERATOR = re.compile(r"torch\.ops\.(aten|prims)\.\w+(\.\w+)?|_operator\.getitem")
"""Operators that a node of the graph may call."""

_LONGEST = 300
"""Letters of an error of torch that are repeated."""

_MOST_AXES = 16
_MOST_NUMBERS = 2**33
"""Of a tensor in a program: 32 GiB of float32."""

_TRAINING_ARGUMENT = {"torch.ops.aten.batch_norm.default": "training", "torch.ops.aten.dropout.default": "train"}
"""Operators that differ in training, and the argument that switches it."""


class Program(nn.Module):
    """An exported network: logits ``(n, class, y, x)`` of one tensor of exactly ``shape_nchw``.

    Parameters
    ----------
    program
        With one input and one output, both tensors.
    """

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.shape_nchw, self.output_nchw = _shapes(program)
        self.graph_module = program.module()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(n, class, y, x)``."""
        return cast(Tensor, self.graph_module(x))

    def train(self, mode: bool = True) -> Program:
        """Return itself: a program has no modes."""
        return self

    def check_shapes(self, wanted: tuple[int, int, int, int], channels: int, path: Path) -> None:
        """Refuse a program that was exported for another shape than a run's, or gives other channels than the card's.

        Parameters
        ----------
        wanted
            Windows, bands, y and x of every call.
        channels
            Of the output: the classes of the card.
        path
            Of the program, for the message.

        Raises
        ------
        WeightsError
            With both shapes.
        """
        if self.shape_nchw != wanted:
            raise WeightsError(
                f"Program {path} was exported for a tensor of shape {self.shape_nchw}; the run's batch (windows, "
                f"bands, y, x) is {wanted}: export it for that, or run it with its own batch_size and window."
            )
        output = (wanted[0], channels, *wanted[2:])
        if self.output_nchw != output:
            one = " One channel for two classes is a sigmoid: write activation and threshold in the card."
            raise WeightsError(
                f"Program {path} gives {self.output_nchw}, and the card says (windows, channels, y, x) {output}: as "
                f"many channels as classes, and a class for every pixel of the window."
                f"{one if self.output_nchw[1] == 1 else ''}"
            )


def load_exported(path: Path) -> Program:
    """Return the program of ``path``.

    Raises
    ------
    WeightsError
        When the file is broken, holds more than tensors and plain operators, or was exported in training mode.
    """
    try:
        if kind := foreign_kind(path, program=True):
            raise WeightsError(f"Program {path} cannot be loaded: the file is {kind}.")
        if problem := archive_problem(path):
            raise WeightsError(f"Program {path} was not loaded: it {problem}. Export it again.")
        with zipfile.ZipFile(path) as archive:
            _check(archive, path)
        return Program(torch.export.load(path))
    except WeightsError:
        raise
    except Exception as error:
        # Of its version of torch's serialisation a damaged file may raise whatever there is.
        raise WeightsError(
            f"Program {path} is broken or of another version ({type(error).__name__}: {str(error)[:_LONGEST]}): "
            "export it again."
        ) from error


def _shapes(program: torch.export.ExportedProgram) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of a program's input and output, once each is one float tensor of four axes."""
    signature, structure = program.graph_signature, program.call_spec.out_spec
    takes, gives = (
        [node.meta["val"] for node in program.graph.nodes if node.name in names]
        for names in (signature.user_inputs, signature.user_outputs)
    )
    problems = []
    if len(takes) != 1 or takes[0].dtype != torch.float32 or takes[0].ndim != 4:
        problems.append(f"takes {_listed(takes)}, and is to take normalised float32 of (n, channel, y, x)")
    if not structure.is_leaf():
        keys = f" with {', '.join(map(str, structure.context))}" if structure.type is dict else ""
        problems.append(f"gives a {structure.type.__name__}{keys}, and is to give one tensor")
    elif len(gives) != 1 or not gives[0].is_floating_point() or gives[0].ndim != 4:
        whole = "" if not gives or gives[0].is_floating_point() else ": classes that are decided already"
        problems.append(f"gives {_listed(gives)}{whole}, and is to give logits (n, class, y, x)")
    if problems:
        raise WeightsError(f"The program {'; it '.join(problems)}. Export a network that does.")
    return tuple(map(int, takes[0].shape)), tuple(map(int, gives[0].shape))


def _listed(tensors: Sequence[Tensor]) -> str:
    return " and ".join(f"{str(x.dtype).removeprefix('torch.')} of {tuple(x.shape)}" for x in tensors) or "no tensor"


def _check(archive: zipfile.ZipFile, path: Path) -> None:
    texts = ((part.filename, part.file_size) for part in archive.infolist() if part.filename.endswith(".json"))
    problems = [problem for text in texts if (problem := text_problem(*text))]
    problems = problems or list(dict.fromkeys((*_pickles(archive), *_node_problems(archive))))
    if problems:
        raise WeightsError(
            f"Program {path} was not loaded, since loading it could run code that came with it, or since it is not "
            f"meant for inference:{bullets(problems[:8])}"
        )


def _pickles(archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield parts that would be unpickled without restriction."""
    for name in archive.namelist():
        if name.endswith(("_weights_config.json", "_constants_config.json")):
            config = json.loads(archive.read(name))["config"]
            for key, entry in config.items():
                if entry.get("use_pickle") or not entry["path_name"].startswith(("weight_", "tensor_")):
                    yield f"{key} is a pickle"
        elif "/data/" in name and name.endswith(".pt") and not _is_plain(archive.read(name)):
            yield f"{name} is more than plain tensors"


def _is_plain(content: bytes) -> bool:
    try:
        if archive_problem(io.BytesIO(content)):
            return False
        torch.load(io.BytesIO(content), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile):
        return False
    return True


def _node_problems(archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield calls of anything but operators, invalid names, sizes that are not fixed, and layers in training mode."""
    for name in archive.namelist():
        if "/models/" in name and name.endswith(".json"):
            for entry in _entries(json.loads(archive.read(name))):
                yield from _entry_problems(entry)


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a JSON document."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield value
    for each in inner:
        yield from _entries(each)


def _entry_problems(entry: dict[str, Any]) -> Iterator[str]:
    target, name = entry.get("target"), entry.get("name")
    if isinstance(target, str) and not _OPERATOR.fullmatch(target):
        yield f"it calls {target}"
    if isinstance(name, str) and name and not name.isidentifier():
        yield f"a value is named {name!r}"
    if entry.get("guards_code") or "expr_str" in entry:
        yield "its sizes are not fixed: export it without dynamic shapes, for the batch and window of the run"
    numbers = max(map(_product, (entry.get("as_ints"), entry.get("sizes"))))
    if numbers > _MOST_NUMBERS:
        yield f"a tensor of {numbers:,} numbers stands in it"
    if _is_training(entry):
        yield f"{target} is in training mode: call eval() before torch.export.export"


def _product(sizes: Any) -> int:
    """Product of the sizes of a tensor, as numbers or as objects that hold one; 1 for anything else."""
    found = [
        each.get("as_int") if isinstance(each, dict) else each for each in (sizes if isinstance(sizes, list) else ())
    ]
    return math.prod(abs(each) for each in found[:_MOST_AXES] if isinstance(each, int)) if found else 1


def _is_training(node: dict[str, Any]) -> bool:
    argument = _TRAINING_ARGUMENT.get(str(node.get("target")))
    return argument is not None and any(
        each.get("name") == argument and each.get("arg", {}).get("as_bool") for each in node.get("inputs", ())
    )
