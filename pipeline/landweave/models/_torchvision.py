"""Imports of timm and segmentation-models-pytorch, which need torchvision's Python side only.

Beside a torch without CUDA, torchvision's compiled extension does not load, its operators are unknown, and
``import torchvision`` fails with ``operator torchvision::nms does not exist``. Declaring those operators, by
name and types (nothing here calls them), is enough. Other modules import ``smp`` and ``timm`` from here.
"""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _load_extension() -> None:
    """Load torchvision's own operators where its compiled extension fits this torch."""
    found = importlib.util.find_spec("torchvision")
    for folder in (found and found.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob("_C.*")):
            try:
                torch.ops.load_library(str(path))
            except OSError:
                continue


def _declare_missing() -> torch.library.Library:
    """Declare the operators that are still unknown, for as long as the returned library is referenced."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.split("(", 1)[0]):
            library.define(schema)
    return library


def _import_libraries() -> tuple[Any, Any]:
    with warnings.catch_warnings():
        # Raised in notebooks because of a bar for downloads, and nothing is downloaded here.
        warnings.filterwarnings("ignore", message="IProgress not found")
        import segmentation_models_pytorch
        import timm

    return segmentation_models_pytorch, timm


_load_extension()
_DECLARED = _declare_missing()
smp, timm = _import_libraries()
