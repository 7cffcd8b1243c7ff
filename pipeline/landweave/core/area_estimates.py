"""Areas and accuracies estimated from a stratified random sample, with their standard errors.

The estimators of Olofsson et al. 2014, Good practices for estimating area and assessing accuracy of land change, Remote
Sensing of Environment 148, equations 1 to 11. Strata are the classes of a map; rows are the map, columns the reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from landweave.core.errors import InputError

Z95 = 1.96
"""Standard errors of half a 95 % interval, as the paper has it."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AreaEstimates:
    """What a stratified sample says of a map and of the ground.

    Attributes
    ----------
    strata
        Codes of the map that were sampled.
    codes
        Codes of the reference, those of the map among them.
    counts
        int64 ``(stratum, code)``: sampled units by map and reference.
    areas
        float64 ``(stratum,)``: area of each stratum on the map, in any unit.
    whole
        Strata of which every pixel is a unit: what is known of all has no error.

    Raises
    ------
    InputError
        When another stratum that has an area has fewer than two units: its variance is unknown.
    """

    strata: tuple[int, ...]
    codes: tuple[int, ...]
    counts: NDArray[np.int64]
    areas: Floats
    whole: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        few = [
            f"{code} ({number} of 2)"
            for code, number in zip(self.strata, self.counts.sum(1), strict=True)
            if number < 2 and code not in self.whole
        ]
        if few:
            raise InputError(
                f"Strata {', '.join(few)} have fewer than 2 units with a reference: nothing can be said of their "
                "error. Interpret more of their points, or draw a sample with more."
            )

    @property
    def _weights(self) -> Floats:
        return np.asarray(self.areas / self.areas.sum())

    @property
    def _rows(self) -> Floats:
        return np.asarray(self.counts.sum(1), np.float64)

    @property
    def _freedom(self) -> Floats:
        """Degrees of freedom of each stratum; without end where nothing is left to chance."""
        return np.where([code in self.whole for code in self.strata], np.inf, self._rows - 1)

    @cached_property
    def proportions(self) -> Floats:
        """Estimated share of the area by map and reference, float64 ``(stratum, code)`` (equation 4)."""
        return np.asarray(self._weights[:, None] * self.counts / self._rows[:, None])

    @property
    def estimated(self) -> Floats:
        """Estimated area of each code, in the unit of ``areas`` (equation 9)."""
        return np.asarray(self.proportions.sum(0) * self.areas.sum())

    @property
    def standard_errors(self) -> Floats:
        """Of `estimated` (equations 10 and 11)."""
        shares = self.counts / self._rows[:, None]
        variance = (self._weights**2 / self._freedom) @ (shares * (1 - shares))
        return np.asarray(np.sqrt(variance) * self.areas.sum())

    @property
    def margins(self) -> Floats:
        """Half the width of the 95 % interval of each area."""
        return Z95 * self.standard_errors

    @property
    def accuracy(self) -> tuple[float, float]:
        """Overall accuracy and half the width of its interval (equations 1 and 5)."""
        users = self.users_accuracy[0]
        variance = (self._weights**2 * users * (1 - users) / self._freedom).sum()
        return float((self._weights * users).sum()), float(Z95 * np.sqrt(variance))

    @property
    def users_accuracy(self) -> tuple[Floats, Floats]:
        """User's accuracy of each stratum and half the width of its interval (equations 2 and 6)."""
        users = self._diagonal / self._rows
        return users, Z95 * np.sqrt(users * (1 - users) / self._freedom)

    @property
    def producers_accuracy(self) -> tuple[Floats, Floats]:
        """Producer's accuracy of each stratum and half the width of its interval (equations 3 and 7).

        Not a number for a class that the reference does not have.
        """
        areas, rows = self.areas, self._rows
        columns = np.array([self.codes.index(code) for code in self.strata])
        users = self._diagonal / rows
        totals = (areas[:, None] * self.counts / rows[:, None])[:, columns].sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            producers = areas * users / totals
            shares = (self.counts / rows[:, None])[:, columns]
            others = areas[:, None] ** 2 * shares * (1 - shares) / self._freedom[:, None]
            others = others.sum(0) - np.diag(others)
            own = areas**2 * (1 - producers) ** 2 * users * (1 - users) / self._freedom
            return producers, Z95 * np.sqrt((own + producers**2 * others) / totals**2)

    @property
    def _diagonal(self) -> Floats:
        places = [self.codes.index(code) for code in self.strata]
        return self.counts[np.arange(len(self.strata)), places].astype(np.float64)


def estimate(
    areas: Mapping[int, float], pairs: Sequence[tuple[int, int]], pixels: Mapping[int, int] | None = None
) -> AreaEstimates:
    """The estimates of a sample.

    Parameters
    ----------
    areas
        Area of each stratum on the map; strata without area are left out.
    pairs
        Code of the stratum and of the reference of each unit.
    pixels
        Of each stratum: one of as many units is known whole. None where that is not known.

    Raises
    ------
    InputError
        When a unit is of no stratum, or a stratum has fewer than two units.
    """
    strata = tuple(sorted(code for code, area in areas.items() if area > 0))
    if foreign := {stratum for stratum, _ in pairs} - {*strata}:
        raise InputError(f"Units of the sample are of strata {sorted(foreign)}, and the strata are {list(strata)}.")
    codes = tuple(sorted({*strata, *(reference for _, reference in pairs)}))
    counts = np.zeros((len(strata), len(codes)), np.int64)
    for stratum, reference in pairs:
        counts[strata.index(stratum), codes.index(reference)] += 1
    known = zip(strata, counts.sum(1), strict=True)
    whole = frozenset(code for code, units in known if pixels is not None and units == pixels[code])
    listed = np.array([areas[code] for code in strata])
    return AreaEstimates(strata=strata, codes=codes, counts=counts, areas=listed, whole=whole)


def allocate(pixels: Mapping[int, int], size: int, minimum: int) -> dict[int, int]:
    """How many units each stratum gets: at least ``minimum``, what is left by area.

    Parameters
    ----------
    pixels
        Of each stratum; none gets more units than it has pixels.
    size
        Units in all; more where the minimum of every stratum asks for more.
    minimum
        Units of the smallest strata (Olofsson et al. 2014, section 5.1.2: 50 to 100).

    >>> allocate({0: 100, 1: 900, 2: 99_000}, 200, 50)
    {0: 50, 1: 50, 2: 100}
    """
    total = sum(pixels.values())
    small = {code for code, count in pixels.items() if size * count < minimum * total}
    rest = {code: count for code, count in pixels.items() if code not in small}
    left = max(size - minimum * len(small), minimum * len(rest))
    shares = {code: left * count / sum(rest.values()) for code, count in rest.items()}
    units = {code: minimum if code in small else max(minimum, int(shares[code])) for code in pixels}
    # What rounding down leaves goes to the largest remainders.
    for code in sorted(rest, key=lambda code: units[code] - shares[code])[: max(0, size - sum(units.values()))]:
        units[code] += 1
    return {code: min(number, pixels[code]) for code, number in units.items()}
