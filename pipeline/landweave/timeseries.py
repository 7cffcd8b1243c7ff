"""Time series as values and rules: the steps of a series, what each pixel saw, and which dates a model is given.

::

    scenes of one pass ──> step (time, provenance) ──> pixel states ──> dates kept for a window ──> day offsets
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field


class PixelState(IntEnum):
    """What one pixel of one date is. The values are stored: never renumber."""

    NOT_ACQUIRED = 0
    """Beyond the swath, or no scene of that date here: a chunk of it is not stored."""
    CLEAR = 1
    CLOUD = 2
    SNOW = 3
    SHADOW = 4
    NODATA = 5
    """Acquired without a measurement: nodata, defective, border noise."""

    @property
    def measured(self) -> bool:
        """Whether the pixel holds a value, of whatever it saw."""
        return self not in (PixelState.NOT_ACQUIRED, PixelState.NODATA)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One date of a series: one ground strip seen in one pass.

    Attributes
    ----------
    key
        Names the pass for good (a datatake, an orbit and day): the same in every search that finds it.
    time
        Start of the pass, UTC, ``datetime64[s]``.
    provenance
        Plain JSON values: scene ids in reading order, baseline, offset applied, orbit, kind.
    """

    key: str
    time: np.datetime64
    provenance: Mapping[str, Any] = field(default_factory=dict)


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
