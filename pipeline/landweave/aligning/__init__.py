"""Fills a cube: which dates are new, which tiles are left, in which order they become visible; resumable throughout."""

from __future__ import annotations

from landweave.aligning.groups import AlignGroup
from landweave.aligning.run import AlignResult, align_cube, plan_align
from landweave.aligning.status import CubeStatus, cube_status

__all__ = ["AlignGroup", "AlignResult", "CubeStatus", "align_cube", "cube_status", "plan_align"]
