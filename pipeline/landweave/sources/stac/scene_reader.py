"""Bands of a scene on the grid: read once, masked, resampled in float, scaled, rounded once; and what that costs.

::

    bands on the same pixels ──> one window of their files ──> measured? ──> resample ──> unit ──> planes
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.checksums import Checksum
from landweave.core.errors import ReadError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.protocols import ReadCost
from landweave.sources.band_reading import BandReading, FileReading, NodataValue, decide_file, read_bands, to_power
from landweave.sources.files import Options, RasterFile, file_format, file_version, is_url
from landweave.sources.raster_facts import GeoRef, RasterFacts, facts_at_first_open
from landweave.sources.resampling.kernels import KernelName, Plane
from landweave.sources.resampling.pixel_coordinates import pixel_coordinates, source_window
from landweave.sources.resampling.resample import Patch, resample
from landweave.sources.stac.georeference import check_georef, frame_of, georef_of, kernel_of
from landweave.sources.stac.item_files import contradiction
from landweave.sources.stac.pixel_classes import BANDS_BY_SOURCE
from landweave.sources.stac.records import Scene

CLASSES, PROBABILITIES = BANDS_BY_SOURCE["scl"], BANDS_BY_SOURCE["probability"]
CLASS_BANDS = (*CLASSES, *PROBABILITIES)
"""Bands that pixel classes come from; all others are measurements."""

REFLECTANCE_MAX = 65535
"""Largest reflectance x 10000 that is stored; the smallest is 1, for 0 is no measurement."""

POWER_MIN = 1e-6
"""Smallest linear power that is given (-60 dB): beside a bright target a cubic kernel undershoots 0."""

_BLOCK = 512
"""Pixels a side of what is decoded at once, before a file is opened: what most COGs have."""

_BYTES_A_PIXEL = 1.5
"""Of a compressed 16-bit band, where its file cannot be measured."""


@dataclass(frozen=True, kw_only=True)
class SceneReading:
    """How scenes are read onto a grid. Picklable.

    Attributes
    ----------
    bands
        Bands of each scene by our names, with those that pixel classes come from.
    quantity
        What all scenes measure.
    resampling
        Kernel of measurements. Classes and probabilities take the nearest.
    sign
        Who signs addresses.
    storage_options
        Of files in an object store; never shown.
    checksums
        Whether files are held against the checksums of their items; None for those of this machine.
    """

    bands: tuple[str, ...]
    quantity: str = "reflectance"
    resampling: KernelName = "bilinear"
    sign: str | None = None
    storage_options: Options = field(default=(), repr=False)
    checksums: bool | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the planes: uint16 reflectance x 10000, or float32 linear power; 0 where nothing is measured.

        float32 beside probabilities too, which need not be whole numbers: 1.6 is more than 1.
        """
        if any(band in PROBABILITIES for band in self.bands):
            return np.dtype(np.float32)
        return dtype_of(self.quantity)

    def file(self, scene: Scene, band: str) -> RasterFile:
        """The file of a band, with the checksum that it is held against.

        Parameters
        ----------
        scene, band
            The scene and the name of its band.
        """
        asset = scene.assets[band]
        wanted = not is_url(asset.href) if self.checksums is None else self.checksums
        checksum = Checksum.parse(asset.checksum, f"item {scene.id}") if wanted else None
        return RasterFile(href=asset.href, sign=self.sign, checksum=checksum, storage_options=self.storage_options)

    def band(self, scene: Scene, band: str, *, beside_bands: bool = False) -> BandReading:
        """What is done with one band, as far as the item and the product decide it.

        Parameters
        ----------
        scene, band
            The scene and the name of its band.
        beside_bands
            Whether the band is a class that is read along with measurements, which alone decide what is measured.
        """
        asset, measures = scene.assets[band], band not in CLASS_BANDS
        reflectance = self.quantity == "reflectance"
        nodata = [NodataValue(value=0.0, origin="product")] if reflectance and band not in PROBABILITIES else []
        # A probability of 0 is a measurement, and class 0 is none, whatever the item or the file call nodata. What is
        # neither a class nor a probability is no measurement either (`classify_pixels`).
        if measures and asset.nodata is not None:
            nodata.append(NodataValue(value=asset.nodata, origin="item"))
        return BandReading(
            band=band,
            number=asset.band,
            nodata=() if beside_bands else tuple(nodata),
            file_tag=measures,
            scale=asset.scale,
            offset=asset.offset,
            scaled_by="item" if (asset.scale, asset.offset) != (1, 0) else "",
            backscatter=measures and not reflectance,
            decibels=asset.decibels,
            dtype=self.dtype.name,
            resampling=self.resampling if measures else "nearest",
        )


@dataclass(frozen=True, kw_only=True)
class _BandGroup:
    """Bands of a scene on the same pixels, read together.

    ``bands`` decide what is measured; each pixel takes its ``classes`` from the nearest pixel that is.
    """

    georef: GeoRef
    bands: tuple[str, ...]
    classes: tuple[str, ...] = ()


def dtype_of(quantity: str) -> np.dtype[Any]:
    """Dtype of the values of a series that measures ``quantity``."""
    return np.dtype(np.uint16 if quantity == "reflectance" else np.float32)


def read_scene(scene: Scene, grid: Grid, reading: SceneReading) -> NDArray[Any]:
    """All bands of a scene ``(band, y, x)`` on ``grid``, in `SceneReading.dtype`.

    0 where nothing is measured, and NaN for a probability.

    Parameters
    ----------
    scene
        The scene.
    grid
        Pixels to resample to, over any extent: a pixel has the same bits whatever is read.
    reading
        Which bands, and how.

    Raises
    ------
    ReadError
        When a file cannot be read, or lies elsewhere than its item says.
    """
    planes: dict[str, Plane] = {}
    for group in _group_bands(scene, reading):
        planes |= _read_group(scene, group, grid, reading)
    return np.stack([planes[band] for band in reading.bands])


def _group_bands(scene: Scene, reading: SceneReading) -> list[_BandGroup]:
    """Bands by the pixels they lie on; coordinates cost more than resampling a band, and are shared within a group."""
    by_georef: dict[GeoRef, list[str]] = {}
    for band in reading.bands:
        by_georef.setdefault(georef_of(scene.assets[band], reading.sign, reading.storage_options), []).append(band)
    groups = []
    for georef, names in by_georef.items():
        classes, probabilities = (tuple(name for name in names if name in kind) for kind in (CLASSES, PROBABILITIES))
        bands = tuple(name for name in names if name not in CLASS_BANDS)
        if bands or classes:
            groups.append(_BandGroup(georef=georef, bands=bands or classes, classes=classes if bands else ()))
        if probabilities:
            groups.append(_BandGroup(georef=georef, bands=probabilities))
    return groups


def _read_group(scene: Scene, group: _BandGroup, grid: Grid, reading: SceneReading) -> dict[str, Plane]:
    planes = {name: np.full(grid.shape, _blank(name), reading.dtype) for name in (*group.bands, *group.classes)}
    name: KernelName = "nearest" if group.bands[0] in CLASS_BANDS else reading.resampling
    frame, kernel = frame_of(group.georef, grid), kernel_of(group.georef, grid, name)
    part = grid.with_extent(grid.extent.intersect(frame.grid_extent))
    window = source_window(part, frame, kernel.margin) if part.extent.size else part.extent
    if not window.size:
        return planes
    source, readings = _read_patch(scene, group, window, reading)
    coordinates = pixel_coordinates(part, frame)
    result = resample(source, coordinates, part.extent, kernel=kernel, dtype=np.dtype(np.float32))
    where, measured = part.extent.slices_in(grid.extent), result.measured
    for band, values in zip(group.bands, result.values, strict=True):
        planes[band][where] = _in_unit(values, measured, readings[band], reading.quantity)
    for band in group.classes:
        planes[band][where] = np.where(measured, result.rank, 0)
    return planes


def _read_patch(
    scene: Scene, group: _BandGroup, window: Extent, reading: SceneReading
) -> tuple[Patch, dict[str, BandReading]]:
    """Stored numbers over ``window`` with a ring of nothing around, decibels as power; and what is done with them.

    The nearest measured pixel gives a pixel of the grid its class, so classes travel as ranks.
    """
    files = _file_readings(scene, group, reading)
    stored, measured = read_bands(files, window, (*group.bands, *group.classes))
    readings = {band.band: band for file in files for band in file.bands}
    for name in (name for name in stored if name in CLASSES and stored[name].dtype.kind == "f"):
        _refuse_mixed_classes(scene, stored[name][measured])
    for name in (name for name in group.bands if readings[name].decibels):
        stored[name] = to_power(np.where(measured, stored[name], 0), readings[name])
        readings[name] = replace(readings[name], scale=1.0, offset=0.0)
    dtype = np.result_type(*(stored[band] for band in group.bands))
    patch = Patch.empty(len(group.bands), window.grow(1), dtype=dtype, ranks=np.dtype(np.uint8))
    rank = stored[group.classes[0]] if group.classes else np.zeros((), np.uint8)
    rank = np.where((rank >= 0) & (rank < patch.no_rank), rank, patch.no_rank - 1)  # 65535 is no class either
    patch.rank[1:-1, 1:-1] = np.where(measured, rank, patch.no_rank)
    for values, band in zip(patch.values, group.bands, strict=True):
        values[1:-1, 1:-1] = stored[band]
    return patch, readings


def _refuse_mixed_classes(scene: Scene, classes: Plane) -> None:
    if (mixed := classes[classes != np.floor(classes)]).size:
        raise ReadError(
            f"{scene.id} holds the scene class {mixed[0]:g}: classes that were interpolated are others. Leave it out "
            "by skip_items."
        )


def _file_readings(scene: Scene, group: _BandGroup, reading: SceneReading) -> list[FileReading]:
    files: dict[str, list[BandReading]] = {}
    for names, beside_bands in ((group.bands, False), (group.classes, True)):
        for name in names:
            band = reading.band(scene, name, beside_bands=beside_bands)
            files.setdefault(scene.assets[name].href, []).append(band)
    decided = []
    for bands in files.values():
        file = reading.file(scene, bands[0].band)
        check_georef(file, group.georef)
        facts = facts_at_first_open(file)
        for band in bands:
            if reason := contradiction(band.band, scene.assets[band.band], facts, reading.quantity):
                raise ReadError(f"{scene.id} {reason}. Leave it out by skip_items.")
        decided.append(decide_file([_with_tags(band, facts) for band in bands], facts, file))
    return decided


def _with_tags(band: BandReading, facts: RasterFacts) -> BandReading:
    """Radar power scaled as its file says where its item does not; what reflectance is comes from its product too."""
    tags = (facts.scales[band.number - 1], facts.offsets[band.number - 1])
    if not band.backscatter or band.scaled_by or tags == (1, 0):
        return band
    return replace(band, scale=tags[0], offset=tags[1], scaled_by="file tag")


def _blank(band: str) -> float:
    """What stands for no measurement: 0 is a probability."""
    return np.nan if band in PROBABILITIES else 0


def _in_unit(values: Plane, measured: NDArray[np.bool_], reading: BandReading, quantity: str) -> Plane:
    """Resampled numbers (float32, overwritten) in the unit of their band, `_blank` where not ``measured``."""
    if reading.band not in CLASS_BANDS:
        values *= np.float32(reading.scale)
        values += np.float32(reading.offset)
        if quantity == "reflectance":
            values += np.float32(0.5)
            np.clip(np.floor(values, out=values), 1, REFLECTANCE_MAX, out=values)
        else:
            np.maximum(values, np.float32(POWER_MIN), out=values)
    values[~measured] = _blank(reading.band)
    return values


def read_cost(scenes: Iterable[Scene], bands: Sequence[str], grid: Grid) -> ReadCost:
    """Bytes and decoded pixels of reading scenes over a grid, in whole blocks, by their items: no file is opened.

    Parameters
    ----------
    scenes, bands
        Scenes, and the bands read of each.
    grid
        Pixels that are read.
    """
    touched, decoded = 0.0, Counter[str]()
    pixels: dict[GeoRef | None, int] = {}
    for scene in scenes:
        for asset in (scene.assets[band] for band in bands):
            georef = asset.georef
            if georef not in pixels:
                pixels[georef] = _pixels(georef, grid)
            decoded[file_format(asset.href)] += pixels[georef]
            touched += pixels[georef] * _density(asset.href, georef)
    return ReadCost(bytes=round(touched), decoded_pixels=dict(decoded))


def _pixels(georef: GeoRef | None, grid: Grid) -> int:
    """Pixels of a scene in the blocks that a read of ``grid`` touches."""
    if georef is None:
        return grid.extent.snap(_BLOCK).size
    frame = frame_of(georef, grid)
    part = grid.with_extent(grid.extent.intersect(frame.grid_extent))
    if not part.extent.size:
        return 0
    return source_window(part, frame, margin=2).snap(_BLOCK).intersect(frame.extent).size


@lru_cache(maxsize=2**17)
def _density(href: str, georef: GeoRef | None) -> float:
    """File bytes a pixel."""
    try:
        size = file_version(href)[0]
    except OSError:
        size = 0
    return size / float(np.prod(georef.shape)) if size and georef else _BYTES_A_PIXEL
