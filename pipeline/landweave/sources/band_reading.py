"""What is done with the pixels of a file: decided from its facts and the settings, then obeyed by one reader.

::

    facts of the file ─┐
    settings, item ────┼─> FileReading ─> read_bands ─> values, measured
    contract (card) ───┘
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from landweave.core.errors import ReadError
from landweave.core.lattice import Extent
from landweave.sources.border_noise import REACH_PX, border_noise
from landweave.sources.files import RasterFile, read_window
from landweave.sources.raster_facts import RasterFacts

Mask = NDArray[np.bool_]
Plane = NDArray[Any]

_DECIBELS = (-80, -1)
"""Backscatter in decibels; power from which an instrument's noise was taken off comes hardly below 0."""

Origin = Literal["product", "setting", "item", "file tag"]
"""Where a value comes from: the definition of the product, the configuration, the STAC item, or the file's own tag."""


@dataclass(frozen=True, kw_only=True)
class NodataValue:
    """A stored number that means no measurement, and where it comes from."""

    value: float
    origin: Origin

    def __str__(self) -> str:
        short = f"{self.value:g}"
        return f"{short if float(short) == self.value else self.value} ({self.origin})"


@dataclass(frozen=True, kw_only=True)
class BandReading:
    """What is done with the numbers of one band of a file.

    Attributes
    ----------
    band, number
        Name, and number in the file from 1.
    nodata
        Stored numbers that are no measurement. NaN and infinity never are one and need no entry.
    file_tag
        Whether the nodata tag of the file is to be added, once its facts are known.
    mask
        What else marks pixels without data: the ``mask`` of the file, its ``alpha`` band, or empty.
    scale, offset
        Bring a stored number to the unit of the modality: ``stored * scale + offset``.
    scaled_by
        Where these come from; empty for numbers that are used as stored.
    backscatter
        Whether the numbers are radar power: only positive ones outside the border noise are measurements.
    decibels
        Whether the numbers, once scaled, are decibels of that power.
    dtype, resampling
        Of the values that the source gives, and the kernel (``paste`` where pixels are copied).
    """

    band: str
    number: int
    nodata: tuple[NodataValue, ...] = ()
    file_tag: bool = True
    mask: Literal["", "mask", "alpha"] = ""
    scale: float = 1.0
    offset: float = 0.0
    scaled_by: str = ""
    backscatter: bool = False
    decibels: bool = False
    dtype: str
    resampling: str

    def __str__(self) -> str:
        nodata = [*map(str, self.nodata), *(["the tag of its file"] if self.file_tag else [])]
        parts = [f"nodata {' and '.join(nodata) or 'none'}"]
        parts += [f"without data where its {self.mask} is 0"] if self.mask else []
        parts += [f"x {self.scale:g} {self.offset:+g} ({self.scaled_by})"] if self.scaled_by else []
        parts += ["decibels made power"] if self.decibels else []
        return ", ".join([f"band {self.number}", *parts, self.resampling, self.dtype])


@dataclass(frozen=True, kw_only=True)
class FileReading:
    """What is done with the bands of one file.

    Attributes
    ----------
    file, extent
        The file, and all its pixels.
    bands
        What is done with each band.
    mask_band
        0 for the file's own mask, the number of its alpha band, or None.
    dtypes
        Stored dtype of each of ``bands``.
    """

    file: RasterFile
    extent: Extent
    bands: tuple[BandReading, ...]
    mask_band: int | None
    dtypes: tuple[str, ...]


def decide_file(settings: Sequence[BandReading], facts: RasterFacts, file: RasterFile | None = None) -> FileReading:
    """What is done with the bands taken from one file, once its facts are known.

    1. Nodata values of the product, the setting or the item count. 2. The nodata tag of the file counts where the
    settings leave it open. 3. A mask of the file counts, else its alpha band, unless that band is one of those taken:
    many writers flag the fourth band of RGB + NIR as alpha.

    Parameters
    ----------
    settings
        All bands taken from the file, as the user, the item and the product describe them.
    facts
        Of the file.
    file
        How it is opened; by default it has to be the file of ``facts``, unchanged.
    """
    is_own_band = facts.alpha in {each.number for each in settings}
    mask_band = 0 if facts.masked else facts.alpha if facts.alpha and not is_own_band else None
    mask: Literal["", "mask", "alpha"] = "" if mask_band is None else "alpha" if mask_band else "mask"
    return FileReading(
        file=file or facts.file,
        extent=facts.extent,
        bands=tuple(replace(each, nodata=_nodata(each, facts), file_tag=False, mask=mask) for each in settings),
        mask_band=mask_band,
        dtypes=tuple(facts.dtypes[each.number - 1] for each in settings),
    )


def read_bands(
    files: Iterable[FileReading], window: Extent, names: Sequence[str], *, nodata_rule: Literal["any", "every"]
) -> tuple[dict[str, Plane], Mask]:
    """Stored numbers over a window, and where they are measurements.

    Parameters
    ----------
    files
        Files on the same pixels; the bands of a file are read in one call.
    window
        Pixels of the files, inside them.
    names
        Bands whose values are needed; others are read only where they decide what is measured.
    nodata_rule
        Whether a pixel is without data where ``any`` band holds a nodata value, or only where ``every`` band that has
        one does: 255 in one band of an aerial image is a bright roof.

    Returns
    -------
    values
        ``(y, x)`` by band, in the file's dtype.
    measured
        bool ``(y, x)``; the same whichever bands are named. NaN and infinity are no measurements.

    Raises
    ------
    ReadError
        As `landweave.sources.files.query_file`.
    """
    planes: dict[str, Plane] = {}
    measured, blank = np.ones(window.shape, bool), None
    for file in files:
        needed = [band for band, dtype in zip(file.bands, file.dtypes, strict=True) if _is_needed(band, dtype, names)]
        if not needed and file.mask_band is None:
            continue
        noise_px = REACH_PX if any(band.backscatter for band in needed) else 0
        wide = window.grow(noise_px).intersect(file.extent)
        core = window.slices_in(wide)
        values, mask = read_window(file.file, [band.number for band in needed], wide, file.mask_band)
        if mask is not None:
            measured &= mask[core] > 0
        for band, plane in zip(needed, values, strict=True):
            planes[band.band] = plane[core]
            empty = _holds_nodata(plane, band)
            if band.backscatter:
                _check_unit(plane[_is_finite(plane) & ~empty], band, file.file)
            if nodata_rule == "any" or band.backscatter:
                measured &= _is_measured(plane, empty, band)[core]
            else:
                measured &= _is_finite(plane[core])
                if band.nodata:
                    blank = empty[core] if blank is None else blank & empty[core]
    if blank is not None:
        measured &= ~blank
    return planes, measured


def _nodata(band: BandReading, facts: RasterFacts) -> tuple[NodataValue, ...]:
    tag = facts.nodata[band.number - 1] if band.file_tag else None
    values = [*band.nodata, *([] if tag is None else [NodataValue(value=tag, origin="file tag")])]
    first = {each.value: each for each in reversed(values) if np.isfinite(each.value)}
    return tuple(first[value] for value in sorted(first))


def _is_needed(band: BandReading, dtype: str, names: Sequence[str]) -> bool:
    return band.band in names or bool(band.nodata) or band.backscatter or np.dtype(dtype).kind == "f"


def _holds_nodata(plane: Plane, band: BandReading) -> Mask:
    empty = np.zeros(plane.shape, bool)
    for each in band.nodata:
        empty |= plane == _as_stored(each.value, plane.dtype)
    return empty


def _is_measured(plane: Plane, empty: Mask, band: BandReading) -> Mask:
    measured = _is_finite(plane) & ~empty
    if band.backscatter:
        power = to_power(np.where(measured, plane, 0), band)
        measured &= power > 0
        measured &= ~border_noise(power, measured)
    return measured


def to_power(plane: Plane, band: BandReading) -> Plane:
    """Linear power of stored numbers: scaled, and out of decibels where they are."""
    scaled = plane if band.scale == 1 and not band.offset else plane * band.scale + band.offset
    return np.power(10.0, scaled / 10, dtype=np.float32) if band.decibels else scaled


def _check_unit(stored: Plane, band: BandReading, file: RasterFile) -> None:
    """Refuse power whose numbers are mostly negative, as only decibels are, and decibels that are mostly power."""
    values, (least, most) = stored * band.scale + band.offset, _DECIBELS
    negative = np.count_nonzero((values >= least) & (values <= most))
    positive = np.count_nonzero((values > 0) & (values < 1) if band.decibels else values > 0)
    if (positive > negative) if band.decibels else (negative > positive):
        unit = "power" if band.decibels else "decibels"
        raise ReadError(
            f"{file.href} holds {negative:,} numbers from {least} to {most} in {band.band}, and {positive:,} "
            f"{'from 0 to 1' if band.decibels else 'above 0'}: these are {unit}. Set stored_as: {unit} for this input."
        )


def _is_finite(plane: Plane) -> Mask:
    return np.isfinite(plane) if plane.dtype.kind == "f" else np.ones(plane.shape, bool)


def _as_stored(nodata: float, dtype: np.dtype[Any]) -> Any:
    """``nodata`` as a file of this dtype holds it: the tag -9999.0059 is a double, the pixels are float32."""
    if dtype.kind == "f":
        return dtype.type(nodata)
    return int(nodata) if float(nodata).is_integer() else nodata
