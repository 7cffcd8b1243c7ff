"""Hectares by class of zones, counted dalle by dalle: `landweave.publishing.products.DalleProduct`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import shapely

from landweave.core.grid import Grid
from landweave.core.zonal import SUMS, ZoneCounts
from landweave.formats.hectares import csv_bytes, hectares_table, parquet_bytes
from landweave.formats.zones import ZoneTable
from landweave.publishing.products import Asset, DallePixels, SummaryContext

_HEADER = ",".join(["zone", "class", *SUMS])


@dataclass(frozen=True, kw_only=True)
class Hectares:
    """Pixels by zone and class of each dalle; their sums are hectares of all zones, in CSV and GeoParquet.

    Attributes
    ----------
    table
        The zones.
    grid
        Pixels of the map.
    """

    table: ZoneTable
    grid: Grid
    name: str = "hectares"
    bytes_per_pixel: float = 16.0

    @property
    def assets(self) -> Mapping[str, Asset]:
        """What is counted in a dalle."""
        title = "Pixels of the dalle by zone and class, and the sum of their stored confidence"
        return {".csv": Asset(title=title, media_type="text/csv", roles=("metadata",))}

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Digest of the zones and of what is known of them."""
        digest = sha256(self.table.columns.to_csv(index=False).encode())
        for outline in self.table.zones.polygons:
            digest.update(shapely.to_wkb(outline) or b"none")
        return {"zones": digest.hexdigest()}

    def files(self, pixels: DallePixels) -> Mapping[str, bytes]:
        """The counts of a dalle: a line for each zone and class that is there."""
        counts = self.table.zones.count(pixels.grid, pixels.landcover, pixels.confidence)
        zone, code = np.nonzero(counts.pixels)
        values = [counts.zones[zone], code, *(getattr(counts, name)[zone, code] for name in SUMS)]
        lines = "".join(f"{','.join(map(str, row))}\n" for row in np.stack(values, axis=1).tolist())
        return {".csv": f"{_HEADER}\n{lines}".encode()}

    def summary(self, context: SummaryContext) -> Mapping[str, bytes]:
        """Hectares of all zones."""
        total = ZoneCounts.none(np.arange(self.table.zones.polygons.size))
        for dalle in context.dalles:
            lines = context.read(dalle.name, ".csv").decode().splitlines()[1:]
            rows = np.array([line.split(",") for line in lines], np.int64).reshape(-1, 2 + len(SUMS))
            for number, name in enumerate(SUMS, 2):
                getattr(total, name)[rows[:, 0], rows[:, 1]] += rows[:, number]
        areas = hectares_table(self.table, total, self.grid, context.legend)
        return {"hectares.csv": csv_bytes(areas), "hectares.parquet": parquet_bytes(areas)}
