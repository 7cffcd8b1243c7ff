"""How good the demo's map is: scores against the synthetic truth, and seams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landweave_demo.landscape.land_use import CROP_CODES, SEASONAL


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """Result of the demo; landscape and truth are synthetic, and so are the scores.

    Attributes
    ----------
    folder
        Holds the imagery, the configuration, the cube, the map (Zarr, COG, PNG) and ``demo.png``.
    run
        Summary of the run of the blended map.
    exit_code
        Of that run: 0 when the map is complete.
    data_seconds
        Time that landscape, satellite year and their files took.
    accuracy
        Overall accuracy, 0 to 1, over all pixels with truth and map.
    ious
        Intersection over union of each class of the truth, 0 to 1, by code.
    blended_seams, cropped_seams
        Seam score of the map, and of the same map from windows without overlap: 1 is a map without seams.
    names
        Of the classes, by code.
    """

    folder: Path
    run: str
    exit_code: int
    data_seconds: float
    accuracy: float
    ious: Mapping[int, float]
    blended_seams: float
    cropped_seams: float
    names: Mapping[int, str]

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes of the truth, 0 to 1."""
        return float(np.mean(list(self.ious.values())))

    @property
    def seasonal_iou(self) -> float:
        """Mean IoU of the crops that only a series tells apart, 0 to 1."""
        return float(np.mean([self.ious.get(CROP_CODES[crop], 0.0) for crop in SEASONAL]))

    @property
    def picture(self) -> Path:
        """Aerial image, map and truth side by side."""
        return self.folder / "demo.png"

    def __str__(self) -> str:
        return "\n".join(
            [
                f"landscape     made in {self.data_seconds:.0f} s (synthetic, not seen in training)",
                f"map           {self.run}",
                f"accuracy      {self.accuracy:.3f} against the synthetic truth",
                f"mIoU          {self.mean_iou:.3f} over {len(self.ious)} classes",
                f"of season     {self.seasonal_iou:.3f} mean IoU of {', '.join(SEASONAL)}, which look alike in pairs",
                *(f"  {self.names[code]:<24} {iou:.3f}" for code, iou in self.ious.items()),
                f"seam score    {self.blended_seams:.3f} blended (cosine)",
                f"              {self.cropped_seams:.3f} cropped (overlap 0)",
                f"look at       {self.picture}",
            ]
        )
