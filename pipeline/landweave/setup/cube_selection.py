"""From a cube, or what a notebook selected of one, to the configuration of its map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from landweave.config.schema import Config
from landweave.core.errors import ConfigError
from landweave.core.grid import Bounds
from landweave.models.cards.registry import find_card
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.sources import CubeSeries
from landweave.store.cubes.store import open_cube_store
from landweave.store.objects import Target


def config_of_cube(
    cube: xr.DataTree | str | Path, card: str | None, *, weights: str | Path | None, year: int | None
) -> Config:
    """The configuration of a map from everything in a cube that the card knows.

    Raises
    ------
    ConfigError
        When no card is named, nothing of the cube is of use to it, or what was selected of a tree is no whole box of
        days and ground.
    """
    if card is None:
        raise ConfigError("A cube alone makes no map: name the model's card, as predict(cube, card='LC-D', weights=…).")
    where, storage_options = _source_of(cube) if isinstance(cube, xr.DataTree) else (str(cube), {})
    where = where if "://" in where else str(Path(where).absolute())
    groups = open_cube_store(Target.parse(where, storage_options)).groups
    if isinstance(cube, xr.DataTree):
        groups = {name: group for name, group in groups.items() if name in cube.children}
    wanted = find_card(card).inputs
    dated = {"year": year} if year is not None else {}
    inputs = {
        name: {
            "kind": "cube",
            "store": where,
            "storage_options": storage_options,
            **(dated if group.template.is_series else {}),
        }
        for name, group in groups.items()
        if name in wanted
    }
    if not inputs:
        raise ConfigError(f"{where} has {', '.join(groups)}; {card} reads {', '.join(wanted)}: nothing of it is there.")
    grid = groups[next(iter(inputs))].grid
    content = {
        "grid": {"crs": grid.crs, "anchor": [str(value) for value in grid.anchor_xy]},
        "inputs": inputs,
        "model": {"card": card, **({"weights": str(Path(weights).absolute())} if weights else {})},
        "output": {"store": "nowhere.zarr", "chunk": 64},
        "engine": {"kind": "inline"},
    }
    if isinstance(cube, xr.DataTree):
        content |= _part_of({name: groups[name] for name in inputs}, cube, inputs)
    return Config(**content)


def _source_of(cube: xr.DataTree) -> tuple[str, dict[str, Any]]:
    """Where a tree was opened, and the options of that store."""
    if "source" not in cube.encoding:
        raise ConfigError("This tree does not tell which cube it comes from: open it with landweave.open_cube.")
    return str(cube.encoding["source"]), dict(cube.encoding.get("storage_options", {}))


def _part_of(groups: Mapping[str, CubeGroup], cube: xr.DataTree, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a configuration that say what of the stored ``groups`` is still in ``cube``."""
    bounds: list[tuple[float, ...]] = []
    told: dict[str, Any] = {}
    for name, group in groups.items():
        here = cube[name].to_dataset()
        days = _days_of(CubeSeries.of(group), np.atleast_1d(here["time"].values)) if "time" in here else {}
        told[name] = {**inputs[name], **days}
        if here["y"].size < group.grid.shape[0] or here["x"].size < group.grid.shape[1]:
            bounds.append(_bounds_of(name, group, here))
    return {"inputs": told, **({"area": {"bounds": _shared(bounds)}} if bounds else {})}


def _days_of(stored: CubeSeries, times: NDArray[Any]) -> dict[str, str]:
    """Which of the dates of a cube are meant, as its input says it; nothing where all are."""
    if len(times) == len(stored.observations):
        return {}
    days = times.astype("M8[D]")
    span = (days.min(), days.max()) if len(days) else ()
    between = len(stored.between(*span).observations) if span else 0
    if not span or between != len(times):
        told = f" from {span[0]} to {span[1]}, where the cube has {between}" if span else ""
        raise ConfigError(
            f"{len(times)} of {len(stored.observations)} dates of {stored.modality} were selected{told}: a model is "
            "given all dates between two days. Select them by a slice of days, or align a cube of those dates alone."
        )
    return {"dates": f"{span[0]}/{span[1]}"}


def _bounds_of(name: str, group: CubeGroup, here: xr.Dataset) -> Bounds:
    """Outer edges of the pixels that were selected."""
    side = float(group.grid.resolution)
    edges = []
    for axis in ("x", "y"):
        places = np.sort(np.atleast_1d(here[axis].values))
        gaps = np.diff(places)
        if not places.size or (gaps.size and not np.allclose(gaps, side, rtol=0, atol=side / 100)):
            spacing = f"a spacing of {gaps.max():g} m" if gaps.size else "no pixel"
            raise ConfigError(
                f"{name} has a pixel every {side:g} m along {axis}, the selection {spacing}: select a box."
            )
        edges.append((float(places[0]) - side / 2, float(places[-1]) + side / 2))
    (x0, x1), (y0, y1) = edges
    return x0, y0, x1, y1


def _shared(bounds: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    x0, y0, x1, y1 = np.array(bounds).T
    return float(x0.max()), float(y0.max()), float(x1.min()), float(y1.min())
