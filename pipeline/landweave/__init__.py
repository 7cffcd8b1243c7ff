"""Weaves aerial mosaics and satellite series into aligned cubes, and models over them into land-cover maps.

The story in order: `sources` give pixels on a `grid`; a `lattice` lays windows and blocks on it; `models` answer
window by window; `blending` makes one map of the answers; a `store` keeps it; an `engine` runs the blocks.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landweave.api import (
        Config,
        align,
        check,
        example_config,
        load_config,
        load_cube_config,
        open_cube,
        open_engine,
        open_ledger,
        open_map,
        plan_align,
        plan_map,
        predict,
        run,
        stack,
        status,
    )

__version__ = "0.1.0"
__all__ = [
    "Config",
    "align",
    "check",
    "example_config",
    "load_config",
    "load_cube_config",
    "open_cube",
    "open_engine",
    "open_ledger",
    "open_map",
    "plan_align",
    "plan_map",
    "predict",
    "run",
    "stack",
    "status",
]


def __getattr__(name: str) -> Any:
    """Load the public functions on first use, so that ``import landweave`` stays quick and light."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from landweave import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
