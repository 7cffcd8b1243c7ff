"""Hectares of each transition in the zones of a vector file, counted block by block."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import geopandas
import numpy as np
from numpy.typing import NDArray

from landweave.comparing.gate import Codes, Gate, Integers, pair_codes
from landweave.core.grid import HECTARE_M2
from landweave.core.lattice import BlockIndex
from landweave.core.legend import NODATA, Legend
from landweave.core.protocols import Engine
from landweave.core.zonal import Zones
from landweave.formats.hectares import column_names
from landweave.formats.zones import ZoneTable
from landweave.jobs.gather import CountingJob, gather
from landweave.jobs.progress import Progress

_AT_ONCE = NODATA - 1
"""Transitions that are counted in one pass: code 0 is all that did not change, 255 what is not compared."""

COMPARED = -1
"""In place of a transition: all pixels that both maps have."""

ZoneChanges = tuple[Integers, dict[int, Integers]]
"""Zones that a block meets, and their pixels by ``256 * before + after``, and by `COMPARED`."""


def _count(gate: Gate, zones: Zones, index: BlockIndex) -> tuple[int, ZoneChanges]:
    """Pixels of a block that both maps have, and its kept changes by zone."""
    grid = gate.pair.before.grid.with_extent(gate.pair.blocks[index])
    both = np.logical_and.reduce([classes != NODATA for classes in gate.pair.classes(grid.extent)])
    pixels: dict[int, Integers] = {}
    for codes, pairs in _coded(pair_codes(*gate.changes(index)), both):
        counts = zones.count(grid, codes, None)
        pixels |= {pair: counts.pixels[:, code] for code, pair in enumerate(pairs, 1)}
        pixels[COMPARED] = counts.pixels[:, :NODATA].sum(axis=1)
    return int(both.sum()), (zones.near(grid), pixels)


def _coded(pairs: NDArray[np.uint16], both: NDArray[np.bool_]) -> Iterator[tuple[Codes, list[int]]]:
    """Codes of pixels, 1 and more for some transitions, and these; at least one pass."""
    found = [pair for pair in np.unique(pairs).tolist() if pair >> 8 != NODATA]
    for first in range(0, max(1, len(found)), _AT_ONCE):
        part = found[first : first + _AT_ONCE]
        table = np.zeros(2**16, np.uint8)
        table[part] = np.arange(1, len(part) + 1)
        yield np.where(both, table[pairs], np.uint8(NODATA)), part


def count_by_zone(
    key: str, gate: Gate, legend: Legend, table: ZoneTable, engine: Engine, progress: Progress
) -> geopandas.GeoDataFrame:
    """Hectares of each transition that is kept, one row a zone in the order of the file.

    Parameters
    ----------
    key
        Name of the job on its workers.
    gate
        Which changes are kept; as `landweave.comparing.run.run_change` gives it.
    legend
        Of both maps.
    table
        The zones, in the CRS of the maps.
    engine, progress
        Run the blocks.

    Returns
    -------
    geopandas.GeoDataFrame
        ``zone`` (its number in the file, from 1), the columns of the file, ``area_ha`` of the zone, ``compared_ha``
        that both maps have of it, ``changed_ha``, then ``<before>_to_<after>_ha`` for each transition, the largest
        first, and the zone as ``geometry``. A column of the file that has one of these names gets ``_of_zone`` behind
        it.
    """
    job = CountingJob(f"{key}-zones", partial(_count, gate, table.zones))
    grid, number = gate.pair.before.grid, table.zones.polygons.size
    pixels: dict[int, Integers] = {COMPARED: np.zeros(number, np.int64)}
    for _, (zones, found) in gather(job, engine, table.zones.blocks(grid, gate.pair.blocks), progress=progress):
        for pair, counts in found.items():
            pixels.setdefault(pair, np.zeros(number, np.int64))[zones] += counts
    compared = pixels.pop(COMPARED)
    pixels = {pair: counts for pair, counts in pixels.items() if counts.any()}
    largest = sorted(pixels, key=lambda pair: (-int(pixels[pair].sum()), pair))
    names = column_names(legend)
    found_ha = {
        "area_ha": table.zones.sizes(grid),
        "compared_ha": compared,
        "changed_ha": np.sum([*pixels.values(), np.zeros(number, np.int64)], axis=0),
        **{f"{names[pair >> 8]}_to_{names[pair & 255]}_ha": pixels[pair] for pair in largest},
    }
    pixel_ha = float(grid.pixel_m2 / HECTARE_M2)
    return table.frame({name: counts * pixel_ha for name, counts in found_ha.items()}, grid.crs)
