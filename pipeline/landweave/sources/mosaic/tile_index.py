"""The index of a delivery: which tile covers which ground, from headers alone.

A tile is one footprint with the files of every product on it: BD ORTHO's RVB and IRC files of the same square are one
tile, and a pixel takes all its bands from the same tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from landweave.core.grid import canonical_crs
from landweave.sources.mosaic.listing import Product, list_products, scene_id
from landweave.sources.mosaic.spec import MosaicSpec
from landweave.sources.raster_facts import RasterFacts, read_raster_facts, refuse

PASTE_PX = 1 / 20
"""Pixels that lie this close, at every corner of a tile, count as the same pixels."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One footprint of the delivery.

    Attributes
    ----------
    id
        Path of its first file under the delivery's root.
    files
        Its file in each product.
    crs
        ``EPSG:n`` or WKT.
    transform
        Affine from (column, row) to CRS coordinates of pixel corners, as it is used.
    """

    id: str
    files: tuple[RasterFacts, ...]
    crs: str
    transform: Affine

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.files[0].shape


@dataclass(frozen=True, kw_only=True)
class TileIndex:
    """Every tile of a delivery, in reading order: the first one that has a measurement gives the pixel.

    Attributes
    ----------
    spec
        What was asked.
    products
        Groups of files and the bands taken from them.
    tiles
        In reading order.
    unpaired
        Tiles that lack the file of at least one product (their ``files`` hold what there is).
    notes
        What a person should know: settings that were used, files that were left out.
    """

    spec: MosaicSpec
    products: tuple[Product, ...]
    tiles: tuple[Tile, ...]
    unpaired: tuple[Tile, ...]
    notes: tuple[str, ...]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Common dtype of all files."""
        return np.dtype(self.tiles[0].files[0].dtype)

    @cached_property
    def transforms(self) -> Floats:
        """float64 ``(tile, 6)``: `Tile.transform` of every tile."""
        return _transforms(self.tiles)

    @cached_property
    def shapes(self) -> Ints:
        """int64 ``(tile, 2)``: height and width of every tile."""
        return np.array([tile.shape for tile in self.tiles], np.int64).reshape(-1, 2)

    @cached_property
    def crs(self) -> NDArray[np.str_]:
        """CRS of every tile, str ``(tile,)``."""
        return np.array([tile.crs for tile in self.tiles])


def index_tiles(spec: MosaicSpec, *, workers: int = 8) -> TileIndex:
    """The index of a delivery. Headers are read in parallel, no pixel is.

    Raises
    ------
    InputError
        With all problems of a kind at once: patterns without files, damaged files, files that are not rasters, bands
        that a file has not, mixed dtypes, tiles without a CRS, products that share no footprint.
    """
    products = list_products(spec)
    headers = read_raster_facts((path for product in products for path in product.paths), workers=workers)
    _check_contents(products, headers)
    fallback = canonical_crs(spec.crs) if spec.crs else ""
    _check_crs(headers, fallback)
    columns = [[_tile(headers[path], spec, fallback) for path in product.paths] for product in products]
    tiles, unpaired = _pair(columns)
    if not tiles:
        refuse_unpaired(unpaired, unpaired, spec.modality)
    taken = [header for header in headers.values() if header.crs_problem]
    notes = (
        [
            f"{len(taken)} of {len(headers)} files take {fallback} from the setting: {taken[0].path} "
            f"{taken[0].crs_problem}"
        ]
        if taken
        else []
    )
    if unpaired:
        notes.append(f"{len(unpaired)} footprints lack a product and are not read, {unpaired[0].id} the first")
    return TileIndex(spec=spec, products=products, tiles=tiles, unpaired=unpaired, notes=tuple(notes))


def refuse_unpaired(needed: Sequence[Tile], unpaired: Sequence[Tile], modality: str) -> None:
    """Raise one `InputError` that lists the ``needed`` ones of all ``unpaired`` tiles; nothing for an empty list."""
    refuse(
        [f"{tile.id} ({_corner_text(tile)}){_nearest_text(tile, unpaired)}" for tile in needed],
        what=f"files of {modality} share no footprint with a file of its other bands (every corner within {PASTE_PX} "
        "px). Fetch what is missing, or leave them out",
    )


def corners(transforms: Floats, shapes: Ints) -> Floats:
    """CRS coordinates of the tiles' corners, float64 ``(tile, corner, xy)``: NW, NE, SW, SE in file order."""
    height, width = shapes[:, :1].astype(np.float64), shapes[:, 1:].astype(np.float64)
    zero = np.zeros_like(width)
    columns, rows = np.hstack([zero, width, zero, width]), np.hstack([zero, zero, height, height])
    a, b, c, d, e, f = (transforms[:, i, None] for i in range(6))
    return np.stack([a * columns + b * rows + c, d * columns + e * rows + f], axis=-1)


def place_on(lattice: Affine, transforms: Floats, shapes: Ints) -> tuple[Ints, Floats, Floats]:
    """Where tiles lie on a lattice of pixels.

    Parameters
    ----------
    lattice
        Affine from the lattice's (column, row) to CRS coordinates of pixel corners.
    transforms, shapes
        Of the tiles, ``(tile, 6)`` and ``(tile, 2)``.

    Returns
    -------
    origins
        int64 ``(tile, 2)``: row and column of each tile's first pixel.
    offsets
        float64 ``(tile, 2)``: how far, in pixels down and across, its north-west corner lies from there.
    deviations
        float64 ``(tile,)``: the largest distance on an axis, in pixels, of any of its four corners from where it
        would be if the tile were pasted there.
    """
    inverse = ~lattice
    points = corners(transforms, shapes)
    columns = inverse.a * points[..., 0] + inverse.b * points[..., 1] + inverse.c
    rows = inverse.d * points[..., 0] + inverse.e * points[..., 1] + inverse.f
    places = np.stack([rows, columns], axis=-1)
    origins = np.rint(places[:, 0])
    sizes = shapes[:, None, :] * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    strays = places - (origins[:, None, :] + sizes)
    return origins.astype(np.int64), strays[:, 0], np.abs(strays).max(axis=(1, 2))


def _transforms(tiles: tuple[Tile, ...] | list[Tile]) -> Floats:
    return np.array([tuple(tile.transform)[:6] for tile in tiles], np.float64).reshape(-1, 6)


def _tile(header: RasterFacts, spec: MosaicSpec, fallback: str) -> Tile:
    transform = header.transform
    if spec.nodes == "centre":
        transform = transform @ Affine.translation(-0.5, -0.5)
    tile_id = scene_id(header.path, spec.root)
    return Tile(id=tile_id, files=(header,), crs=header.crs or fallback, transform=transform)


def _check_contents(products: tuple[Product, ...], headers: dict[str, RasterFacts]) -> None:
    problems = []
    first = headers[products[0].paths[0]]
    for product in products:
        for path in product.paths:
            header = headers[path]
            missing = [
                f"{name!r} is band {number}"
                for name, number in zip(product.names, product.numbers, strict=True)
                if number > header.count
            ]
            if missing:
                problems.append(f"{path}: {', '.join(missing)}, the file has {header.count}.")
            if header.dtype != first.dtype or header.dtype == "mixed":
                problems.append(f"{path} holds {header.dtype}, {first.path} {first.dtype}: give them as two inputs.")
    refuse(problems, what="problems with the bands of the files")


def _check_crs(headers: dict[str, RasterFacts], fallback: str) -> None:
    unknown = [] if fallback else [header for header in headers.values() if not header.crs]
    refuse(
        [f"{header.path} {header.crs_problem}." for header in unknown],
        what=f"of {len(headers)} files have no usable CRS: set `crs` (such as EPSG:2154) if you know it",
    )


def _pair(columns: list[list[Tile]]) -> tuple[tuple[Tile, ...], tuple[Tile, ...]]:
    """Tiles with a file of every product, in the first product's order, and all others."""
    partners = [_match(columns[0], column) for column in columns[1:]]
    paired, unpaired = [], []
    used: list[set[int]] = [set() for _ in partners]
    for place, tile in enumerate(columns[0]):
        others = [matches[place] for matches in partners]
        if all(other >= 0 for other in others):
            files = tuple(column[other].files[0] for column, other in zip(columns[1:], others, strict=True))
            paired.append(replace(tile, files=tile.files + files))
            for taken, other in zip(used, others, strict=True):
                taken.add(other)
        else:
            unpaired.append(tile)
    for column, taken in zip(columns[1:], used, strict=True):
        unpaired += [tile for place, tile in enumerate(column) if place not in taken]
    return tuple(paired), tuple(unpaired)


def _match(tiles: list[Tile], others: list[Tile]) -> list[int]:
    """For each tile, which of ``others`` has its footprint; -1 for none. Each is given once, in order."""
    here = corners(_transforms(tiles), np.array([tile.shape for tile in tiles], np.int64))
    there = corners(_transforms(others), np.array([tile.shape for tile in others], np.int64))
    reach = PASTE_PX * np.array([_pixel_size(tile) for tile in tiles])
    tree = shapely.STRtree(shapely.points(there[:, 0]))
    pairs = tree.query(shapely.points(here[:, 0]), predicate="dwithin", distance=2 * reach)
    matches, taken = [-1] * len(tiles), set()
    for place, other in sorted(zip(*pairs.tolist(), strict=True)):
        same = tiles[place].shape == others[other].shape and tiles[place].crs == others[other].crs
        close = bool((np.abs(here[place] - there[other]) <= reach[place]).all())
        if same and close and matches[place] < 0 and other not in taken:
            matches[place] = other
            taken.add(other)
    return matches


def _pixel_size(tile: Tile) -> float:
    return float(np.hypot(tile.transform.a, tile.transform.d))


def _corner_text(tile: Tile) -> str:
    return f"{tile.shape[1]} x {tile.shape[0]} px from {tile.transform.c:.3f}, {tile.transform.f:.3f}"


def _nearest_text(tile: Tile, unpaired: Sequence[Tile]) -> str:
    others = [other for other in unpaired if other is not tile and other.crs == tile.crs]
    if not others:
        return ""
    origins = np.array([(other.transform.c, other.transform.f) for other in others])
    away = np.hypot(*(origins - (tile.transform.c, tile.transform.f)).T) / _pixel_size(tile)
    return f", the nearest such file {away.min():.2f} px away: {others[int(away.argmin())].id}"
