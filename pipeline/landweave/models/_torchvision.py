"""The one door to timm and segmentation-models-pytorch, which need torchvision's Python side only.

Beside a torch without CUDA, torchvision's compiled extension does not load, its operators are unknown, and
``import torchvision`` fails with ``operator torchvision::nms does not exist``. Declaring those operators, by
name and types (nothing here calls them), is enough. Other modules import ``smp`` and ``timm`` from here.
"""

import importlib.util
import warnings
from pathlib import Path

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
    """The declarations, alive as long as the value returned is."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.split("(", 1)[0]):
            library.define(schema)
    return library


_load_extension()
_DECLARED = _declare_missing()

with warnings.catch_warnings():
    # Said in notebooks of a bar for downloads, and nothing is downloaded here.
    warnings.filterwarnings("ignore", message="IProgress not found")
    import segmentation_models_pytorch as smp
    import timm

__all__ = ["smp", "timm"]
