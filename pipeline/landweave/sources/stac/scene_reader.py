"""Bands of a scene on the grid: read once, masked, resampled in float, scaled, rounded once.

::

    bands on the same pixels ──> one window of their files ──> measured? ──> resample ──> unit ──> planes

Stackstac asks for one band at a time. Where a pixel of the grid lies among those of a scene is the same for all bands
that share them, and costs more than the resampling of a band; so the first band of a scene brings its fellows along,
and they are handed out when they are asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from landweave.core.errors import ConfigError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent, Span
from landweave.sources.mosaic.spec import Kernel
from landweave.sources.resampling.pixel_coordinates import locate, window_of
from landweave.sources.resampling.resample import Patch, resample
from landweave.sources.stac.border_noise import REACH, border_noise
from landweave.sources.stac.files import read_window
from landweave.sources.stac.georeference import Place, check_place, filter_of, frame_of, place_of
from landweave.sources.stac.records import BandAsset, Scene

PROBABILITIES = ("CLOUD", "SNOW")
CLASSES = ("SCL",)

REFLECTANCE_MAX = 65535
"""Largest reflectance x 10000 that is stored; the smallest is 1, for 0 is no measurement."""

POWER_MIN = 1e-6
"""Smallest linear power that is given (-60 dB): beside a bright target a cubic kernel undershoots 0."""

_STATES = (*CLASSES, *PROBABILITIES)

Plane = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How scenes come onto a grid. Picklable.

    Attributes
    ----------
    grid
        Pixels to answer.
    scenes
        All that may be asked for.
    bands
        What is wanted of each, by our names, with those that tell states.
    kernel
        Of measurements. Classes and probabilities take the nearest.
    sign
        Who signs addresses.
    """

    grid: Grid
    scenes: tuple[Scene, ...] = field(repr=False)
    bands: tuple[str, ...]
    kernel: Kernel = "bilinear"
    sign: str | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the planes: uint16 reflectance x 10000, or float32 linear power; 0 where nothing is measured.

        float32 beside probabilities too, which need not be whole numbers: 1.6 is more than 1.
        """
        if any(band in PROBABILITIES for band in self.bands):
            return np.dtype(np.float32)
        return planes_dtype(self.scenes[0].quantity)

    @cached_property
    def addresses(self) -> Mapping[str, tuple[Scene, str]]:
        """Scene and band behind each address that `address` gives."""
        return {address(scene.assets[band]): (scene, band) for scene in self.scenes for band in self.bands}

    def open_band(self, *, url: str, spec: Any, **_: Any) -> BandReader:
        """The reader of one band of one scene, as stackstac makes them."""
        shape, bounds = tuple(spec.shape), tuple(spec.bounds)
        if (shape, bounds) != (self.grid.shape, self.grid.bounds):
            raise ConfigError(
                f"A stack of {shape} pixels over {bounds} was asked of a reader for {self.grid.shape} over "
                f"{self.grid.bounds}: open another one."
            )
        scene, band = self.addresses[url]
        return BandReader(reading=self, scene=scene, band=band)


@dataclass(frozen=True, kw_only=True)
class BandReader:
    """One band of one scene on the grid: stackstac's protocol of a reader. Holds no file; for any thread."""

    reading: Reading
    scene: Scene
    band: str

    def read(self, window: Window, **_: Any) -> Plane:
        """The band ``(y, x)`` over ``window``, counted from the first pixel of the grid.

        Raises
        ------
        ReadError
            When a file cannot be read.
        """
        grid = self.reading.grid
        extent = Extent(
            _part(grid.extent.y, window.row_off, window.height), _part(grid.extent.x, window.col_off, window.width)
        )
        return _HANDED.take(self.scene, self.band, grid.with_extent(extent), self.reading)

    def close(self) -> None:
        """Nothing is held open here."""


class _Handed(threading.local):
    """What the last scene that this thread read has left to give."""

    def __init__(self) -> None:
        self.scene: Scene | None = None
        self.asked: tuple[Any, ...] = ()
        self.planes: dict[str, Plane] = {}

    def take(self, scene: Scene, band: str, grid: Grid, reading: Reading) -> Plane:
        asked = (grid, reading.bands, reading.kernel)
        if scene is not self.scene or asked != self.asked:
            self.scene, self.asked, self.planes = scene, asked, {}
        if band not in self.planes:
            self.planes.update(read_fellows(scene, band, grid, reading))
        return self.planes.pop(band)


_HANDED = _Handed()


def planes_dtype(quantity: str) -> np.dtype[Any]:
    """Of the measurements of a scene that measures ``quantity``."""
    return np.dtype(np.uint16 if quantity == "reflectance" else np.float32)


def address(asset: BandAsset) -> str:
    """A band of a file in one text."""
    return asset.href if asset.band == 1 else f"{asset.href}#band={asset.band}"


def read_fellows(scene: Scene, band: str, grid: Grid, reading: Reading) -> dict[str, Plane]:
    """Planes ``(y, x)`` of ``band`` and of all that comes along, for it lies on the same pixels."""
    names, classes = _fellows(scene, band, reading)
    place = place_of(scene.assets[band], reading.sign)
    planes = {name: np.zeros(grid.shape, reading.dtype) for name in (*names, *classes)}
    frame, using = frame_of(place, grid), filter_of(place, grid, _kernel(names[0], reading.kernel))
    part = grid.with_extent(grid.extent.intersect(frame.ground))
    window = window_of(part, frame, using.margin) if part.extent.size else part.extent
    if window.size:
        source = _measure(scene, (names, classes), window, place, reading.sign)
        answer = resample(source, locate(part, frame), part.extent, using=using, dtype=np.dtype(np.float32))
        where, valid = part.extent.slices_in(grid.extent), answer.rank != answer.nothing
        for name, values in zip(names, answer.values, strict=True):
            planes[name][where] = _in_unit(values, valid, scene, name)
        for name in classes:
            planes[name][where] = np.where(valid, answer.rank, 0)
    return planes


def _fellows(scene: Scene, band: str, reading: Reading) -> tuple[list[str], list[str]]:
    """Bands that are read with ``band``, and classes that are taken along from the pixels those come from."""
    place = place_of(scene.assets[band], reading.sign)
    beside = [name for name in reading.bands if place_of(scene.assets[name], reading.sign) == place]
    if band in PROBABILITIES:
        return [name for name in beside if name in PROBABILITIES], []
    bands, classes = ([name for name in beside if name in kind] for kind in (set(beside) - set(_STATES), CLASSES))
    return (bands, classes) if bands else (classes, [])


def _measure(
    scene: Scene, names: tuple[Sequence[str], Sequence[str]], window: Extent, place: Place, sign: str | None
) -> Patch:
    """Stored numbers over ``window`` with a ring of nothing around; a pixel counts where every band holds one.

    The nearest pixel that counts gives a pixel of the grid its class, so classes travel as ranks.
    """
    bands, classes = names
    reach = 0 if scene.quantity == "reflectance" else REACH
    wide = window.grow(reach).intersect(Extent.of((0, place.shape[0]), (0, place.shape[1])))
    core = window.slices_in(wide)
    stored = _read_files(scene, (*bands, *classes), wide, place, sign)
    measured = np.logical_and.reduce([_is_measured(stored[name], scene, name)[core] for name in bands])
    kind = np.result_type(*(stored[name] for name in bands))
    patch = Patch.blank(len(bands), window.grow(1), dtype=kind, ranks=np.dtype(np.uint8))
    rank = stored[classes[0]][core] if classes else 0
    patch.rank[1:-1, 1:-1] = np.where(measured, rank, patch.nothing)
    for values, name in zip(patch.values, bands, strict=True):
        values[1:-1, 1:-1] = stored[name][core]
    return patch


def _read_files(scene: Scene, names: Sequence[str], window: Extent, place: Place, sign: str | None) -> dict[str, Plane]:
    """Stored numbers ``(y, x)`` by band; bands of one file in one call."""
    files: dict[str, list[str]] = {}
    for name in names:
        files.setdefault(scene.assets[name].href, []).append(name)
    found: dict[str, Plane] = {}
    for href, inside in files.items():
        check_place(href, place, sign)
        values = read_window(href, [scene.assets[name].band for name in inside], window, sign)
        found |= dict(zip(inside, values, strict=True))
    return found


def _is_measured(values: Plane, scene: Scene, name: str) -> NDArray[np.bool_]:
    """Where a stored number is a measurement."""
    asset = scene.assets[name]
    measured: NDArray[np.bool_] = np.isfinite(values)
    if asset.nodata is not None and not np.isnan(asset.nodata):
        measured &= values != _as(asset.nodata, values.dtype)
    if name in PROBABILITIES:
        return measured
    if scene.quantity == "reflectance":
        measured &= values != 0
        return measured
    power = values if asset.scale == 1 and not asset.offset else values * asset.scale + asset.offset
    measured &= power > 0
    measured &= ~border_noise(power, measured)
    return measured


def _as(nodata: float, dtype: np.dtype[Any]) -> Any:
    """A tag as a file of this dtype holds it: -9999.0059 is a double, the pixels are float32."""
    return dtype.type(nodata) if dtype.kind == "f" else nodata


def _in_unit(values: Plane, valid: NDArray[np.bool_], scene: Scene, name: str) -> Plane:
    """Resampled numbers (float32, overwritten) in the unit of their band, 0 where not ``valid``."""
    asset = scene.assets[name]
    if name not in _STATES:
        values *= np.float32(asset.scale)
        values += np.float32(asset.offset)
        if scene.quantity == "reflectance":
            values += np.float32(0.5)
            np.clip(np.floor(values, out=values), 1, REFLECTANCE_MAX, out=values)
        else:
            np.maximum(values, np.float32(POWER_MIN), out=values)
    values[~valid] = 0
    return values


def _kernel(band: str, kernel: Kernel) -> Kernel:
    return "nearest" if band in _STATES else kernel


def _part(span: Span, offset: float, size: float) -> Span:
    return span.part(Span(int(offset), int(offset) + int(size)))
