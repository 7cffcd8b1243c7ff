"""A program of `torch.export` from its ``.pt2`` file, after a look into the archive: tensors and plain operators only.

`torch.export.load` falls back on unrestricted pickles, resolves operators by attribute, and makes Python source of
names, guards and symbolic sizes in the file. Each of those doors that is known is checked before it is called: a
program has plain tensors, tensor operators, plain names and fixed sizes. Still, torch promises nothing for files of
strangers, and a card should state the sha256 of its program.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landweave.core.errors import WeightsError

_OPERATOR = re.compile(r"torch\.ops\.(aten|prims)\.\w+(\.\w+)?|_operator\.getitem")
"""What a node of the graph may call."""

_TRAINING_ARGUMENT = {"torch.ops.aten.batch_norm.default": "training", "torch.ops.aten.dropout.default": "train"}
"""Operators that behave otherwise in training, and the argument that says so."""


class Program(nn.Module):
    """An exported network: logits ``(n, class, y, x)`` of one tensor of exactly ``shape_nchw``.

    Parameters
    ----------
    program
        With one input and one output, both tensors.
    """

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.shape_nchw = _input_shape(program)
        self.graph_module = program.module()

    def forward(self, x: Tensor) -> Tensor:
        """The program's answer."""
        logits: Tensor = self.graph_module(x)
        return logits

    def train(self, mode: bool = True) -> Program:
        """Itself: a program is what it was when exported, and has no modes."""
        return self


def load_exported(path: Path) -> Program:
    """The program of ``path``.

    Raises
    ------
    WeightsError
        When the file is broken, holds more than tensors and plain operators, or was exported in training mode.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check(archive, path)
        return Program(torch.export.load(path))
    except (OSError, zipfile.BadZipFile, KeyError, json.JSONDecodeError, RuntimeError, AssertionError) as error:
        raise WeightsError(f"Program {path} is broken or of another version ({error}): export it again.") from error


def _input_shape(program: torch.export.ExportedProgram) -> tuple[int, ...]:
    inputs = program.graph_signature.user_inputs
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    if len(nodes) != 1 or len(program.graph_signature.user_outputs) != 1:
        raise WeightsError(
            f"The program has {len(nodes)} inputs and {len(program.graph_signature.user_outputs)} outputs: "
            f"export one that takes one tensor (n, channel, y, x) and gives one of logits (n, class, y, x)."
        )
    return tuple(int(size) for size in nodes[0].meta["val"].shape)


def _check(archive: zipfile.ZipFile, path: Path) -> None:
    problems = list(dict.fromkeys((*_pickles(archive), *_strange_nodes(archive))))
    if problems:
        raise WeightsError(
            f"Program {path} was not loaded, since loading it could run code that came with it, or since it is not "
            f"meant for inference:\n" + "\n".join(f"  - {each}" for each in problems[:8])
        )


def _pickles(archive: zipfile.ZipFile) -> Iterator[str]:
    """Parts that would be unpickled without restriction."""
    for name in archive.namelist():
        if name.endswith(("_weights_config.json", "_constants_config.json")):
            config = json.loads(archive.read(name))["config"]
            yield from (f"{key} is a pickle" for key, entry in config.items() if _is_pickle(entry))
        elif "/data/" in name and name.endswith(".pt") and not _is_plain(archive.read(name)):
            yield f"{name} is more than plain tensors"


def _is_pickle(entry: dict[str, Any]) -> bool:
    return bool(entry.get("use_pickle")) or not entry["path_name"].startswith(("weight_", "tensor_"))


def _is_plain(content: bytes) -> bool:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        return False
    return True


def _strange_nodes(archive: zipfile.ZipFile) -> Iterator[str]:
    """Calls of anything but operators, names that are no names, sizes that are not fixed, layers still in training."""
    for name in archive.namelist():
        if "/models/" in name and name.endswith(".json"):
            for entry in _entries(json.loads(archive.read(name))):
                yield from _strange(entry)


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON document."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield value
    for each in inner:
        yield from _entries(each)


def _strange(entry: dict[str, Any]) -> Iterator[str]:
    target, name = entry.get("target"), entry.get("name")
    if isinstance(target, str) and not _OPERATOR.fullmatch(target):
        yield f"it calls {target}"
    if isinstance(name, str) and name and not name.isidentifier():
        yield f"a value is named {name!r}"
    if entry.get("guards_code") or "expr_str" in entry:
        yield "its sizes are not fixed: export it without dynamic shapes, for the batch and window of the run"
    if _is_training(entry):
        yield f"{target} is in training mode: call eval() before torch.export.export"


def _is_training(node: dict[str, Any]) -> bool:
    argument = _TRAINING_ARGUMENT.get(str(node.get("target")))
    return argument is not None and any(
        each.get("name") == argument and each.get("arg", {}).get("as_bool") for each in node.get("inputs", ())
    )
