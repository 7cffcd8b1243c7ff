"""From the series of a configuration to opened sources: cubes opened, catalogs searched, no pixel read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from landweave.config.schema import CubeConfig, CubeInput, StacInput
from landweave.core.errors import CardError, ConfigError, InputError
from landweave.core.grid import Grid
from landweave.core.modalities import SENTINEL1_BANDS, SENTINEL2_BANDS
from landweave.core.protocols import SeriesSource
from landweave.core.timeseries import MaxCloudFraction, MinClearFraction
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import InputSpec
from landweave.sources.signing import signer
from landweave.sources.stac.search import StacQuery, search
from landweave.sources.stac.series import StacSeries
from landweave.store.common import read_attributes
from landweave.store.cubes.sources import CubeRaster, CubeSeries, source_of
from landweave.store.cubes.store import open_cube_store
from landweave.store.objects import Target

Bands = tuple[str, ...]

DEFAULT_BANDS: Mapping[str, tuple[str, ...]] = {
    "SENTINEL2": SENTINEL2_BANDS,
    "SENTINEL1": SENTINEL1_BANDS,
}
"""Bands of a series that neither a configuration nor a card names, by the first word of its modality."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted of a series.

    Attributes
    ----------
    bands
        By name, in order; None for all there are.
    grid
        Pixels over all ground that may be asked for.
    quantity
        Of radar; None where anything will do.
    """

    bands: tuple[str, ...] | None
    grid: Grid
    quantity: str | None = None


def open_group(modality: str, section: CubeInput, config: CubeConfig) -> CubeSeries | CubeRaster:
    """One modality of the cube that an input names.

    Raises
    ------
    ConfigError
        When dates are asked of a modality that has none.
    InputError
        When there is no such cube, or it does not have that modality or any date between those asked for.
    """
    group = open_cube_store(Target.parse(config.path(section.store), section.storage_options)).group(modality)
    found = source_of(group)
    if section.dates is None:
        return found
    if not isinstance(found, CubeSeries):
        raise ConfigError(f"{modality} in {group.target} has no dates: leave out dates {section.dates} of its input.")
    return _between(found, section.dates)


def open_dates(modality: str, section: StacInput, config: CubeConfig, wanted: Wanted) -> SeriesSource:
    """The dates of one input: of the cube where they are aligned, straight from the catalog otherwise.

    Raises
    ------
    ConfigError
        When the cube was aligned otherwise than the input asks.
    InputError
        When there is no date between the days asked for.
    """
    aligned = find_group(config, modality)
    if not isinstance(aligned, CubeSeries):
        return open_catalog(modality, section, config, wanted)
    _refuse_other_alignment(aligned, section, stac_query(modality, section, config, wanted))
    return _between(aligned, section.dates)


def _between(series: CubeSeries, dates: str) -> CubeSeries:
    """The dates from the first to the last day of ``dates``."""
    try:
        first, last = map(_day, dates.split("/"))
    except ValueError as error:
        raise ConfigError(f"Dates {dates!r} of {series.modality}: {error}.") from error
    found = series.between(first, last)
    if not found.observations:
        there = [str(observation.time.astype("M8[D]")) for observation in series.observations]
        told = f"its {len(there)} dates are {there[0]} to {there[-1]}" if there else "it has none"
        raise InputError(f"{series.modality} has no date from {dates} in {series.group.target}: {told}.")
    return found


def _day(text: str) -> np.datetime64:
    return np.datetime64(text)


def _refuse_other_alignment(aligned: CubeSeries, section: StacInput, query: StacQuery) -> None:
    """A cube is read as it is: what an input says of its pixels is what was done, or it is not the same series."""
    quantity = f"{section.quantity or aligned.quantity.removesuffix('_db')}{'_db' if section.decibels else ''}"
    there = {"quantity": aligned.quantity, "cloud_mask": dict(aligned.cloud_mask), **_kernel_of(aligned)}
    asked = {"quantity": quantity, "cloud_mask": dict(_cloud_mask(query)), "resampling": section.resampling}
    if differing := [name for name, value in there.items() if value != asked[name]]:
        raise ConfigError(
            f"{aligned.group.target} holds {aligned.modality} aligned otherwise than its input asks:\n"
            + "\n".join(f"- {name}: {there[name]} in the cube, {asked[name]} asked" for name in differing)
            + "\nCorrect the input, or align it into another cube."
        )


def _kernel_of(aligned: CubeSeries) -> dict[str, str]:
    rules = aligned.group.template.rules
    return {"resampling": str(rules["resampling"])} if "resampling" in rules else {}


def open_catalog(modality: str, section: StacInput, config: CubeConfig, wanted: Wanted) -> StacSeries:
    """The dates of one input straight from its catalog.

    Raises
    ------
    ConfigError
        When files are to be signed and who signs them is not installed.
    InputError
        When nothing is found there and then, or nothing that can be used.
    """
    if section.sign:
        signer(section.sign)  # by each read, and missed there by every block
    query = stac_query(modality, section, config, wanted)
    west, south, east, north = wanted.grid.geobox.geographic_extent.boundingbox.bbox
    return StacSeries.open(
        search(query, (west, south, east, north)),
        modality=modality,
        bands=query.bands,
        grid=wanted.grid,
        resampling=section.resampling,
        cloud_mask=_cloud_mask(query),
        decibels=section.decibels,
        sign=section.sign,
    )


def stac_query(modality: str, section: StacInput, config: CubeConfig, wanted: Wanted) -> StacQuery:
    """What is asked of the catalog."""
    return StacQuery(
        catalog=config.path(section.catalog),
        collections=section.collections,
        dates=section.dates,
        modality=modality,
        bands=section.bands or wanted.bands or DEFAULT_BANDS.get(modality.split("-")[0].split("_")[0], ()),
        orbit_state=section.orbit,
        quantity=section.quantity or (wanted.quantity if modality.startswith("SENTINEL1") else None),
        cloud_source=section.cloud_mask.source,
        cloud_max=section.cloud_mask.cloud_max,
        snow_max=section.cloud_mask.snow_max,
        sign=section.sign,
    )


def find_group(config: CubeConfig, modality: str) -> CubeSeries | CubeRaster | None:
    """What the configuration's cube has of ``modality``; None where it is not aligned yet, or no cube is named."""
    if config.cube is None:
        return None
    target = cube_target(config)
    attributes = read_attributes(target)
    if attributes is None:
        return None
    cube = open_cube_store(target, attributes)
    if modality not in cube.modalities:
        return None
    found = source_of(cube.group(modality))
    return found if found.reader.dates.visible else None


def cube_target(config: CubeConfig) -> Target:
    """Where the configuration's cube lies."""
    assert config.cube is not None
    return Target.parse(config.path(config.cube.store), config.cube.storage_options)


def _cloud_mask(query: StacQuery) -> Mapping[str, Any]:
    if query.is_radar:
        return {}
    thresholds = {"cloud_max": query.cloud_max, "snow_max": query.snow_max}
    return {"source": query.cloud_source, **(thresholds if query.cloud_source == "probability" else {})}


def offered_bands(modality: str, section: StacInput | CubeInput, config: CubeConfig, wanted: InputSpec) -> Bands:
    """Bands that a series will give, told before any catalog is searched."""
    if isinstance(section, CubeInput):
        return open_group(modality, section, config).bands
    aligned = find_group(config, modality)
    return aligned.bands if aligned else section.bands or wanted.names


def check_series(
    card: ModelCard, sources: Mapping[str, SeriesSource], accepted: Mapping[str, str | None] | None = None
) -> None:
    """Refuse series that measure something else than ``card`` was trained on, or whose clouds were told otherwise.

    Parameters
    ----------
    card
        Of the model.
    sources
        Series by name.
    accepted
        By name, the quantity that a person named for it: taken though the card wants another.

    Raises
    ------
    CardError
        With every mismatch.
    """
    named = accepted or {}
    problems = [
        text for name, source in sources.items() for text in _mismatches(card.inputs[name], source, named.get(name))
    ]
    if problems:
        raise CardError(f"The series do not fit model {card.name}:\n" + "\n".join(f"  - {each}" for each in problems))


def _mismatches(spec: InputSpec, source: SeriesSource, named: str | None) -> list[str]:
    problems = _other_quantity(spec, source, named)
    if spec.dates is None:
        problems.append(f"{source.modality} has dates, and the card wants one image: give it a mosaic")
    rule, told = spec.dates and spec.dates.filter, source.cloud_mask
    if isinstance(rule, MinClearFraction) and told.get("source") == "probability":
        problems += _other_thresholds(source.modality, told, {"cloud_max": rule.cloud_max, "snow_max": rule.snow_max})
    if isinstance(rule, MaxCloudFraction) and told.get("source") == "probability":
        # A pixel is cloudy from `cloud_min` on: the largest whole number of a clear one is one less.
        problems += _other_thresholds(
            source.modality, told, {"cloud_max": rule.cloud_min - 1, "snow_max": rule.snow_min - 1}
        )
    return problems


def _other_quantity(spec: InputSpec, source: SeriesSource, named: str | None) -> list[str]:
    held, modality = source.quantity, source.modality
    if named and held.removesuffix("_db") != named:
        return [f"{modality} holds {held}, {named} was asked: choose other scenes"]
    if not spec.quantity or held in (spec.quantity, named):
        return []
    power = held.removesuffix("_db")
    advice = f", or accept these by inputs.{modality}.quantity: {power}" if power == held else ", as power"
    return [f"{modality} holds {held} and the card wants {spec.quantity}: choose other scenes{advice}"]


def _other_thresholds(modality: str, told: Mapping[str, Any], wanted: Mapping[str, float]) -> list[str]:
    return [
        f"{modality} calls a pixel clear up to {name} {told[name]:g}, the card up to {value:g}: set cloud_mask.{name}, "
        f"and align it anew where it comes from a cube"
        for name, value in wanted.items()
        if told[name] != value
    ]
