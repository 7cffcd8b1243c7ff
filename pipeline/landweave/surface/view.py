"""What the viewer shows of a configuration, a stored map, a publication, or a map in memory.

Imported by `landweave.surface.extras.load_viewer`: it needs the extra ``view``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from cachetools import TTLCache, cached
from ipyleaflet import FullScreenControl, LayersControl, LegendControl, Map, ScaleControl, TileLayer

from landweave.config.schema import Config
from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.legend import LandClass, Legend
from landweave.core.protocols import BlockState
from landweave.core.pyramid import depth
from landweave.setup.imagery import find_aerial_picture
from landweave.store.maps.store import MapStore, open_store
from landweave.store.maps.views import open_map
from landweave.store.objects import Target
from landweave.viewing.layers import AerialLayer, ArrayLayer, CogLayer, ViewLayer, stepped
from landweave.viewing.server import View, ViewServer

SHOWN = ("landcover", "confidence")

_LOOK_AGAIN_S = 3
"""How often a map whose run goes on is asked how far it is."""

_COARSEST_PX = 512

_MOST_ZOOM, _WIDTH_PX, _TILE_PX = 23, 600, 256
"""Of a map in a notebook: its last zoom, and how wide the ground is shown at first; a web tile has 256 pixels."""


def view_of_store(target: Target, config: Config | None) -> View:
    """The view of a stored map, complete or not.

    Parameters
    ----------
    target
        Of the map.
    config
        Whose mosaic is shown beneath it; None to show the map alone.

    Raises
    ------
    InputError
        When there is no map.
    """
    store = open_store(target)
    grid = store.grid.with_extent(store.mapped_extent)
    levels = cached(TTLCache(1, _LOOK_AGAIN_S))(lambda: len(store.at_level(0).grids) or 1)
    layers: dict[str, ViewLayer] = {
        name: _array_layer(grid, levels, partial(_stored_level, target, name)) for name in _shown(store)
    }
    picture, note = find_aerial_picture(config)
    if picture:
        layers["aerial"] = AerialLayer(picture, grid)
    return View(
        title=_title(store.attrs),
        classes=store.legend.classes,
        layers=layers,
        status=partial(_progress, store),
        note=note,
    )


def _array_layer(grid: Grid, levels: Any, opened: Any) -> ViewLayer:
    return ArrayLayer(grid=grid, levels=levels, open=lru_cache(opened))


def _stored_level(target: Target, name: str, level: int) -> xr.DataArray:
    return open_map(target, level)[name]


def _shown(store: MapStore) -> list[str]:
    return [name for name in SHOWN if name in store.arrays]


def _title(provenance: Mapping[str, Any]) -> str:
    return str(provenance.get("title", "Land cover"))


def _progress(store: MapStore) -> tuple[int, int]:
    """Blocks that are finished, and all of them; those outside the area count as neither."""
    states = store.ledger.read("state") if store.ledger.attributes else np.zeros(store.block_shape, np.uint8)
    finished = [state for state in BlockState if state.finished and state is not BlockState.OUTSIDE]
    return int(np.isin(states, finished).sum()), int((states != BlockState.OUTSIDE).sum())


def is_publication(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder on disk is what `landweave publish` makes."""
    return (Path(folder) / "collection.json").is_file() and (Path(folder) / "landcover.vrt").is_file()


def view_of_publication(folder: Path) -> View:
    """The view of a published folder: its COGs, by the VRT over them.

    Raises
    ------
    InputError
        When its catalog states no classes.
    """
    found = {name: folder / f"{name}.vrt" for name in SHOWN}
    layers = {name: CogLayer(str(path)) for name, path in found.items() if path.is_file()}
    note = "a published folder has none; name the configuration of the map."
    try:
        collection = _read_json(folder / "collection.json")
        title = str(collection.get("title") or collection["id"])
        classes = tuple(_published_classes(folder))
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{folder} is not as it was published ({error!r:.200}): publish it anew.") from error
    return View(title=title, classes=classes, layers=layers, note=note)


def _published_classes(folder: Path) -> Iterator[LandClass]:
    """The legend of a publication, as its items state it."""
    item = next((folder / "items").glob("*.json"), None)
    if item is None:
        raise InputError(f"{folder} has no published dalle.")
    (band,) = _read_json(item)["assets"]["landcover"]["bands"]
    for each in band["classification:classes"]:
        yield LandClass(code=each["value"], name=each["title"], color=f"#{each['color_hint']}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    return found


def view_of_dataset(mapped: xr.Dataset | xr.DataArray, grid: Grid, legend: Legend) -> View:
    """The view of a map or a part of one, from its store where it says which, otherwise from its own values.

    A map that nothing was computed of yet is computed where it is looked at.

    Parameters
    ----------
    mapped
        From `open_map` or `predict`, or a part of it.
    grid, legend
        Its own.
    """
    dataset = mapped if isinstance(mapped, xr.Dataset) else mapped.to_dataset(name="landcover")
    names = [name for name in SHOWN if name in dataset]
    layers = {}
    for name in names:
        layer = dataset[name].transpose("y", "x")
        layers[name] = _array_layer(grid, lambda: depth(grid.shape, _COARSEST_PX) + 1, partial(stepped, layer))
    note = "a map in memory has none."
    return View(title=_title(dataset.attrs), classes=legend.classes, layers=layers, note=note)


def open_view(what: Config | str | os.PathLike[str], target: Target) -> View:
    """The view of a configuration's map, of a stored map, or of a publication.

    Parameters
    ----------
    what
        As the user named it.
    target
        Of the map, where it is one.

    Raises
    ------
    InputError
        When there is nothing to show.
    """
    if not isinstance(what, Config) and "://" not in str(what) and is_publication(what):
        return view_of_publication(Path(what))
    return view_of_store(target, what if isinstance(what, Config) else None)


def notebook_map(view: View) -> Any:
    """A map for a notebook: the tiles of a server beside the kernel, with a switch for each layer, and the legend.

    ipyleaflet is what notebooks of the field show tiles with: it needs no build step, its tiles come from the server
    that the command uses, and they are read at the zoom that is looked at. lonboard draws vectors and whole rasters, a
    widget of our own would send every tile through the kernel. The browser has to reach the kernel's machine as
    127.0.0.1, as on the same machine or by ``ssh -L``.

    Parameters
    ----------
    view
        What is shown.
    """
    server = ViewServer(view)
    server.start()
    west, south, east, north = view.layers["landcover"].bounds
    order = [name for name in ("aerial", "confidence", "landcover") if name in view.layers]
    layers = [
        TileLayer(url=server.tile_url(name), name=name, max_zoom=_MOST_ZOOM, visible=name != "confidence")
        for name in order
    ]
    shown = Map(
        layers=layers, center=((south + north) / 2, (west + east) / 2), zoom=15, max_zoom=23, scroll_wheel_zoom=True
    )
    shown.fit_bounds([[south, west], [north, east]])
    colors = {each.name: each.color for each in view.classes if each.trained}
    for control in (LayersControl(), ScaleControl(), FullScreenControl(), LegendControl(colors, title="")):
        shown.add(control)
    shown.server = server
    return shown
