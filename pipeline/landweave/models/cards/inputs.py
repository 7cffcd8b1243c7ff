"""What a model needs of one input: its bands with their normalisation, its pixel, its ground around a window."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from landweave.core.grid import exact
from landweave.core.timeseries import DatesRule


def _rational(value: Any) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
        raise ValueError("write a number, or a fraction as in 1/255")
    return exact(value)


def _positive(value: Fraction) -> Fraction:
    if value <= 0:
        raise ValueError(f"{value} is not positive")
    return value


Rational = Annotated[Fraction, BeforeValidator(_rational), PlainSerializer(str)]
"""An exact number: 0.2 is 1/5, and ``1/255`` may be written."""

Length = Annotated[Rational, AfterValidator(_positive)]
"""Metres, exact, positive."""


class CardPart(BaseModel):
    """A part of a card: cannot be changed, and knows no other keys than its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class HeightCoding(CardPart):
    """How metres became a byte: ``clip(round(metres * scale + offset), 0, 255)``, ties to even."""

    scale: float
    offset: float = 0.0


class BandSpec(CardPart):
    """What becomes of one band: coded if the model saw bytes, then ``(value - mean) / std``.

    Attributes
    ----------
    mean, std
        In the units the model was trained on.
    scale
        Instead of the two: the value is multiplied by it (``1/255``).
    coding
        For a height that training read as bytes: how they were made. ``unstated`` where that was never published,
        which is refused until somebody states it; ``delivered`` where the source already gives such bytes.
    """

    mean: float = 0.0
    std: float = Field(default=1.0, gt=0)
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


class FootprintRule(CardPart):
    """The ground of an input around a window.

    ``nested``: the window's own. ``centred``: ``size`` pixels of the input's own grid a side, cut at the pixel
    nearest the window's centre.
    """

    kind: Literal["nested", "centred"] = "nested"
    size: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _sized(self) -> FootprintRule:
        if (self.kind == "centred") != (self.size is not None):
            raise ValueError("a centred footprint has a size in pixels of the input, a nested one has none")
        return self


class InputSpec(CardPart):
    """One input of a model.

    Attributes
    ----------
    bands
        By name, in the order in which the model takes them.
    pixel
        Metres, exact.
    required
        Whether a pixel without it has no answer; otherwise it is fed as ``fill`` and flagged.
    fill
        What a pixel without measurement becomes, after normalisation: 0 is the mean.
    dates
        For a time series: which dates count and how they are told to the model.
    quantity
        For radar: what it measures.
    """

    bands: dict[str, BandSpec] = Field(min_length=1)
    pixel: Length
    required: bool = True
    fill: float = 0.0
    footprint: FootprintRule = FootprintRule()
    dates: DatesRule | None = None
    quantity: Literal["sigma0", "gamma0_rtc"] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands, in the model's order."""
        return tuple(self.bands)

    @property
    def unstated(self) -> tuple[str, ...]:
        """Bands whose byte coding must be stated before the card can be used."""
        return tuple(name for name, band in self.bands.items() if band.coding == "unstated")

    def with_coding(self, coding: HeightCoding | Literal["delivered"]) -> InputSpec:
        """The input with ``coding`` for the bands that leave theirs open."""
        bands = {
            name: band.model_copy(update={"coding": coding}) if name in self.unstated else band
            for name, band in self.bands.items()
        }
        return self.model_copy(update={"bands": bands})
