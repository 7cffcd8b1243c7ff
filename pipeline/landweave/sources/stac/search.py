"""A search: what is queried of a catalog for one modality, and the observations that it gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Bounds
from landweave.core.modalities import SENTINEL2_BANDS, is_radar
from landweave.core.words import bullets, counted
from landweave.sources.signing import check_signer
from landweave.sources.stac.item_files import agree_with_files
from landweave.sources.stac.items import Json, UnusableItem
from landweave.sources.stac.observations import group_observations
from landweave.sources.stac.pixel_classes import BANDS_BY_SOURCE
from landweave.sources.stac.records import DroppedItem, Scene, SearchResult, group_reasons
from landweave.sources.stac.sentinel1 import POLARISATIONS, StoredAs, read_sentinel1
from landweave.sources.stac.sentinel2 import read_sentinel2

CloudSource = Literal["scl", "probability"]

_DAY = r"\d{4}-\d\d-\d\d"


@dataclass(frozen=True, kw_only=True)
class StacQuery:
    """Which scenes of a catalog one modality takes.

    Attributes
    ----------
    catalog
        Path or address of an API, a catalog, a collection, an item, or a list of items.
    collections
        Ids; all of the catalog when empty.
    dates
        First and last day, both included: ``2021-01-01/2021-12-31``.
    modality
        FLAIR-HUB's name: ``SENTINEL2_TS``, ``SENTINEL1-ASC_TS``, ``SENTINEL1-DESC_TS``.
    bands
        By our names.
    orbit_state
        ``ascending`` or ``descending``; for Sentinel-1 by default that of the modality.
    quantity
        Of Sentinel-1: ``sigma0`` or ``gamma0_rtc``; whichever there is, but only one, when not given.
    stored_as
        Of Sentinel-1: whether files hold ``power`` or ``decibels``; by default power, and files that are named decibels
        are refused.
    skip_items
        Ids of items that are left out.
    cloud_source, cloud_max, snow_max
        Where pixel classes of Sentinel-2 come from: scene classes (``scl``), or probabilities (0 to 100) with the
        largest ones of a clear pixel.
    sign
        Who signs addresses when they are read (`landweave.sources.signing`).
    """

    catalog: str
    collections: tuple[str, ...] = ()
    dates: str = "2021-01-01/2021-12-31"
    modality: str
    bands: tuple[str, ...]
    orbit_state: str | None = None
    quantity: str | None = None
    stored_as: StoredAs | None = None
    skip_items: tuple[str, ...] = ()
    cloud_source: CloudSource = "scl"
    cloud_max: float = 1
    snow_max: float = 1
    sign: str | None = None

    def __post_init__(self) -> None:
        days = re.fullmatch(f"({_DAY})/({_DAY})", self.dates)
        if not days or not _is_span(*days.groups()):
            raise ConfigError(f"Dates {self.dates!r}: write the first and the last day, as 2021-01-01/2021-12-31.")
        if not self.modality.startswith(("SENTINEL1", "SENTINEL2")):
            raise ConfigError(f"{self.modality!r} has no series in STAC: SENTINEL1-… and SENTINEL2-… have.")
        known = POLARISATIONS if self.is_radar else SENTINEL2_BANDS
        wrong = [band for band in self.bands if band not in known]
        if wrong or not self.bands:
            raise ConfigError(f"{self.modality} was asked for bands {wrong or 'none'}: it has {', '.join(known)}.")
        if self.cloud_source not in BANDS_BY_SOURCE:
            raise ConfigError(f"cloud_mask.source {self.cloud_source!r}: {' or '.join(BANDS_BY_SOURCE)} is known.")
        self._check_orbit_and_quantity()
        if self.sign:
            check_signer(self.sign)

    def _check_orbit_and_quantity(self) -> None:
        if self.orbit_state not in (None, "ascending", "descending"):
            raise ConfigError(f"Orbit {self.orbit_state!r}: ascending or descending.")
        if self.orbit_state and self._orbit_of_modality not in (None, self.orbit_state):
            raise ConfigError(f"{self.modality} was asked for {self.orbit_state} passes: take the other modality.")
        if self.quantity not in (None, "sigma0", "gamma0_rtc") or (self.quantity and not self.is_radar):
            raise ConfigError(
                f"Quantity {self.quantity!r} of {self.modality}: sigma0 or gamma0_rtc, of Sentinel-1 only."
            )
        if self.stored_as not in (None, "power", "decibels") or (self.stored_as and not self.is_radar):
            raise ConfigError(
                f"stored_as {self.stored_as!r} of {self.modality}: power or decibels, of Sentinel-1 only."
            )

    @property
    def is_radar(self) -> bool:
        """Whether it is a query for Sentinel-1."""
        return is_radar(self.modality)

    @property
    def orbit(self) -> str | None:
        """The orbit state of every observation: as given, else that of the modality."""
        return self.orbit_state or self._orbit_of_modality

    @property
    def _orbit_of_modality(self) -> str | None:
        if not self.is_radar:
            return None
        return "ascending" if "-ASC" in self.modality else "descending" if "-DES" in self.modality else None

    @property
    def assets(self) -> tuple[str, ...]:
        """Bands, and those that pixel classes come from."""
        return self.bands if self.is_radar else (*self.bands, *BANDS_BY_SOURCE[self.cloud_source])


def search(query: StacQuery, bounds_lonlat: Bounds) -> SearchResult:
    """Observations of ``query`` that touch some bounds. No pixel is read.

    Parameters
    ----------
    query
        Catalog, modality, dates and bands.
    bounds_lonlat
        ``(west, south, east, north)``; west is east of east across the 180th meridian.

    Raises
    ------
    InputError
        When the bounds are not finite, or the catalog cannot be read, has nothing there and then, or nothing that can
        be used.
    """
    if not np.isfinite(bounds_lonlat).all():
        raise InputError(f"{query.modality}: the area leaves the ground that its CRS shows: correct area or grid.crs.")
    first, last = (np.datetime64(day) for day in query.dates.split("/"))
    from landweave.sources.stac.catalogs import CatalogQuery, list_items  # pystac, pystac-client

    needed = CatalogQuery(collections=query.collections, first=first, last=last, bounds=bounds_lonlat)
    listed = list_items(query.catalog, needed)
    bounds = " ".join(f"{side:.6g}" for side in bounds_lonlat)
    of_collections = f" of {', '.join(query.collections)}" if query.collections else ""
    if not listed.items and not listed.dropped:
        raise InputError(
            f"{query.catalog} has no item{of_collections} within {bounds} from {query.dates}. It covers "
            f"{listed.covers}. Ask for other dates, another area or another collection."
        )
    read = [read_item(item, query) for item in listed.items]
    dropped = [*listed.dropped, *(each for each in read if isinstance(each, DroppedItem))]
    absent = {*query.skip_items}.difference(str(item.get("id")) for item in listed.items)
    dropped += [DroppedItem(id=name, reason="is named in skip_items and was not found") for name in sorted(absent)]
    observations, older = group_observations(each for each in read if isinstance(each, Scene))
    if not observations:
        raise InputError(
            f"None of {counted(len(read) + len(listed.dropped), 'item')} of {query.catalog}{of_collections} can be "
            f"used for {query.modality}:{bullets(group_reasons(dropped))}"
        )
    quantities = {scene.quantity for each in observations for scene in each.scenes}
    if len(quantities) > 1:
        raise InputError(
            f"{query.catalog} gives {' and '.join(sorted(quantities))} for {query.modality}: they are not one series. "
            "Name one as quantity."
        )
    return SearchResult(
        query={
            "modality": query.modality,
            "bands": " ".join(query.assets),
            "catalog": query.catalog,
            "collections": ", ".join(query.collections) or "all",
            "dates": query.dates,
            "bounds": bounds,
        },
        items=len(read) + len(listed.dropped),
        observation_scenes=observations,
        dropped=(*dropped, *older),
    )


def read_item(item: Json, query: StacQuery) -> Scene | DroppedItem:
    """The scene of an item, or why it is not used.

    Parameters
    ----------
    item
        As served.
    query
        Which bands, quantity and orbit are needed.
    """
    try:
        if item.get("id") in query.skip_items:
            raise UnusableItem("is named in skip_items")
        if query.is_radar:
            scene = read_sentinel1(item, query.assets, quantity=query.quantity, stored_as=query.stored_as)
        else:
            scene = read_sentinel2(item, query.assets)
        if query.orbit and scene.orbit_state != query.orbit:
            raise UnusableItem(f"is {scene.orbit_state or 'of an unknown orbit'}, {query.orbit} was asked for")
        return agree_with_files(scene)
    except UnusableItem as reason:
        return DroppedItem(id=str(item.get("id")), reason=str(reason))


def _is_span(first: str, last: str) -> bool:
    try:
        return bool(np.datetime64(first) <= np.datetime64(last))
    except ValueError:
        return False
