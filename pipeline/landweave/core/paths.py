"""Paths as people write them."""

from __future__ import annotations

import os
import re
from pathlib import Path

_LIKE_A_URL = re.compile(r"(file|s3|gs|az):/?(?!/)", re.IGNORECASE)


def from_home(path: str | Path) -> Path:
    """A path whose beginning ``~`` stands for a home; one that stands for none is a name as any other."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  pathlib's own raises where there is no such home


def meant_scheme(path: str) -> str | None:
    """The scheme of what is meant for a URL of ours and would be a folder of such a name; None for a path or a URL.

    >>> meant_scheme("s3:/maps/a.zarr"), meant_scheme("AZ:maps"), meant_scheme("s3://maps/a"), meant_scheme("a")
    ('s3', 'az', None, None)
    """
    found = _LIKE_A_URL.match(path)
    return found[1].lower() if found else None
