"""Files of a mosaic: folders, globs and VRT mosaics expanded to plain lists of tiles."""

from __future__ import annotations

import glob
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from landweave.core.errors import InputError
from landweave.sources.files import is_url, shown
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.raster_facts import find_maps

RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".j2k")
"""Endings of the files that are taken from a folder. A glob or a list may name files of
`landweave.sources.files.DRIVERS`."""

_BESIDE = (".aux.xml", ".lease")
"""Endings of files beside rasters and stores that a glob never means; nor does it mean a Zarr store."""

_STRETCH = 0.01
"""A VRT may round its tiles to its own pixels; beyond this share it zooms, and is no plain mosaic."""


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
    """

    paths: tuple[str, ...]
    bands: Mapping[str, int]
    maps: tuple[str, ...] = ()


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
        return shown(path)
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
    for name, files in spec.bands.items():
        paths, number, left_out = _resolve(files, spec.root)
        if spec.order != "listed":
            paths = tuple(sorted(paths, key=lambda path: (Path(path).name, path)))
        grouped.setdefault(paths, {})[name] = number
        maps[paths] = left_out
    return tuple(
        Product(paths=paths, bands=bands, maps=maps[paths])
        for paths, bands in grouped.items()
        if {*bands} & {*spec.given}
    )


def _resolve(band: BandFiles, root: str) -> tuple[tuple[str, ...], int, tuple[str, ...]]:
    """The files of a band, its number in them, and the maps that are left out."""
    paths: list[str] = []
    maps: list[str] = []
    numbers: set[int] = set()
    for pattern in band.files:
        found: list[str] = []
        for path in _matches(pattern, root):
            if Path(path).suffix.lower() == ".vrt" and not is_url(path):
                tiles, number = expand_vrt(path, band.band)
            else:
                tiles, number = (path,), band.band
            found.extend(tiles)
            numbers.add(number)
        # A file that is named itself is meant; a map beside the tiles is not one of them.
        own = find_maps(found) if found != [_local(pattern, root)] else []
        maps.extend(own)
        paths.extend(path for path in found if path not in own)
    if len(numbers) > 1:
        raise InputError(f"{band.files} take bands {sorted(numbers)} of their files: list those files apart.")
    if not paths:
        raise InputError(f"{band.files} name maps of this program alone, {maps[0]} the first: 0 tiles to read.")
    return tuple(dict.fromkeys(paths)), numbers.pop(), tuple(dict.fromkeys(maps))


def _local(pattern: str, root: str) -> str:
    return pattern if is_url(pattern) else str(Path(root) / Path(pattern).expanduser())


def _matches(pattern: str, root: str) -> list[str]:
    if is_url(pattern):
        return [pattern]
    base = Path(_local(pattern, root))
    if base.is_dir():
        found = sorted(str(path) for path in base.iterdir() if path.suffix.lower() in RASTER_SUFFIXES)
        if not found:
            raise InputError(f"Folder {base} holds no {', '.join(RASTER_SUFFIXES)} file: 0 tiles to read.")
        return found
    if base.exists():
        return [str(base)]
    every = sorted(glob.glob(str(base), recursive=True))  # noqa: PTH207  pathlib cannot glob an absolute pattern
    found = [path for path in every if not path.endswith(_BESIDE) and not (Path(path) / "zarr.json").exists()]
    if not found:
        raise InputError(f"{pattern!r} names 0 files (looked for {base}): check the path or the pattern.")
    return found


def expand_vrt(path: str, band: int) -> tuple[tuple[str, ...], int]:
    """Files that make up one band of a VRT, topmost first, and the number of that band in them.

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
    try:
        tree = ET.parse(path).getroot()
    except (ET.ParseError, OSError) as error:
        raise InputError(f"{path} is not a readable VRT: {error}.") from error
    bands = tree.findall("VRTRasterBand")
    if tree.get("subClass") or not 1 <= band <= len(bands):
        raise InputError(
            f"{path}: band {band} asked, {len(bands)} present, of kind {tree.get('subClass') or 'mosaic'}. Only plain "
            "mosaics are taken: list the files themselves, or translate it to GeoTIFF."
        )
    element = bands[band - 1]
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
    return tuple(_location(source, path) for source in reversed(sources)), numbers.pop()


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
