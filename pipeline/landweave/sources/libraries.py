"""Versions of the libraries that read rasters: they decide what a file's pixels are."""

from __future__ import annotations

import rasterio


def library_facts() -> dict[str, str]:
    """Versions of GDAL, with which files are decoded, and of its PROJ."""
    return {"GDAL": rasterio.__gdal_version__, "PROJ": rasterio.__proj_version__}
