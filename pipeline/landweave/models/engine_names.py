"""The engines of inference by name: read by commands, which need nothing else of models to print a line of help."""

from __future__ import annotations

from typing import Literal

Engine = Literal["eager", "compile", "onnxruntime", "openvino"]
"""What runs a network: torch as it is, compiled by it, or an exported graph in another library."""
