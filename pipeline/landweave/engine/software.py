"""What a process runs with, and which of it has to be the same in all processes of one map.

Must be the driver's, always
    ``landweave`` (version and a digest of its sources: other code, another map), major and minor version of Python
    (jobs are pickled).
Must be the driver's, unless ``engine.mixed_workers``
    Libraries that pixels pass through, GDAL and PROJ among them, to the last digit: a patch release may decode,
    resample or sum otherwise, and images of a container have all of them alike.
Must be the same on all workers, unless ``engine.mixed_workers``
    CPU (kind, vendor, instructions that torch uses) and GPU: kernels are chosen by them, and sums differ in their last
    bits. The driver computes no pixel: they are those of the first worker that replies.
May differ
    Host, operating system, Dask (it warns itself), cores and memory: no pixel passes through them. Torch's threads and
    the device are settings of the run, applied by every worker.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata

from landweave.core.source_digest import source_digest

LIBRARIES = (
    "numpy",
    "pyproj",
    "rasterio",
    "scipy",
    "segmentation-models-pytorch",
    "timm",
    "torch",
    "torchvision",
    "zarr",
)
"""Distributions that pixels, or the networks that see them, pass through."""

HARDWARE = ("CPU", "GPU")
"""Facts that must be the same on all workers, whatever the driver's are."""

MAY_MIX = (*LIBRARIES, *HARDWARE, "GDAL", "PROJ")
"""Facts that may differ where workers may be mixed."""


@lru_cache(maxsize=1)
def software_facts() -> Mapping[str, str]:
    """Versions of this process, by name."""
    return {
        "landweave": f"{sys.modules['landweave'].__version__}, sources {source_digest()}",
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        **{name: _version(name) for name in LIBRARIES},
    }


def differences(ours: Mapping[str, str], theirs: Mapping[str, str], *, mixed: bool = False) -> tuple[str, ...]:
    """What keeps a worker from a run, a line each.

    Parameters
    ----------
    ours
        Facts of the driver, those of `HARDWARE` from the workers that it has already.
    theirs
        Facts of the worker.
    mixed
        Whether `MAY_MIX` may differ.
    """
    names = [name for name in ours if not mixed or name not in MAY_MIX]
    return tuple(
        f"{name} is {theirs.get(name, 'not known')} there, {ours[name]} {_whose(name)}"
        for name in names
        if theirs.get(name) != ours[name]
    )


def _whose(name: str) -> str:
    return "on the other workers" if name in HARDWARE else "here"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
