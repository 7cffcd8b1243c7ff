"""Coordinate reference systems, decided by one library (pyproj) wherever they come from.

What counts is the horizontal CRS: heights, ways to another datum and the name beside the numbers are left out, so one
CRS under several names is one text. GDAL's own database is never asked: it is another version of the same tables.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
from pyproj.exceptions import CRSError, ProjError
from pyproj.transformer import TransformerGroup

from landweave.core.errors import ConfigError

_NO_DATUM = re.compile(r"unknown|unnamed|unretrievable|undefined|not[ _]specified", re.IGNORECASE)
_CODE_AS_NAME = re.compile(r"EPSG\W*(\d+)\s*$", re.IGNORECASE)
_REALISATION = re.compile(r" v\d+[a-z]?(?= /|$)")
_ORDER_OF_AXES = re.compile(r" \((E-N|N-E)\)$")
_SAME_M = 0.01
"""Realisations of one datum that differ by less are one: RGF93 v1 and v2b by 4 mm."""
_EARTH_KM = 6_300, 6_450
"""Every ellipsoid and sphere of it is between; a CRS of another body leads to no place of a map."""
_METRES_A_DEGREE = 111_000
_FINE_M = 1.0
"""Between two datums; WGS 84 itself is defined no better."""

TRUE_AREA = 0.01
"""Share by which areas in the CRS of a map may differ from those on the ground: 0.6 % at the ends of Lambert-93."""


def canonical_crs(crs: Any) -> str:
    """``EPSG:n`` of the horizontal CRS where it has a code, its WKT otherwise: one text for all its names.

    Raises
    ------
    ConfigError
        When it cannot be read as a CRS, or has no known datum.
    """
    known, problem = usable_crs(crs)
    if problem:
        raise ConfigError(f"{str(crs)[:80]!r} {problem}: write a coordinate reference system as EPSG:2154.")
    return known


def usable_crs(crs: Any) -> tuple[str, str]:
    """``(crs, problem)``, one of them empty: the text of `canonical_crs`, or why there is none.

    Parameters
    ----------
    crs
        Text, code, or an object of pyproj, rasterio or odc-geo.
    """
    if hasattr(crs, "to_wkt"):
        crs = crs.to_wkt()
    return _usable(crs if isinstance(crs, int) else str(crs))


def metric_crs(crs: Any) -> str:
    """`canonical_crs` of a CRS whose axes count metres, eastwards and northwards.

    Raises
    ------
    ConfigError
        When it cannot be read, or is in degrees or feet, or counts westwards: all resolutions are in metres.
    """
    known = canonical_crs(crs)
    axes = pyproj.CRS(known).axis_info[:2]
    units = {axis.unit_name for axis in axes}
    if units != {"metre"} or "west" in {axis.direction for axis in axes}:
        counts = f"in {' and '.join(sorted(units)) or 'no unit'}" if units != {"metre"} else "westwards"
        raise ConfigError(
            f"{known[:60]} counts {counts}, resolutions are in metres: choose a projected CRS in metres, such as "
            "EPSG:2154. Tiles may be in any CRS."
        )
    return known


def areal_scales(crs: str, bounds: tuple[float, float, float, float]) -> tuple[float, float]:
    """Smallest and largest area in a CRS of what is 1 on the ellipsoid, within some bounds: 1 where it is equal-area.

    NaN where the bounds leave the ground that the CRS describes.

    Parameters
    ----------
    crs
        As `canonical_crs` gives it.
    bounds
        ``(x0, y0, x1, y1)`` in it.
    """
    plane = pyproj.CRS(crs)
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(*bounds[::2], 9), np.linspace(*bounds[1::2], 9)))
    lon, lat = pyproj.Transformer.from_crs(plane, plane.geodetic_crs, always_xy=True).transform(x, y)
    try:
        scales = np.asarray(pyproj.Proj(plane).get_factors(lon, lat, errcheck=True).areal_scale)
    except ProjError:
        return np.nan, np.nan
    return float(scales.min()), float(scales.max())


def keeps_areas(crs: str, bounds: tuple[float, float, float, float]) -> bool:
    """Whether areas, and so lengths, in a CRS are those on the ground to `TRUE_AREA`, or how far is not known.

    Parameters
    ----------
    crs, bounds
        As of `areal_scales`.
    """
    smallest, largest = areal_scales(crs, bounds)
    return not max(1 - smallest, largest - 1) > TRUE_AREA


def exchanged_bounds(crs: str, bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Bounds of the corners of ``bounds`` with longitude and latitude exchanged; infinite where they lead nowhere.

    Parameters
    ----------
    crs, bounds
        As of `areal_scales`.
    """
    x, y = (axis.ravel() for axis in np.meshgrid(bounds[::2], bounds[1::2]))
    way = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    longitude, latitude = way.transform(x, y, direction="INVERSE")
    x, y = way.transform(latitude, longitude)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def transformation_note(crs: str, target: str, point: tuple[float, float]) -> str:
    """How coarse the way from one CRS to another is where it is off by more than `_FINE_M`; empty where it is finer.

    Parameters
    ----------
    crs, target
        As `canonical_crs` gives them.
    point
        ``(x, y)`` in ``crs``.
    """
    if crs == target:
        return ""
    transformer = pyproj.Transformer.from_crs(crs, target, always_xy=True)
    transformer.transform(*point)
    try:
        used = transformer.get_last_used_operation()
        way, accuracy = f"{used.description!r}", used.accuracy
    except ProjError:
        way, accuracy = "a guess that their datums are one", -1.0
    if 0 <= accuracy <= _FINE_M:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a grid is missing is what is noted
        better = TransformerGroup(crs, target, always_xy=True).unavailable_operations
    grids = sorted({grid.short_name for operation in better for grid in operation.grids})
    known = f"accurate to {accuracy:g} m" if accuracy >= 0 else "of unknown accuracy"
    advice = f"; better ones need grids of PROJ, such as {', '.join(grids[:3])}" if grids else ""
    return f"{crs[:40]} comes to {target[:40]} by {way}, {known}{advice}"


@lru_cache(maxsize=1024)
def heights_of(crs: str) -> str:
    """Name of the heights that a CRS states beside its horizontal coordinates; empty where it states none."""
    try:
        stated = pyproj.CRS.from_user_input(crs)
    except (CRSError, ProjError):
        return ""
    vertical = [each.name for each in stated.sub_crs_list if each.is_vertical]
    return vertical[0] if vertical else "heights above the ellipsoid" if len(stated.axis_info) > 2 else ""


@lru_cache(maxsize=1024)
def _usable(crs: str | int) -> tuple[str, str]:
    try:
        stated = pyproj.CRS.from_user_input(crs)
        horizontal = _horizontal(stated)
    except (CRSError, ProjError) as error:
        return "", f"is no CRS that PROJ can read ({str(error).rpartition('(')[2][:120].rstrip(')')})"
    datum = horizontal.datum.name if horizontal.datum else "unknown"
    if not (horizontal.is_projected or horizontal.is_geographic) or horizontal.is_geocentric:
        return "", f"has a CRS of the type {horizontal.type_name}, named {horizontal.name!r}, which lies on no map"
    if _CODE_AS_NAME.search(datum) or (_NO_DATUM.search(datum) and not horizontal.is_bound):
        return "", f"has a CRS named {horizontal.name!r} that is not one: its datum is {datum!r}"
    radius = horizontal.ellipsoid.semi_major_metre / 1e3 if horizontal.ellipsoid else 0.0
    if not _EARTH_KM[0] < radius < _EARTH_KM[1]:
        return "", f"has a CRS named {horizontal.name!r} of a body of {radius:,.0f} km, the Earth's radius is 6,378"
    return _named(horizontal), ""


def _horizontal(crs: pyproj.CRS) -> pyproj.CRS:
    """Without heights, and without a way to another datum where its own is known."""
    if crs.is_compound:
        return _horizontal(crs.sub_crs_list[0])
    if crs.is_bound and crs.source_crs is not None:
        # What TOWGS84 adds to a known datum is one opinion of many on the way to WGS 84.
        return crs if crs.datum is None or _NO_DATUM.search(crs.datum.name) else _horizontal(crs.source_crs)
    return crs.to_2d() if len(crs.axis_info) > 2 and not crs.is_geocentric else crs  # changes names where it has not to


def _named(crs: pyproj.CRS) -> str:
    code = _code(crs)
    if not code:
        return str(crs.to_wkt())
    known = pyproj.CRS.from_epsg(code)
    successors = [pyproj.CRS(each.srs) for each in known.get_non_deprecated()] if known.is_deprecated else []
    if len(successors) == 1 and _numbers(successors[0]) == _numbers(known):
        known = successors[0]
    return f"EPSG:{_first_name(known).to_epsg()}"


def _code(crs: pyproj.CRS) -> int | None:
    """The EPSG code of the same numbers and datum, whatever the names are."""
    if crs.is_bound and crs.source_crs is not None:
        code = crs.source_crs.to_epsg()  # of an unknown datum: that of the code only where TOWGS84 says the same
        return code if code and _same_place(crs, pyproj.CRS.from_epsg(code)) else None
    if code := crs.to_epsg() or _stated_code(crs):
        return code
    # Without its axes: coordinates are x, y here in any case.
    return pyproj.CRS(crs.to_wkt("WKT1_GDAL")).to_epsg() if crs.is_geographic else None


def _stated_code(crs: pyproj.CRS) -> int | None:
    """The code that a CRS states, where its numbers are those of that code: databases differ in names of datums."""
    stated = crs.to_json_dict().get("id", {})
    if stated.get("authority") != "EPSG":
        return None
    try:
        known = pyproj.CRS.from_epsg(stated["code"])
    except CRSError:
        return None
    return known.to_epsg() if _numbers(known) == _numbers(crs) else None


def _first_name(crs: pyproj.CRS) -> pyproj.CRS:
    """``RGF93 v1 / Lambert-93`` of ``RGF93 v2b / Lambert-93``: the same numbers and place, by another name."""
    name = _REALISATION.sub(" v1", _ORDER_OF_AXES.sub("", crs.name))
    if name == crs.name:
        return crs
    try:
        first = pyproj.CRS.from_user_input(name)
    except CRSError:
        return crs
    is_same = first.name == name and first.to_epsg() and _numbers(first) == _numbers(crs) and _same_place(crs, first)
    return first if is_same else crs


def _same_place(crs: pyproj.CRS, known: pyproj.CRS) -> bool:
    """Whether no point of the area of ``known`` has other coordinates in ``crs``, by a published transformation."""
    area = known.area_of_use
    if area is None or known.geodetic_crs is None:
        return False
    longitudes, latitudes = np.meshgrid(np.linspace(area.west, area.east, 3), np.linspace(area.south, area.north, 3))
    here = pyproj.Transformer.from_crs(known.geodetic_crs, known, always_xy=True).transform(longitudes, latitudes)
    there = pyproj.Transformer.from_crs(known, crs, always_xy=True, allow_ballpark=False).transform(*here)
    moved = np.subtract(here, there) * (1 if known.is_projected else _METRES_A_DEGREE)
    return bool(np.abs(moved).max() < _SAME_M)  # infinity where there is no transformation


def _numbers(crs: pyproj.CRS) -> tuple[Any, ...]:
    """Projection, ellipsoid and axes, without names of datums."""
    conversion = crs.coordinate_operation
    params = conversion.params if conversion else []
    values = {each.name: round(float(each.value) * each.unit_conversion_factor, 9) for each in params}
    ellipsoid = crs.ellipsoid and (crs.ellipsoid.semi_major_metre, round(crs.ellipsoid.inverse_flattening, 6))
    meridian = crs.prime_meridian and crs.prime_meridian.longitude
    axes = sorted((axis.direction, axis.unit_name) for axis in crs.axis_info)  # x and y are in one order here
    return conversion and conversion.method_name, values, ellipsoid, meridian, axes
