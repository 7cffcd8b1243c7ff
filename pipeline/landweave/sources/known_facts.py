"""Raster facts of local files, kept in the user's cache between calls: the headers of 12,000 tiles take 15 s of CPU.

Facts are found again while the file, and every file beside it that GDAL may read with it (world files, ``.aux.xml``,
masks), has the same size and time.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable

import rasterio

from landweave.core.user_cache import SETTLED_NS, UserCache
from landweave.sources.files import is_url

KNOWN = UserCache("raster_facts")


def stamps_of(paths: Iterable[str], form: str) -> dict[str, str]:
    """What must be the same for the facts of each local file to be; files that changed just now are left out.

    Parameters
    ----------
    paths
        Of any files.
    form
        How facts are written: those that another version of this package wrote are read anew, as are another GDAL's.
    """
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        if not is_url(path):
            folders[os.path.dirname(path)].append(path)  # noqa: PTH120  thousands of them
    latest = time.time_ns() - SETTLED_NS
    found = {}
    for folder, members in folders.items():
        beside = _files_by_stem(folder)
        for path in members:
            group = beside.get(_stem(os.path.basename(path)), ())  # noqa: PTH119
            if group and max(changed for *_, changed in group) < latest:
                found[path] = f"{form} {rasterio.__gdal_version__} {sorted(group)}"
    return found


def _stem(name: str) -> str:
    return name.split(".", 1)[0]


def _files_by_stem(folder: str) -> dict[str, list[tuple[str, int, int]]]:
    """Name, size and time of every file of a folder, by what stands before the first full stop of its name."""
    groups: defaultdict[str, list[tuple[str, int, int]]] = defaultdict(list)
    try:
        with os.scandir(folder or ".") as entries:
            for entry in entries:
                if entry.is_file():
                    facts = entry.stat()
                    groups[_stem(entry.name)].append((entry.name, facts.st_size, facts.st_mtime_ns))
    except OSError:  # said when the file is opened
        return {}
    return groups
