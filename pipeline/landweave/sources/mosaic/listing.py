"""Files of a mosaic: folders, globs and VRT mosaics expanded to plain lists of tiles."""

from __future__ import annotations

import glob
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from landweave.core.errors import InputError
from landweave.core.paths import from_home
from landweave.core.secrets import without_secrets
from landweave.sources.files import NETWORK_SYSTEMS, Options, is_url
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.object_files import in_object_store, list_objects
from landweave.sources.raster_facts import find_maps

RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".j2k")
"""Endings of the files that are taken from a folder. A glob or a list may name files of
`landweave.sources.files.DRIVERS`."""

_BESIDE = (".aux.xml", ".lease", ".run.json")
"""Endings of files beside rasters and stores that a glob never means; nor does it mean a Zarr store."""

_FILE_SYSTEMS = (*NETWORK_SYSTEMS, "/vsizip", "/vsitar", "/vsigzip")
"""Of GDAL's, those whose files any worker can open too: not the input or memory of a process, nor what flows once."""

_LARGEST_VRT, _DEEPEST_VRT = 2**26, 16
"""Bytes of a VRT, of some 100,000 files, and how deep its elements lie in each other."""

_STRETCH = 0.01
"""A VRT may round its tiles to its own pixels; beyond this share it zooms, and is no plain mosaic."""


@dataclass(frozen=True, kw_only=True)
class VrtBand:
    """One band of a VRT, and what it says of the numbers in its files.

    Attributes
    ----------
    path
        Of the VRT.
    files
        Topmost first.
    number
        Of the band in these files, from 1.
    nodata
        Numbers that mean nodata.
    scale
        Scale and offset; None where none is stated.
    """

    path: str
    files: tuple[str, ...]
    number: int
    nodata: tuple[float, ...] = ()
    scale: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Product:
    """Files delivered together, and the bands taken from each of them.

    Attributes
    ----------
    paths
        In reading order, each once.
    bands
        Number of each band in the files, from 1, by its name.
    maps
        Files among those of a folder, glob or VRT that are maps of this program, and are left out.
    vrts
        Bands of VRTs that list some of the files.
    """

    paths: tuple[str, ...]
    bands: Mapping[str, int]
    maps: tuple[str, ...] = ()
    vrts: tuple[VrtBand, ...] = ()


def tile_id(path: str, root: str) -> str:
    """Path relative to ``root``, with forward slashes; ``path`` itself where it is not below it.

    Parameters
    ----------
    path
        Path or URL of a file.
    root
        Folder of the mosaic.
    """
    if is_url(path):
        return without_secrets(path)  # a renewed signature is the same tile, another query another tile
    absolute = Path(path).absolute()
    base = Path(root).absolute()
    return str(PurePosixPath(absolute.relative_to(base) if absolute.is_relative_to(base) else absolute))


def list_products(spec: MosaicSpec) -> tuple[Product, ...]:
    """The delivery's files, grouped by the bands that share them, in the order of ``spec``; each with a band given.

    Raises
    ------
    InputError
        When a pattern names no file, or a VRT is more than a mosaic of files.
    """
    grouped: dict[tuple[str, ...], dict[str, int]] = {}
    maps: dict[tuple[str, ...], tuple[str, ...]] = {}
    vrts: dict[tuple[str, ...], tuple[VrtBand, ...]] = {}
    for name, files in spec.bands.items():
        paths, number, left_out, listing = _resolve(files, spec.root, spec.options)
        if spec.order != "listed":
            paths = tuple(sorted(paths, key=lambda path: (Path(path).name, path)))
        grouped.setdefault(paths, {})[name] = number
        maps[paths] = left_out
        vrts[paths] = (*vrts.get(paths, ()), *listing)
    return tuple(
        Product(paths=paths, bands=bands, maps=maps[paths], vrts=vrts[paths])
        for paths, bands in grouped.items()
        if {*bands} & {*spec.given}
    )


def _resolve(
    band: BandFiles, root: str, options: Options
) -> tuple[tuple[str, ...], int, tuple[str, ...], list[VrtBand]]:
    """The files of a band, its number in them, the maps that are left out, and the VRTs that list files."""
    vrts: list[VrtBand] = []
    paths: list[str] = []
    maps: list[str] = []
    numbers: set[int] = set()
    for pattern in band.files:
        found: list[str] = []
        for path in _matches(pattern, root, options):
            if Path(path).suffix.lower() == ".vrt" and not is_url(path):
                vrts.append(expand_vrt(path, band.band))
                tiles, number = vrts[-1].files, vrts[-1].number
            else:
                tiles, number = (path,), band.band
            found.extend(_reopened(tiles))
            numbers.add(number)
        # A file that is named itself is meant; a map beside the tiles is not one of them.
        own = find_maps(found) if found != [_local(pattern, root)] else []
        maps.extend(own)
        paths.extend(path for path in found if path not in own)
    if len(numbers) > 1:
        raise InputError(f"{band.files} take bands {sorted(numbers)} of their files: list those files apart.")
    if not paths:
        raise InputError(
            f"{', '.join(band.files)}: maps of this program alone, {maps[0]} the first: 0 tiles to read. Where "
            "they are meant, name each file."
        )
    return tuple(dict.fromkeys(paths)), numbers.pop(), tuple(dict.fromkeys(maps)), vrts


def _reopened(paths: tuple[str, ...]) -> tuple[str, ...]:
    """The paths, where GDAL finds the same bytes behind each every time, on any worker."""
    for path in paths:
        if path.encode(errors="ignore").decode() != path:
            raise InputError(
                f"{path!a} has a name that is no text to GDAL: rename it; or, where accents alone are shown so, set "
                "LC_ALL=C.UTF-8."
            )
        if path.startswith("/vsi") and not {*re.findall("/vsi[a-z0-9_]+", path)} <= {*_FILE_SYSTEMS}:
            raise InputError(
                f"{path} is no file for several readers: give a path, an address, or a file of "
                f"{', '.join(_FILE_SYSTEMS)}."
            )
    return paths


def _local(pattern: str, root: str) -> str:
    return pattern if is_url(pattern) else str(Path(root) / from_home(pattern))


def _matches(pattern: str, root: str, options: Options) -> list[str]:
    if in_object_store(pattern):
        return list_objects(pattern, options, RASTER_SUFFIXES)
    if is_url(pattern):
        return [pattern]
    base = Path(_local(pattern, root))
    if base.is_dir():
        found = sorted(str(path) for path in base.iterdir() if _is_raster(path))
        if not found:
            raise InputError(f"Folder {base} holds no {', '.join(RASTER_SUFFIXES)} file: 0 tiles to read.")
        return found
    if base.exists():
        return [str(base)]
    there = next(each for each in base.parents if each.is_dir())  # a folder's name may have the signs of a pattern
    asked = Path(glob.escape(str(there))) / base.relative_to(there)
    every = sorted(glob.glob(str(asked), recursive=True))  # noqa: PTH207  pathlib cannot glob an absolute pattern
    found = [path for path in every if not path.endswith(_BESIDE) and not (Path(path) / "zarr.json").exists()]
    if not found:
        raise InputError(f"{pattern!r} names 0 files (looked for {base}): check the path or the pattern.")
    return found


def expand_vrt(path: str, band: int) -> VrtBand:
    """Files that make up one band of a VRT, the number of that band in them, and what else it says of it.

    Parameters
    ----------
    path
        Of the VRT.
    band
        Number of its band, from 1.

    Raises
    ------
    InputError
        When the VRT cannot be read, or does more than lay files side by side (warps, scales, zooms, computes).
    """
    tree = _parsed(path)
    bands = tree.findall("VRTRasterBand")
    if tree.get("subClass") or not 1 <= band <= len(bands):
        raise InputError(
            f"{path}: band {band} asked, {len(bands)} present, of kind {tree.get('subClass') or 'mosaic'}. Only plain "
            "mosaics are taken: list the files themselves, or translate it to GeoTIFF."
        )
    try:
        return _vrt_band(bands[band - 1], path, band)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: band {band} has a size, number, nodata value or scale that is none: {error}."
        ) from None


def _parsed(path: str) -> ET.Element:
    """Elements of a VRT, of bounded depth and number."""
    try:
        if (size := Path(path).stat().st_size) > _LARGEST_VRT:
            raise InputError(f"{path} has {size:,} bytes, a VRT at most {_LARGEST_VRT:,}: list its files themselves.")
        return ET.parse(path, ET.XMLParser(target=_Shallow())).getroot()
    except (ET.ParseError, OSError) as error:
        raise InputError(f"{path} is not a readable VRT: {error}.") from error


class _Shallow(ET.TreeBuilder):
    """Elements that do not lie deep in each other."""

    depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:
        """See `xml.etree.ElementTree.TreeBuilder`."""
        self.depth += 1
        if self.depth > _DEEPEST_VRT:
            raise ET.ParseError(f"elements lie more than {_DEEPEST_VRT} deep in each other")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        """See `xml.etree.ElementTree.TreeBuilder`."""
        self.depth -= 1
        return super().end(tag)


def _vrt_band(element: ET.Element, path: str, band: int) -> VrtBand:
    """See `expand_vrt`."""
    sources = [source for source in element if source.tag.endswith("Source")]
    if element.get("subClass") or not sources or not all(_is_plain(source) for source in sources):
        raise InputError(
            f"{path}: band {band} does more than lay files side by side (it scales, zooms, masks or computes). "
            "List the files themselves, or translate it to GeoTIFF."
        )
    numbers = {int(source.findtext("SourceBand", "1").split(",")[-1]) for source in sources}
    if len(numbers) > 1:
        raise InputError(f"{path}: band {band} takes bands {sorted(numbers)} of its files: list those files apart.")
    # GDAL paints a VRT's sources in their order, so the last one is on top: ours are first wins.
    files = tuple(_location(source, path) for source in reversed(sources))
    nodata = [element.findtext("NoDataValue"), *(source.findtext("NODATA") for source in sources)]
    scale, offset = element.findtext("Scale"), element.findtext("Offset")
    return VrtBand(
        path=path,
        files=files,
        number=numbers.pop(),
        nodata=tuple(dict.fromkeys(float(each) for each in nodata if each)),
        scale=(float(scale or 1), float(offset or 0)) if scale or offset else None,
    )


def _is_plain(source: ET.Element) -> bool:
    changing = ("ScaleRatio", "ScaleOffset", "LUT", "Exponent", "ColorTableComponent", "UseMaskBand")
    if source.tag not in ("SimpleSource", "ComplexSource") or any(source.find(tag) is not None for tag in changing):
        return False
    inner, outer = source.find("SrcRect"), source.find("DstRect")
    if inner is None or outer is None:
        return inner is outer
    ratios = [float(outer.get(side, "0")) / float(inner.get(side, "1")) for side in ("xSize", "ySize")]
    return all(abs(ratio - 1) < _STRETCH for ratio in ratios)


def _location(source: ET.Element, path: str) -> str:
    element = source.find("SourceFilename")
    text = (element.text or "") if element is not None else ""
    relative = element is not None and element.get("relativeToVRT") == "1"
    return str(Path(path).parent / text) if relative and not is_url(text) else text


def _is_raster(path: Path) -> bool:
    """Whether a file of a folder is meant; macOS puts a file ``._NAME`` beside each, which a pattern never means."""
    return path.suffix.lower() in RASTER_SUFFIXES and not path.name.startswith(".")
