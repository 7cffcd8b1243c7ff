"""Inputs of a model: bands with their normalisation, pixel size, and pixels around a window."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from landweave.core.grid import exact
from landweave.core.timeseries import DatesRule
from landweave.core.words import problem_text


def _rational(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
        raise ValueError("write a number, or a fraction as in 1/255")
    try:
        return exact(value)
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"{value!r} is no finite number: write one, or a fraction as in 1/255") from error


def _positive(value: Fraction) -> Fraction:
    if value <= 0:
        raise ValueError(f"{value} is not positive")
    return value


Length = Annotated[Fraction, BeforeValidator(_rational), PlainSerializer(str), AfterValidator(_positive)]
"""Metres, or a factor: positive and exact. 0.2 is 1/5, and ``1/255`` may be written."""

Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number, and no text or truth value that could be read as one."""


METADATA = "AERIAL_METADATA"
"""Name of the input that holds the values of the aerial acquisition, in metres, days and one-hot codes."""
METADATA_VALUES = 45


def days_input(series: str) -> str:
    """Return the name of the input with the day offsets of a series: ``SENTINEL2_DATES`` of ``SENTINEL2_TS``."""
    return series.removesuffix("TS") + "DATES"


def mask_input(series: str) -> str:
    """Return the name of the optional input with the mask of real dates: ``SENTINEL2_MASK`` of ``SENTINEL2_TS``."""
    return series.removesuffix("TS") + "MASK"


class CardPart(BaseModel):
    """A part of a card: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


def validation_lines(error: ValidationError) -> list[str]:
    """What pydantic found wrong, a line for each value, by its key."""
    lines = (
        f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {problem_text(each['type'], each['msg'])}"
        for each in error.errors()
    )
    return list(dict.fromkeys(lines))


class HeightCoding(CardPart):
    """Coding of a height in metres as a byte: ``clip(round(metres * scale + offset), 0, 255)``, ties to even."""

    scale: Real = Field(gt=0)
    offset: Real = 0.0


class BandSpec(CardPart):
    """Normalisation of one band: coded if the model was trained on bytes, then ``(value - mean) / std``.

    Attributes
    ----------
    mean, std
        In the units the model was trained on.
    scale
        Instead of the two: the value is multiplied by it (``1/255``).
    coding
        For a height that the model was trained on as bytes. ``unstated`` where the coding was never published, which is
        refused until a run states it; ``delivered`` where the source already holds such bytes.
    """

    mean: Real = 0.0
    std: Real = Field(default=1.0, gt=0)
    scale: Length | None = None
    coding: HeightCoding | Literal["unstated", "delivered"] | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> BandSpec:
        if self.scale is not None and {"mean", "std"} & self.model_fields_set:
            raise ValueError("give either mean and std, or scale")
        return self

    @property
    def statistics(self) -> tuple[float, float]:
        """Mean and standard deviation that normalise a value: ``(value - mean) / std``."""
        return (self.mean, self.std) if self.scale is None else (0.0, float(1 / self.scale))


class InputSpec(CardPart):
    """One input of a model.

    Attributes
    ----------
    bands
        By name, in the order in which the model takes them.
    pixel
        Metres, exact.
    required
        Whether output pixels without it are nodata; otherwise it is fed as ``fill`` and flagged.
    fill
        Value of a pixel without measurement, after normalisation: 0 is the mean.
    centred_size
        Pixels a side of an input on a grid of its own, cut at the pixel nearest the window's centre. None for a nested
        input, which covers exactly the window.
    dates
        For a time series: which dates are used and how their days are encoded.
    quantity
        For radar: the physical quantity.
    dtype
        Type of the numbers that the model was trained on; that of FLAIR-HUB's modality by default, unless ``mean`` and
        ``std`` cannot be of such numbers.
    """

    bands: dict[str, BandSpec] = Field(min_length=1)
    pixel: Length
    required: bool = True
    fill: Real = 0.0
    centred_size: int | None = Field(default=None, gt=0)
    dates: DatesRule | None = None
    quantity: Literal["sigma0", "gamma0_rtc"] | None = None
    dtype: Literal["uint8", "uint16", "int16", "float32"] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands, in the model's order."""
        return tuple(self.bands)

    @property
    def unstated(self) -> tuple[str, ...]:
        """Bands whose byte coding must be stated before the card can be used."""
        return tuple(name for name, band in self.bands.items() if band.coding == "unstated")

    def with_coding(self, coding: HeightCoding | Literal["delivered"]) -> InputSpec:
        """Return the input with ``coding`` for the bands of `unstated`."""
        stated = {name: self.bands[name].model_copy(update={"coding": coding}) for name in self.unstated}
        return self.model_copy(update={"bands": self.bands | stated})
