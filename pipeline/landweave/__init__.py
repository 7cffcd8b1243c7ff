# ruff: noqa: F405  the names are those of landweave.api
"""Land-cover maps from aerial mosaics and satellite series: torch models over xarray objects, into Zarr, on Dask.

::

    open_mosaic, open_series, open_cube          pixels, as xarray objects
    load_config, check, plan_align, align        a configuration, and its series brought onto one grid
    plan_map, run, status, verify, open_map      the map, block by block
    area_by_class                                hectares by class of communes, parcels, any polygons
    plan_publish, publish                        the map as files for each dalle, with a catalog
    report, view                                 the map as one page, and at any zoom in a browser
    predict                                      the map where it is looked at
    evaluate, evaluate_model, open_patches       how right it is
    draw_sample, estimate_areas                  hectares with intervals, from a sample that people interpret
    change, compare                              two maps; a map and another product of the same ground
    list_models, load_model                      the models

Maps have an accessor of their own: ``open_map(...).landweave.plot()``. It is there for any xarray object once one of
these names was used beside xarray; ``import landweave`` alone loads nothing.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landweave.api import *  # noqa: F403
    from landweave.models.catalog import list_models, load_model

__version__ = "0.1.0"
__all__ = [
    "ChangeRule",
    "ChipImages",
    "Config",
    "Grid",
    "Labels",
    "PixelClass",
    "SamplingRule",
    "align",
    "area_by_class",
    "change",
    "check",
    "compare",
    "draw_sample",
    "draw_status",
    "errors",
    "estimate_areas",
    "evaluate",
    "evaluate_model",
    "example_config",
    "list_models",
    "load_config",
    "load_cube_config",
    "load_model",
    "open_cube",
    "open_engine",
    "open_ledger",
    "open_map",
    "open_mosaic",
    "open_patches",
    "open_series",
    "plan_align",
    "plan_map",
    "plan_publish",
    "predict",
    "publish",
    "report",
    "run",
    "stack",
    "status",
    "verify",
    "view",
]


def __getattr__(name: str) -> Any:
    """Load the public names on first use, so that ``import landweave`` stays quick and light."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if "xarray" in sys.modules:
        import_module("landweave.api").register_accessor()
    module = "landweave.models.catalog" if name in ("list_models", "load_model") else "landweave.api"
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
