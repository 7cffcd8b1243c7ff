"""Dates of a catalog as a series on a grid: scenes of a pass in order, the first valid pixel kept.

::

    strip ──> scenes that touch the grid ──stackstac, our reader──> planes of one scene ──> first valid pixel ──> date
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypedDict, Unpack

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import Extent
from landweave.core.protocols import ReadCost, Series, SourceFile
from landweave.core.timeseries import Observation, PixelClass, measured
from landweave.sources.mosaic.spec import Kernel, check_request
from landweave.sources.stac.border_noise import FLOOR, NEAR, SOLID
from landweave.sources.stac.costs import price
from landweave.sources.stac.files import file_facts, file_format
from landweave.sources.stac.georeference import covered, ground_of, place_of, told_place, unite
from landweave.sources.stac.lazy_stack import stack
from landweave.sources.stac.pixel_classes import class_bands, classify_pixels
from landweave.sources.stac.records import Dropped, Found, ObservationScenes, Scene, group_reasons
from landweave.sources.stac.scene_reader import Reading, planes_dtype


class Settings(TypedDict, total=False):
    """How dates are read.

    Attributes
    ----------
    resampling
        Kernel of measurements; classes and probabilities always take the nearest. ``bilinear`` by default.
    cloud_mask
        How pixel classes are told: ``{"source": "scl"}`` by default, or ``{"source": "probability", "cloud_max": 1,
        "snow_max": 1}``. Nothing of it counts for radar.
    decibels
        Whether radar power is given in decibels.
    sign
        Who signs addresses when they are read (`landweave.sources.stac.signing`).
    """

    resampling: Kernel
    cloud_mask: Mapping[str, Any]
    decibels: bool
    sign: str | None


@dataclass(frozen=True, kw_only=True)
class StacSeries:
    """Dates of one modality on one grid. Picklable; open it with `StacSeries.open`.

    Attributes
    ----------
    strips
        The dates, ascending in time.
    modality, bands
        By FLAIR-HUB's names and ours.
    grid
        Pixels that reads are on, over any extent.
    resampling
        Kernel of measurements.
    cloud_mask
        How pixel classes are told; empty for radar.
    quantity
        What is measured; with ``_db`` in decibels.
    sign
        Who signs addresses when they are read.
    dropped
        Items that the search found and nothing was made of.
    """

    strips: tuple[ObservationScenes, ...] = field(repr=False)
    modality: str
    bands: tuple[str, ...]
    grid: Grid
    resampling: Kernel = "bilinear"
    cloud_mask: Mapping[str, Any] = field(default_factory=dict)
    quantity: str = "reflectance"
    sign: str | None = None
    dropped: tuple[Dropped, ...] = field(default=(), repr=False)

    @classmethod
    def open(
        cls,
        found: Found | Sequence[ObservationScenes],
        *,
        modality: str,
        bands: Sequence[str],
        grid: Grid,
        **settings: Unpack[Settings],
    ) -> StacSeries:
        """The dates of ``found`` on the pixels of ``grid``. No file is opened.

        Parameters
        ----------
        found
            What a search came to, or its strips.
        modality, bands
            By FLAIR-HUB's name and ours.
        grid
            Pixels to align with.
        settings
            As in `Settings`.

        Raises
        ------
        InputError
            When a scene lacks a band, or scenes measure different things.
        ConfigError
            When settings contradict each other.
        """
        strips = tuple(found.strips if isinstance(found, Found) else found)
        quantity = _quantity_of(strips, modality)
        radar, decibels = quantity != "reflectance", settings.get("decibels", False)
        if decibels and not radar:
            raise ConfigError(f"{modality} is reflectance: it has no decibels.")
        cloud_mask = {} if radar else dict(settings.get("cloud_mask") or {"source": "scl"})
        _check_bands(strips, (*bands, *class_bands(cloud_mask)), modality)
        return cls(
            strips=strips,
            modality=modality,
            bands=tuple(bands),
            grid=grid,
            resampling=settings.get("resampling", "bilinear"),
            cloud_mask=cloud_mask,
            quantity=f"{quantity}_db" if decibels else quantity,
            sign=settings.get("sign"),
            dropped=found.dropped if isinstance(found, Found) else (),
        )

    @property
    def items(self) -> int:
        """How many there are of the catalog's, those that are not used too."""
        return sum(len(strip.scenes) for strip in self.strips) + len(self.dropped)

    @property
    def notes(self) -> tuple[str, ...]:
        """Which items of the catalog are not used, and why."""
        return tuple(f"of {self.items:,} items {reason}" for reason in group_reasons(self.dropped))

    def between(self, first: np.datetime64, last: np.datetime64) -> StacSeries:
        """The dates from day ``first`` to day ``last`` (UTC), both included."""
        days = ((strip, strip.observation.time.astype("datetime64[D]")) for strip in self.strips)
        return replace(self, strips=tuple(strip for strip, day in days if first <= day <= last))

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Its dates, ascending in time."""
        return tuple(strip.observation for strip in self.strips)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint16 reflectance x 10000, float32 backscatter."""
        return planes_dtype(self.quantity)

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Dates with their scenes in reading order and how their numbers are scaled, rules, kernel."""
        return {
            "modality": self.modality,
            "bands": list(self.bands),
            "quantity": self.quantity,
            "cloud_mask": dict(self.cloud_mask),
            "resampling": self.resampling,
            "border": None if self.cloud_mask else {"floor": FLOOR, "near": NEAR, "solid": SOLID},
            "observations": [
                [strip.observation.datatake_id, *(_meaning(scene, self.bands) for scene in strip.scenes)]
                for strip in self.strips
            ],
        }

    def describe(self) -> dict[str, Any]:
        """What `check` prints: dates, scenes, what was decided about them; plain values."""
        scenes = [scene for strip in self.strips for scene in strip.scenes]
        offsets = Counter(scene.offset_decision for scene in scenes if scene.offset_decision)
        places = {told_place(asset) for scene in scenes for asset in scene.assets.values()}
        return {
            "modality": self.modality,
            "bands": list(self.bands),
            "dates": len(self.strips),
            "first": str(self.strips[0].observation.time),
            "last": str(self.strips[-1].observation.time),
            "scenes": len(scenes),
            "quantity": self.quantity,
            "dtype": self.dtype.name,
            "cloud_mask": dict(self.cloud_mask),
            "resampling": self.resampling,
            "crs": sorted({place.crs if place else "told by the files" for place in places}),
            "offsets": dict(offsets),
            **({"notes": self.notes} if self.dropped else {}),
        }

    def bounds(self, grid: Grid) -> Bounds | None:
        """Bounds ``(x0, y0, x1, y1)`` of all scenes in the CRS of ``grid``, to whole pixels."""
        grounds = [ground_of(scene, grid) for strip in self.strips for scene in strip.scenes]
        return grid.with_extent(unite(grounds)).bounds if grounds else None

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """Files that touch ``grid``, date by date in reading order. No pixel is read.

        Size and version of a file on the web are asked of its server; where it does not answer, the version is that of
        its item.
        """
        touching = [scene for number in range(len(self.strips)) for scene in self._touching(number, grid)]
        files = [(scene, href) for scene in touching for href in self._files(scene)]
        facts = file_facts([href for _, href in files], self.sign)
        return tuple(
            SourceFile(
                id=f"{scene.id}/{self._files(scene)[href][0]}",
                location=href,
                size=facts[href][0],
                version=facts[href][1] or f"{scene.id} {scene.processed}",
                format=file_format(href),
            )
            for scene, href in files
        )

    def cost(self, grid: Grid) -> ReadCost:
        """File bytes and decoded pixels of a `read` of every date over ``grid``, estimated from what items tell."""
        touching = (scene for number in range(len(self.strips)) for scene in self._touching(number, grid))
        return price(touching, self._wanted, grid)

    def opens(self, grid: Grid) -> int:
        """Times that a file is opened by a `read` of every date over ``grid``, at most."""
        extent = grid.extent
        return sum(files for grounds in self._grounds for ground, files in grounds if ground.intersect(extent).size)

    def read(self, grid: Grid, bands: Sequence[str], indices: Sequence[int]) -> Series:
        """Pixels of ``bands`` at ``indices`` on exactly ``grid``, in `dtype`; 0 where nothing is measured.

        A pixel is measured where all bands of the series are, so it is the same whichever are asked for.

        Raises
        ------
        ReadError
            When a file cannot be read; it is named.
        ConfigError
            When the grid is of other pixels than the series was opened on, or a band is not one of `bands`.
        """
        check_request(self, grid, bands)
        channels = [self.bands.index(band) for band in bands]
        values = np.zeros((len(indices), len(bands), *grid.shape), self.dtype)
        pixel_class = np.full((len(indices), *grid.shape), PixelClass.NOT_ACQUIRED, np.uint8)
        for place, index in enumerate(indices):
            self._weave(values[place], pixel_class[place], self._touching(index, grid), grid, channels)
        return Series(values=values, pixel_class=pixel_class)

    def stack(self, grid: Grid | None = None, bands: Sequence[str] | None = None, *, chunk: int = 1024) -> xr.DataArray:
        """Scenes over ``grid``, by default all of it, as a lazy array ``(time, band, y, x)``; nothing is read.

        Every scene has a time of its own: `read` is what puts the scenes of a pass together. ``datatake_id`` names
        the observation that it belongs to. Reflectance x 10000 or linear power, 0 where nothing is measured; float32
        beside probabilities.
        """
        grid, wanted = grid or self.grid, tuple(bands or self.bands)
        check_request(self, grid, [band for band in wanted if band not in class_bands(self.cloud_mask)] or self.bands)
        touching = {index: self._touching(index, grid) for index in range(len(self.strips))}
        scenes = tuple(scene for each in touching.values() for scene in each)
        if not scenes:
            raise InputError(f"No scene of {self.modality} touches {grid.bounds} in {grid.crs[:40]}.")
        datatakes = [self.strips[index].observation.datatake_id for index, each in touching.items() for _ in each]
        array = stack(self._reading(scenes, grid, wanted), chunk=chunk)
        return array.assign_coords(datatake_id=("time", datatakes)).rename(self.modality)

    @property
    def _wanted(self) -> tuple[str, ...]:
        return (*self.bands, *class_bands(self.cloud_mask))

    @cached_property
    def _grounds(self) -> tuple[tuple[tuple[Extent, int], ...], ...]:
        """For each date, where on the grid each scene lies, and its number of files."""
        return tuple(
            tuple((ground_of(scene, self.grid), len(self._files(scene))) for scene in strip.scenes)
            for strip in self.strips
        )

    def _touching(self, index: int, grid: Grid) -> tuple[Scene, ...]:
        """Scenes of a date that may have pixels on ``grid``, in reading order."""
        pairs = zip(self.strips[index].scenes, self._grounds[index], strict=True)
        return tuple(scene for scene, (ground, _) in pairs if ground.intersect(grid.extent).size)

    def _files(self, scene: Scene) -> dict[str, list[str]]:
        """Files of a scene in reading order, each with the bands that come from it."""
        files: dict[str, list[str]] = {}
        for band in self._wanted:
            files.setdefault(scene.assets[band].href, []).append(band)
        return files

    def _reading(self, scenes: Sequence[Scene], grid: Grid, bands: tuple[str, ...]) -> Reading:
        return Reading(grid=grid, scenes=tuple(scenes), bands=bands, kernel=self.resampling, sign=self.sign)

    def _weave(
        self,
        values: NDArray[Any],
        pixel_class: NDArray[np.uint8],
        scenes: Sequence[Scene],
        grid: Grid,
        channels: Sequence[int],
    ) -> None:
        """Lay scenes under each other, the first on top, into one date."""
        for scene, planes in self._planes(scenes, grid):
            valid = (planes[: len(self.bands)] != 0).all(axis=0)
            seen = classify_pixels(dict(zip(self._wanted, planes, strict=True)), self.cloud_mask, valid)
            held = measured(seen)
            take = held & ~measured(pixel_class)
            if not held.all():
                beside = ~held & (pixel_class == PixelClass.NOT_ACQUIRED)
                pixel_class[beside & self._covered(scene, grid)] = PixelClass.NODATA
            where = True if take.all() else take
            np.copyto(pixel_class, seen, where=where)
            for place, channel in enumerate(channels):
                np.copyto(values[place], self._in_unit(planes[channel]), where=where)
            if measured(pixel_class).all():
                return

    def _planes(self, scenes: Sequence[Scene], grid: Grid) -> Iterator[tuple[Scene, NDArray[Any]]]:
        """Each scene with its planes ``(band, y, x)``, read when it is asked for."""
        if not scenes:
            return
        lazy = stack(self._reading(scenes, grid, self._wanted))
        for number, scene in enumerate(scenes):
            yield scene, lazy[number].compute(scheduler="synchronous").values

    def _covered(self, scene: Scene, grid: Grid) -> NDArray[np.bool_]:
        places = {place_of(scene.assets[band], self.sign) for band in self._wanted}
        return np.asarray(np.logical_and.reduce([covered(grid, place) for place in places]))

    def _in_unit(self, plane: NDArray[Any]) -> NDArray[Any]:
        if not self.quantity.endswith("_db"):
            return plane.astype(self.dtype, copy=False)
        power = np.where(plane > 0, plane, np.float32(1))  # what is not measured is not taken over
        return np.float32(10) * np.log10(power)


def _quantity_of(strips: Sequence[ObservationScenes], modality: str) -> str:
    found = sorted({scene.quantity for strip in strips for scene in strip.scenes})
    if len(found) != 1:
        raise InputError(f"{modality} has {len(strips)} dates that measure {found or 'nothing'}: one thing is wanted.")
    return found[0]


def _check_bands(strips: Sequence[ObservationScenes], bands: Sequence[str], modality: str) -> None:
    for strip in strips:
        for scene in strip.scenes:
            missing = [band for band in bands if band not in scene.assets]
            if missing:
                raise InputError(f"{scene.id} lacks {missing} of {modality}; it has {sorted(scene.assets)}.")


def _meaning(scene: Scene, bands: Sequence[str]) -> list[Any]:
    """Id of a scene, and how the numbers of its bands become measurements."""
    assets = (scene.assets[band] for band in bands)
    return [scene.id, sorted({(asset.scale, asset.offset, str(asset.nodata)) for asset in assets})]
