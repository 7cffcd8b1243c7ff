"""Xarray objects as sources: pixels of any origin, edited or not, behind the protocols of tiles and catalogs.

::

    (band, y, x)        + valid (y, x), or NaN, or a nodata value      ──> XarrayRaster
    (time, band, y, x)  + pixel_class (time, y, x)                     ──> XarraySeries

Nothing is loaded before it is read; what is behind an array (numpy, dask, a file) does not matter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pyproj
import rioxarray  # noqa: F401  registers the accessor that CRS and nodata are read from
import xarray as xr
from numpy.typing import NDArray
from rasterio.errors import CRSError

from landweave.core.crs import metric_crs
from landweave.core.errors import InputError
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import Extent
from landweave.core.modalities import is_radar
from landweave.core.protocols import Raster, ReadCost, Series, SourceFile
from landweave.core.timeseries import Observation, PixelClass, is_number, measured
from landweave.sources.band_reading import DATA_LIKE
from landweave.sources.requests import check_bands, check_pixels
from landweave.sources.resampling.pixel_coordinates import bounds_in

PIXELS = "band_data"
"""Variable with the pixels, as in cubes and in what rioxarray opens."""

_LARGEST_SHIFT = 1 / 100
"""Of a pixel: largest distance of a coordinate from the centre of its pixel."""

_SAME_STEP = 1e-6
"""Of a pixel, over a whole axis: float64 coordinates, however they were computed, agree much better."""


def grid_of(pixels: xr.Dataset | xr.DataArray, name: str = "The array") -> Grid:
    """The exact grid of an xarray object, from its CRS and its coordinates ``x`` and ``y`` of pixel centres.

    Where the object states the grid that it was cut from (attribute ``grid``), pixels count from the same anchor.

    Parameters
    ----------
    pixels
        With ``x`` ascending and ``y`` descending, float64, in metres, and a CRS that rioxarray finds.
    name
        Of the object, for messages.

    Raises
    ------
    InputError
        When the CRS or a coordinate is missing, or the axes are no regular square pixels; both numbers are named.
    ConfigError
        When the CRS is not in metres.
    """
    crs = metric_crs(_stated_crs(pixels, name))
    y, x = _centres(pixels, "y", name), _centres(pixels, "x", name)
    side = _side(pixels, y, x, name)
    if anchors := _stated_anchors(pixels, crs, side):
        found = _grid_over(y, x, crs, side, anchors)
        if not _misfit(found, y, x):
            return found
    corners = Fraction(x[0]) - side / 2, Fraction(y[0]) + side / 2
    anchors = tuple(_simplest(float(each % side), _SAME_STEP * float(side)) % side for each in corners)
    grid = _grid_over(y, x, crs, side, anchors)
    if misfit := _misfit(grid, y, x):
        raise InputError(f"{name}: {misfit}: give coordinates in float64, of regular pixels.")
    return grid


def _stated_crs(pixels: xr.Dataset | xr.DataArray, name: str) -> Any:
    try:
        stated = pixels.rio.crs
    except (CRSError, pyproj.exceptions.CRSError) as error:
        raise InputError(
            f"{name} has a CRS that cannot be read ({error}): write one, as .rio.write_crs('EPSG:2154')."
        ) from None
    if stated is None:
        raise InputError(f"{name} has no CRS: give it one, as .rio.write_crs('EPSG:2154').")
    return stated


def _stated_anchors(pixels: xr.Dataset | xr.DataArray, crs: str, side: Fraction) -> tuple[Fraction, ...]:
    """The anchor ``(x, y)`` of the map that was cut; empty where no such grid is stated."""
    stated = _mapping(_stated(pixels, "grid"))
    try:
        x, y = map(Fraction, stated["anchor_xy"])
        return (x, y) if (stated["crs"], Fraction(stated["resolution"])) == (crs, side) else ()
    except (KeyError, TypeError, ValueError, ZeroDivisionError):  # an attribute of another meaning
        return ()


def _grid_over(y: NDArray[Any], x: NDArray[Any], crs: str, side: Fraction, anchors: Sequence[Fraction]) -> Grid:
    """Pixels of ``side`` over these centres, by the first of each axis."""
    anchor_x, anchor_y = anchors
    row = round((anchor_y - Fraction(y[0])) / side - Fraction(1, 2))
    column = round((Fraction(x[0]) - anchor_x) / side - Fraction(1, 2))
    extent = Extent.of((row, row + y.size), (column, column + x.size))
    return Grid(crs=crs, resolution=side, extent=extent, anchor_xy=(anchor_x, anchor_y))


def _misfit(grid: Grid, y: NDArray[np.float64], x: NDArray[np.float64]) -> str:
    """Where centres are not those of ``grid``, in words with both numbers; empty where all are."""
    side = float(grid.resolution)
    for axis, centres, exact in (("y", y, grid.y), ("x", x, grid.x)):
        worst = int(np.abs(centres - exact).argmax())
        if abs(centres[worst] - exact[worst]) > _LARGEST_SHIFT * side:
            return f"{axis}[{worst}] is {centres[worst]}, the centre of that pixel of {side:g} m is {exact[worst]}"
    return ""


def open_arrays(name: str, group: xr.Dataset) -> XarrayRaster | XarraySeries:
    """The pixels of one modality as a source: a series where they have times, a raster otherwise.

    Parameters
    ----------
    name
        Of the modality, such as ``AERIAL_RGBI``.
    group
        With ``band_data (band, y, x)`` and, where not every pixel is measured, ``valid (y, x)``, NaN or a nodata
        value; or with ``band_data (time, band, y, x)`` and ``pixel_class (time, y, x)``.

    Raises
    ------
    InputError
        Naming the group and what is missing: a variable, bands, CRS, coordinate, times, pixel classes or the quantity.
    """
    if PIXELS not in group:
        raise InputError(f"{name} has no variable {PIXELS!r}: it has {', '.join(map(str, group.data_vars)) or 'none'}.")
    pixels = group[PIXELS]
    if "band" not in pixels.coords:
        raise InputError(f"{name} has no coordinate 'band': name its bands, as assign_coords(band=['R', 'G', 'B']).")
    if foreign := set(pixels.dims) - {"time", "band", "y", "x"}:
        raise InputError(f"{name} has the dimension {', '.join(map(str, foreign))}: time, band, y and x are read.")
    if pixels.dtype.kind not in "iuf":
        raise InputError(f"{name} holds {pixels.dtype}, and integers and real numbers are read.")
    bands = tuple(map(str, np.atleast_1d(pixels["band"].values)))
    if twice := sorted({band for band in bands if bands.count(band) > 1}):
        raise InputError(f"{name} has several bands named {', '.join(twice)}: name each once, or drop_duplicates.")
    common: dict[str, Any] = {"modality": name, "grid": grid_of(group, name), "bands": bands, "pixels": pixels}
    common["scale"] = _scale(pixels, name)
    if "time" not in pixels.coords:
        if "time" in pixels.dims or "pixel_class" in group:
            raise InputError(f"{name} has no coordinate 'time': give the start of each acquisition, UTC.")
        return XarrayRaster(mask=_mask(group, "valid", "b", name), **common)
    observations, scenes = _observations(pixels, name)
    return XarraySeries(
        mask=_pixel_class(group, name),
        observations=observations,
        scenes=scenes,
        quantity=_quantity(group, name),
        cloud_mask=_mapping(_stated(group, "cloud_mask")),
        **common,
    )


@dataclass(frozen=True, kw_only=True)
class _XarrayPixels:
    """What sources over xarray objects share.

    Attributes
    ----------
    modality, bands
        By FLAIR-HUB's name and the object's own.
    grid
        The object's pixels; reads are on these, over any extent.
    pixels
        Over ``band``, ``y``, ``x`` and, of a series, ``time``, in any order; an axis of one may be missing.
    mask
        ``valid`` of a raster, ``pixel_class`` of a series.
    scale
        Scale and offset that bring the stored numbers to values.
    """

    modality: str
    bands: tuple[str, ...]
    grid: Grid
    pixels: xr.DataArray = field(repr=False)
    mask: xr.DataArray | None = field(repr=False)
    scale: tuple[float, float] = (1.0, 0.0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values: float32 where a scale or an offset applies."""
        return self.pixels.dtype if self.scale == (1, 0) else np.dtype(np.float32)

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Name, bands and type: values in memory have no other name."""
        return {
            "modality": self.modality,
            "bands": list(self.bands),
            "dtype": self.dtype.name,
            "scale": list(self.scale),
        }

    def describe(self) -> Mapping[str, Any]:
        """Its shape."""
        return {"array": dict(self.pixels.sizes), "dtype": self.dtype.name}

    def bounds(self, grid: Grid) -> Bounds | None:
        """Bounds of the pixels in the CRS of ``grid``."""
        return bounds_in(self.grid.bounds, self.grid.crs, grid.crs)

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """No file is known."""
        return ()

    def cost(self, grid: Grid) -> ReadCost:
        """Not known."""
        return ReadCost(bytes=0, decoded_pixels={})

    def _read(self, array: xr.DataArray, dims: tuple[str, ...], grid: Grid, **positions: Sequence[int]) -> NDArray[Any]:
        """``array`` over ``dims`` on ``grid``, at ``positions`` of the other axes; 0 beyond the object's pixels."""
        part = grid.extent.intersect(self.grid.extent)
        sizes = {name: len(listed) for name, listed in positions.items()}
        found = np.zeros([*(sizes[name] for name in dims[:-2]), *grid.shape], array.dtype)
        if part.size:
            rows, columns = part.slices_in(self.grid.extent)
            picked: dict[str, Any] = {"y": rows, "x": columns, **{name: list(each) for name, each in positions.items()}}
            loaded = array.isel({name: picked[name] for name in dims if name in array.dims}).compute()
            lacking = [name for name in dims if name not in array.dims]
            found[..., *part.slices_in(grid.extent)] = loaded.expand_dims(lacking).transpose(*dims).values
        return found

    def _in_unit(self, values: NDArray[Any]) -> NDArray[Any]:
        """Stored numbers as values, in `dtype`."""
        if self.scale == (1, 0):
            return values
        return (values * np.float64(self.scale[0]) + self.scale[1]).astype(self.dtype)

    def _nodata(self, values: NDArray[Any], *, data_like: bool | None = None) -> NDArray[np.bool_]:
        """Where ``values`` are a number of the attributes for nodata, of those alone that can, or cannot, be data."""
        numbers = [number for number in _nodata_numbers(self.pixels) if data_like in (None, number in DATA_LIKE)]
        return np.isin(values, np.array(numbers, values.dtype))

    def _channels(self, grid: Grid, bands: Sequence[str]) -> list[int]:
        check_pixels(self.modality, self.grid, grid)
        check_bands(self.modality, self.bands, bands)
        return [self.bands.index(band) for band in bands]


@dataclass(frozen=True, kw_only=True)
class XarrayRaster(_XarrayPixels):
    """Pixels without dates: `landweave.core.protocols.RasterSource`.

    A pixel is valid where ``valid`` is True; where there is no such mask, where no band that is read holds a nodata
    value, which of those that can be data (0 to 255) all bands have to hold. NaN and infinity are never valid.
    """

    def read(self, grid: Grid, bands: Sequence[str]) -> Raster:
        """Pixels of ``bands`` on exactly ``grid``; 0 and invalid beyond the object and where nothing is measured."""
        values = self._read(self.pixels, ("band", "y", "x"), grid, band=self._channels(grid, bands))
        inside = self.grid.extent.intersect(grid.extent)
        valid = np.zeros(grid.shape, np.bool_)
        if inside.size:
            valid[inside.slices_in(grid.extent)] = True
        if self.mask is not None:
            valid &= self._read(self.mask, ("y", "x"), grid).astype(np.bool_)
        else:
            valid &= ~self._nodata(values, data_like=True).all(0) & ~self._nodata(values, data_like=False).any(0)
        values = self._in_unit(values)
        valid &= is_number(values).all(0)
        np.copyto(values, 0, where=~valid)
        return Raster(values=values, valid=valid)


@dataclass(frozen=True, kw_only=True)
class XarraySeries(_XarrayPixels):
    """Pixels with dates: `landweave.core.protocols.SeriesSource`.

    Times that share a ``datatake_id`` are one date, the first measured pixel is kept.

    Attributes
    ----------
    observations
        Ascending in time.
    scenes
        Of each, the positions of its scenes on the time axis, in reading order.
    quantity, cloud_mask
        As in the protocol.
    """

    observations: tuple[Observation, ...]
    scenes: tuple[tuple[int, ...], ...]
    quantity: str
    cloud_mask: Mapping[str, Any]

    def read(self, grid: Grid, bands: Sequence[str], indices: Sequence[int]) -> Series:
        """Pixels of ``bands`` at ``indices`` on exactly ``grid``; not acquired beyond the object."""
        scenes = [self.scenes[index] for index in indices]
        times = [position for each in scenes for position in each]
        channels = self._channels(grid, bands)
        values = self._read(self.pixels, ("time", "band", "y", "x"), grid, time=times, band=channels)
        pixel_class = self._classes(values, grid, times)
        values = self._in_unit(values)
        np.copyto(values, 0, where=~measured(pixel_class)[:, None])
        if len(times) == len(scenes):
            return Series(values=values, pixel_class=pixel_class)
        return _merged(values, pixel_class, [len(each) for each in scenes])

    def _classes(self, values: NDArray[Any], grid: Grid, times: Sequence[int]) -> NDArray[np.uint8]:
        there = is_number(values).all(1)
        if self.mask is None:  # radar
            there &= ((values != 0) & ~self._nodata(values)).all(1)
            return np.where(there, PixelClass.CLEAR, PixelClass.NOT_ACQUIRED).astype(np.uint8)
        pixel_class = self._read(self.mask, ("time", "y", "x"), grid, time=times)
        if pixel_class.size and not 0 <= pixel_class.min() <= pixel_class.max() <= max(PixelClass):
            raise InputError(
                f"pixel_class of {self.modality} has values from {pixel_class.min()} to {pixel_class.max()}: those of "
                f"landweave.PixelClass run from 0 to {max(PixelClass):d}."
            )
        pixel_class = pixel_class.astype(np.uint8)
        pixel_class[~there & measured(pixel_class)] = PixelClass.NODATA
        return pixel_class


def _merged(values: NDArray[Any], pixel_class: NDArray[np.uint8], counts: Sequence[int]) -> Series:
    """Scenes laid under each other, the first on top; ``counts`` of them make each date."""
    starts = np.cumsum([0, *counts[:-1]])
    merged = Series(values=values[starts], pixel_class=pixel_class[starts])
    for date, (start, count) in enumerate(zip(starts.tolist(), counts, strict=True)):
        below = merged.pixel_class[date]
        for scene in range(start + 1, start + count):
            take = measured(pixel_class[scene]) & ~measured(below)
            take |= (below == PixelClass.NOT_ACQUIRED) & (pixel_class[scene] != PixelClass.NOT_ACQUIRED)
            np.copyto(merged.values[date], values[scene], where=take)
            np.copyto(below, pixel_class[scene], where=take)
    return merged


def _centres(pixels: xr.Dataset | xr.DataArray, axis: str, name: str) -> NDArray[np.float64]:
    if axis not in pixels.coords:
        raise InputError(f"{name} has no coordinate {axis!r}: give the pixel centres in metres.")
    centres = np.atleast_1d(pixels[axis].values).astype(np.float64)
    if not centres.size:
        raise InputError(f"{name} has no pixel along {axis}.")
    steps = np.diff(centres) * (1 if axis == "x" else -1)
    if steps.size and steps.min() == 0:
        raise InputError(f"{name}: some pixels have one {axis}, as {centres[steps.argmin()]}: give it in float64.")
    if steps.size and steps.min() <= 0:
        direction = "ascends" if axis == "x" else "descends"
        raise InputError(
            f"{name}: {axis} runs from {centres[0]:g} to {centres[-1]:g}; {axis} {direction} in a raster: sort it, as "
            f".sortby({axis!r}{'' if axis == 'x' else ', ascending=False'})."
        )
    if steps.size and steps.max() - steps.min() > 2 * _LARGEST_SHIFT * steps.min():
        raise InputError(
            f"{name} has steps of {steps.min():g} m and of {steps.max():g} m along {axis}: select a box, "
            "and give coordinates in float64."
        )
    return centres


def _side(pixels: xr.Dataset | xr.DataArray, y: NDArray[Any], x: NDArray[Any], name: str) -> Fraction:
    """Side of a pixel, the simplest fraction that the longer axis allows; a single pixel's from its transform."""
    if max(y.size, x.size) == 1:
        transform = pixels.rio.transform()
        if transform.is_identity:
            raise InputError(f"{name} is a single pixel of unknown size: select two pixels or more.")
        return _simplest(transform.a, _SAME_STEP * transform.a)
    sides = [abs(each[-1] - each[0]) / (each.size - 1) for each in (y, x) if each.size > 1]
    if abs(sides[0] - sides[-1]) > _LARGEST_SHIFT * sides[0] / max(y.size, x.size):
        raise InputError(
            f"{name} has pixels of {sides[0]:g} m along y and {sides[1]:g} m along x: square ones are read."
        )
    side = float(sides[0] if y.size > x.size else sides[-1])
    return _simplest(side, _SAME_STEP * side / (max(y.size, x.size) - 1))


def _simplest(value: float, tolerance: float) -> Fraction:
    """The fraction with the shortest denominator within ``tolerance``: 0.2 is 1/5, 0.333333333 is 1/3."""
    tries = (Fraction(value).limit_denominator(10**digits) for digits in range(13))
    return next((each for each in tries if abs(float(each) - value) <= tolerance), Fraction(value))


def _stated(pixels: xr.Dataset | xr.DataArray, name: str) -> Any:
    """An attribute of the object or of its pixels."""
    own = pixels[PIXELS].attrs if isinstance(pixels, xr.Dataset) and PIXELS in pixels else {}
    return own.get(name) or pixels.attrs.get(name)


def _mapping(value: Any) -> Mapping[str, Any]:
    """A nested attribute, empty where it is none; NetCDF keeps such as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}


def _nodata_numbers(pixels: xr.DataArray) -> list[Any]:
    """Numbers that mean nodata, in the dtype of the pixels; NaN and what that dtype cannot hold are none.

    The encoding counts for integers alone: floats that state a number there were masked when they were opened.
    """
    dtype, found = pixels.dtype, list[Any]()
    stated = pixels.attrs if dtype.kind == "f" else {**pixels.encoding, **pixels.attrs}
    for number in (np.asarray(stated.get(name)) for name in ("_FillValue", "missing_value", "nodata")):
        if number.dtype.kind in "iuf":
            with np.errstate(invalid="ignore", over="ignore"):
                held = number.astype(dtype)
            found += held[np.isfinite(held) if dtype.kind == "f" else held == number].tolist()
    return found


def _scale(pixels: xr.DataArray, name: str) -> tuple[float, float]:
    """Scale and offset by the attributes; in the encoding are those that were applied when the object was opened."""
    attributes = pixels.attrs
    if {"scales", "offsets"} & {*attributes}:  # rioxarray's, where bands differ
        raise InputError(
            f"{name} has scales or offsets by band: open it with mask_and_scale=True, or drop those attributes."
        )
    stated = attributes.get("scale_factor", 1.0), attributes.get("add_offset", 0.0)
    try:
        scale, offset = map(float, stated)
    except (TypeError, ValueError):
        raise InputError(
            f"{name} has the scale {stated[0]!r} and the offset {stated[1]!r}: numbers are read."
        ) from None
    if (scale, offset) == (1, 0):
        return 1.0, 0.0
    text = f"states a scale of {scale:g} and an offset of {offset:g} (scale_factor, add_offset)"
    if not scale or not np.isfinite((scale, offset)).all():
        raise InputError(f"{name} {text}: no values come of it.")
    if pixels.dtype.kind == "f":
        raise InputError(
            f"{name} is {pixels.dtype} and {text}, which may be applied: apply it, as xarray.decode_cf does, or "
            "drop these attributes where it is."
        )
    return scale, offset


def _mask(group: xr.Dataset, variable: str, kinds: str, name: str) -> xr.DataArray | None:
    if variable not in group:
        return None
    mask = group[variable]
    if foreign := {*mask.dims} - {"y", "x", *(["time"] if "time" in group[PIXELS].coords else [])}:
        raise InputError(
            f"{variable} of {name} has the dimension {', '.join(map(str, foreign))}: one value counts for all bands."
        )
    if mask.dtype.kind not in kinds:
        expected = {"b": "bool", "iu": "an integer, landweave.PixelClass"}[kinds]
        raise InputError(f"{variable} of {name} is {mask.dtype}: it has to be {expected}.")
    return mask


def _pixel_class(group: xr.Dataset, name: str) -> xr.DataArray | None:
    mask = _mask(group, "pixel_class", "iu", name)
    if mask is None and not is_radar(name):
        raise InputError(
            f"{name} has no variable 'pixel_class' (time, y, x): which pixels are clear decides the dates. Where all "
            "are, give xr.full_like(band_data.isel(band=0, drop=True), landweave.PixelClass.CLEAR, 'uint8'). "
            "Pixels that are no series have no time: .drop_vars('time')."
        )
    return mask


def _quantity(group: xr.Dataset, name: str) -> str:
    quantity = _stated(group, "quantity")
    if not quantity and is_radar(name):
        raise InputError(
            f"{name} does not say what it measures: set the attribute 'quantity' of {PIXELS} to sigma0 or gamma0_rtc."
        )
    return str(quantity or "reflectance")


def _observations(pixels: xr.DataArray, name: str) -> tuple[tuple[Observation, ...], tuple[tuple[int, ...], ...]]:
    """Dates ascending in time, and the positions of their scenes on the time axis."""
    times = np.atleast_1d(pixels["time"].values)
    if times.dtype.kind != "M" or np.isnat(times).any():
        wrong = times.dtype if times.dtype.kind != "M" else f"NaT at {np.isnat(times).sum()} of {times.size} positions"
        raise InputError(
            f"time of {name} is {wrong}: give the start of each acquisition, UTC, as datetime64. Pixels that are no "
            "series have no time: .drop_vars('time')."
        )
    times = times.astype("datetime64[s]")
    grouped: dict[str, list[int]] = {}
    if "datatake_id" in pixels.coords:
        ids = [str(each) for each in np.atleast_1d(pixels["datatake_id"].values)]
    else:
        ids = [f"{time} #{number}" for number, time in enumerate(times)]  # two of one time are two dates
    for position, datatake in enumerate(ids):
        grouped.setdefault(datatake, []).append(position)
    order = sorted(grouped, key=lambda datatake: (times[grouped[datatake]].min(), datatake))
    observations = tuple(Observation(datatake_id=each, time=times[grouped[each]].min()) for each in order)
    return observations, tuple(tuple(grouped[each]) for each in order)
