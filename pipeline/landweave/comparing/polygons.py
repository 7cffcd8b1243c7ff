"""Kept changes as polygons: traced block by block, and what the edge of a block cuts joined again by the driver.

A polygon is what changed from one class to one other without a break, by pixels that share an edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

from landweave.comparing.gate import Gate, Integers, pair_codes
from landweave.core.lattice import BlockIndex
from landweave.core.legend import CONFIDENCE_SCALE, NODATA, Legend
from landweave.core.protocols import Engine
from landweave.formats.polygons import outline_regions
from landweave.jobs.gather import CountingJob, gather
from landweave.jobs.progress import Progress

MOST_POLYGONS = 1_000_000
"""That are written: they are in the driver's memory, some kilobytes each, and no GIS opens more."""


@dataclass(frozen=True, kw_only=True)
class Patches:
    """Changes of one kind each.

    Attributes
    ----------
    pairs
        ``256 * before + after`` of each.
    pixels
        Of each.
    confidence
        Sum of the stored confidence over them.
    polygons
        Of each.
    cut
        Whether it reaches the edge of its block: it may go on beyond.
    """

    pairs: Integers
    pixels: Integers
    confidence: Integers
    polygons: NDArray[Any]
    cut: NDArray[np.bool_]

    def chosen(self, which: NDArray[Any]) -> Patches:
        """Some of them."""
        return Patches(**{name: values[which] for name, values in vars(self).items()})

    @staticmethod
    def joined(parts: Sequence[Patches]) -> Patches:
        """Those of several parts, one after the other."""
        return Patches(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def _trace(gate: Gate, index: BlockIndex) -> tuple[int, Patches | None]:
    """Pixels of a block whose change is kept, and their patches; None without any."""
    before, after = gate.changes(index)
    changed = before != NODATA
    return int(changed.sum()), _patches(gate, index, pair_codes(before, after)) if changed.any() else None


def _patches(gate: Gate, index: BlockIndex, codes: NDArray[np.uint16]) -> Patches:
    grid = gate.pair.before.grid.with_extent(gate.pair.blocks[index])
    regions, polygons = outline_regions(grid, codes)
    left, bottom, right, top = shapely.bounds(polygons).T
    (x0, x1), (y1, y0) = (each[[0, -1]] for each in (grid.corners_x, grid.corners_y))
    kept = regions.codes >> 8 != NODATA
    return Patches(
        pairs=regions.codes.astype(np.int64),
        pixels=regions.sizes,
        confidence=regions.sums(gate.pair.confidence(grid.extent)),
        polygons=polygons,
        cut=(left <= x0) | (right >= x1) | (bottom <= y0) | (top >= y1),
    ).chosen(kept)


def trace_changes(key: str, gate: Gate, legend: Legend, engine: Engine, progress: Progress) -> geopandas.GeoDataFrame:
    """Kept changes as polygons, north to south.

    Parameters
    ----------
    key
        Name of the job on its workers.
    gate
        Which changes are kept; as `landweave.comparing.run.run_change` gives it.
    legend
        Of both maps.
    engine, progress
        Run the blocks.

    Returns
    -------
    geopandas.GeoDataFrame
        ``before`` and ``after`` (codes), ``before_name`` and ``after_name``, ``area_m2``, ``confidence`` (mean of the
        lower one of both maps, 0 to 1; missing where neither has one) and ``geometry``.
    """
    job = CountingJob(f"{key}-polygons", partial(_trace, gate))
    parts = [found for _, found in gather(job, engine, gate.pair.blocks, progress=progress) if found is not None]
    grid, names = gate.pair.before.grid, legend.names
    if parts:
        every = Patches.joined(parts)
        found = Patches.joined([every.chosen(~every.cut), *_join(every.chosen(every.cut))])
        left, _, _, top = shapely.bounds(found.polygons).T
        found = found.chosen(np.lexsort((found.pairs, left, -top)))
    else:
        nothing = np.zeros(0, np.int64)
        found = Patches(
            pairs=nothing, pixels=nothing, confidence=nothing, polygons=np.zeros(0, object), cut=nothing > 0
        )
    before, after = found.pairs >> 8, found.pairs & 255
    mean = found.confidence / np.maximum(found.pixels, 1) / CONFIDENCE_SCALE
    columns = {
        "before": before.astype(np.uint8),
        "before_name": np.array([names[code] for code in before.tolist()], object),
        "after": after.astype(np.uint8),
        "after_name": np.array([names[code] for code in after.tolist()], object),
        "area_m2": found.pixels * float(grid.pixel_m2),
        "confidence": (mean if gate.pair.has_confidence else np.full(mean.shape, np.nan)).astype(np.float32),
    }
    return geopandas.GeoDataFrame(columns, geometry=found.polygons, crs=grid.crs)


def _join(cut: Patches) -> list[Patches]:
    """Patches that meet across edges of blocks as one, by pair of classes."""
    joined = []
    for pair in np.unique(cut.pairs):
        pieces = cut.chosen(cut.pairs == pair)
        # Parts that meet corner to corner stay apart, as they do inside a block.
        wholes = shapely.get_parts(shapely.union_all(pieces.polygons))
        points = shapely.point_on_surface(pieces.polygons)
        piece, whole = shapely.STRtree(wholes).query(points, predicate="within")
        sums = {
            name: np.bincount(whole, weights=getattr(pieces, name)[piece], minlength=wholes.size).astype(np.int64)
            for name in ("pixels", "confidence")
        }
        same = np.full(wholes.size, pair)
        joined.append(Patches(pairs=same, polygons=wholes, cut=np.zeros(wholes.size, np.bool_), **sums))
    return joined
