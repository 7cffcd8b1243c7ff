"""What a raster file says of itself, read from its header: the same record for tiles, URLs and satellite assets."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, partial
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
from affine import Affine
from cachetools import LRUCache
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from landweave.core.checksums import Checksum
from landweave.core.crs import heights_of, usable_crs
from landweave.core.errors import InputError, ReadError
from landweave.core.lattice import Extent
from landweave.core.protocols import MAP_MARK
from landweave.core.words import bullets, first_lines
from landweave.sources.files import (
    DRIVERS,
    Dataset,
    Options,
    RasterFile,
    Version,
    file_version,
    is_url,
    query_file,
    remote_version,
    shown,
)
from landweave.sources.geo_keys import geo_keys
from landweave.sources.integrity import may_state_nodata, unwritten_blocks
from landweave.sources.known_facts import KNOWN, stamps_of
from landweave.sources.resampling.kernels import PASTE_PX
from landweave.sources.sidecars import states_place

_OPENED_AT_ONCE = 8
_TRIED = 32
"""Files on disks that are opened either way, one by one and by threads, to see which is faster."""

_OF_MAPS = (".tif", ".tiff", ".png")
_FAR = 1e9
"""Coordinate that no CRS of the Earth has, in metres, feet or degrees."""

NEGATIVE = "negative"
"""Colour of a band whose numbers fall with brightness: GDAL gives them as they are stored."""

LISTED = 20
"""Problems named in one error; the others are counted."""


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
        Bytes, and modification time in nanoseconds or ETag (0 and ``""`` where they are not known).
    crs
        ``EPSG:n`` or WKT; empty where it is missing or not usable.
    crs_problem
        Why the CRS is not usable.
    heights
        Name of the heights that its CRS states, such as ``NGF-IGN69 height``; empty without.
    transform
        Affine from (column, row) to CRS coordinates of pixel corners; the identity where there is none.
    shape
        ``(height, width)``.
    dtypes, nodata, scales, offsets
        By band: dtype, nodata tag (None without one), and the tags of scale and offset (1 and 0 without).
    impossible_nodata
        Nodata tags, as text, that no number of their band can equal: -9999 or NaN in bytes.
    colours, descriptions, units
        By band: colour interpretation, such as ``red``, ``palette`` or ``alpha`` (``gray`` for a palette of the greys
        in order, ``negative`` for a TIFF whose 0 is white), and the name and the unit that the file gives it.
    masks
        By band, the number of the band whose mask (internal or beside the file) counts: itself, 1 where the file has
        one mask for all bands, 0 for none.
    control_points
        Number of ground control points; an image that has them is in radar or sensor geometry.
    rpc
        Whether it has rational polynomial coefficients; an image that has them is in sensor geometry.
    block
        ``(height, width)`` of what is decoded at once.
    date_tag
        Its TIFFTAG_DATETIME, such as ``2021:06:01 10:30:00``; empty without.
    unwritten, blocks
        Blocks of a local TIFF that were never written, and all that it has; 0 where not counted.
    lossy
        Whether it says that its compression changes numbers, as JPEG does.
    mark
        Of the map that the file was made of (`landweave.core.protocols.MAP_MARK`); empty for all other files.
    storage_options
        Of its object store; never shown.
    checksum
        Of its bytes, where a list beside it or a setting states one.
    """

    path: str
    driver: str
    size: int
    version: str
    crs: str
    crs_problem: str
    heights: str = ""
    transform: Affine
    shape: tuple[int, int]
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    impossible_nodata: tuple[str, ...] = ()
    colours: tuple[str, ...]
    descriptions: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    masks: tuple[int, ...]
    control_points: int
    rpc: bool = False
    block: tuple[int, int]
    unwritten: int = 0
    blocks: int = 0
    date_tag: str = ""
    lossy: bool = False
    mark: str = ""
    storage_options: Options = field(default=(), repr=False, compare=False)
    checksum: Checksum | None = None

    @property
    def name(self) -> str:
        """The path as it may be shown."""
        return shown(self.path)

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)

    @property
    def dtype(self) -> str:
        """Common dtype of all bands; ``mixed`` where they differ."""
        return self.dtypes[0] if len(set(self.dtypes)) == 1 else "mixed"

    @property
    def words(self) -> tuple[str, ...]:
        """By band, its description and its unit in one text."""
        return tuple(" ".join(filter(None, both)) for both in zip(self.descriptions, self.units, strict=True))

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
        version = (self.size, self.version)
        return RasterFile(href=self.path, version=version, storage_options=self.storage_options, checksum=self.checksum)

    def scale_of(self, number: int) -> tuple[float, float]:
        """The tags of scale and offset of band ``number``, from 1."""
        return self.scales[number - 1], self.offsets[number - 1]


def describe_dataset(dataset: Dataset, path: str, version: Version) -> RasterFacts:
    """Facts of an open dataset. No pixel is read.

    Parameters
    ----------
    dataset
        The open file.
    path
        Its path or unsigned URL.
    version
        Of the file.
    """
    crs, problem, heights, units = _stated(dataset, path)
    is_counted = dataset.driver == "GTiff" and not is_url(path)
    unwritten, blocks = unwritten_blocks(path) if is_counted else (0, 0)
    return RasterFacts(
        path=path,
        driver=dataset.driver,
        size=version[0],
        version=version[1],
        crs=crs,
        crs_problem=problem,
        heights=heights,
        transform=dataset.transform,
        shape=dataset.shape,
        dtypes=tuple(dataset.dtypes),
        nodata=tuple(dataset.nodatavals),
        scales=tuple(dataset.scales),
        offsets=tuple(dataset.offsets),
        impossible_nodata=_impossible_nodata(dataset, path),
        colours=tuple(_colour(dataset, number, role) for number, role in enumerate(dataset.colorinterp, 1)),
        descriptions=tuple(text or "" for text in dataset.descriptions),
        units=units,
        masks=tuple(_mask(flags, number) for number, flags in enumerate(dataset.mask_flag_enums, 1)),
        control_points=len(dataset.gcps[0]),
        rpc=bool(dataset.tags(ns="RPC")),
        unwritten=unwritten,
        blocks=blocks,
        block=dataset.block_shapes[0],
        date_tag=dataset.get_tag_item("TIFFTAG_DATETIME") or "",
        lossy=_is_lossy(dataset),
        mark=dataset.get_tag_item(MAP_MARK) or "",
    )


def _mask(flags: list[MaskFlags], number: int) -> int:
    """Number of the band whose mask counts for band ``number``; without a flag it has one of its own."""
    if not flags:
        return number
    return int(MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags)


def _is_lossy(dataset: rasterio.DatasetReader) -> bool:
    """Whether a file's compression is JPEG's. JPEG 2000 is not asked: on a damaged one GDAL's search does not end."""
    if dataset.driver.startswith("JP2"):
        return False
    return (dataset.get_tag_item("COMPRESSION", "IMAGE_STRUCTURE") or "").upper().endswith("JPEG")


def _colour(dataset: rasterio.DatasetReader, number: int, role: ColorInterp) -> str:
    if role is not ColorInterp.palette:
        is_negative = number == 1 and dataset.get_tag_item("MINISWHITE", "IMAGE_STRUCTURE")  # others are extra samples
        return NEGATIVE if is_negative else str(role.name)
    entries = dataset.colormap(number).items()
    return "gray" if all(colour[:3] == (index,) * 3 for index, colour in entries) else "palette"


def _impossible_nodata(dataset: rasterio.DatasetReader, path: str) -> tuple[str, ...]:
    """Tags that no integer can equal, most of which rasterio leaves out; GDAL writes them into a VRT."""
    tags = zip(dataset.nodatavals, dataset.dtypes, strict=True)
    hidden = ["int" in dtype and (tag is None or not tag.is_integer()) for tag, dtype in tags]
    if is_url(path) or not any(hidden) or not may_state_nodata(path):
        return ()
    with MemoryFile(ext=".vrt") as memory:
        copy(dataset, memory.name, driver="VRT")
        try:
            bands = ElementTree.fromstring(memory.read()).findall("VRTRasterBand")
        except ElementTree.ParseError:  # a name of a band that is no text
            return ()
    found = (band.findtext("NoDataValue") for band, is_hidden in zip(bands, hidden, strict=True) if is_hidden)
    return tuple(dict.fromkeys(text for text in found if text))


def read_raster_facts(paths: Iterable[str], storage_options: Options = ()) -> dict[str, RasterFacts]:
    """Facts of each file by path.

    Parameters
    ----------
    paths
        Of the files; each is read once.
    storage_options
        Of those in an object store.

    Raises
    ------
    InputError
        With every file that is damaged, is not a raster, or is not georeferenced.
    """
    unique = list(dict.fromkeys(paths))
    found = _read_all(unique, storage_options)
    problems = [_problem(each) for each in found.values()]
    refuse([text for text in problems if text], what=f"of {len(unique)} files cannot be used")
    return {path: facts for path, facts in found.items() if isinstance(facts, RasterFacts)}


def find_maps(paths: Iterable[str]) -> list[str]:
    """The local files among ``paths`` that are COGs or pictures of maps; their facts are kept by the process."""
    candidates = [path for path in paths if not is_url(path) and path.lower().endswith(_OF_MAPS)]
    found = _read_all(candidates)  # what cannot be read is named when the tiles are indexed
    return [path for path, facts in found.items() if isinstance(facts, RasterFacts) and facts.mark]


def facts_at_first_open(file: RasterFile) -> RasterFacts:
    """Facts of one file, kept by the process while the file stays the same; one on the web has the version stated.

    Raises
    ------
    ReadError
        When the file cannot be opened.
    """
    return _cached_facts(file, file.version or file_version(file.href))


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
        raise InputError(f"{len(problems)} {what}:{bullets(first_lines(problems, LISTED))}")


@lru_cache(maxsize=2**17)
def _cached_facts(file: RasterFile, version: Version, stamp: str = "") -> RasterFacts:
    """Facts of a version of a file, and of what lies beside it (a stamp of `stamps_of`)."""
    return _facts(file, version)


def _facts(file: RasterFile, version: Version) -> RasterFacts:
    facts = query_file(file, lambda dataset: describe_dataset(dataset, file.href, version))
    _refuse_second_place(facts)
    return replace(facts, storage_options=file.storage_options)


def _refuse_second_place(facts: RasterFacts) -> None:
    """Refuse a file whose own tags place it elsewhere than the metadata beside it, which GDAL believes first.

    Raises
    ------
    ReadError
        With both places.
    """
    if is_url(facts.path) or not states_place(facts.path):
        return
    with rasterio.Env(GDAL_GEOREF_SOURCES="INTERNAL"), Dataset(facts.path, driver=DRIVERS) as dataset:
        crs, *_ = _crs_of(dataset)
        own = replace(facts, crs=crs, transform=dataset.transform)
    if own.georeferenced and facts.georeferenced:
        height, width = facts.shape
        corners = ((0, 0), (width, 0), (0, height), (width, height))
        there = np.array([~own.transform @ (facts.transform @ corner) for corner in corners])
        far = float(np.abs(there - corners).max())
        if far > PASTE_PX or (crs and facts.crs and crs != facts.crs):
            beside, tagged = (f"{a.transform.c:.10g}, {a.transform.f:.10g} in {a.crs[:40]}" for a in (facts, own))
            raise ReadError(
                f"{facts.name} lies in two places: from {beside} by the .aux.xml beside it, from {tagged} by its own "
                "tags. Remove the file beside it, or write what is right into the tags (gdal_edit.py)"
            )


def _read_all(paths: list[str], storage_options: Options = ()) -> dict[str, RasterFacts | str]:
    """Facts of each file, those that are known without opening it; or why there are none."""
    stamps = stamps_of(paths, " ".join(each.name for each in fields(RasterFacts)))
    found = {path: _decoded(written) for path, written in KNOWN.get(stamps).items()}
    unknown = [path for path in paths if path not in found]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # an error of ours follows
        read = _opened(unknown, partial(_facts_or_problem, stamps=stamps, storage_options=storage_options))
    new = {path: facts for path, facts in read.items() if path in stamps and isinstance(facts, RasterFacts)}
    if new:
        KNOWN.put({path: (stamps[path], _encoded(facts)) for path, facts in new.items()})
    return {path: found.get(path) or read[path] for path in paths}


def _opened(paths: list[str], read: Callable[[str], RasterFacts | str]) -> dict[str, RasterFacts | str]:
    """What ``read`` returns of each path, by one thread or by several: whichever is found to take less time.

    Several gain where a disk, a server or a decoder takes the time, and lose where Python does: each waits for the
    others. What a thread has open is closed with it: other files may lie beside a file when it is opened again.
    """
    if any(map(is_url, paths)):
        return dict(zip(paths, _by_threads(_OPENED_AT_ONCE, read, paths), strict=True))
    found, seconds = _by_threads(1, read, paths[:1]), dict[int, float]()  # what the first one loads is not counted
    for threads in (1, _OPENED_AT_ONCE):
        started = time.perf_counter()
        found += _by_threads(threads, read, paths[len(found) : len(found) + _TRIED])
        seconds[threads] = time.perf_counter() - started
    found += _by_threads(min(seconds, key=seconds.__getitem__), read, paths[len(found) :])
    return dict(zip(paths, found, strict=True))


def _by_threads(threads: int, read: Callable[[str], RasterFacts | str], paths: list[str]) -> list[RasterFacts | str]:
    with ThreadPoolExecutor(threads) as pool:
        if threads == 1:  # nobody is woken for each path
            return pool.submit(lambda: [*map(read, paths)]).result()
        return [*pool.map(read, paths)]


def _encoded(facts: RasterFacts) -> dict[str, Any]:
    # Only files on disk are known from an earlier time: options of an object store hold secrets, and are not written,
    # nor is a checksum, which others state.
    names = (each.name for each in fields(facts) if each.name not in ("storage_options", "checksum"))
    return {**{name: getattr(facts, name) for name in names}, "transform": tuple(facts.transform)[:6]}


def _decoded(written: Mapping[str, Any]) -> RasterFacts:
    plain: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in written.items()
    }
    plain["transform"] = Affine(*plain["transform"])
    return RasterFacts(**plain)


def _facts_or_problem(path: str, stamps: Mapping[str, str], storage_options: Options) -> RasterFacts | str:
    try:
        if not is_url(path):
            file, version = RasterFile(href=path), file_version(path)
            # What lies beside a file may have been mended since it was refused.
            return _cached_facts(file, version, stamps[path]) if path in stamps else _facts(file, version)
        version = remote_version(path, None, storage_options, again=True)
        return facts_at_first_open(RasterFile(href=path, version=version, storage_options=storage_options))
    except ReadError as error:
        advice = "" if is_url(path) else ". Otherwise leave it out of the pattern"
        return f"{str(error).rstrip('.')}{advice}."


def _problem(facts: RasterFacts | str) -> str:
    """Why a file cannot be used; empty where it can."""
    if isinstance(facts, str):
        return facts
    if facts.georeferenced:
        return ""
    if facts.control_points:
        return f"{facts.name} has {facts.control_points} ground control points alone: warp it first (gdalwarp)."
    if facts.rpc:
        return f"{facts.name} has rational polynomials alone: make an orthoimage of it first (gdalwarp -rpc)."
    where = f"(its transform is {tuple(facts.transform)[:6]}). Give it a world file."
    return f"{facts.name} is not georeferenced {where}"


_Stated = tuple[str, str, str, tuple[str, ...]]
"""CRS, what is wrong with it, its heights, and by band its unit, which a CRS with heights may give."""

_BY_KEYS: LRUCache[tuple[bytes, int], _Stated] = LRUCache(1024)
_BY_KEYS_LOCK = threading.Lock()


def _stated(dataset: Dataset, path: str) -> _Stated:
    """CRS and units of a dataset, read once of all files that state the same."""
    keys = None if is_url(path) or dataset.driver != "GTiff" else geo_keys(path)
    if keys is None:
        return _read_stated(dataset)
    with _BY_KEYS_LOCK:
        found = _BY_KEYS.get((keys, dataset.count))
    if found is None:
        found = _read_stated(dataset)
        if found[0]:  # where its keys give none, GDAL looks elsewhere
            with _BY_KEYS_LOCK:
                _BY_KEYS[keys, dataset.count] = found
    return found


def _read_stated(dataset: Dataset) -> _Stated:
    return (*_crs_of(dataset), tuple(text or "" for text in dataset.units))


def _crs_of(dataset: Dataset) -> tuple[str, str, str]:
    """``(crs, problem, heights)``, one of the first two empty."""
    try:
        stated = dataset.stated_crs()
        # The older form of the text leaves out what it has no words for.
        text = stated.to_wkt(version="WKT2_2019") if stated else ""
        return (*usable_crs(text), heights_of(text)) if text else ("", "has no CRS", "")
    except CRSError as error:
        return "", f"has a CRS that GDAL cannot read ({error})", ""
