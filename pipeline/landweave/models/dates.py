"""Which dates of a time series a model wants, and how it is told when they were: rules as values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClearDates(_Rule):
    """FLAIR-HUB's filter: a date counts when enough of the window was acquired and is free of cloud and snow.

    Attributes
    ----------
    share
        Smallest share of clear, valid pixels.
    cloud_max, snow_max
        Largest probability, 0 to 100, of a clear pixel.
    clearest
        Dates kept, the clearest first, when none passes even without the cloud rule.
    """

    kind: Literal["clear"] = "clear"
    share: float = Field(default=0.95, gt=0, le=1)
    cloud_max: float = 1
    snow_max: float = 1
    clearest: int = Field(default=1, ge=0)


class SpoiltDates(_Rule):
    """FLAIR#2's filter: a date is dropped when the shares of snowy and of cloudy pixels together reach ``share``.

    A pixel is snowy or cloudy from a probability of ``snow_from`` or ``cloud_from``, 0 to 100.
    """

    kind: Literal["spoilt"]
    share: float = Field(default=0.5, gt=0, le=1)
    cloud_from: float = 60
    snow_from: float = 60


class DatesRule(_Rule):
    """How the dates of a series reach the model.

    Attributes
    ----------
    position
        ``after``: days after the reference day of the date's own year, negative before it, so that a series spans
        one civil year at most. ``before``: the reference day minus the date, in days, in one reference year.
    reference
        Month and day.
    filter
        Which dates count; all when not given.
    composite
        Means a ``month`` (12 steps, placed at mid-month) or ``half-month`` (24 steps, on days 8 and 23). Steps
        without a date are left out.
    """

    position: Literal["after", "before"] = "after"
    reference: str = Field(default="05-15", pattern=r"^\d\d-\d\d$")
    filter: Annotated[ClearDates | SpoiltDates, Field(discriminator="kind")] | None = None
    composite: Literal["month", "half-month"] | None = None
