"""What a STAC item comes to, whoever served it: one form for every catalog, as values that print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from affine import Affine

from landweave.core.grid import Bounds
from landweave.core.timeseries import Observation


@dataclass(frozen=True, kw_only=True)
class BandAsset:
    """The file of one band of an acquisition.

    Attributes
    ----------
    href
        Path or URL as the item gives it, made absolute; never signed (that happens when it is read).
    band
        Number of the band in its file, from 1.
    crs, transform, shape
        Where its pixels lie; None where the item does not say: the file is asked.
    scale, offset
        Bring a stored number to the modality's unit (reflectance x 10000, linear power): ``stored * scale + offset``.
        Decided once, from the item's metadata; what was already applied is not here.
    nodata
        Stored number without measurement.
    """

    href: str
    band: int = 1
    crs: str | None = None
    transform: Affine | None = None
    shape: tuple[int, int] | None = None
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One item in the one form.

    Attributes
    ----------
    id, collection
        As in the catalog.
    time
        Scene, UTC, ``datetime64[s]``.
    bounds
        Longitudes and latitudes ``(west, south, east, north)``.
    assets
        By our names: ``B2`` … ``B12``, ``VV``, ``VH``, and for pixel states ``SCL``, ``CLOUD``, ``SNOW``.
    datatake
        Names the pass over the ground strip; shared by all tiles of it, and by reprocessed versions.
    solar_day
        Local date of the pass, ``datetime64[D]``.
    tile
        MGRS tile such as ``31TCJ``; empty where there is none.
    baseline
        Processing baseline such as ``04.00``; empty where there is none.
    datastrip
        Names the part of the pass that was received in one go, where the item tells; two parts may share a tile.
    processed
        When this version was made, UTC; of two versions with one baseline the later wins. NaT where not told.
    offset_decision
        In words, where the reflectance offset stood: ``raw: -1000 applied here``, ``already applied``, ….
    orbit_state, relative_orbit
        ``ascending`` or ``descending``; number, or None.
    quantity
        ``reflectance``, ``sigma0``, ``gamma0_rtc``.
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


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """An item that is not used, and why."""

    id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ObservationScenes:
    """One date of the series: scenes of one pass, in reading order (the first valid pixel is kept)."""

    observation: Observation
    scenes: tuple[Scene, ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search came to: it prints what was asked, found, kept, and dropped with the reason.

    Attributes
    ----------
    asked
        Catalog, collections, dates and bounds, plain values.
    items
        How many items the catalog gave.
    strips
        Dates kept, ascending in time.
    dropped
        Items that are not used.
    """

    asked: Mapping[str, Any]
    items: int
    strips: tuple[ObservationScenes, ...]
    dropped: tuple[Dropped, ...] = ()

    def __str__(self) -> str:
        lines = [f"{name:<11} {value}" for name, value in self.asked.items()]
        scenes = sum(len(strip.scenes) for strip in self.strips)
        lines.append(f"{'found':<11} {self.items} items")
        if self.strips:
            days = f"{str(self.strips[0].observation.time)[:10]} to {str(self.strips[-1].observation.time)[:10]}"
            lines.append(f"{'kept':<11} {len(self.strips)} dates, {days}, of {scenes} scenes")
        if self.dropped:
            lines += [f"{'dropped':<11} {len(self.dropped)}:", *(f"- {line}" for line in group_reasons(self.dropped))]
        return "\n".join(lines)


def group_reasons(dropped: Iterable[Dropped]) -> list[str]:
    """One line a reason, the commonest first: how many items, why, and a few of them by name."""
    groups: dict[str, list[str]] = {}
    for each in dropped:
        groups.setdefault(each.reason, []).append(each.id)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return [f"{len(ids)} {reason}: {', '.join(ids[:3])}{', …' if len(ids) > 3 else ''}" for reason, ids in ordered]
