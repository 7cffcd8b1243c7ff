"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def from_home(path: str | Path) -> Path:
    """A path whose beginning ``~`` stands for a home; one that stands for none is a name as any other."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  pathlib's own raises where there is no such home
