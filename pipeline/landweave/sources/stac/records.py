"""STAC items in one form whoever serves them, and the result of a search, as values that print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from affine import Affine

from landweave.core.crs import canonical_crs
from landweave.core.grid import Bounds
from landweave.core.timeseries import Observation
from landweave.core.words import counted
from landweave.sources.raster_facts import GeoRef


@dataclass(frozen=True, kw_only=True)
class BandAsset:
    """The file of one band of a scene.

    Attributes
    ----------
    href
        Path or URL, absolute and never signed (that happens when it is read).
    band
        Number of the band in its file, from 1.
    crs, transform, shape
        Georeference of its pixels; None where the item does not give it.
    scale, offset
        Bring a stored number to the modality's unit (reflectance x 10000, linear power): ``stored * scale + offset``.
        Decided once, from the item's metadata; what the provider has already applied is not in them.
    nodata
        Stored number without measurement, as the item gives it.
    dtype
        Of the stored numbers in the item's words; empty where it does not say.
    decibels
        Whether stored numbers, once scaled, are decibels, and made linear power when they are read.
    checksum
        Of the file, as the item states it; empty where it does not.
    """

    href: str
    band: int = 1
    crs: str | None = None
    transform: Affine | None = None
    shape: tuple[int, int] | None = None
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    dtype: str = ""
    decibels: bool = False
    checksum: str = ""

    @property
    def georef(self) -> GeoRef | None:
        """The georeference in the item; None where it is incomplete."""
        if self.crs is None or self.transform is None or self.shape is None:
            return None
        return GeoRef(crs=canonical_crs(self.crs), transform=self.transform, shape=self.shape)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One satellite acquisition: one STAC item.

    Attributes
    ----------
    id, collection
        As in the catalog.
    time
        Acquisition, UTC, ``datetime64[s]``.
    bounds
        Longitudes and latitudes ``(west, south, east, north)``.
    assets
        By our names: ``B2`` … ``B12``, ``VV``, ``VH``, and for pixel classes ``SCL``, ``CLOUD``, ``SNOW``.
    datatake
        Id of the datatake, shared by all its tiles and by reprocessed versions.
    solar_day
        Local date, ``datetime64[D]``.
    tile
        MGRS tile such as ``31TCJ``; empty where there is none.
    baseline
        Processing baseline such as ``04.00``; empty where there is none.
    datastrip
        Id of the part of the datatake that was received in one go; empty where the item has none. Two parts may share
        a tile.
    processed
        Processing time of this version, UTC; of two versions with one baseline the later wins. NaT where unknown.
    offset_decision
        How the reflectance offset is treated, in words: ``raw: -1000 applied here``, ``already applied``, ….
    orbit_state, relative_orbit
        ``ascending`` or ``descending``; number, or None.
    quantity
        ``reflectance``, ``sigma0``, ``gamma0_rtc``.
    remarks
        Where the item and its files differ, and what was decided.
    """

    id: str
    collection: str
    time: np.datetime64
    bounds: Bounds
    assets: Mapping[str, BandAsset]
    datatake: str
    solar_day: np.datetime64
    tile: str = ""
    baseline: str = ""
    datastrip: str = ""
    processed: np.datetime64 = field(default_factory=lambda: np.datetime64("NaT", "s"))
    offset_decision: str = ""
    orbit_state: str = ""
    relative_orbit: int | None = None
    quantity: str = "reflectance"
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DroppedItem:
    """An item that is not used, and why."""

    id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ObservationScenes:
    """One observation, and the scenes of its datatake in reading order (the first valid pixel is kept)."""

    observation: Observation
    scenes: tuple[Scene, ...]


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The observations that a search found. It prints the query, what was found and kept, and what was dropped and why.

    Attributes
    ----------
    query
        Catalog, collections, dates and bounds, plain values.
    items
        How many items the catalog gave.
    observation_scenes
        Observations, ascending in time.
    dropped
        Items that are not used.
    """

    query: Mapping[str, Any]
    items: int
    observation_scenes: tuple[ObservationScenes, ...]
    dropped: tuple[DroppedItem, ...] = ()

    def __str__(self) -> str:
        kept = self.observation_scenes
        lines = [f"{name:<11} {value}" for name, value in self.query.items()]
        lines.append(f"{'found':<11} {counted(self.items, 'item')}")
        if kept:
            days = f"{str(kept[0].observation.time)[:10]} to {str(kept[-1].observation.time)[:10]}"
            dates, scenes = counted(len(kept), "date"), counted(sum(len(each.scenes) for each in kept), "scene")
            lines.append(f"{'kept':<11} {dates}, {days}, of {scenes}")
        if self.dropped:
            lines += [f"{'dropped':<11} {len(self.dropped)}:", *(f"- {line}" for line in group_reasons(self.dropped))]
        return "\n".join(lines)


def group_reasons(dropped: Iterable[DroppedItem], found: int | None = None) -> list[str]:
    """One line a reason, the commonest first: how many items (of those ``found``), why, and a few of their ids."""
    of_all = "" if found is None else f" of {counted(found, 'item', 'is')} left out, each"
    groups: dict[str, list[str]] = {}
    for each in dropped:
        groups.setdefault(each.reason, []).append(each.id)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return [
        f"{len(ids):,}{of_all} {reason}: {', '.join(ids[:3])}{', …' if len(ids) > 3 else ''}" for reason, ids in ordered
    ]
