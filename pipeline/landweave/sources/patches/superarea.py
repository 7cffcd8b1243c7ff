"""The Sentinel-2 series of FLAIR#2: one array of all dates over an area, wider than the area's patches.

::

    SEN2_sp_D012_2019-Z1_AA_data.npy       (time, band, y, x): B2 … B12 in pixels of 10 m
    SEN2_sp_D012_2019-Z1_AA_masks.npy      (time, 2, y, x): probabilities of snow and of cloud, 0 to 100
    SEN2_sp_D012_2019-Z1_AA_products.txt   a product a line, in the order of the dates: S2A_MSIL2A_20190114T105411_…
    flair-2_centroids_sp_to_patch.json     {"IMG_000123.tif": [row, column], …}

The arrays have no georeference. What is published is the pixel of the array that the centre of each patch lies in, and
a patch is given the pixels around that one; so the corner of the array is known to the part of a pixel in which all
patches agree, on each axis::

    floor(centre of a patch - corner) = its published pixel        all in pixels of 10 m
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.errors import InputError, ReadError
from landweave.core.grid import Bounds, Grid, exact
from landweave.core.lattice import Extent
from landweave.core.modalities import SENTINEL2_BANDS
from landweave.core.protocols import ReadCost, Series, SourceFile
from landweave.core.timeseries import Observation, PixelClass
from landweave.sources.files import Version, file_version
from landweave.sources.patches.series import MASK_BANDS, list_facts, number_repeated
from landweave.sources.raster_facts import RasterFacts
from landweave.sources.requests import check_bands, check_pixels
from landweave.sources.stac.pixel_classes import classify_pixels

PIXEL_M = 10
"""Side of a pixel of the arrays."""

_PRODUCT = re.compile(r"S2[A-D]_MSI\w{3}_(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)")


@dataclass(frozen=True, kw_only=True)
class SuperareaSpec:
    """The files of a series.

    Attributes
    ----------
    modality
        Name of the input.
    values, masks, products
        Paths of the arrays and of the list of products.
    centroids
        Path of the JSON with the pixel of each patch's centre.
    images
        Patches, whose names the centroids have: files, folders or globs.
    root
        Folder of relative paths of ``images``.
    cloud_max, snow_max
        Largest probability of a clear pixel, 0 to 100.
    """

    modality: str
    values: str
    masks: str
    products: str
    centroids: str
    images: tuple[str, ...]
    root: str = ""
    cloud_max: float = 1
    snow_max: float = 1


@dataclass(frozen=True, kw_only=True)
class SuperareaSeries:
    """One array of dates: `landweave.core.protocols.SeriesSource`. Picklable.

    Attributes
    ----------
    modality, bands, quantity, cloud_mask
        As of `SeriesSource`.
    grid
        Pixels that it is read on.
    observations
        Its dates, ascending.
    positions
        Place of each observation in the arrays.
    extent
        Pixels of ``grid`` that the arrays are taken for.
    phase_yx
        Where those really begin, in pixels behind them: 0 to 1.
    off
        Patches whose published pixel is a neighbour of the one that holds their centre.
    files_at
        Paths of values and masks, and their versions when the series was opened.
    dtype
        Of the values.
    """

    modality: str
    grid: Grid
    observations: tuple[Observation, ...]
    positions: tuple[int, ...]
    extent: Extent
    phase_yx: tuple[Fraction, Fraction]
    off: int
    files_at: tuple[tuple[str, Version], ...]
    dtype: np.dtype[Any]
    cloud_mask: Mapping[str, Any] = field(default_factory=dict)
    bands: tuple[str, ...] = SENTINEL2_BANDS
    quantity: str = "reflectance"

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """See `SeriesSource`."""
        return {
            "modality": self.modality,
            "arrays": [Path(path).name for path, _ in self.files_at],
            "observations": [each.datatake_id for each in self.observations],
            "corner": [str(start + phase) for start, phase in zip(self._starts, self.phase_yx, strict=True)],
            "cloud_mask": dict(self.cloud_mask),
            "quantity": self.quantity,
            "resampling": "paste",
            "border": None,
        }

    @property
    def _starts(self) -> tuple[int, int]:
        return self.extent.y.start, self.extent.x.start

    def describe(self) -> Mapping[str, Any]:
        """See `SeriesSource`."""
        days = [str(each.time.astype("datetime64[D]")) for each in self.observations]
        facts = {
            "modality": self.modality,
            "bands": list(self.bands),
            "pixels": f"{self.extent.y.size} x {self.extent.x.size} of {float(self.grid.resolution):g} m",
            "dates": f"{len(days)}, {days[0]} to {days[-1]}",
            "cloud_mask": dict(self.cloud_mask),
            "quantity": self.quantity,
        }
        note = f"{self.off} patches are cut one pixel beside the one that is published for them"
        return {**facts, "notes": [note]} if self.off else facts

    def bounds(self, grid: Grid) -> Bounds | None:
        """See `SeriesSource`."""
        return self.grid.with_extent(self.extent).bounds

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """See `SeriesSource`."""
        if not self.extent.intersect(grid.extent).size:
            return ()
        return tuple(
            SourceFile(id=Path(path).name, location=path, size=size, version=version, format="NPY")
            for path, (size, version) in self.files_at
        )

    def cost(self, grid: Grid) -> ReadCost:
        """See `SeriesSource`."""
        pixels = self.extent.intersect(grid.extent).size * len(self.observations)
        return ReadCost(bytes=pixels * (len(self.bands) * self.dtype.itemsize + len(MASK_BANDS)))

    def read(self, grid: Grid, bands: Sequence[str], indices: Sequence[int]) -> Series:
        """See `SeriesSource`; what lies beside the array was not acquired."""
        check_pixels(self.modality, self.grid, grid)
        check_bands(self.modality, self.bands, bands)
        values = np.zeros((len(indices), len(bands), *grid.shape), self.dtype)
        pixel_class = np.full((len(indices), *grid.shape), PixelClass.NOT_ACQUIRED, np.uint8)
        part = self.extent.intersect(grid.extent)
        if not part.size:
            return Series(values=values, pixel_class=pixel_class)
        for path, version in self.files_at:
            if file_version(path) != version:
                raise ReadError(f"{path} changed during the run. Run again.")
        stored, masks = (open_array(path) for path, _ in self.files_at)
        where, here = part.slices_in(grid.extent), part.slices_in(self.extent)
        for place, index in enumerate(indices):
            position = self.positions[index]
            planes = np.array(stored[position][:, *here])
            valid = np.isfinite(planes).all(0) & (planes != 0).any(0)
            planes[:, ~valid] = 0
            probabilities = dict(zip(MASK_BANDS, np.array(masks[position][:, *here]), strict=True))
            values[place, :, *where] = planes[[self.bands.index(band) for band in bands]]
            pixel_class[place, *where] = classify_pixels(probabilities, self.cloud_mask, valid)
        return Series(values=values, pixel_class=pixel_class)


def open_superarea(spec: SuperareaSpec, grid: Grid) -> SuperareaSeries:
    """A series of FLAIR#2 on the pixels of ``grid``; the arrays are not read.

    Parameters
    ----------
    spec
        Its files.
    grid
        Pixels of `PIXEL_M`, from any anchor; the extent plays no part.

    Raises
    ------
    InputError
        When the grid has other pixels, a file cannot be read, arrays and dates are not as many, or the published pixels
        fit no array.
    """
    if grid.resolution != PIXEL_M:
        raise InputError(
            f"Arrays of FLAIR#2 have pixels of {PIXEL_M} m; {spec.modality} is to be read on pixels of "
            f"{float(grid.resolution):g} m: take a model of FLAIR#2."
        )
    try:
        stored, masks = open_array(spec.values), open_array(spec.masks)
    except ReadError as error:
        raise InputError(str(error)) from error
    times = read_products(spec.products)
    _check_arrays(spec, stored, masks, len(times))
    corner, off = _corner(spec, grid)
    rows, columns = (floor(each) for each in corner)
    names = number_repeated([str(time) for time in times])
    order = sorted(range(len(times)), key=lambda place: (times[place], names[place]))
    return SuperareaSeries(
        modality=spec.modality,
        grid=grid,
        observations=tuple(Observation(datatake_id=names[place], time=times[place]) for place in order),
        positions=tuple(order),
        extent=Extent.of((rows, rows + stored.shape[2]), (columns, columns + stored.shape[3])),
        phase_yx=(corner[0] - rows, corner[1] - columns),
        off=off,
        files_at=tuple((path, file_version(path)) for path in (spec.values, spec.masks)),
        dtype=stored.dtype,
        cloud_mask={"source": "probability", "cloud_max": spec.cloud_max, "snow_max": spec.snow_max},
    )


def open_array(path: str) -> NDArray[Any]:
    """An array of a file, its values left there.

    Raises
    ------
    ReadError
        When there is no such file, or it holds no array of numbers.
    """
    try:
        return np.asanyarray(np.load(path, mmap_mode="r"))
    except (OSError, ValueError, EOFError) as error:
        raise ReadError(f"{path} cannot be read as an array: {error}.") from error


def read_products(path: str) -> tuple[np.datetime64, ...]:
    """The time of each product that a file lists.

    Raises
    ------
    InputError
        When there is no such file, or a line names no product of Sentinel-2.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        raise InputError(f"Products {path} cannot be read: {error}.") from error
    found = [_PRODUCT.match(line) for line in lines]
    if odd := [line for line, match in zip(lines, found, strict=True) if match is None]:
        raise InputError(
            f"{path} names {odd[0][:80]!r}, which is no product of Sentinel-2: S2A_MSIL2A_20190114T105411_…"
        )
    stamps = [match.groups() for match in found if match]
    return tuple(np.datetime64(f"{y}-{m}-{d}T{hour}:{minute}:{s}") for y, m, d, hour, minute, s in stamps)


def _check_arrays(spec: SuperareaSpec, stored: NDArray[Any], masks: NDArray[Any], dates: int) -> None:
    expected = (dates, len(SENTINEL2_BANDS), *stored.shape[2:])
    for path, found, wanted in (
        (spec.values, stored.shape, expected),
        (spec.masks, masks.shape, (dates, len(MASK_BANDS), *stored.shape[2:])),
    ):
        if found != wanted or len(found) != 4:
            raise InputError(
                f"{path} has the shape {found}; {spec.products} lists {dates} dates, which makes {wanted} "
                "(date, band, row, column)."
            )


def _corner(spec: SuperareaSpec, grid: Grid) -> tuple[tuple[Fraction, Fraction], int]:
    """Row and column at which the array begins, counted from the grid's anchor, and the patches that disagree."""
    centroids = _read_centroids(spec.centroids)
    facts = list_facts(spec.modality, spec.images, spec.root)
    places = {path: centroids[Path(path).name] for path in facts if Path(path).name in centroids}
    if not places:
        raise InputError(
            f"{spec.centroids} names none of the {len(facts)} patches, such as {Path(next(iter(facts))).name}."
        )
    centres = {path: _centre(facts[path], grid) for path in places}
    fitted = [
        fit_corner([centres[path][axis] for path in places], [places[path][axis] for path in places]) for axis in (0, 1)
    ]
    row, column = (corner for corner, _ in fitted)
    beside = {
        path: max(
            abs(floor(centre - corner) - pixel)
            for centre, corner, pixel in zip(centres[path], (row, column), places[path], strict=True)
        )
        for path in places
    }
    if far := {path: pixels for path, pixels in beside.items() if pixels > 1}:
        path, pixels = next(iter(far.items()))
        raise InputError(
            f"{spec.centroids} places {len(far)} of {len(places)} patches off one array of "
            f"{float(grid.resolution):g} m: {Path(path).name} by {pixels} pixels."
        )
    return (row, column), sum(pixels > 0 for pixels in beside.values())


def _centre(facts: RasterFacts, grid: Grid) -> tuple[Fraction, Fraction]:
    """Row and column of the centre of a patch, in pixels of ``grid`` from its anchor."""
    height, width = facts.shape
    x, y = facts.transform @ (width / 2, height / 2)
    anchor_x, anchor_y = grid.anchor_xy
    return (anchor_y - exact(round(y, 4))) / grid.resolution, (exact(round(x, 4)) - anchor_x) / grid.resolution


def fit_corner(centres: Sequence[Fraction], pixels: Sequence[int]) -> tuple[Fraction, int]:
    """Where an axis begins, given the pixel of it that holds each centre; and how many of them it does not hold for.

    The middle of what all agree in; where they do not, of what most agree in.

    Parameters
    ----------
    centres
        Positions, in pixels from any origin.
    pixels
        Number of the pixel that holds each.

    >>> corner, off = fit_corner([Fraction(2), Fraction("12.24")], [7, 17])
    >>> float(corner), off
    (-5.38, 0)
    """
    # A centre lies in pixel k of an axis that begins behind `centre - k - 1`, and at or before `centre - k`.
    latest = sorted(centre - pixel for centre, pixel in zip(centres, pixels, strict=True))
    agreeing = max(([each for each in latest if last <= each < last + 1] for last in latest), key=len)
    return (agreeing[0] + agreeing[-1] - 1) / 2, len(latest) - len(agreeing)


def _read_centroids(path: str) -> dict[str, tuple[int, int]]:
    try:
        stated = json.loads(Path(path).read_text(encoding="utf-8"))
        return {str(name): (int(row), int(column)) for name, (row, column) in stated.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"Centroids {path} cannot be read: {error}.") from error
