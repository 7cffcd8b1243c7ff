"""From a ``publish`` section and a stored map to a publication that can be run."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from landweave.config.problems import problem_lines
from landweave.config.schema import Config, EngineSection, PublishSection, ZonesSection, known_keys
from landweave.core.crosswalk import Crosswalk, load_crosswalk
from landweave.core.errors import ConfigError
from landweave.core.grid import Grid, exact
from landweave.core.legend import Legend
from landweave.core.words import bullets, counted
from landweave.formats.dalle_cog import GDAL_VERSION
from landweave.formats.hectares import check_areas
from landweave.formats.products import map_tags, mark_of
from landweave.formats.zones import ZoneTable, read_zones
from landweave.publishing.catalog import ANY_TIME, Catalog, known_days
from landweave.publishing.cleanup import Cleanup
from landweave.publishing.cogs import ClassCogs, ConfidenceCogs
from landweave.publishing.dalles import DalleGrid
from landweave.publishing.hectares import Hectares
from landweave.publishing.map_state import MapState
from landweave.publishing.polygons import Polygons
from landweave.publishing.products import DalleProduct
from landweave.publishing.publication import find_record
from landweave.publishing.reader import PublishedPixels
from landweave.publishing.run import PublishSetup
from landweave.setup.map_setup import engine_settings
from landweave.setup.vector_files import on_disk
from landweave.store.common import library_versions
from landweave.store.maps.store import MapStore, open_store
from landweave.store.objects import Target

_OTHER = "default"
"""Key of `minimum_unit_m2` for all classes that have none of their own."""


def publish_section(
    config: Config | None,
    to: str | Path | None,
    storage_options: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
) -> PublishSection:
    """The section of a configuration with its paths resolved, or of what a call says alone.

    Parameters
    ----------
    config
        Its paths count from the folder of its file; None where only a map is given.
    to
        Folder in place of ``publish.folder``.
    storage_options
        Of the map; of the folder too where it is an object store without its own.
    settings
        Keys in place of those of the section.

    Raises
    ------
    ConfigError
        When no folder is named, or a key or a value is wrong.
    """
    stated = config.publish.model_dump(exclude_unset=True) if config and config.publish else {}
    if config:
        stated |= {key: _resolved(config, stated[key]) for key in ("folder", "crosswalk") if stated.get(key)}
        if zones := stated.get("zones"):
            stated["zones"] = {**zones, "file": config.path(zones["file"])}
    if to is not None:
        stated |= {"folder": str(to)} | (
            {"storage_options": dict(storage_options)} if storage_options and "://" in str(to) else {}
        )
    stated |= settings
    if "folder" not in stated:
        raise ConfigError("Where to publish is not said: name a folder (--to), or set publish.folder.")
    try:
        return PublishSection(**stated)
    except ValidationError as error:
        lines = [f"publish.{line}" for line in problem_lines(error, known_keys(PublishSection))]
        problems = counted(len(lines), "problem")
        raise ConfigError(f"{problems} in the settings of the publication:{bullets(lines)}") from None


def publish_keys(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the section that a command states, with or without ``publish.`` before their keys.

    Raises
    ------
    ConfigError
        When one is no key of the section.
    """
    stated = {key.removeprefix("publish."): value for key, value in overrides.items()}
    if unknown := stated.keys() - PublishSection.model_fields.keys():
        raise ConfigError(f"publish.{min(unknown)}: unknown key. Keys are {', '.join(PublishSection.model_fields)}.")
    return stated


def _resolved(config: Config, text: str) -> str:
    """A path from the configuration's folder; the name of a packaged crosswalk stays as it is."""
    return text if text.startswith("cosia-") else config.path(text)


def set_up_publish(section: PublishSection, map_target: Target, engine: EngineSection) -> PublishSetup:
    """The publication of a map, every setting resolved; reads metadata and the ledger of the map, no pixel.

    Parameters
    ----------
    section
        From `publish_section`.
    map_target
        Where the map is stored.
    engine
        What makes the dalles.

    Raises
    ------
    InputError
        When there is no map; when areas are asked for, or patches of an area, that its CRS does not keep.
    OutputError
        When the folder holds anything else.
    ConfigError
        When the settings do not fit the map.
    """
    target = Target.parse(section.folder, section.storage_options)
    _check_apart(target, map_target)
    find_record(target)
    store = open_store(map_target)
    crosswalk = _crosswalk(section, store)
    legend = crosswalk.legend if crosswalk else store.legend
    pixels = PublishedPixels(map=store, crosswalk=crosswalk, cleanup=_cleanup(section, legend, store.grid))
    dalles = DalleGrid(grid=store.grid, mapped=store.mapped_extent, size_m=section.dalle_m, name=section.name)
    known = known_days(store.attrs)
    dates = tuple(section.dates.split("/")) if section.dates else known or ANY_TIME
    notes = () if section.dates or known else ("dates of the imagery are not known: publish.dates states them",)
    states_areas = section.zones or section.polygons or section.minimum_unit_m2
    notes = (*notes, *(check_areas(store.grid) if states_areas else ()))
    zones = _zones(section.zones, store) if section.zones else None
    return PublishSetup(
        target=target,
        map=MapState.read(store),
        pixels=pixels,
        dalles=dalles,
        products=tuple(_products(section, store, pixels, dalles.levels, zones)),
        catalog=_catalog(section, store, pixels, (dates[0], dates[1])),
        settings=_settings(section, store, pixels),
        engine=engine_settings(engine, 1),
        notes=(*notes, *(zones.notes if zones else ())),
    )


def _check_apart(target: Target, map_target: Target) -> None:
    one, other = f"{target.location}/", f"{map_target.location}/"
    if one.startswith(other) or other.startswith(one):
        raise ConfigError(f"The map {map_target} and what is published, {target}, lie one in the other: move one.")


def _crosswalk(section: PublishSection, store: MapStore) -> Crosswalk | None:
    if section.crosswalk is None:
        return None
    crosswalk = load_crosswalk(section.crosswalk)
    crosswalk.check(store.legend)
    return crosswalk


def _cleanup(section: PublishSection, legend: Legend, grid: Grid) -> Cleanup | None:
    stated = section.minimum_unit_m2
    units = dict(stated) if isinstance(stated, dict) else {_OTHER: stated}
    known = {each.name: each.code for each in legend.classes}
    if unknown := units.keys() - known.keys() - {_OTHER}:
        raise ConfigError(
            f"publish.minimum_unit_m2: {min(unknown)!r} is no class of {legend.name!r}; its classes are "
            f"{', '.join(known)}, and {_OTHER} is all that are not named."
        )
    wanted = {code: exact(units.get(name, units.get(_OTHER, 0))) for name, code in known.items()}
    minimum = tuple((code, ceil(unit / grid.pixel_m2)) for code, unit in wanted.items() if unit > grid.pixel_m2)
    return Cleanup(minimum=minimum, majority=section.majority) if minimum or section.majority else None


def _products(
    section: PublishSection, store: MapStore, pixels: PublishedPixels, levels: int, zones: ZoneTable | None
) -> list[DalleProduct]:
    tags = map_tags(store)
    products: list[DalleProduct] = [ClassCogs(legend=pixels.legend, tags=tags, levels=levels)]
    if section.confidence and "confidence" in pixels.arrays:
        products.append(ConfidenceCogs(tags=tags, levels=levels))
    if section.polygons:
        products.append(Polygons(simplify_m=section.simplify_m))
    if zones:
        products.append(Hectares(table=zones, grid=store.grid))
    return products


def _zones(section: ZonesSection, store: MapStore) -> ZoneTable:
    with on_disk(section.file) as file:
        return read_zones(
            file, store.grid, setting="publish.zones", layer=section.layer, where=section.where, name=section.file
        )


def _catalog(section: PublishSection, store: MapStore, pixels: PublishedPixels, dates: tuple[str, str]) -> Catalog:
    processing: dict[str, Any] = {"crosswalk to": pixels.crosswalk.legend.name} if pixels.crosswalk else {}
    if section.majority:
        processing["majority filter"] = f"{section.majority} px"
    if section.minimum_unit_m2:
        processing["minimum unit (m2)"] = section.minimum_unit_m2
    versions = {**store.attrs.get("libraries", {}), **library_versions(), "gdal": GDAL_VERSION}
    return Catalog(
        id=_identifier(store),
        legend=pixels.legend,
        provenance=store.attrs,
        processing=processing,
        dates=dates,
        software=versions,
    )


def _identifier(store: MapStore) -> str:
    """The name of the map's store without its ending, in letters that every catalog takes."""
    name = store.target.location.rpartition("/")[2].partition(".")[0]
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in name)


def _settings(section: PublishSection, store: MapStore, pixels: PublishedPixels) -> dict[str, Any]:
    """All that decides the files but the pixels of the map."""
    return {
        "map": {"fingerprint": mark_of(store), "arrays": list(store.arrays)},
        "dalle_m": section.dalle_m,
        "name": section.name,
        "crosswalk": dict(pixels.crosswalk.fingerprint_fields) if pixels.crosswalk else None,
        "cleanup": dict(pixels.cleanup.fingerprint_fields) if pixels.cleanup else None,
        "dates": section.dates,
    }
