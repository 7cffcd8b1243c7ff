"""The scenes of a catalog as a series on a grid: scenes of a datatake in order, the first valid pixel kept.

::

    observation ──> scenes that touch the grid ──> planes of one scene ──> first valid pixel ──> image and pixel classes
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.checksums import Checksum
from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import Extent
from landweave.core.protocols import ReadCost, Series, SourceFile
from landweave.core.timeseries import Observation, PixelClass, measured
from landweave.core.words import counted
from landweave.sources.border_noise import FLOOR, NEAR, SOLID
from landweave.sources.files import Options, file_format, file_versions
from landweave.sources.requests import check_bands, check_pixels
from landweave.sources.resampling.kernels import KernelName
from landweave.sources.stac.georeference import covered_pixels, georef_of, grid_extent_of, unite
from landweave.sources.stac.pixel_classes import class_bands, classify_pixels
from landweave.sources.stac.records import DroppedItem, ObservationScenes, Scene, SearchResult, group_reasons
from landweave.sources.stac.scene_reader import SceneReading, dtype_of, read_cost, read_scene

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, kw_only=True)
class StacSeries:
    """The observations of one modality on one grid. Picklable; open it with `StacSeries.open`.

    Attributes
    ----------
    observation_scenes
        Observations and their scenes, ascending in time.
    modality, bands
        By FLAIR-HUB's names and ours.
    grid
        Pixels that reads are on, over any extent.
    resampling
        Kernel of measurements.
    cloud_mask
        Where pixel classes come from; empty for radar.
    quantity
        What is measured; with ``_db`` in decibels.
    sign
        Who signs addresses when they are read.
    storage_options
        Of files in an object store, as sorted pairs; never shown.
    checksums
        Whether files are held against the checksums of their items; None for those of this machine.
    dropped
        Items that the search found and that are not used.
    """

    observation_scenes: tuple[ObservationScenes, ...] = field(repr=False)
    modality: str
    bands: tuple[str, ...]
    grid: Grid
    resampling: KernelName = "bilinear"
    cloud_mask: Mapping[str, Any] = field(default_factory=dict)
    quantity: str = "reflectance"
    sign: str | None = None
    storage_options: Options = field(default=(), repr=False)
    checksums: bool | None = None
    dropped: tuple[DroppedItem, ...] = field(default=(), repr=False)

    @classmethod
    def open(  # noqa: PLR0913  what a series is read by
        cls,
        found: SearchResult | Sequence[ObservationScenes],
        *,
        modality: str,
        bands: Sequence[str],
        grid: Grid,
        resampling: KernelName = "bilinear",
        cloud_mask: Mapping[str, Any] | None = None,
        decibels: bool = False,
        sign: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        checksums: bool | None = None,
    ) -> StacSeries:
        """The observations of ``found`` on the pixels of ``grid``. No file is opened.

        Parameters
        ----------
        found
            The result of a search, or observations with their scenes.
        modality, bands
            By FLAIR-HUB's name and ours.
        grid
            Pixels to align with.
        resampling
            Kernel of measurements; classes and probabilities always take the nearest.
        cloud_mask
            Where pixel classes come from: ``{"source": "scl"}`` by default, or ``{"source": "probability",
            "cloud_max": 1, "snow_max": 1}``. Has no effect for radar.
        decibels
            Whether radar power is given in decibels.
        sign
            Who signs addresses when they are read (`landweave.sources.signing`).
        storage_options
            Of files in an object store.
        checksums
            Whether files are held against the checksums of their items, each read whole for it, once a process; by
            default those of this machine.

        Raises
        ------
        InputError
            When a scene lacks a band, or scenes measure different things.
        ConfigError
            When settings contradict each other.
        """
        observations = tuple(found.observation_scenes if isinstance(found, SearchResult) else found)
        quantity = _quantity_of(observations, modality)
        if decibels and quantity == "reflectance":
            raise ConfigError(f"{modality} is reflectance: it has no decibels.")
        mask = dict(cloud_mask or {"source": "scl"}) if quantity == "reflectance" else {}
        _check_bands(observations, (*bands, *class_bands(mask)), modality)
        return cls(
            observation_scenes=observations,
            modality=modality,
            bands=tuple(bands),
            grid=grid,
            resampling=resampling,
            cloud_mask=mask,
            quantity=f"{quantity}_db" if decibels else quantity,
            sign=sign,
            storage_options=tuple(sorted((storage_options or {}).items())),
            checksums=checksums,
            dropped=found.dropped if isinstance(found, SearchResult) else (),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Which items of the catalog are not used, and why; and those that their files differ from."""
        remarks = [DroppedItem(id=scene.id, reason=text) for scene in self._scenes for text in scene.remarks]
        held = self._with_checksums(held=True)
        whole = "held against the checksums of their items, each read whole for it once by every worker"
        return (
            *([f"{counted(held, 'file', 'is')} {whole}"] if held else ()),
            *group_reasons(self.dropped, found=len(self._scenes) + len(self.dropped)),
            *(f"of the items that are used, {line}" for line in group_reasons(remarks)),
        )

    def between(self, first: np.datetime64, last: np.datetime64) -> StacSeries:
        """The observations from one day to another.

        Parameters
        ----------
        first, last
            Days (UTC), both included.
        """
        kept = (e for e in self.observation_scenes if first <= e.observation.day <= last)
        return replace(self, observation_scenes=tuple(kept))

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Its observations, ascending in time."""
        return tuple(each.observation for each in self.observation_scenes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint16 reflectance x 10000, float32 backscatter."""
        return dtype_of(self.quantity)

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Observations with their scenes in reading order and what is done with their bands; plain JSON values."""
        return {
            "modality": self.modality,
            "bands": list(self.bands),
            "quantity": self.quantity,
            "cloud_mask": dict(self.cloud_mask),
            "resampling": self.resampling,
            "border": None if self.cloud_mask else {"floor": FLOOR, "near": NEAR, "solid": SOLID},
            "observations": [
                [each.observation.datatake_id, *([scene.id, self._pixel_rules(scene)] for scene in each.scenes)]
                for each in self.observation_scenes
            ],
        }

    def describe(self) -> dict[str, Any]:
        """What `check` prints: observations, scenes, what is done with each band; plain values."""
        scenes = self._scenes
        offsets = Counter(scene.offset_decision for scene in scenes if scene.offset_decision)
        georefs = {asset.georef for scene in scenes for asset in scene.assets.values()}
        ignored = self._with_checksums(held=False)
        return {
            "modality": self.modality,
            "bands": list(self.bands),
            "dates": len(self.observation_scenes),
            "first": str(self.observation_scenes[0].observation.time),
            "last": str(self.observation_scenes[-1].observation.time),
            "scenes": len(scenes),
            "quantity": self.quantity,
            "dtype": self.dtype.name,
            "cloud_mask": dict(self.cloud_mask),
            "resampling": self.resampling,
            "crs": sorted({georef.crs if georef else "by the files" for georef in georefs}),
            "offsets": dict(offsets),
            "pixels": {
                band: " or ".join(sorted({str(self._reading.band(scene, band)) for scene in scenes}))
                for band in self._reading.bands
            },
            **(
                {"checksums": f"not looked at for {counted(ignored, 'file')}: checksums: true reads each whole"}
                if ignored
                else {}
            ),
            **({"notes": self.notes} if self.notes else {}),
        }

    def bounds(self, grid: Grid) -> Bounds | None:
        """Bounds ``(x0, y0, x1, y1)`` of all scenes in the CRS of ``grid``, to whole pixels."""
        extents = [grid_extent_of(scene, grid) for scene in self._scenes]
        return grid.with_extent(unite(extents)).bounds if extents else None

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """Files that touch ``grid``, observation by observation in reading order. No pixel is read.

        Size and version of a file on the web come from its server; where it does not respond, the version is that of
        the item.
        """
        files = [(scene, href, bands) for scene in self._all_touching(grid) for href, bands in self._files(scene)]
        versions = file_versions([href for _, href, _ in files], self.sign, self.storage_options)
        return tuple(
            SourceFile(
                id=f"{scene.id}/{bands[0]}",
                location=href,
                size=versions[href][0],
                version=versions[href][1] or f"{scene.id} {scene.processed}",
                format=file_format(href),
            )
            for scene, href, bands in files
        )

    def cost(self, grid: Grid) -> ReadCost:
        """File bytes and decoded pixels of a `read` of every observation over ``grid``, estimated from the items."""
        return read_cost(self._all_touching(grid), self._reading.bands, grid)

    def opens(self, grid: Grid) -> int:
        """Times that a file is opened by a `read` of every observation over ``grid``, at most."""
        return sum(len(self._files(scene)) for scene in self._all_touching(grid))

    def read(self, grid: Grid, bands: Sequence[str], indices: Sequence[int]) -> Series:
        """Pixels of ``bands`` at ``indices`` on exactly ``grid``, in `dtype`; 0 where nothing is measured.

        A pixel is measured where all bands of the series are, so it is the same whichever are read.

        Parameters
        ----------
        grid
            Pixels of the grid that the series was opened on, over any extent.
        bands
            Names, in the order of the result.
        indices
            Places in `observations`, in the order of the result.

        Raises
        ------
        ReadError
            When a file cannot be read; it is named.
        ConfigError
            When the grid is of other pixels than the series was opened on, or a band is not one of `bands`.
        """
        check_pixels(self.modality, self.grid, grid)
        check_bands(self.modality, self.bands, bands)
        channels = [self.bands.index(band) for band in bands]
        series = Series(
            values=np.zeros((len(indices), len(bands), *grid.shape), self.dtype),
            pixel_class=np.full((len(indices), *grid.shape), PixelClass.NOT_ACQUIRED, np.uint8),
        )
        for place, index in enumerate(indices):
            for scene in self._touching(index, grid):
                self._add_scene(series, place, scene, grid, channels)
                if measured(series.pixel_class[place]).all():
                    break
        return series

    def stack(self, grid: Grid | None = None, bands: Sequence[str] | None = None, *, chunk: int = 1024) -> xr.DataArray:
        """Scenes over ``grid`` as a lazy array ``(time, band, y, x)``; nothing is read.

        Every scene has a time of its own: `read` is what merges the scenes of a datatake. ``datatake_id`` names the
        observation that it belongs to. Reflectance x 10000 or linear power, 0 where nothing is measured; float32
        beside probabilities.

        Parameters
        ----------
        grid
            Pixels of the grid that the series was opened on; all of it by default.
        bands
            Names; those of the series by default. Bands of pixel classes may be named too.
        chunk
            Pixels a side of what is read at once.

        Raises
        ------
        InputError
            When no scene touches the grid.
        ConfigError
            As `read`.
        """
        from landweave.sources.stac.lazy_stack import SceneStack, stack_scenes  # stackstac, xarray, dask

        grid, names = grid or self.grid, tuple(bands or self.bands)
        check_pixels(self.modality, self.grid, grid)
        check_bands(self.modality, self._reading.bands, names)
        scenes = [
            (scene, each.observation.datatake_id)
            for index, each in enumerate(self.observation_scenes)
            for scene in self._touching(index, grid)
        ]
        if not scenes:
            raise InputError(f"No scene of {self.modality} touches {grid.bounds} in {grid.crs[:40]}.")
        reading = replace(self._reading, bands=names)
        array = stack_scenes(
            SceneStack(grid=grid, scenes=tuple(scene for scene, _ in scenes), reading=reading), chunk=chunk
        )
        return array.assign_coords(datatake_id=("time", [name for _, name in scenes])).rename(self.modality)

    @cached_property
    def _reading(self) -> SceneReading:
        """How scenes are read, with the bands that pixel classes come from."""
        return SceneReading(
            bands=(*self.bands, *class_bands(self.cloud_mask)),
            quantity=self.quantity.removesuffix("_db"),
            resampling=self.resampling,
            sign=self.sign,
            storage_options=self.storage_options,
            checksums=self.checksums,
        )

    @property
    def _scenes(self) -> list[Scene]:
        return [scene for each in self.observation_scenes for scene in each.scenes]

    @cached_property
    def _grid_extents(self) -> tuple[tuple[Extent, ...], ...]:
        """For each observation, the pixels of the grid under each scene."""
        return tuple(
            tuple(grid_extent_of(scene, self.grid) for scene in each.scenes) for each in self.observation_scenes
        )

    def _touching(self, index: int, grid: Grid) -> Iterator[Scene]:
        """Scenes of an observation that may have pixels on ``grid``, in reading order."""
        for scene, extent in zip(self.observation_scenes[index].scenes, self._grid_extents[index], strict=True):
            if extent.intersect(grid.extent).size:
                yield scene

    def _all_touching(self, grid: Grid) -> list[Scene]:
        return [scene for index in range(len(self.observation_scenes)) for scene in self._touching(index, grid)]

    def _files(self, scene: Scene) -> list[tuple[str, list[str]]]:
        """Files of a scene in reading order, each with the bands that come from it."""
        files: dict[str, list[str]] = {}
        for band in self._reading.bands:
            files.setdefault(scene.assets[band].href, []).append(band)
        return list(files.items())

    def _with_checksums(self, *, held: bool) -> int:
        """Number of files whose items state a checksum, that are held against it or are not."""
        files = {
            scene.assets[band].href
            for scene in self._scenes
            for band in self._reading.bands
            if Checksum.parse(scene.assets[band].checksum, "")
            and held is (self._reading.file(scene, band).checksum is not None)
        }
        return len(files)

    def _pixel_rules(self, scene: Scene) -> list[Any]:
        """What is done with the numbers of a scene's bands, each rule once."""
        readings = (self._reading.band(scene, band) for band in self.bands)
        return sorted({(each.scale, each.offset, each.decibels, str(each.nodata)) for each in readings})

    def _add_scene(self, series: Series, place: int, scene: Scene, grid: Grid, channels: Sequence[int]) -> None:
        """Fill pixels of the observation at ``place`` that no earlier scene has measured."""
        values, pixel_class = series.values[place], series.pixel_class[place]
        planes = read_scene(scene, grid, self._reading)
        valid = (planes[: len(self.bands)] != 0).all(axis=0)
        classes = classify_pixels(dict(zip(self._reading.bands, planes, strict=True)), self.cloud_mask, valid)
        here = measured(classes)
        take = here & ~measured(pixel_class)
        if not here.all():
            beside = ~here & (pixel_class == PixelClass.NOT_ACQUIRED)
            pixel_class[beside & self._covered(scene, grid)] = PixelClass.NODATA
        where = True if take.all() else take
        np.copyto(pixel_class, classes, where=where)
        for band, channel in zip(values, channels, strict=True):
            np.copyto(band, self._in_unit(planes[channel]), where=where)

    def _covered(self, scene: Scene, grid: Grid) -> NDArray[np.bool_]:
        georefs = {georef_of(scene.assets[band], self.sign, self.storage_options) for band in self._reading.bands}
        return np.asarray(np.logical_and.reduce([covered_pixels(grid, georef) for georef in georefs]))

    def _in_unit(self, plane: NDArray[Any]) -> NDArray[Any]:
        if not self.quantity.endswith("_db"):
            return plane.astype(self.dtype, copy=False)
        power = np.where(plane > 0, plane, np.float32(1))  # pixels that are not measured are not taken over
        return np.float32(10) * np.log10(power)


def _quantity_of(observations: Sequence[ObservationScenes], modality: str) -> str:
    found = sorted({scene.quantity for each in observations for scene in each.scenes})
    if len(found) != 1:
        raise InputError(
            f"{modality} has {counted(len(observations), 'date')} that measure {found or 'nothing'}: one quantity is "
            "needed."
        )
    return found[0]


def _check_bands(observations: Sequence[ObservationScenes], bands: Sequence[str], modality: str) -> None:
    for each in observations:
        for scene in each.scenes:
            missing = [band for band in bands if band not in scene.assets]
            if missing:
                raise InputError(f"{scene.id} lacks {missing} of {modality}; it has {sorted(scene.assets)}.")
