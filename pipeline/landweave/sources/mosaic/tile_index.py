"""The index of a mosaic: which tile covers which ground, from headers alone.

A tile is one rectangle of ground with the files of every product on it: BD ORTHO's RVB and IRC files of the same square
are one tile, and a pixel takes all its bands from the same tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from landweave.core.crs import canonical_crs
from landweave.core.errors import InputError
from landweave.core.grid import Bounds
from landweave.core.paths import from_home
from landweave.sources.checksums import FoundChecksums, find_checksums
from landweave.sources.files import is_url
from landweave.sources.mosaic.band_checks import band_notes, band_problems
from landweave.sources.mosaic.listing import Product, list_products, tile_id
from landweave.sources.mosaic.spec import MosaicSpec
from landweave.sources.mosaic.vintages import Coverage, TileDate, dates_of, sources_of
from landweave.sources.raster_facts import RasterFacts, read_raster_facts, refuse
from landweave.sources.resampling.kernels import PASTE_PX

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One tile of the mosaic.

    Attributes
    ----------
    id
        Path of its first file under the mosaic's root.
    files
        Facts of its file in each product.
    crs
        ``EPSG:n`` or WKT.
    transform
        Affine from (column, row) to CRS coordinates of pixel corners, as it is used.
    dates
        Of each file, beside those of the mosaic's other files.
    """

    id: str
    files: tuple[RasterFacts, ...]
    crs: str
    transform: Affine
    dates: tuple[TileDate, ...] = (TileDate(),)

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.files[0].shape

    @property
    def pixel(self) -> float:
        """Width of a pixel in CRS units."""
        return float(np.hypot(self.transform.a, self.transform.d))

    @property
    def date(self) -> TileDate:
        """The date that its first file carries."""
        return self.dates[0]


@dataclass(frozen=True, kw_only=True)
class TileIndex:
    """Every tile of a mosaic, in reading order: the first one that has a measurement gives the pixel.

    Attributes
    ----------
    spec
        The settings.
    products
        Groups of files and the bands taken from them.
    tiles
        In reading order.
    unpaired
        Tiles that lack the file of at least one product (their ``files`` hold what there is).
    notes
        What a person should know: settings that were used, files that were left out, tags that have no effect.
    """

    spec: MosaicSpec
    products: tuple[Product, ...]
    tiles: tuple[Tile, ...]
    unpaired: tuple[Tile, ...]
    notes: tuple[str, ...]

    @cached_property
    def dtype(self) -> np.dtype[np.generic]:
        """Common dtype of all files; float32 where a scale or offset applies."""
        stated = self.spec.stated_scale
        found = [(1.0, 0.0)] if stated else [pair for tile in self.tiles for pair in self._scale_tags(tile)]
        is_scaled = {*found, stated or (1.0, 0.0)} != {(1.0, 0.0)}
        return np.dtype(np.float32 if is_scaled else self.tiles[0].files[0].dtype)

    def _scale_tags(self, tile: Tile) -> Iterator[tuple[float, float]]:
        for product, facts in zip(self.products, tile.files, strict=True):
            for name, number in product.bands.items():
                if name in self.spec.given:
                    yield facts.scales[number - 1], facts.offsets[number - 1]

    @cached_property
    def corners(self) -> Floats:
        """float64 ``(tile, corner, xy)``: `corners_of` all tiles."""
        return corners_of(self.tiles)

    @cached_property
    def shapes(self) -> Ints:
        """int64 ``(tile, 2)``: height and width of every tile."""
        return np.array([tile.shape for tile in self.tiles], np.int64)

    @cached_property
    def crs(self) -> NDArray[np.str_]:
        """CRS of every tile, str ``(tile,)``."""
        return np.array([tile.crs for tile in self.tiles])


def index_tiles(spec: MosaicSpec) -> TileIndex:
    """The index of a mosaic. Headers are read, no pixel is.

    Raises
    ------
    InputError
        With all problems of a kind at once: patterns without files, damaged files, files that are not rasters, bands
        that a file does not have, mixed dtypes, tiles without a CRS, products that share no ground.
    """
    products = list_products(spec)
    facts = read_raster_facts((path for product in products for path in product.paths), spec.options)
    checksums = _checksums(spec, facts)
    facts = {path: replace(each, checksum=checksums.by_path.get(path)) for path, each in facts.items()}
    problems = list(band_problems(spec, products, facts))
    refuse(problems, what=f"problem{'s' * (len(problems) > 1)} with the bands of the files")
    fallback = canonical_crs(spec.crs) if spec.crs else ""
    refuse(
        [f"{each.name} {each.crs_problem}." for each in facts.values() if not each.crs and not fallback],
        what=f"of {len(facts)} files have no usable CRS: set `crs` (such as EPSG:2154) if you know it",
    )
    _refuse_other_crs(fallback, facts)
    columns = _dated([[_tile(facts[path], spec, fallback) for path in product.paths] for product in products])
    notes = [*_notes(products, facts, fallback), *checksums.notes]
    if spec.order == "newest":
        columns = [_newest_first(column) for column in columns]
        notes.append(f"tiles are read newest first: {sources_of([tile.date for tile in columns[0]])}")
    tiles, unpaired = _pair(columns)
    if not tiles:
        refuse_unpaired(unpaired, unpaired, spec.modality)
    notes += [*_mixed_dates(tiles), *_coverage(tiles).notes(spec.order)]
    if unpaired:
        notes.append(f"{len(unpaired)} footprints lack a product and are not read, {unpaired[0].id} the first")
    notes += band_notes(spec, products, facts)
    return TileIndex(spec=spec, products=products, tiles=tiles, unpaired=unpaired, notes=tuple(notes))


def _checksums(spec: MosaicSpec, facts: Mapping[str, RasterFacts]) -> FoundChecksums:
    wanted = spec.checksums
    if isinstance(wanted, str) and not is_url(wanted):
        wanted = str(Path(spec.root) / from_home(wanted))
    return find_checksums({path: each.size for path, each in facts.items()}, wanted, spec.options)


def _dated(columns: list[list[Tile]]) -> list[list[Tile]]:
    tiles = [tile for column in columns for tile in column]
    dates = iter(dates_of([tile.id for tile in tiles], [tile.files[0].date_tag for tile in tiles]))
    return [[replace(tile, dates=(next(dates),)) for tile in column] for column in columns]


def _newest_first(tiles: list[Tile]) -> list[Tile]:
    """The tiles by date, those of one date by name."""
    refuse(
        [
            f"{tile.id} has neither a year in its name or folder nor a TIFFTAG_DATETIME."
            for tile in tiles
            if not tile.date.value
        ],
        what=f"of {len(tiles)} tiles carry no date for order: newest: list the files in order, and set order: listed",
    )
    return sorted(tiles, key=lambda tile: tile.date.value.ljust(8, "9"), reverse=True)


def _coverage(tiles: Sequence[Tile]) -> Coverage:
    return Coverage(
        ids=[tile.id for tile in tiles],
        dates=[tile.date for tile in tiles],
        corners=corners_of(tiles),
        crs=np.array([tile.crs for tile in tiles]),
        pixels=np.array([abs(tile.transform.determinant) ** 0.5 for tile in tiles]),
    )


def _mixed_dates(tiles: Sequence[Tile]) -> Iterator[str]:
    """Tiles whose files are of different dates by their names."""
    for tile in tiles:
        named = [date for date in tile.dates if date.origin == "names"]
        if any(one.differs(other) for one, other in combinations(named, 2)):
            values = ", ".join(date.value for date in named)
            yield f"bands of different dates are one tile: {tile.id} takes them from files of {values}"
            return


def refuse_unpaired(needed: Sequence[Tile], unpaired: Sequence[Tile], modality: str) -> None:
    """Raise one `InputError` that lists the needed tiles that lack a product, if there are any.

    Parameters
    ----------
    needed
        Tiles to list.
    unpaired
        All tiles that lack a product: the nearest one is named as the likely partner.
    modality
        Name of the input.
    """
    refuse(
        [f"{tile.id} ({_corner_text(tile)}){_nearest_text(tile, unpaired)}" for tile in needed],
        what=f"files of {modality} share no footprint with a file of its other bands (every corner within {PASTE_PX} "
        "px). Fetch what is missing, or leave them out",
    )


def corners_of(tiles: Sequence[Tile]) -> Floats:
    """CRS coordinates of the tiles' corners, float64 ``(tile, corner, xy)``: NW, NE, SW, SE in file order."""
    height, width = np.array([tile.shape for tile in tiles], np.float64).reshape(-1, 2, 1).swapaxes(0, 1)
    columns, rows = width * [0, 1, 0, 1], height * [0, 0, 1, 1]
    transforms = np.array([tuple(tile.transform)[:6] for tile in tiles], np.float64).reshape(-1, 6)
    a, b, c, d, e, f = transforms.T[..., None]
    return np.stack([a * columns + b * rows + c, d * columns + e * rows + f], axis=-1)


def corner_bounds(corners: Floats) -> Bounds:
    """Bounds ``(x0, y0, x1, y1)`` of all ``corners`` ``(tile, corner, xy)`` in their CRS."""
    (x0, y0), (x1, y1) = corners.min(axis=(0, 1)).tolist(), corners.max(axis=(0, 1)).tolist()
    return x0, y0, x1, y1


def lattice_origins(lattice: Affine, corners: Floats, shapes: Ints) -> tuple[Ints, Floats]:
    """The pixel of a lattice at which each tile starts, and how far the tile deviates from the lattice.

    Parameters
    ----------
    lattice
        Affine from the lattice's (column, row) to CRS coordinates of pixel corners.
    corners, shapes
        Of the tiles, ``(tile, corner, xy)`` and ``(tile, 2)``.

    Returns
    -------
    origins
        int64 ``(tile, 2)``: row and column of each tile's first pixel.
    deviations
        float64 ``(tile,)``: the largest distance on an axis, in pixels, of any of its four corners from where it
        would be if the tile were pasted there.
    """
    inverse = ~lattice
    columns = inverse.a * corners[..., 0] + inverse.b * corners[..., 1] + inverse.c
    rows = inverse.d * corners[..., 0] + inverse.e * corners[..., 1] + inverse.f
    coordinates = np.stack([rows, columns], axis=-1)
    origins = np.rint(coordinates[:, 0])
    sizes = shapes[:, None, :] * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    strays = coordinates - (origins[:, None, :] + sizes)
    return origins.astype(np.int64), np.abs(strays).max(axis=(1, 2))


def _tile(facts: RasterFacts, spec: MosaicSpec, fallback: str) -> Tile:
    transform = facts.transform
    if spec.nodes == "centre":
        transform = transform @ Affine.translation(-0.5, -0.5)
    return Tile(id=tile_id(facts.path, spec.root), files=(facts,), crs=facts.crs or fallback, transform=transform)


def _refuse_other_crs(fallback: str, facts: Mapping[str, RasterFacts]) -> None:
    """Refuse a setting that no file takes, for all have a CRS of their own, and another one."""
    stated = sorted({each.crs for each in facts.values()})
    if fallback and "" not in stated and stated != [fallback]:
        own = " and ".join(crs[:40] for crs in stated)
        raise InputError(
            f"All {len(facts)} files state a CRS, {own}, and `crs` is {fallback[:40]}: it is for files whose own CRS "
            "is missing or has no known datum. Leave it out; where what the files state is wrong, correct them "
            "(gdal_edit.py -a_srs)."
        )


def _notes(products: Sequence[Product], facts: Mapping[str, RasterFacts], fallback: str) -> Iterator[str]:
    without = [each for each in facts.values() if each.crs_problem]
    if without:
        yield (
            f"{len(without)} of {len(facts)} files take {fallback} from the setting: {without[0].name} "
            f"{without[0].crs_problem}"
        )
        others = [each for each in facts.values() if each.crs not in ("", fallback)]
        if others:
            yield f"{len(others)} files keep the CRS that they state, {others[0].name} the first ({others[0].crs[:40]})"
    unknown = [each for each in facts.values() if is_url(each.path) and not each.version]
    if unknown:
        yield f"{len(unknown)} files state no version: a change of them is not seen, {unknown[0].name} the first"
    if maps := list(dict.fromkeys(path for each in products for path in each.maps)):
        yield f"{len(maps)} files are maps of this program and are not read, {maps[0]} the first"


def _pair(columns: list[list[Tile]]) -> tuple[tuple[Tile, ...], tuple[Tile, ...]]:
    """Tiles with a file of every product, in the first product's order, and all others."""
    first, *others = columns
    partners = [_match(first, column) for column in others]
    whole = [all(matches[place] >= 0 for matches in partners) for place in range(len(first))]
    paired, unpaired = [], [tile for tile, is_whole in zip(first, whole, strict=True) if not is_whole]
    for place in np.flatnonzero(whole).tolist():
        tiles = [first[place], *(column[matches[place]] for column, matches in zip(others, partners, strict=True))]
        files, dates = tuple(tile.files[0] for tile in tiles), tuple(tile.date for tile in tiles)
        paired.append(replace(first[place], files=files, dates=dates))
    for column, matches in zip(others, partners, strict=True):
        used = {other for other, is_whole in zip(matches, whole, strict=True) if is_whole}
        unpaired += [tile for place, tile in enumerate(column) if place not in used]
    return tuple(paired), tuple(unpaired)


def _match(tiles: list[Tile], others: list[Tile]) -> list[int]:
    """For each tile, which of ``others`` covers the same ground; -1 for none. Each is given once, in order."""
    here, there = map(corners_of, (tiles, others))
    tolerance = PASTE_PX * np.array([tile.pixel for tile in tiles])
    tree = shapely.STRtree(shapely.points(there[:, 0]))
    pairs = tree.query(shapely.points(here[:, 0]), predicate="dwithin", distance=2 * tolerance)
    matches, taken = [-1] * len(tiles), set()
    # Of several dates on the same ground, those of one date belong together.
    by_date = sorted((_differ(tiles[a], others[b]), a, b) for a, b in zip(*pairs.tolist(), strict=True))
    for _, place, other in by_date:
        same = tiles[place].shape == others[other].shape and tiles[place].crs == others[other].crs
        close = bool((np.abs(here[place] - there[other]) <= tolerance[place]).all())
        if same and close and matches[place] < 0 and other not in taken:
            matches[place] = other
            taken.add(other)
    return matches


def _differ(tile: Tile, other: Tile) -> tuple[bool, bool]:
    """Whether names say that two tiles are of different dates; and whether one says more of it than the other."""
    dates = tile.date, other.date
    if any(date.origin != "names" for date in dates):
        return False, True
    return dates[0].differs(dates[1]), dates[0].value != dates[1].value


def _corner_text(tile: Tile) -> str:
    return f"{tile.shape[1]} x {tile.shape[0]} px from {tile.transform.c:.3f}, {tile.transform.f:.3f}"


def _nearest_text(tile: Tile, unpaired: Sequence[Tile]) -> str:
    others = [other for other in unpaired if other is not tile and other.crs == tile.crs]
    if not others:
        return ""
    origins = np.array([(other.transform.c, other.transform.f) for other in others])
    away = np.hypot(*(origins - (tile.transform.c, tile.transform.f)).T) / tile.pixel
    return f", the nearest such file {away.min():.2f} px away: {others[int(away.argmin())].id}"
