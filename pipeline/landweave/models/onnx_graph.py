"""A network as an ONNX graph: what the file for QGIS and the engines that run graphs are made of."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

OPSET = 18
"""Of every graph: the onnxruntime of 2023, which QGIS often has, reads no newer one."""


def export_graph(network: nn.Module, example: tuple[Tensor, ...], names: Sequence[str], **stated: Any) -> Any:
    """The ``onnx.ModelProto`` of a network, for tensors of one size.

    Parameters
    ----------
    network
        Called with tensors in order; in evaluation mode.
    example
        Such tensors.
    names
        Of the inputs.
    **stated
        Further arguments of `torch.onnx.export`.

    Raises
    ------
    ImportError
        When a library of the extra ``engines`` is missing.
    Exception
        Of the exporter's own classes, when an operation has no form in ONNX.
    """
    import onnxscript  # noqa: F401  the exporter's, which says less clearly that it is missing

    plain = torch.autocast("cpu", enabled=False)  # whoever runs the graph chooses its precision
    with torch.inference_mode(False), torch.no_grad(), plain, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the exporter itself does
        # Images of a channels-last network come in planes: a graph has no memory format.
        planes = tuple(each.clone(memory_format=torch.contiguous_format) for each in example)
        stated |= {"opset_version": OPSET, "dynamo": True, "optimize": True, "verbose": False}
        program = torch.onnx.export(network, planes, input_names=list(names), **stated)
    return program.model_proto  # type: ignore[union-attr]
