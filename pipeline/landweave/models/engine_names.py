"""The engines of inference by name: read by commands, which need nothing else of models to print a line of help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Engine = Literal["eager", "compile", "onnxruntime", "openvino"]
"""What runs a network: torch as it is, compiled by it, or an exported graph in another library."""

LIBRARIES: Mapping[Engine, tuple[str, ...]] = {
    "eager": (),
    "compile": (),
    "onnxruntime": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}
"""What each needs beside torch: exporters, and what runs the graph."""
