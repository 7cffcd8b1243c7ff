"""Calibration of a model's probabilities: reliability curve, expected calibration error, and a temperature.

Confidences are counted by the value that a map stores (0 to 250), so that sums over blocks are exact and in any order;
the log-likelihood at each temperature is summed in whole micronats for the same reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave.core.legend import CONFIDENCE_SCALE

TEMPERATURES = np.geomspace(0.2, 12.5, 73)
"""Temperatures whose likelihood is summed, 6 % apart; the best is interpolated between them."""

BINS = 15
"""Bins of equal width between 0 and 1 of the expected calibration error, as most publications have them (Guo et al.
2017, On Calibration of Modern Neural Networks)."""

_MICRO = 1e6

_LEAST_STORED = 3
"""Of a stored probability whose logarithm is known to a sixth."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often the class shown is right, by its stored confidence; sums of parts are exact.

    Attributes
    ----------
    pixels, right
        int64 ``(251,)``: pixels by their stored confidence (probability x 250), and those of them that are right.
    """

    pixels: NDArray[np.int64]
    right: NDArray[np.int64]

    @classmethod
    def of(cls, confidence: NDArray[np.uint8], right: NDArray[np.bool_]) -> Reliability:
        """The reliability over some pixels.

        Parameters
        ----------
        confidence
            uint8, probability x 250 of the class shown; no nodata.
        right
            Whether it is the class of the reference, of the same shape.
        """
        size = CONFIDENCE_SCALE + 1
        return cls(
            pixels=np.bincount(confidence.ravel(), minlength=size), right=np.bincount(confidence[right], minlength=size)
        )

    def __add__(self, other: Reliability) -> Reliability:
        """Sums of both."""
        return Reliability(pixels=self.pixels + other.pixels, right=self.right + other.right)

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Mean confidence, accuracy and pixels of each of `BINS` that has pixels."""
        levels = np.arange(CONFIDENCE_SCALE + 1)
        which = np.maximum(-(-levels * BINS // CONFIDENCE_SCALE) - 1, 0)  # bins are open below: (0.2, 0.3]
        pixels, right, sums = (
            np.bincount(which, weights, minlength=BINS) for weights in (self.pixels, self.right, self.pixels * levels)
        )
        some = pixels > 0
        confidence = sums[some] / pixels[some] / CONFIDENCE_SCALE
        return confidence, right[some] / pixels[some], pixels[some].astype(np.int64)

    def expected_error(self) -> float:
        """Expected calibration error in [0, 1]: the mean over pixels of how far accuracy is from confidence."""
        confidence, accuracy, pixels = self.curve()
        return float((np.abs(accuracy - confidence) * pixels).sum() / max(pixels.sum(), 1))


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """Negative log-likelihood of the reference at each of `TEMPERATURES`; sums of parts are exact.

    Attributes
    ----------
    micronats
        int64 ``(temperature,)``.
    pixels
        That were looked at.
    """

    micronats: NDArray[np.int64]
    pixels: int

    @classmethod
    def of(cls, probabilities: NDArray[np.uint8], channels: NDArray[np.int64]) -> Likelihood:
        """The likelihood over some pixels, among the classes whose stored probability says enough.

        A map stores probabilities in steps of 1/250: what an overconfident model gives the right class is often
        stored as 0. Among the classes of at least `_LEAST_STORED` steps, and given that one of them is right, the
        likelihood is known, and its best temperature is that of the model.

        Parameters
        ----------
        probabilities
            uint8 ``(class, pixel)``, probability x 250 as a map stores it.
        channels
            The row of the reference class of each pixel.
        """
        among = probabilities >= _LEAST_STORED
        known = among[channels, np.arange(channels.size)] & (among.sum(0) > 1)
        if not known.any():
            return cls(micronats=np.zeros(TEMPERATURES.size, np.int64), pixels=0)
        probabilities, channels = probabilities[:, known], channels[known]
        logs = np.where(among[:, known], np.log(np.maximum(probabilities, 1).astype(np.float32)), np.float32(-np.inf))
        logs -= logs.max(0)
        of_truth = logs[channels, np.arange(channels.size)]
        sums = [
            float((np.log(np.exp(logs / temperature).sum(0, dtype=np.float64)) - of_truth / temperature).sum())
            for temperature in TEMPERATURES.astype(np.float32)
        ]
        return cls(micronats=np.rint(np.array(sums) * _MICRO).astype(np.int64), pixels=channels.size)

    def __add__(self, other: Likelihood) -> Likelihood:
        """Sums of both."""
        return Likelihood(micronats=self.micronats + other.micronats, pixels=self.pixels + other.pixels)

    @property
    def temperature(self) -> float | None:
        """The temperature of the highest likelihood; None without pixels, or where it is beyond `TEMPERATURES`.

        Dividing a model's logits by it makes its confidences agree with its accuracy as well as one number can
        (Guo et al. 2017); the classes shown stay.
        """
        best = int(self.micronats.argmin())
        if not self.pixels or best in (0, TEMPERATURES.size - 1):
            return None
        before, at, after = (float(each) for each in self.micronats[best - 1 : best + 2])
        curvature = before - 2 * at + after
        shift = (before - after) / (2 * curvature) if curvature else 0.0
        step = np.log(TEMPERATURES[1] / TEMPERATURES[0])
        return float(TEMPERATURES[best] * np.exp(shift * step))
