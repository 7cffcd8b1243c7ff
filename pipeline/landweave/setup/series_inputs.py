"""From the sections of series to searched catalogs and cut cubes, and what a card refuses of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from landweave.config.schema import StacInput
from landweave.core.errors import CardError, ConfigError, InputError
from landweave.core.grid import Grid
from landweave.core.modalities import is_radar, series_bands
from landweave.core.protocols import RasterSource, SeriesSource, has_dates
from landweave.core.words import bullets, counted
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import InputSpec
from landweave.sources.signing import signer
from landweave.sources.stac.search import StacQuery, search
from landweave.sources.stac.series import StacSeries
from landweave.store.cubes.sources import CubeSeries


def stac_query(name: str, section: StacInput, catalog: str, spec: InputSpec | None) -> StacQuery:
    """What a catalog is searched for.

    Parameters
    ----------
    name
        Modality of the input.
    section
        Its section.
    catalog
        Absolute path or address of the catalog.
    spec
        What the model card says of the input, where there is one: bands and quantity that the section leaves out.

    Raises
    ------
    ConfigError
        When the modality has no such bands, orbit or quantity.
    """
    card_bands, card_quantity = (spec.names, spec.quantity) if spec else ((), None)
    return StacQuery(
        catalog=catalog,
        collections=section.collections,
        dates=section.dates,
        modality=name,
        bands=section.bands or card_bands or series_bands(name),
        orbit_state=section.orbit,
        quantity=section.quantity or (card_quantity if is_radar(name) else None),
        stored_as=section.stored_as,
        skip_items=section.skip_items,
        cloud_source=section.cloud_mask.source,
        cloud_max=section.cloud_mask.cloud_max,
        snow_max=section.cloud_mask.snow_max,
        sign=section.sign,
    )


def stac_series(query: StacQuery, section: StacInput, grid: Grid) -> StacSeries:
    """The observations that a search finds over ``grid``, on its pixels; no file is opened.

    Parameters
    ----------
    query
        What is searched for.
    section
        How the scenes are read.
    grid
        Pixels of the input, over all ground that may be read.

    Raises
    ------
    ConfigError
        When file addresses have to be signed and what signs them is not installed.
    InputError
        When nothing usable is found.
    """
    if section.sign:
        signer(section.sign)  # fails here, not in the reads of every block
    return StacSeries.open(
        search(query, grid.lonlat_bounds),
        modality=query.modality,
        bands=query.bands,
        grid=grid,
        resampling=section.resampling,
        cloud_mask=_cloud_mask(query),
        decibels=section.decibels,
        sign=section.sign,
        storage_options=section.storage_options,
        checksums=section.checksums,
    )


def select_days(series: CubeSeries, dates: str) -> CubeSeries:
    """The observations of a cube between two days.

    Parameters
    ----------
    series
        All observations of the modality.
    dates
        First and last day, both included: ``2021-01-01/2021-12-31``.

    Raises
    ------
    ConfigError
        When these are no days.
    InputError
        When there is no observation between them.
    """
    try:
        first, last = (np.datetime64(day) for day in dates.split("/"))
    except ValueError as error:
        raise ConfigError(f"Dates {dates!r} of {series.modality}: {error}.") from error
    selected = series.between(first, last)
    if not selected.observations:
        raise InputError(
            f"{series.modality} has no date from {dates} in {series.group.target}: "
            f"its {counted(len(series.observations), 'date', 'is')} {date_range(series)}."
        )
    return selected


def date_range(series: SeriesSource) -> str:
    """First and last day of a series, in words."""
    days = [str(observation.day) for observation in series.observations]
    return f"{days[0]} to {days[-1]}" if days else "none"


def check_aligned_as_asked(aligned: CubeSeries, section: StacInput, query: StacQuery) -> None:
    """Refuse a series of a cube that was aligned with other settings than its input has now.

    Parameters
    ----------
    aligned
        The series in the cube.
    section, query
        The input, and what its catalog would be searched for.

    Raises
    ------
    ConfigError
        With every setting that differs.
    """
    quantity = section.quantity or aligned.quantity.removesuffix("_db")
    resampling = aligned.group.template.rules.get("resampling", section.resampling)
    settings = {
        "quantity": (aligned.quantity, f"{quantity}_db" if section.decibels else quantity),
        "cloud_mask": (dict(aligned.cloud_mask), _cloud_mask(query)),
        "resampling": (resampling, section.resampling),
        "stored_as": (aligned.group.template.rules.get("stored_as", "power"), section.stored_as or "power"),
    }
    differing = [(name, stored, asked) for name, (stored, asked) in settings.items() if stored != asked]
    if differing:
        raise ConfigError(
            f"{aligned.group.target} holds {aligned.modality} aligned otherwise than its input asks:"
            + bullets(f"{name}: {stored} in the cube, {asked} asked" for name, stored, asked in differing)
            + "\nCorrect the input, or align it into another cube."
        )


def refuse_skipped(aligned: CubeSeries, skipped: Collection[str]) -> None:
    """Refuse a series of a cube that holds scenes which its input leaves out by now.

    Parameters
    ----------
    aligned
        The series in the cube.
    skipped
        Ids of items that are left out.

    Raises
    ------
    ConfigError
        With their ids: dates stay in a cube as they were aligned.
    """
    scenes = {scene for each in aligned.observations for scene in each.provenance.get("scenes", ())}
    if held := sorted(scenes.intersection(skipped)):
        raise ConfigError(
            f"{aligned.group.target} holds scenes of {aligned.modality} that skip_items leaves out: {', '.join(held)}. "
            "Align into another cube (cube.store), or take them out of skip_items to map them all the same."
        )


def _cloud_mask(query: StacQuery) -> dict[str, Any]:
    if query.is_radar:
        return {}
    thresholds = {"cloud_max": query.cloud_max, "snow_max": query.snow_max}
    return {"source": query.cloud_source, **(thresholds if query.cloud_source == "probability" else {})}


def check_series(
    card: ModelCard, sources: Mapping[str, RasterSource | SeriesSource], accepted: Mapping[str, str | None]
) -> None:
    """Refuse series of another quantity, or with other cloud thresholds, than ``card`` was trained on.

    Parameters
    ----------
    card
        Contract of the model.
    sources
        By the name of their modality; those without dates have nothing to refuse.
    accepted
        Quantity that the configuration names for a series: accepted although the card wants another.

    Raises
    ------
    CardError
        With every mismatch.
    """
    problems = [
        text
        for name, source in sources.items()
        if has_dates(source)
        for text in _mismatches(card.inputs[name], source, accepted.get(name))
    ]
    if problems:
        raise CardError(f"The series do not fit model {card.name}:{bullets(problems)}")


def _mismatches(spec: InputSpec, source: SeriesSource, accepted: str | None) -> Iterator[str]:
    yield from _other_quantity(spec, source, accepted)
    if spec.dates is None:
        yield f"{source.modality} has dates, and the card wants one image: give it a mosaic"
        return
    if source.cloud_mask.get("source") == "probability" and spec.dates.filter:
        for key, value in spec.dates.filter.clear_thresholds.items():
            if source.cloud_mask[key] != value:
                yield (
                    f"{source.modality} calls a pixel clear up to {key} {source.cloud_mask[key]:g}, the card up to "
                    f"{value:g}: set cloud_mask.{key}, and align it anew where it comes from a cube"
                )


def _other_quantity(spec: InputSpec, source: SeriesSource, accepted: str | None) -> Iterator[str]:
    quantity, modality = source.quantity, source.modality
    power = quantity.removesuffix("_db")
    if accepted and power != accepted:
        yield f"{modality} holds {quantity}, {accepted} was asked: choose other scenes"
    elif spec.quantity and quantity not in (spec.quantity, accepted):
        advice = f"or accept these by inputs.{modality}.quantity: {power}" if power == quantity else "as power"
        yield f"{modality} holds {quantity} and the card wants {spec.quantity}: choose other scenes, {advice}"
