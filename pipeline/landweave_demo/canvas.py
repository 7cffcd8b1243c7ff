"""The layers a scene is painted on, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave_demo.frame import Floats, Frame
from landweave_demo.palette import Palette


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What lies where, all (y, x).

    ``paint`` uint16 place in ``palette``; ``height`` metres above the ground, trees apart; ``rows`` texture of
    the field, about -1..1; ``crown`` paint of the tree above (0: none) and ``canopy`` its height in metres.
    ``truth_paint`` is the paint a cartographer goes by: what cars, markings and bales stand on.
    """

    frame: Frame
    palette: Palette
    paint: NDArray[np.uint16]
    truth_paint: NDArray[np.uint16]
    height: Floats
    rows: Floats
    crown: NDArray[np.uint16]
    canopy: Floats


def blank_canvas(frame: Frame, palette: Palette) -> Canvas:
    """Return empty layers for a frame."""
    return Canvas(
        frame=frame,
        palette=palette,
        paint=np.zeros(frame.shape, np.uint16),
        truth_paint=np.zeros(frame.shape, np.uint16),
        height=np.zeros(frame.shape, np.float32),
        rows=np.zeros(frame.shape, np.float32),
        crown=np.zeros(frame.shape, np.uint16),
        canopy=np.zeros(frame.shape, np.float32),
    )
