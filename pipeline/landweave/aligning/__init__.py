"""Fills a cube: which dates are new, which tiles are left, in which order they become visible; resumable throughout."""

from __future__ import annotations

from landweave.aligning.parts import AlignPart
from landweave.aligning.progress import CubeStatus, cube_status
from landweave.aligning.runs import Aligned, align_cube, plan_align

__all__ = ["AlignPart", "Aligned", "CubeStatus", "align_cube", "cube_status", "plan_align"]
