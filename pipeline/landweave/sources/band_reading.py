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
from landweave.core.timeseries import is_number
from landweave.sources.border_noise import REACH_PX, border_noise
from landweave.sources.checksums import check_file
from landweave.sources.files import RasterFile, read_window
from landweave.sources.raster_facts import RasterFacts

Mask = NDArray[np.bool_]
Plane = NDArray[Any]

_DECIBELS = (-80, -1)
"""Backscatter in decibels; power from which an instrument's noise was taken off comes hardly below 0."""

_NO_POWER, _ENOUGH = 100, 1000
"""Power (20 dB) that no ground has but points of metal, and how many numbers tell that they are no such points."""

Origin = Literal["product", "setting", "item", "file tag"]
"""Where a value comes from: the definition of the product, the configuration, the STAC item, or the file's own tag."""

NodataRule = Literal["any", "file", "every"]
"""Where a pixel is without data: where ``any`` band holds a nodata value; by ``file``, where any of its bands holds one
that cannot be data, or all of them hold one that can be, files of one band of a tile together; or only where ``every``
band that has a nodata value holds it.
"""

_OTHERS = {"file": "in all bands of its file", "single": "in all files of one band", "every": "in every band"}

DATA_LIKE = range(256)
"""Nodata values that can be data in one band: 0 of an aerial image is a shadow, 255 a bright roof. Others cannot."""


@dataclass(frozen=True, kw_only=True)
class NodataValue:
    """A stored number that means no measurement, and where it comes from."""

    value: float
    origin: Origin

    def __str__(self) -> str:
        short = f"{self.value:g}"
        return f"{short if float(short) == self.value else self.value} ({self.origin})"

    @property
    def is_data_like(self) -> bool:
        """Whether the value can be data in one band."""
        return self.value in DATA_LIKE


@dataclass(frozen=True, kw_only=True)
class BandReading:
    """What is done with the numbers of one band of a file.

    Attributes
    ----------
    band, number
        Name, and number in the file from 1.
    nodata
        Stored numbers, before scale and offset, that are no measurement. NaN and infinity never are one and need no
        entry.
    nodata_rule
        Which bands have to hold such a number; the same for all bands of a file. ``single`` is ``file`` for one of
        several files of one band: those of the tile stand for one file.
    file_tag, file_scale
        Whether the tags of the file for nodata, and for scale and offset, count, once its facts are known.
    given
        Whether values are read from the band. Otherwise it only tells a dark pixel of its file from one without data.
    mask
        What else marks pixels without data: the ``mask`` of the file, its ``alpha`` band, or empty.
    scale, offset
        Bring a stored number to the unit of the modality: ``stored * scale + offset``.
    scaled_by
        Where these come from; empty for numbers that are used as stored.
    limits
        Least and largest value, once scaled, that is a measurement: no tag says that -9999 is no height. None for all.
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
    nodata_rule: NodataRule | Literal["single"] = "any"
    file_tag: bool = True
    file_scale: bool = False
    given: bool = True
    mask: Literal["", "mask", "alpha"] = ""
    scale: float = 1.0
    offset: float = 0.0
    scaled_by: str = ""
    limits: tuple[float, float] | None = None
    backscatter: bool = False
    decibels: bool = False
    dtype: str
    resampling: str

    @property
    def shared_nodata(self) -> tuple[NodataValue, ...]:
        """Nodata values that only count where other bands hold one too."""
        if self.nodata_rule == "any" or self.backscatter:
            return ()
        return tuple(each for each in self.nodata if self.nodata_rule == "every" or each.is_data_like)

    @property
    def own_nodata(self) -> tuple[NodataValue, ...]:
        """Nodata values that count in this band alone."""
        return tuple(each for each in self.nodata if each not in self.shared_nodata)

    def __str__(self) -> str:
        others = _OTHERS.get(self.nodata_rule, "")
        nodata = [*map(str, self.own_nodata), *(f"{each} {others}" for each in self.shared_nodata)]
        nodata += ["the tag of its file"] if self.file_tag else []
        parts = [f"nodata {' and '.join(nodata) or 'none'}"]
        parts += [f"without data where its {self.mask} is 0"] if self.mask else []
        parts += [f"x {self.scale:g} {self.offset:+g} ({self.scaled_by})"] if self.scaled_by else []
        parts += ["none beyond {:g} to {:g}".format(*self.limits)] if self.limits else []
        parts += ["only to tell dark pixels from nodata"] if not self.given else []
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
        What is done with each band; with those that nobody takes, where they tell dark pixels from nodata.
    masks, alpha
        Numbers of the bands whose masks count, and of the alpha band that does; none and 0 for none.
    dtypes
        Stored dtype of each of ``bands``.
    """

    file: RasterFile
    extent: Extent
    bands: tuple[BandReading, ...]
    masks: tuple[int, ...]
    alpha: int
    dtypes: tuple[str, ...]


def decide_files(settings: Sequence[Sequence[BandReading]], facts: Sequence[RasterFacts]) -> list[FileReading]:
    """What is done with the files of one tile: those of one band, by themselves, tell dark pixels from nodata together.

    Parameters
    ----------
    settings
        The bands taken from each file.
    facts
        Of each file.

    Raises
    ------
    ReadError
        As `decide_file`.
    """
    files = [decide_file(bands, each) for bands, each in zip(settings, facts, strict=True)]
    single = [file for file in files if _is_single(file)]
    if len(single) < 2:
        return files
    return [_joined(file) if file in single else file for file in files]


def _is_single(file: FileReading) -> bool:
    """Whether the file has one band, alpha aside, and a nodata value that can be data; by the rule of files."""
    shared = any(band.shared_nodata for band in file.bands)
    return shared and len({band.number for band in file.bands}) == 1 and file.bands[0].nodata_rule == "file"


def _joined(file: FileReading) -> FileReading:
    return replace(file, bands=tuple(replace(band, nodata_rule="single") for band in file.bands))


def decide_file(settings: Sequence[BandReading], facts: RasterFacts, file: RasterFile | None = None) -> FileReading:
    """What is done with the bands taken from one file, once its facts are known.

    1. Nodata values of the product, the setting or the item count. 2. The nodata tag of the file counts where the
    settings leave it open; so do those of scale and offset. 3. The masks of the bands count, else the alpha band of the
    file, unless that band is one of those taken: many writers flag the fourth band of RGB + NIR as alpha.

    Parameters
    ----------
    settings
        All bands taken from the file, as the user, the item and the product describe them.
    facts
        Of the file.
    file
        How it is opened; by default it has to be the file of ``facts``, unchanged.

    Raises
    ------
    ReadError
        When the file holds complex numbers.
    """
    if strange := [dtype for dtype in facts.dtypes if dtype.startswith("complex")]:
        raise ReadError(f"{facts.path} holds {strange[0]}, and real numbers are read.")
    masks = tuple(sorted({facts.masks[each.number - 1] for each in settings if each.given} - {0}))
    is_own_band = facts.alpha in {each.number for each in settings}
    alpha = 0 if masks or is_own_band else facts.alpha
    mask: Literal["", "mask", "alpha"] = "mask" if masks else "alpha" if alpha else ""
    bands = [replace(_completed(each, facts), mask=mask) for each in settings]
    if any(each.shared_nodata for each in bands):
        bands += _other_bands(settings, facts)
    return FileReading(
        file=file or facts.file,
        extent=facts.extent,
        bands=tuple(bands),
        masks=masks,
        alpha=alpha,
        dtypes=tuple(facts.dtypes[each.number - 1] for each in bands),
    )


def read_bands(files: Iterable[FileReading], window: Extent, names: Sequence[str]) -> tuple[dict[str, Plane], Mask]:
    """Stored numbers over a window, and where they are measured.

    Parameters
    ----------
    files
        Files on the same pixels; the bands of a file are read in one call.
    window
        Pixels of the files, inside it.
    names
        Bands whose values are needed; others are read only where they decide what is measured.

    Returns
    -------
    values
        ``(y, x)`` by band, in the file's dtype.
    measured
        bool ``(y, x)``; the same whichever bands are named. Nothing but an `is_number` is one.

    Raises
    ------
    ReadError
        As `landweave.sources.files.query_file`.
    """
    planes: dict[str, Plane] = {}
    measured = np.ones(window.shape, bool)
    blank: list[Mask] = []
    for file in files:
        dtypes = zip(file.bands, file.dtypes, strict=True)
        needed = [band for band, dtype in dtypes if _is_read(band, dtype, names)]
        if not needed and not file.masks and not file.alpha:
            continue
        noise_px = REACH_PX if any(band.backscatter for band in needed) else 0
        wide = window.grow(noise_px).intersect(file.extent)
        core, held = window.slices_in(wide), list[Mask]()
        check_file(file.file)
        values, marked = read_window(file.file, [band.number for band in needed], wide, file.masks, file.alpha)
        if marked is not None:
            measured &= marked[core]
        for band, plane in zip(needed, values, strict=True):
            planes[band.band] = plane[core]
            if band.given:
                measured &= _is_measured(plane, band, file.file)[core]
            if band.shared_nodata:
                held.append(_holds(plane[core], band.shared_nodata))
        if file.bands[0].nodata_rule == "file":
            measured &= ~_everywhere(held)
        else:
            blank += held
    return planes, measured & ~_everywhere(blank)


def _other_bands(settings: Sequence[BandReading], facts: RasterFacts) -> list[BandReading]:
    """Bands of the file that nobody takes, but alpha: they have to hold a nodata value too."""
    taken = {each.number for each in settings} | {facts.alpha}
    others = [number for number in range(1, facts.count + 1) if number not in taken]
    return [_completed(replace(settings[0], band=f"#{each}", number=each, given=False), facts) for each in others]


def _completed(band: BandReading, facts: RasterFacts) -> BandReading:
    """``band`` with what its file says of it, where that counts."""
    place = band.number - 1
    tag = facts.nodata[place] if band.file_tag else None
    values = [*band.nodata, *([] if tag is None else [NodataValue(value=tag, origin="file tag")])]
    first = {each.value: each for each in reversed(values) if np.isfinite(each.value)}
    completed = replace(band, nodata=tuple(first[value] for value in sorted(first)), file_tag=False, file_scale=False)
    scale, offset = facts.scales[place], facts.offsets[place]
    if not band.file_scale or (scale, offset) == (1, 0):
        return completed
    return replace(completed, scale=scale, offset=offset, scaled_by="file tag")


def _is_read(band: BandReading, dtype: str, names: Sequence[str]) -> bool:
    if not band.given:
        return bool(band.shared_nodata)
    decides = bool(band.nodata or band.limits) or band.backscatter or np.dtype(dtype).kind == "f"
    return band.band in names or decides


def _holds(plane: Plane, nodata: Iterable[NodataValue]) -> Mask:
    found = np.zeros(plane.shape, bool)
    for each in nodata:
        found |= plane == _as_stored(each.value, plane.dtype)
    return found


def _everywhere(masks: Sequence[Mask]) -> Mask | np.bool_:
    """Where all ``masks`` are True; nowhere without any."""
    return np.logical_and.reduce(masks) if masks else np.False_


def _is_measured(plane: Plane, band: BandReading, file: RasterFile) -> Mask:
    """Where one band alone allows a measurement; power in another unit than stated is refused."""
    measured = is_number(plane)
    if band.own_nodata:
        measured &= ~_holds(plane, band.own_nodata)
    if band.limits:
        value, (least, largest) = plane * band.scale + band.offset, band.limits
        measured &= (value >= least) & (value <= largest)
    if band.backscatter:
        _check_unit(plane[measured], band, file)
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
    large = 0 if band.decibels else np.count_nonzero(values > _NO_POWER)
    if large > max(values.size / 2, _ENOUGH):
        raise ReadError(
            f"{file.href} holds {large:,} numbers above {_NO_POWER} (20 dB) of {values.size:,} in {band.band}: these "
            "are amplitudes or digital numbers, not linear power. Name its item in skip_items, or calibrate it."
        )
    if (positive > negative) if band.decibels else (negative > positive):
        unit = "power" if band.decibels else "decibels"
        raise ReadError(
            f"{file.href} holds {negative:,} numbers from {least} to {most} in {band.band}, and {positive:,} "
            f"{'from 0 to 1' if band.decibels else 'above 0'}: these are {unit}. Set stored_as: {unit} for this input."
        )


def _as_stored(nodata: float, dtype: np.dtype[Any]) -> Any:
    """``nodata`` as a file of this dtype holds it: the tag -9999.0059 is a double, the pixels are float32."""
    if dtype.kind == "f":
        return dtype.type(nodata)
    return int(nodata) if float(nodata).is_integer() else nodata
