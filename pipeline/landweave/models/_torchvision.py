"""The one door to timm and segmentation-models-pytorch, which need torchvision's Python side only.

Beside a torch without CUDA, torchvision's compiled extension does not load, its operators are unknown, and
``import torchvision`` fails with ``operator torchvision::nms does not exist``. Declaring those operators, by
name and types (nothing here calls them), is enough. Other modules import ``smp`` and ``timm`` from here.
"""

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
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
    """The declarations, alive as long as the value returned is."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.split("(", 1)[0]):
            library.define(schema)
    return library


@cache
def _smp() -> Any:
    with _ready():
        import segmentation_models_pytorch

        return segmentation_models_pytorch


@cache
def _timm() -> Any:
    with _ready():
        import timm

        return timm


@contextmanager
def _ready() -> Iterator[None]:
    _declared()
    with warnings.catch_warnings():
        # Said in notebooks of a bar for downloads, and nothing is downloaded here.
        warnings.filterwarnings("ignore", message="IProgress not found")
        yield


@cache
def _declared() -> torch.library.Library:
    _load_extension()
    return _declare_missing()


class _Opened:
    """A library behind the door, imported when something of it is first asked for: that takes seconds."""

    def __init__(self, library: Callable[[], Any]) -> None:
        self._library = library

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library(), name)

    def __dir__(self) -> list[str]:
        return dir(self._library())


smp: Any = _Opened(_smp)
timm: Any = _Opened(_timm)
