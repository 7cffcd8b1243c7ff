"""A series of FLAIR-HUB: patches whose bands are dates, with their dates and masks beside them.

::

    file of a patch   [date 0: B2 … B12][date 1: B2 … B12] …    dates x bands on one axis, date by date
    mask of a patch   [date 0: snow, cloud][date 1: snow, cloud] …
    metadata          patch id -> {"0": "20200107", "1": "20200112", …}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.errors import InputError
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import Extent
from landweave.core.modalities import is_radar, series_bands
from landweave.core.protocols import ReadCost, Series, SourceFile
from landweave.core.timeseries import Observation, PixelClass
from landweave.core.words import counted
from landweave.sources.files import read_window
from landweave.sources.mosaic.listing import list_products
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.patches.layout import patch_id
from landweave.sources.raster_facts import RasterFacts, read_raster_facts
from landweave.sources.requests import check_bands, check_pixels
from landweave.sources.stac.pixel_classes import classify_pixels

MASK_BANDS = ("SNOW", "CLOUD")
"""Probabilities of each date of a mask, in its order."""


@dataclass(frozen=True, kw_only=True)
class SeriesPatch:
    """One patch of a series.

    Attributes
    ----------
    facts, mask
        Of its file, and of that of its masks; None without.
    extent
        Its pixels on the grid.
    dates
        Position of each observation in its files.
    """

    facts: RasterFacts
    mask: RasterFacts | None
    extent: Extent
    dates: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class PatchSeries:
    """The patches of one modality as observations: `landweave.core.protocols.SeriesSource`. Picklable.

    Attributes
    ----------
    modality, bands, quantity, cloud_mask
        As of `SeriesSource`.
    grid
        Pixels of the patches; reads are on these, over any extent.
    observations
        All dates of all patches, ascending.
    patches
        In order of their names.
    dtype
        Of the files.
    """

    modality: str
    bands: tuple[str, ...]
    quantity: str
    grid: Grid
    observations: tuple[Observation, ...]
    patches: tuple[SeriesPatch, ...]
    dtype: np.dtype[Any]
    cloud_mask: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """See `SeriesSource`."""
        return {
            "modality": self.modality,
            "patches": [Path(patch.facts.path).name for patch in self.patches],
            "observations": [each.datatake_id for each in self.observations],
            "cloud_mask": dict(self.cloud_mask),
            "quantity": self.quantity,
            "resampling": "paste",
            "border": None,
        }

    def describe(self) -> Mapping[str, Any]:
        """See `SeriesSource`."""
        days = [str(each.day) for each in self.observations]
        return {
            "modality": self.modality,
            "bands": list(self.bands),
            "patches": len(self.patches),
            "dates": f"{len(days)}, {days[0]} to {days[-1]}",
            "cloud_mask": dict(self.cloud_mask),
            "quantity": self.quantity,
        }

    def bounds(self, grid: Grid) -> Bounds | None:
        """See `SeriesSource`."""
        first, *others = (patch.extent for patch in self.patches)
        for each in others:
            first = first.unite(each)
        return self.grid.with_extent(first).bounds

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """See `SeriesSource`."""
        touched = (patch for patch in self.patches if patch.extent.intersect(grid.extent).size)
        facts = (each for patch in touched for each in (patch.facts, patch.mask) if each)
        return tuple(
            SourceFile(id=Path(f.path).name, location=f.path, size=f.size, version=f.version, format=f.driver)
            for f in facts
        )

    def cost(self, grid: Grid) -> ReadCost:
        """See `SeriesSource`."""
        files = self.files(grid)
        return ReadCost(bytes=sum(file.size for file in files))

    def read(self, grid: Grid, bands: Sequence[str], indices: Sequence[int]) -> Series:
        """See `SeriesSource`; a patch that lacks a date was not acquired then."""
        check_pixels(self.modality, self.grid, grid)
        check_bands(self.modality, self.bands, bands)
        values = np.zeros((len(indices), len(bands), *grid.shape), self.dtype)
        pixel_class = np.full((len(indices), *grid.shape), PixelClass.NOT_ACQUIRED, np.uint8)
        for patch in self.patches:
            part = patch.extent.intersect(grid.extent)
            where = part.slices_in(grid.extent)
            if not part.size:
                continue
            for place, index in enumerate(indices):
                position = patch.dates.get(self.observations[index].datatake_id)
                if position is not None:
                    planes, classes = self._read_date(patch, position, part)
                    values[place, :, *where] = planes[[self.bands.index(band) for band in bands]]
                    pixel_class[place, *where] = classes
        return Series(values=values, pixel_class=pixel_class)

    def _read_date(self, patch: SeriesPatch, position: int, part: Extent) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """All bands of one date of a patch, and its pixel classes."""
        rows, columns = part.slices_in(patch.extent)
        window = Extent.of((rows.start, rows.stop), (columns.start, columns.stop))
        count = len(self.bands)
        planes, _ = read_window(patch.facts.file, [position * count + band + 1 for band in range(count)], window)
        valid = np.isfinite(planes).all(0) & (planes != 0).any(0)
        probabilities: dict[str, NDArray[Any]] = {}
        if patch.mask and self.cloud_mask:
            numbers = [position * len(MASK_BANDS) + band + 1 for band in range(len(MASK_BANDS))]
            masks, _ = read_window(patch.mask.file, numbers, window)
            probabilities = dict(zip(MASK_BANDS, masks, strict=True))
        classes = classify_pixels(probabilities, self.cloud_mask, valid)
        planes[:, ~valid] = 0
        return planes, classes


@dataclass(frozen=True, kw_only=True)
class PatchSeriesSpec:
    """The files of a series.

    Attributes
    ----------
    modality
        FLAIR-HUB's name.
    files, masks
        Patches, and their masks of snow and cloud: files, folders or globs.
    dates_file
        GeoPackage with ``patch_id`` and ``acquisition_dates``.
    root
        Folder of relative paths.
    cloud_max, snow_max
        Largest probability of a clear pixel, 0 to 100.
    """

    modality: str
    files: tuple[str, ...]
    masks: tuple[str, ...]
    dates_file: str
    root: str = ""
    cloud_max: float = 1
    snow_max: float = 1

    @property
    def bands(self) -> tuple[str, ...]:
        """Of each date, in the order of the files."""
        return series_bands(self.modality)


def open_patch_series(spec: PatchSeriesSpec, grid: Grid) -> PatchSeries:
    """A series of patches on the pixels of ``grid``, from their headers and dates.

    Parameters
    ----------
    spec
        Its files.
    grid
        Pixels, which have to be those of the patches.

    Raises
    ------
    InputError
        When patches lie off the pixels, a patch has no dates, or its bands are not as many as its dates say.
    """
    mosaic = _mosaic(spec, spec.files, grid)
    days = _read_days(spec.dates_file)
    found = list_facts(spec.modality, spec.masks, spec.root)
    masks = {patch_id(path, "SENTINEL2_MSK-SC"): facts for path, facts in found.items()}
    patches, times = [], dict[str, np.datetime64]()
    frame = mosaic.alignment.frames[0]
    for position, number in enumerate(frame.tiles.tolist()):
        facts = mosaic.index.tiles[number].files[0]
        name = patch_id(facts.path, spec.modality)
        dates = _dates_of(name, days, spec)
        mask = masks.get(name)
        _check_bands(facts, mask, len(dates), spec)
        origin = frame.tile_extent(position)
        patches.append(SeriesPatch(facts=facts, mask=mask, extent=origin, dates=_positions(dates)))
        times |= {key: np.datetime64(f"{key[:4]}-{key[4:6]}-{key[6:8]}", "s") for key in _positions(dates)}
    radar = is_radar(spec.modality)
    thresholds = {"source": "probability", "cloud_max": spec.cloud_max, "snow_max": spec.snow_max}
    return PatchSeries(
        modality=spec.modality,
        bands=spec.bands,
        quantity="sigma0" if radar else "reflectance",
        grid=grid,
        observations=tuple(Observation(datatake_id=key, time=times[key]) for key in sorted(times)),
        patches=tuple(patches),
        dtype=mosaic.dtype,
        cloud_mask={} if radar or not masks else thresholds,
    )


def _mosaic(spec: PatchSeriesSpec, files: tuple[str, ...], grid: Grid) -> MosaicSource:
    """The patches as a mosaic of their first band, which says where they lie."""
    first = {"FIRST": BandFiles(files=files)}
    source = MosaicSource.open(MosaicSpec(modality=spec.modality, bands=first, root=spec.root), grid)
    if not source.alignment.pasted:
        raise InputError(
            f"Patches of {spec.modality} do not lie on pixels of {float(grid.resolution):g} m from {grid.bounds[:2]}: "
            f"{source.alignment.reason}. Anchor the grid at the corner of their region."
        )
    return source


def list_facts(modality: str, files: tuple[str, ...], root: str) -> dict[str, RasterFacts]:
    """The facts of some rasters by path; empty for none.

    Parameters
    ----------
    modality
        That they are of.
    files
        Files, folders or globs.
    root
        Folder of relative paths.
    """
    if not files:
        return {}
    (product,) = list_products(MosaicSpec(modality=modality, bands={"FIRST": BandFiles(files=files)}, root=root))
    return read_raster_facts(product.paths)


def _read_days(path: str) -> dict[str, tuple[str, ...]]:
    """Days of each patch, ``YYYYMMDD``, in the order of its files."""
    import pyogrio  # with pandas, which a plan of other inputs does without
    from pyogrio.errors import DataLayerError, DataSourceError, FieldError

    try:
        frame = pyogrio.read_dataframe(path, columns=["patch_id", "acquisition_dates"], read_geometry=False)
        stated = {str(name): json.loads(text) for name, text in frame.itertuples(index=False)}
    except (DataSourceError, DataLayerError, FieldError, OSError) as error:
        raise InputError(f"Dates {path} cannot be read: {error}.") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"Dates {path} hold no patch_id, or acquisition_dates that are no JSON: {error}.") from error
    return {name: tuple(str(dates[key]) for key in sorted(dates, key=int)) for name, dates in stated.items()}


def _dates_of(name: str, days: Mapping[str, tuple[str, ...]], spec: PatchSeriesSpec) -> tuple[str, ...]:
    if not days.get(name):
        raise InputError(f"Patch {name} of {spec.modality} has no dates in {spec.dates_file}.")
    return days[name]


def _check_bands(facts: RasterFacts, mask: RasterFacts | None, dates: int, spec: PatchSeriesSpec) -> None:
    for file, bands in ((facts, len(spec.bands)), (mask, len(MASK_BANDS))):
        if file and file.count != dates * bands:
            raise InputError(
                f"{file.path} has {counted(file.count, 'band')}, and {spec.dates_file} {dates} dates of {bands} bands "
                f"each: {dates * bands}."
            )


def _positions(days: Sequence[str]) -> dict[str, int]:
    """Position of each date in its files."""
    return {name: position for position, name in enumerate(number_repeated(days))}


def number_repeated(names: Sequence[str]) -> list[str]:
    """Names of dates, the later ones of several alike with a number.

    >>> number_repeated(["20200305", "20200307", "20200305"])
    ['20200305', '20200307', '20200305#2']
    """
    seen, found = Counter[str](), list[str]()
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found
