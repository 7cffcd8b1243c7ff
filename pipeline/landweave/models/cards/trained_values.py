"""What the values of an input were in training, and which values cannot be the same quantity in the same unit.

Limits are wide: snow, water and dark winter scenes stay far within them; another unit, another number of bits or a
picture scaled to 0 to 1 does not. An image is beyond its limits only where every band of it is. What a small area may
have, a quarry or a tower, is noted there, and refused where a wide one has it all over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from landweave.core.grid import exact
from landweave.core.modalities import ELEVATION_BANDS, GROUND_M, STORED_DTYPES
from landweave.models.cards.inputs import BandSpec, HeightCoding, InputSpec

Values = Mapping[str, NDArray[Any]]
"""Sampled values ``(pixel,)`` by band, all where the input is measured."""

FAINT, BRIGHT = 1 / 50, 8
"""Of mean + std: an image whose brightest pixels stay below the one, or whose median exceeds the other, is no such
image. Deep shade is a tenth of the mean, fresh snow ten times that of one band but never of all. Where the statistics
may be those of bytes, the latter is the mean and that many std: three reach white."""

_UNIT_LIMITS = {"reflectance": (40.0, 16_000.0), "power": (1e-4, 10.0)}
"""The same of a known unit: clear water has reflectance above 0.004 in some band, no ground a median above 1.6;
no scene is below -40 dB or has a median above +10 dB in every polarisation."""

OUTSIDE_SHARE = 0.01
"""Of the values that a type cannot hold: more is another type, less a few wrong pixels."""

FAR_STD = 4
"""Standard deviations of a median from the mean, in every band, that are noted."""

OTHER_SCALE_STD = 100
"""The same in one band, which is refused: its mean and std are of other numbers than those of the files."""

ODD_HEIGHT, LARGEST_HEIGHT = (-5, 100), 100
"""Metres: a median of the height above ground beyond the first is noted, and a share of more than `OUTSIDE_SHARE`; a
median that is farther from 0 than the second, which no forest and no city has, is refused in a wide sample."""

FILLERS, FILLER_SHARE = 2, 0.5
"""Numbers, and their least share of the heights beyond any ground, that stand for no data: interpolation smears them,
while heights in another unit repeat far less."""

BELOW_SHARE = 0.9
"""Of the pixels: a surface that lies below its terrain on more of them is none."""

LOWEST_SHARE, HIGHEST_GROUND = 0.05, 30
"""Of the heights above ground, and metres: ground or low plants are seen nearly everywhere, so a lowest twentieth
above 30 m is another zero. The ellipsoid lies 42 to 53 m below the sea level of mainland France."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that a sample does not share with the training: a sentence, and whether it is refused."""

    text: str
    refused: bool


@dataclass(frozen=True, kw_only=True)
class TrainedValues:
    """The values of one input in training, as far as its card and its modality say.

    Attributes
    ----------
    dtype
        Type of the numbers; empty where it is not known.
    unit
        Empty for the numbers of an image.
    bands
        Normalisation by band.
    """

    dtype: str = ""
    unit: Literal["", "heights", "reflectance", "power"] = ""
    bands: Mapping[str, BandSpec] = field(default_factory=dict)

    @classmethod
    def of(cls, modality: str, spec: InputSpec, quantity: str = "") -> TrainedValues:
        """What is known of an input.

        Parameters
        ----------
        modality
            FLAIR-HUB's name, which has a type and a unit of its own.
        spec
            What the card says.
        quantity
            Of the series that is fed; empty for a raster.
        """
        delivered = all(band.coding == "delivered" for band in spec.bands.values())
        if set(spec.bands) <= set(ELEVATION_BANDS) and not delivered:
            return cls(dtype="float32", unit="heights", bands=spec.bands)
        bands = {name: _as_scale(band) for name, band in spec.bands.items()}
        image = cls(dtype=spec.dtype or ("uint8" if delivered else STORED_DTYPES.get(modality, "")), bands=bands)
        if not spec.dtype and not image._fits_dtype():
            image = replace(image, dtype="")
        if quantity in ("sigma0", "gamma0_rtc"):
            return replace(image, unit="power")
        return (
            replace(image, unit="reflectance") if quantity == "reflectance" and image._may_be_reflectance() else image
        )

    def summary(self, band: str) -> str:
        """What the training knew of a band, in words; empty where that is nothing."""
        mean = self.mean(band)
        unit = {"heights": "metres", "reflectance": "reflectance x 10000", "power": "linear power"}.get(self.unit)
        return ", ".join(filter(None, [mean and f"mean {mean}", unit, self.dtype]))

    def mean(self, band: str) -> str:
        """Mean and deviation of a band in the training, in words; empty where they are not known."""
        spec = self.bands.get(band, BandSpec())
        coded = " as bytes" if isinstance(spec.coding, HeightCoding) else ""
        return f"{spec.mean:g} ± {spec.std:g}{coded}" if _has_statistics(spec) else ""

    def findings(
        self, values: Values, dtype: np.dtype[Any], *, limited: bool = False, wide: bool = True
    ) -> Iterator[Finding]:
        """What a sample does not share with the training.

        Parameters
        ----------
        values
            At least one pixel.
        dtype
            That the input is stored in.
        limited
            Whether heights beyond any ground on Earth are no data when the map is made.
        wide
            Whether the sample is spread over more ground than one tower or quarry has.
        """
        yield from _same_bands(values)
        if self.unit == "heights":
            yield from _height_findings(values, limited=limited, wide=wide)
            return
        yield from self._other_dtype(dtype)
        yield from self._impossible_statistics(dtype)
        outside = list(self._outside(values))
        yield from outside
        constant = list(self._constant(values))
        yield from constant
        if not any(each.refused for each in (*outside, *constant)):
            yield from self._magnitude(values)

    def _typical(self, band: BandSpec) -> float:
        """A usual value; 0 where none is known."""
        if self.unit:
            return float(np.sqrt(np.prod(_UNIT_LIMITS[self.unit])))
        if band.scale is not None:
            return float(1 / band.scale) / 2
        if _has_statistics(band):
            return abs(band.mean) + band.std
        return 128.0 if self.dtype == "uint8" else 0.0

    def _limits(self, band: BandSpec) -> tuple[float, float]:
        if band.scale is not None and not self.unit:
            return 2.0, float(1 / band.scale)  # the scale is of the type: most values may be far smaller
        typical = self._typical(band)
        bytes_like = _has_statistics(band) and typical < 256  # 10 bits would pass for a bright image otherwise
        high = abs(band.mean) + BRIGHT * band.std if bytes_like else typical * BRIGHT
        return _UNIT_LIMITS.get(self.unit) or (typical * FAINT, high or np.inf)

    def _fits_dtype(self) -> bool:
        """Whether the statistics may be those of such numbers: a card may have been trained on others."""
        if not self.dtype.startswith("uint"):
            return True
        typical = [self._typical(band) for band in self.bands.values() if _has_statistics(band) or band.scale]
        return all(2 < each <= np.iinfo(self.dtype).max for each in typical)

    def _may_be_reflectance(self) -> bool:
        """Whether the statistics may be those of reflectance x 10000."""
        low, high = _UNIT_LIMITS["reflectance"]
        return all(low < self._typical(band) < high for band in self.bands.values() if _has_statistics(band))

    def _other_dtype(self, dtype: np.dtype[Any]) -> Iterator[Finding]:
        if not self.dtype or dtype.name == self.dtype:
            return
        typical = min((self._typical(band) for band in self.bands.values()), default=0.0)
        short = dtype.kind in "iu" and self.unit != "power" and np.iinfo(dtype).max < typical
        reason = f", which ends at {np.iinfo(dtype).max}" if short else ""
        yield Finding(text=f"it holds {dtype.name}{reason}; the model was trained on {self.dtype}", refused=short)

    def _impossible_statistics(self, dtype: np.dtype[Any]) -> Iterator[Finding]:
        """Bands whose mean and deviation no numbers of the type can have: a variance for a deviation."""
        if dtype.kind not in "iu" or self.unit:
            return
        limits = np.iinfo(dtype)
        widest = (int(limits.max) - int(limits.min)) / 2  # half of the numbers at either end
        known = {name: band for name, band in self.bands.items() if _has_statistics(band)}
        odd = [name for name, band in known.items() if not limits.min <= band.mean <= limits.max or band.std > widest]
        if odd:
            listed = ", ".join(f"{name} {self.mean(name)}" for name in odd)
            text = (
                f"the files hold {dtype.name}, {limits.min} to {limits.max} with a deviation of {widest:g} at most: "
                f"the card's mean and std are those of other numbers, {listed}"
            )
            yield Finding(text=text, refused=True)

    def _outside(self, values: Values) -> Iterator[Finding]:
        if self.dtype != "uint8" and self.unit != "power":
            return
        low, high = (0.0, 255.0) if self.dtype == "uint8" else (0.0, np.inf)
        what = f"{low:g} to {high:g}" if self.dtype == "uint8" else "0 and more"
        for band, plane in values.items():
            share = float(((plane < low) | (plane > high)).mean())
            if share:
                text = f"{share:.2%} of {band} lie outside {what}, the values of the training: {_spread(plane)}"
                yield Finding(text=text, refused=share > OUTSIDE_SHARE)

    def _constant(self, values: Values) -> Iterator[Finding]:
        flat = [band for band, plane in values.items() if plane.min() == plane.max()]
        if len(flat) == len(values) and all(not plane.any() for plane in values.values()):
            yield Finding(text="every sampled pixel is 0: is it nodata that no tag declares?", refused=False)
            return
        for band in flat:
            full = (
                self.dtype == "uint8" and values[band][0] == 255 and [band] == flat != [*values]
            )  # snow fills several
            advice = ": an alpha band, not an image" if full else ""
            yield Finding(text=f"{band} is {values[band][0]:g} at every sampled pixel{advice}", refused=full)

    def _magnitude(self, values: Values) -> Iterator[Finding]:
        planes = [(self._limits(self.bands[band]), plane) for band, plane in values.items() if band in self.bands]
        known = [(limits, plane) for limits, plane in planes if limits[0]]
        if not known or not any(plane.any() for _, plane in known):
            return
        negative = (self.dtype.startswith("uint") or self.unit) and all(np.median(plane) < 0 for _, plane in known)
        faint = all(np.percentile(np.abs(plane), 99) < low for (low, _), plane in known)
        bright = all(np.median(np.abs(plane)) > high for (_, high), plane in known)
        for wrong, words in ((negative, "negative"), (faint, "far too small"), (bright, "far too large")):
            if wrong:
                listed = "; ".join(
                    f"{band} has {_spread(values[band])}, trained on {self.summary(band)}" for band in values
                )
                odd = self._may_be_bytes(values)  # of the training's type: dark water, or glare
                yield Finding(text=f"every band is {words}{', for bytes' if odd else ''}: {listed}", refused=not odd)
                return
        other = [band for band, plane in values.items() if self._is_far(band, plane, OTHER_SCALE_STD)]
        if other and not self.unit:
            listed = "; ".join(f"{band} has {_spread(values[band])}, trained on {self.summary(band)}" for band in other)
            yield Finding(text=f"medians are more than {OTHER_SCALE_STD} std from the means: {listed}", refused=True)
            return
        if not self.unit and all(self._is_far(band, plane) for band, plane in values.items()):
            listed = ", ".join(f"{band} {np.median(plane):g}" for band, plane in values.items())
            yield Finding(text=f"medians are more than {FAR_STD} std from the card's means: {listed}", refused=False)

    def _may_be_bytes(self, values: Values) -> bool:
        """Whether the training was on bytes, and the values may be bytes that are not scaled to 0 to 1."""
        pooled = np.concatenate([*values.values()])
        within = pooled.min() >= 0 and 1 < pooled.max() <= 255
        return bool(self.dtype == "uint8" and within and (pooled == np.rint(pooled)).all())

    def _is_far(self, band: str, plane: NDArray[Any], limit: float = FAR_STD) -> bool:
        spec = self.bands.get(band, BandSpec())
        return _has_statistics(spec) and abs(np.median(plane) - spec.mean) > limit * spec.std


def _has_statistics(band: BandSpec) -> bool:
    """Whether a mean and a deviation were measured in training: without them a value is fed as it is."""
    return band.scale is None and (band.mean, band.std) != (0, 1)


def _as_scale(band: BandSpec) -> BandSpec:
    """A band whose mean and deviation only bring its type to 0 to 1, or to -1 to 1, as one with that scale."""
    if _has_statistics(band) and band.std > 2 and band.mean in (0, band.std):
        return BandSpec(scale=exact(1) / exact(band.mean + band.std), coding=band.coding)
    return band


def _same_bands(values: Values) -> Iterator[Finding]:
    """Bands that are one picture: a file or a number is named twice, or the files of one lie where another's should."""
    planes: dict[bytes, list[str]] = {}
    for band, plane in values.items():
        if band != "NDSM" and plane.min() < plane.max():
            planes.setdefault(plane.tobytes(), []).append(band)
    for bands in (each for each in planes.values() if len(each) > 1):
        text = f"{' and '.join(bands)} are the same at every sampled pixel: is one read from the files of another?"
        yield Finding(text=text, refused=False)


def _height_findings(values: Values, *, limited: bool, wide: bool) -> Iterator[Finding]:
    models = {band: plane for band, plane in values.items() if band != "NDSM"}
    for band, plane in models.items():
        yield from _beyond_ground(band, plane, limited=limited)
    if "NDSM" in values:
        beyond = [_is_beyond(plane) for plane in models.values()] if limited else []
        measured = values["NDSM"][~np.logical_or.reduce(beyond)] if beyond else values["NDSM"]
        if measured.size:
            yield from _above_ground(measured, wide=wide)


def _is_beyond(plane: NDArray[Any]) -> NDArray[np.bool_]:
    return (plane < GROUND_M[0]) | (plane > GROUND_M[1])


def _beyond_ground(band: str, plane: NDArray[Any], *, limited: bool) -> Iterator[Finding]:
    """Heights that no ground has: another unit, or numbers for no data that no tag declares."""
    (low, high), beyond, median = GROUND_M, _is_beyond(plane), float(np.median(plane))
    if not beyond.any():
        return
    numbers, counts = np.unique(plane[beyond], return_counts=True)
    most = np.argsort(counts)[::-1][:FILLERS]
    filled = counts[most].sum() >= FILLER_SHARE * beyond.sum() and counts[most[0]] > 1
    if low <= median <= high or (filled and limited):
        fate = "are no data" if limited else "are fed as heights"
        text = f"{beyond.mean():.2%} of {band} lie outside {low} to {high} m, and {fate}: {_spread(plane)}"
        yield Finding(text=text, refused=False)
        return
    advice = f", and {numbers[most[0]]:g} no data that nothing declares" if filled else ""
    text = f"{band} has a median of {median:g}: ground lies between {low} and {high} m. Is it in metres{advice}?"
    yield Finding(text=text, refused=True)


def _above_ground(plane: NDArray[Any], *, wide: bool) -> Iterator[Finding]:
    median = float(np.median(plane))
    below, above = float((plane < -1).mean()), float((plane > 1).mean())
    low, high = ODD_HEIGHT
    odd = float(((plane < low) | (plane > high)).mean())
    if not low <= median <= high:
        text = f"NDSM, DSM minus DTM, has a median of {median:g} m: are both in metres above the same zero?"
        yield Finding(text=text, refused=wide and abs(median) > LARGEST_HEIGHT)
    elif (lowest := float(np.quantile(plane, LOWEST_SHARE))) > HIGHEST_GROUND:
        text = (
            f"NDSM, DSM minus DTM, is above {lowest:g} m on {1 - LOWEST_SHARE:.0%}: is one of them above the "
            "ellipsoid, the other above sea level?"
        )
        yield Finding(text=text, refused=False)
    if below > max(above, 0.05):
        text = f"the DSM is below the DTM by more than 1 m on {below:.0%}, above it on {above:.0%}: are they swapped?"
        yield Finding(text=text, refused=wide and below > BELOW_SHARE)
    elif low <= median <= high and odd > OUTSIDE_SHARE:
        text = f"{odd:.2%} of NDSM lie outside {low} to {high} m: {_spread(plane)}. Is a tile in another unit or scale?"
        yield Finding(text=text, refused=False)


def _spread(plane: NDArray[Any]) -> str:
    return f"{plane.min():g} to {plane.max():g}, median {np.median(plane):g}"
