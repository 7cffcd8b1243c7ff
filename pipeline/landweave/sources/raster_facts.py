"""What a raster file says of itself, read from its header: the same record for tiles, URLs and satellite assets."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning

from landweave.core.errors import InputError, ReadError
from landweave.core.grid import canonical_crs
from landweave.core.lattice import Extent
from landweave.sources.files import RasterFile, file_version, query_file

_OPENED_AT_ONCE = 8
_FAR = 1e9
"""Coordinate that no CRS of the Earth has, in metres, feet or degrees."""

LISTED = 20
"""Problems named in one error; the others are counted."""

_NO_DATUM = re.compile(r"unknown|unnamed|unretrievable", re.IGNORECASE)
_CODE_AS_NAME = re.compile(r"EPSG\W*(\d+)\s*$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class GeoRef:
    """The georeference of an image.

    Attributes
    ----------
    crs
        ``EPSG:n`` or WKT.
    transform
        Affine from (column, row) to CRS coordinates of pixel corners.
    shape
        ``(height, width)``.
    """

    crs: str
    transform: Affine
    shape: tuple[int, int]

    @property
    def extent(self) -> Extent:
        """All pixels of the image."""
        return Extent.of((0, self.shape[0]), (0, self.shape[1]))

    def __str__(self) -> str:
        return f"{self.shape} pixels from {tuple(self.transform)[:6]} in {self.crs[:40]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RasterFacts:
    """The header of one raster file.

    Attributes
    ----------
    path
        Path or URL.
    driver
        GDAL's name of the format.
    size, version
        Bytes, and modification time in nanoseconds (0 and ``""`` for URLs).
    crs
        ``EPSG:n`` or WKT; empty where it is missing or not usable.
    crs_problem
        Why the CRS is not usable.
    transform
        Affine from (column, row) to CRS coordinates of pixel corners; the identity where there is none.
    shape
        ``(height, width)``.
    dtypes, nodata, scales, offsets
        By band: dtype, nodata tag (None without one), and the tags of scale and offset (1 and 0 without).
    words
        By band, its description and its unit.
    colours
        Colour interpretation by band, such as ``red``, ``palette`` or ``alpha``.
    masked
        Whether the file has a mask of its own (internal or beside it).
    control_points
        Number of ground control points; an image that has them is in radar or sensor geometry.
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
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    colours: tuple[str, ...]
    masked: bool
    control_points: int
    block: tuple[int, int]
    words: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)

    @property
    def dtype(self) -> str:
        """Common dtype of all bands; ``mixed`` where they differ."""
        return self.dtypes[0] if len(set(self.dtypes)) == 1 else "mixed"

    @property
    def alpha(self) -> int:
        """Number of the band flagged as alpha; 0 for none."""
        return self.colours.index("alpha") + 1 if "alpha" in self.colours else 0

    @property
    def georeferenced(self) -> bool:
        """Whether the transform places the pixels in a CRS: apart from each other, and on the Earth."""
        height, width = self.shape
        corners = np.array([self.transform @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))])
        apart = self.transform.determinant != 0 and (np.ptp(corners, axis=0) > 0).all()
        return not self.transform.is_identity and bool(apart and (np.abs(corners) < _FAR).all())

    @property
    def extent(self) -> Extent:
        """All pixels of the file."""
        return Extent.of((0, self.shape[0]), (0, self.shape[1]))

    @property
    def file(self) -> RasterFile:
        """The file, which has to be the one that was indexed."""
        return RasterFile(href=self.path, version=(self.size, self.version))


def describe_dataset(dataset: rasterio.DatasetReader, path: str) -> RasterFacts:
    """Facts of an open dataset. No pixel is read.

    Parameters
    ----------
    dataset
        The open file.
    path
        Its path or unsigned URL, as it is named in messages.
    """
    size, version = file_version(path)
    crs, problem = _usable_crs(dataset.crs.to_wkt() if dataset.crs else "")
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
        dtypes=tuple(dataset.dtypes),
        nodata=tuple(dataset.nodatavals),
        scales=tuple(dataset.scales),
        offsets=tuple(dataset.offsets),
        colours=tuple(ColorInterp(role).name for role in dataset.colorinterp),
        masked=MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags,
        control_points=len(dataset.gcps[0]),
        block=dataset.block_shapes[0],
        words=tuple(" ".join(filter(None, both)) for both in zip(dataset.descriptions, dataset.units, strict=True)),
    )


def read_raster_facts(paths: Iterable[str]) -> dict[str, RasterFacts]:
    """Facts of each file by path, read in parallel.

    Raises
    ------
    InputError
        With every file that is damaged, is not a raster, or is not georeferenced.
    """
    unique = list(dict.fromkeys(paths))
    with warnings.catch_warnings(), ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # an error of ours follows
        found = list(pool.map(_facts_or_problem, unique))
    refuse([text for text in found if isinstance(text, str)], what=f"of {len(unique)} files cannot be used")
    return {facts.path: facts for facts in found if isinstance(facts, RasterFacts)}


def facts_at_first_open(file: RasterFile) -> RasterFacts:
    """Facts of one file, kept by the process while the file stays the same.

    Raises
    ------
    ReadError
        When the file cannot be opened.
    """
    return _cached_facts(file, file_version(file.href))


def refuse(problems: list[str], *, what: str) -> None:
    """Raise one `InputError` that lists ``problems``, if there are any.

    Parameters
    ----------
    problems
        One line each.
    what
        What they are, after their number: ``of 12 files cannot be used``.
    """
    if problems:
        more = [f"- and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        lines = [f"- {text}" for text in problems[:LISTED]] + more
        raise InputError(f"{len(problems)} {what}:\n" + "\n".join(lines))


@lru_cache(maxsize=4096)
def _cached_facts(file: RasterFile, version: Any) -> RasterFacts:
    return query_file(file, lambda dataset: describe_dataset(dataset, file.href))


def _facts_or_problem(path: str) -> RasterFacts | str:
    try:
        facts = facts_at_first_open(RasterFile(href=path))
    except ReadError as error:
        return f"{str(error).rstrip('.')}. Otherwise leave it out of the pattern."
    if facts.georeferenced:
        return facts
    return f"{path} is not georeferenced (its transform is {tuple(facts.transform)[:6]}). Give it a world file."


@lru_cache(maxsize=256)
def _usable_crs(wkt: str) -> tuple[str, str]:
    """``(crs, problem)``, one of them empty. A CRS without a code that its numbers match needs a known datum."""
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
