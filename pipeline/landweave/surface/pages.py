"""A map as people look at it: one page that opens from disk, or any zoom in a browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

import geopandas
import shapely

from landweave.config.schema import Config
from landweave.core.crs import keeps_areas
from landweave.core.errors import ConfigError, InputError, OutputError
from landweave.core.whole_files import write_whole
from landweave.formats.web_words import Language
from landweave.jobs.progress import Progress, resolve_progress
from landweave.publishing.catalog import known_days, sources_of
from landweave.reporting.page import MARK, ReportInputs, render, report_page
from landweave.setup.imagery import find_aerial_picture
from landweave.setup.map_setup import map_target
from landweave.store.maps.store import MapStore, open_store
from landweave.surface.engines import AnyEngine, reading_engine
from landweave.surface.extras import load_viewer
from landweave.surface.hectares import ZoneSource, stored_areas


def report(  # noqa: PLR0913  what is shown, how, and who counts
    what: Config | str | Path,
    to: str | Path,
    *,
    zones: ZoneSource | None = None,
    layer: str | None = None,
    where: str | None = None,
    language: Language = "en",
    storage_options: Mapping[str, Any] | None = None,
    client: Any = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
) -> Path:
    """A map as one page that opens from disk, with no network: map, legend, areas, progress, cost and provenance.

    The map is shown in the finest overview of at most 4 million pixels; the page then has some MB. Areas are counted on
    every pixel of the map.

    Parameters
    ----------
    what
        A configuration: its mosaic is shown beneath the map. Or path or URL of a map, which is shown alone.
    to
        A new file, or an earlier page of this program.
    zones, layer, where
        Zones whose areas are listed, as of `area_by_class`.
    language
        ``en`` or ``fr``: the language that the page opens in; it has a switch.
    storage_options
        Of the object store of the map, and of zones that are named by a URL.
    client, engine
        Who counts the areas, as of `area_by_class`.
    progress
        Of counting; True for a bar on a terminal or in a notebook, False for none.

    Raises
    ------
    ConfigError
        When there is no such language.
    InputError
        When there is no map, or the zones cannot be used.
    OutputError
        When something else is in the place of the page, or it cannot be written.

    Examples
    --------
    >>> report("landcover.zarr", "landcover.html", language="fr").name
    'landcover.html'
    """
    if language not in get_args(Language):
        raise ConfigError(f"Pages are in {' or '.join(get_args(Language))}, not in {language!r}.")
    path = Path(to)
    _refuse_foreign(path)
    store = open_store(map_target(what, storage_options))
    aerial, aerial_note = find_aerial_picture(what if isinstance(what, Config) else None)
    with reading_engine(engine, client) as opened:
        count = partial(stored_areas, store, opened, progress=resolve_progress(progress))
        zoned = None if zones is None else count(zones, layer=layer, where=where)
        areas, areas_note = _whole_areas(store, count, zoned)
    inputs = ReportInputs(
        store=store,
        aerial=aerial,
        aerial_note=aerial_note,
        areas=areas,
        areas_note=areas_note,
        zones=zoned,
        sources=sources_of(store.attrs),
        days=" \u2013 ".join(dict.fromkeys(known_days(store.attrs) or ())),
    )
    _write(render(report_page(inputs), language), path)
    return path


def _refuse_foreign(path: Path) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"A report is a page that ends in .html, not {path.name}.")
    if not os.path.lexists(path):
        return
    if not path.is_file() or MARK.encode() not in path.read_bytes()[:4096]:
        raise OutputError(f"{path} is there already and is no report: choose another name, or remove it first.")


def _whole_areas(
    store: MapStore, count: Callable[[ZoneSource], geopandas.GeoDataFrame], zoned: geopandas.GeoDataFrame | None
) -> tuple[geopandas.GeoDataFrame | None, str]:
    """Hectares of the whole map in one row, None where its CRS does not keep them; and what is to be known of them."""
    notes = [] if zoned is None else zoned.attrs["notes"]
    try:
        ground = shapely.box(*store.grid.with_extent(store.mapped_extent).bounds)
        areas = count(geopandas.GeoDataFrame(geometry=[ground], crs=store.grid.crs))
        notes = [note for note in notes if note not in areas.attrs["notes"]]  # how true areas are, the page says itself
    except InputError as error:  # its CRS does not keep areas; the page has all else
        areas, notes = None, [str(error)] if keeps_areas(store.grid.crs, store.grid.bounds) else []
    return areas, "; ".join(dict.fromkeys(notes))


def _write(text: str, path: Path) -> None:
    try:
        write_whole(path.parent, {path.name: text.encode()})
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error}. Check the folder and its free space.") from error


def view(
    what: Config | str | Path,
    *,
    storage_options: Mapping[str, Any] | None = None,
    ready: Callable[[str], None] = print,
) -> None:
    """Show a map in a browser at any zoom, until interrupted: classes, confidence and the aerial picture.

    The server listens on this machine alone, on a free port; its address has a token. A map whose run goes on is shown
    as far as it is. In a notebook, ``open_map(…).landweave.view()`` shows the same.

    Parameters
    ----------
    what
        A configuration, whose mosaic is shown beneath its map; path or URL of a map; or a folder that was published.
    storage_options
        Of the object store of the map.
    ready
        Called with the address of the page.

    Raises
    ------
    ConfigError
        When the extra ``view`` is not installed.
    InputError
        When there is no map.

    Examples
    --------
    >>> import webbrowser
    >>> view("landcover.zarr", ready=webbrowser.open)  # until Ctrl-C
    """
    viewer = load_viewer()
    target = map_target(what, storage_options)
    server = viewer.ViewServer(viewer.open_view(what, target))
    ready(server.url)
    server.serve()
