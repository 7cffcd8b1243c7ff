"""Loops that numpy would take through memory many times, compiled by numba; imported where pixels are computed only.

Importing numba takes a second, which a plan does not need. Machine code is kept on disk: the first process on a machine
compiles for some seconds, those after it read what it left. Every operation is one of IEEE float32 or of integers, in
the order that is written here: no fused multiply-add and no reassociation, so the bits of a pixel depend neither on the
place of a loop where it is computed nor on the CPU. Other threads run meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(signature: str) -> Callable[[Function], Function]:
    def compile_now(function: Function) -> Function:
        compiler: Any = partial(njit, signature, nogil=True, fastmath=False, error_model="numpy")
        compiled: Function
        try:
            compiled = compiler(cache=True)(function)
        except RuntimeError:  # no folder that it may write to, neither the package's nor the user's
            compiled = compiler(cache=False)(function)
        return compiled

    return compile_now


@_compiled("boolean(uint8[:,:])")
def _is_uniform(square: Any) -> bool:
    """Whether all pixels are equal."""
    other = np.uint8(0)
    for y in range(square.shape[0]):
        for x in range(square.shape[1]):
            other |= square[y, x] ^ square[0, 0]
    return bool(other == 0)


@_compiled("uint8(uint8[:,:], int32[::1])")
def _mode(square: Any, votes: Any) -> int:
    """The most frequent code; ``votes`` holds 256 zeros, before and after."""
    for code in square.flat:
        votes[code] += 1
    votes[255] = 0
    most, best = 0, 255
    for code in square.flat:
        count = votes[code]
        if count > most or (count == most and count > 0 and code < best):
            most, best = count, code
    for code in square.flat:
        votes[code] = 0
    return best


@_compiled("void(uint8[:,::1], uint8[:,::1], uint8[:,::1], uint8[:,::1])")
def cell_modes(values: Any, by_2: Any, by_4: Any, by_8: Any) -> None:
    """Fill the modes of squares of 2, 4 and 8 pixels of ``values (y, x)``, whose sides are multiples of 8.

    Ties go to the lowest code; 255 is no vote. Most squares of a map are of one class: they need no counting.

    Parameters
    ----------
    values
        uint8 ``(y, x)``.
    by_2, by_4, by_8
        uint8, as many times smaller.
    """
    votes = np.zeros(256, np.int32)
    for row in range(by_8.shape[0]):
        for column in range(by_8.shape[1]):
            cell = values[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            if _is_uniform(cell):
                by_8[row, column] = cell[0, 0]
                by_4[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = cell[0, 0]
                by_2[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = cell[0, 0]
                continue
            by_8[row, column] = _mode(cell, votes)
            for side, target in ((2, by_2), (4, by_4)):
                for top in range(0, 8, side):
                    for left in range(0, 8, side):
                        square = cell[top : top + side, left : left + side]
                        mode = square[0, 0] if _is_uniform(square) else _mode(square, votes)
                        target[(8 * row + top) // side, (8 * column + left) // side] = mode


@_compiled("void(uint8[:,::1], uint8[:,::1], uint8[:,::1], uint8[:,::1])")
def cell_averages(values: Any, by_2: Any, by_4: Any, by_8: Any) -> None:
    """Fill the means of the valid pixels of the squares of `cell_modes`, halves rounded up; 255 where there are none.

    Parameters
    ----------
    values, by_2, by_4, by_8
        As there.
    """
    for side, target in ((2, by_2), (4, by_4), (8, by_8)):
        for row in range(target.shape[0]):
            for column in range(target.shape[1]):
                total, count = np.uint32(0), np.uint32(0)
                for y in range(side * row, side * row + side):
                    for x in range(side * column, side * column + side):
                        value = values[y, x]
                        valid = np.uint32(value != 255)
                        total += valid * np.uint32(value)
                        count += valid
                target[row, column] = (total + count // np.uint32(2)) // count if count > 0 else 255


_PIXELS = 128
"""Of a row, taken through all steps together: those of 19 classes take 10 kB, a third of a core's nearest cache."""

_LEAST = np.float32(-88)
"""Its power of two has bits of zero: exponentials that float32 does not hold in full precision are 0."""

_PER_LN2, _LN2_HIGH, _LN2_LOW = np.float32(1.44269504088896341), np.float32(0.693359375), np.float32(-2.12194440e-4)
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _HALF, _ONE = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(0.5), np.float32(1)
"""The exponential of Cephes (Moshier): a power of two by a polynomial of degree 7, within 2e-7 of the true one."""


@_compiled("void(float32[:,::1], float32[::1], int64)")
def _exponentials(part: Any, total: Any, count: int) -> None:
    """Make ``part (class, pixel)`` exponentials of its logits less the largest, ``total`` one over their sum."""
    largest, power = part[0].copy(), np.empty(count, np.int32)
    scale = power.view(np.float32)  # powers of two by their bits
    for channel in range(1, part.shape[0]):
        for x in range(count):
            largest[x] = part[channel, x] if part[channel, x] > largest[x] else largest[x]
    total[:] = 0
    for channel in range(part.shape[0]):
        for x in range(count):
            value = part[channel, x] - largest[x]
            value = value if value > _LEAST else _LEAST
            whole = np.floor(value * _PER_LN2 + _HALF)
            value = (value - whole * _LN2_HIGH) - whole * _LN2_LOW
            series = ((((_P0 * value + _P1) * value + _P2) * value + _P3) * value + _P4) * value + _HALF
            part[channel, x] = (series * (value * value) + value) + _ONE
            power[x] = (np.int32(whole) + np.int32(127)) * np.int32(2**23)
        for x in range(count):
            part[channel, x] *= scale[x]
            total[x] += part[channel, x]
    for x in range(count):
        total[x] = _ONE / total[x]


@_compiled("void(float32[:,:,:], float32[::1], float32[::1], float32[:,:,::1], int64, int64)")
def add_softmax(logits: Any, down: Any, across: Any, sums: Any, top: int, left: int) -> None:
    """Add the weighted softmax over the classes to a part of ``sums``; memory is passed through once.

    Parameters
    ----------
    logits
        float32 ``(class, y, x)``, of any layout in memory.
    down, across
        Weights of its rows and of its columns, float32; a pixel's is their product.
    sums
        float32 ``(class, y, x)``.
    top, left
        Where the logits begin in it.
    """
    classes, height, width = logits.shape
    part, total = np.empty((classes, _PIXELS), np.float32), np.empty(_PIXELS, np.float32)
    for y in range(height):
        for start in range(0, width, _PIXELS):
            count = min(_PIXELS, width - start)
            for x in range(count):  # the classes of a pixel lie together where the network is channels-last
                for channel in range(classes):
                    part[channel, x] = logits[channel, y, start + x]
            _exponentials(part, total, count)
            for channel in range(classes):
                target = sums[channel, top + y, left + start : left + start + count]
                for x in range(count):
                    weight = down[y] * across[start + x]
                    target[x] += (part[channel, x] * total[x]) * weight
