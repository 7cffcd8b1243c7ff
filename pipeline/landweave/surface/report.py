"""The page of a map, written: what is counted, read and stated for it, from a store and its configuration."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import geopandas
import shapely

from landweave.config.schema import Config
from landweave.core.crs import keeps_areas
from landweave.core.errors import ConfigError, InputError, OutputError
from landweave.core.protocols import Engine
from landweave.core.whole_files import write_whole
from landweave.formats.web_words import Language
from landweave.jobs.progress import Progress
from landweave.publishing.catalog import known_days, sources_of
from landweave.reporting.page import MARK, render
from landweave.reporting.report import ReportInputs, report_page
from landweave.setup.imagery import find_aerial_picture
from landweave.store.common import library_versions
from landweave.store.maps.store import MapStore, open_store
from landweave.store.objects import Target
from landweave.store.run_record import last_run
from landweave.surface.hectares import ZoneSource, stored_areas


@dataclass(frozen=True)
class ZoneFile:
    """Zones of a report: where they come from, and which of them."""

    source: ZoneSource
    layer: str | None = None
    where: str | None = None


def write_report(
    target: Target,
    to: str | os.PathLike[str],
    config: Config | None,
    zones: ZoneFile | None,
    language: Language,
    engine: AbstractContextManager[Engine],
    *,
    progress: Progress,
) -> Path:
    """Write the page of a stored map.

    Parameters
    ----------
    target
        Of the map.
    to
        The page.
    config
        Whose mosaic is shown; None to show the map alone.
    zones
        Whose areas are listed.
    language
        It opens in.
    engine
        Counts the areas.
    progress
        Of counting the areas.

    Raises
    ------
    ConfigError
        When there is no such language.
    InputError
        When there is no map, or the zones cannot be used.
    OutputError
        When anything but an earlier page is there, or it cannot be written.
    """
    if language not in get_args(Language):
        raise ConfigError(f"Pages are in {' or '.join(get_args(Language))}, not in {language!r}.")
    path = Path(to)
    _refuse_foreign(path)
    store = open_store(target)
    with engine as opened:
        text = render(report_page(_inputs(store, config, zones, opened, progress)), language)
    try:
        write_whole(path.parent, {path.name: text.encode()})
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error}. Check the folder and its free space.") from error
    return path


def _refuse_foreign(path: Path) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"A report is a page that ends in .html, not {path.name}.")
    if not os.path.lexists(path):
        return
    if not path.is_file() or MARK.encode() not in path.read_bytes()[:4096]:
        raise OutputError(f"{path} is there already and is no report: choose another name, or remove it first.")


def _inputs(
    store: MapStore, config: Config | None, zones: ZoneFile | None, engine: Engine, progress: Progress
) -> ReportInputs:
    count = partial(stored_areas, store, engine, progress=progress)
    aerial, aerial_note = find_aerial_picture(config)
    counted, notes = None, list[str]()
    if zones is not None:
        counted = count(zones.source, layer=zones.layer, where=zones.where)
        notes += counted.attrs["notes"]
    try:
        ground = shapely.box(*store.grid.with_extent(store.mapped_extent).bounds)
        areas = count(geopandas.GeoDataFrame(geometry=[ground], crs=store.grid.crs))
        notes = [note for note in notes if note not in areas.attrs["notes"]]  # how true areas are, the page says itself
    except InputError as error:  # its CRS does not keep areas; the page has all else
        areas, notes = None, [str(error)] if keeps_areas(store.grid.crs, store.grid.bounds) else []
    return ReportInputs(
        store=store,
        aerial=aerial,
        aerial_note=aerial_note,
        areas=areas,
        areas_note="; ".join(dict.fromkeys(notes)),
        zones=counted,
        run=last_run(store.target),
        sources=sources_of(store.attrs),
        days=" \u2013 ".join(dict.fromkeys(known_days(store.attrs) or ())),
        software={**store.attrs.get("libraries", {}), "landweave": library_versions()["landweave"]},
    )
