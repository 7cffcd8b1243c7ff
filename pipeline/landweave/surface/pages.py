"""A map as people look at it: one page that opens from disk, or any zoom in a browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from landweave.config.schema import Config
from landweave.formats.web_words import Language
from landweave.jobs.progress import Progress, resolve_progress
from landweave.setup.map_setup import map_target
from landweave.surface.engines import AnyEngine, reading_engine
from landweave.surface.extras import load_viewer
from landweave.surface.hectares import ZoneSource
from landweave.surface.report import ZoneFile, write_report


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
        Of the object store of the map.
    client, engine
        Who counts the areas, as of `area_by_class`.
    progress
        Of counting; True for a bar on a terminal or in a notebook, False for none.

    Raises
    ------
    InputError
        When there is no map, or the zones cannot be used.
    OutputError
        When something else is in the place of the page, or it cannot be written.

    Examples
    --------
    >>> report("landcover.zarr", "landcover.html", language="fr").name
    'landcover.html'
    """
    target = map_target(what, storage_options)
    zoned = ZoneFile(zones, layer, where) if zones is not None else None
    config, shown = what if isinstance(what, Config) else None, resolve_progress(progress)
    return write_report(target, to, config, zoned, language, reading_engine(engine, client), progress=shown)


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
