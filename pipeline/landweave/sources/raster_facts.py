"""What a raster file says about itself: read once, in parallel, without a pixel."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyproj
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from landweave.core.errors import InputError
from landweave.core.grid import canonical_crs
from landweave.sources.dataset_pool import GDAL_OPTIONS
from landweave.sources.integrity import find_damage
from landweave.sources.mosaic.listing import is_url

LISTED = 20
"""Problems named in one error; the others are counted."""

_NO_DATUM = re.compile(r"unknown|unnamed|unretrievable", re.IGNORECASE)
_CODE_AS_NAME = re.compile(r"EPSG\W*(\d+)\s*$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class RasterFacts:
    """One file as it describes itself.

    Attributes
    ----------
    path, driver, size, version
        Where it is, GDAL's name of its format, bytes, and modification time in nanoseconds (0 and ``""`` for URLs).
    crs
        ``EPSG:n`` or WKT; empty where it cannot be read.
    crs_problem
        Why it cannot.
    transform
        Affine from (column, row) to CRS coordinates of pixel corners.
    shape
        ``(height, width)``.
    count, dtype, nodata
        Bands, their common dtype (``mixed`` where they differ), and the nodata tag of each.
    alpha
        Number of the band flagged as alpha; 0 for none.
    masked
        Whether the file carries a mask of its own (internal or beside it).
    block
        ``(height, width)`` of what is decoded at once.
    """

    path: str
    driver: str
    size: int
    version: str
    crs: str
    crs_problem: str
    transform: Affine
    shape: tuple[int, int]
    count: int
    dtype: str
    nodata: tuple[float | None, ...]
    alpha: int
    masked: bool
    block: tuple[int, int]


def read_raster_facts(paths: Iterable[str], *, workers: int = 8) -> dict[str, RasterFacts]:
    """Facts of each file, by path.

    Raises
    ------
    InputError
        Naming every file that is damaged, is not a raster, or is not georeferenced.
    """
    unique = list(dict.fromkeys(paths))
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # said again below, as an error
        found = list(pool.map(_inspect, unique))
    refuse([text for text in found if isinstance(text, str)], what=f"of {len(unique)} files cannot be used")
    return {header.path: header for header in found if isinstance(header, RasterFacts)}


def refuse(problems: list[str], *, what: str) -> None:
    """Raise one `InputError` that lists ``problems``; nothing when there are none."""
    if problems:
        more = [f"- and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        lines = [f"- {text}" for text in problems[:LISTED]] + more
        raise InputError(f"{len(problems)} {what}:\n" + "\n".join(lines))


def file_version(path: str) -> tuple[int, str]:
    """Bytes of a file and its modification time in nanoseconds; ``(0, "")`` for a URL."""
    if is_url(path):
        return 0, ""
    status = Path(path).stat()
    return status.st_size, str(status.st_mtime_ns)


def _inspect(path: str) -> RasterFacts | str:
    damage = "" if is_url(path) else find_damage(path)
    if damage:
        return f"{path} {damage}. Fetch it again, or leave it out."
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(path) as dataset:
            return _describe(path, dataset)
    except (RasterioError, OSError) as error:
        return f"{path} is not a raster that GDAL can open: {error}. Leave it out of the pattern."


def _describe(path: str, dataset: rasterio.DatasetReader) -> RasterFacts | str:
    if dataset.transform.is_identity or dataset.transform.determinant == 0:
        return f"{path} is not georeferenced (its transform is {tuple(dataset.transform)[:6]}). Give it a world file."
    size, version = file_version(path)
    crs, problem = _read_crs(dataset.crs.to_wkt() if dataset.crs else "")
    alpha = [
        number for number, role in zip(dataset.indexes, dataset.colorinterp, strict=True) if role is ColorInterp.alpha
    ]
    flags = dataset.mask_flag_enums[0]
    return RasterFacts(
        path=path,
        driver=dataset.driver,
        size=size,
        version=version,
        crs=crs,
        crs_problem=problem,
        transform=dataset.transform,
        shape=dataset.shape,
        count=dataset.count,
        dtype=dataset.dtypes[0] if len(set(dataset.dtypes)) == 1 else "mixed",
        nodata=dataset.nodatavals,
        alpha=alpha[0] if alpha else 0,
        masked=MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags,
        block=dataset.block_shapes[0],
    )


@lru_cache(maxsize=256)
def _read_crs(wkt: str) -> tuple[str, str]:
    """``(crs, problem)``, one of them empty. Without a code that its numbers match, it must rest on a known datum."""
    if not wkt:
        return "", "has no CRS"
    code = rasterio.CRS.from_wkt(wkt).to_epsg()
    if code:
        return f"EPSG:{code}", ""
    try:
        crs = pyproj.CRS.from_wkt(wkt)
    except pyproj.exceptions.CRSError as error:
        return "", f"has a CRS that PROJ cannot read ({error})"
    datum = crs.datum.name if crs.datum else "unknown"
    named = _CODE_AS_NAME.search(crs.name)
    if named or _NO_DATUM.search(datum) or not (crs.is_projected or crs.is_geographic):
        return "", f"has a CRS named {crs.name!r} that is not one: its datum is {datum!r}"
    return canonical_crs(wkt), ""
