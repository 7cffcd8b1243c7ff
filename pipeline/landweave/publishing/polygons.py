"""The regions of a dalle as polygons: `landweave.publishing.products.DalleProduct`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from landweave.formats.polygons import geopackage_bytes, map_polygons, parquet_bytes
from landweave.publishing.products import Asset, DallePixels, SummaryContext


@dataclass(frozen=True, kw_only=True)
class Polygons:
    """Polygons of the regions of each class, in GeoParquet and GeoPackage.

    Regions end at the edges of the dalle, exactly: those of all dalles, dissolved, are those of the whole.

    Attributes
    ----------
    simplify_m
        As `landweave.formats.polygons.map_polygons` takes it.
    """

    simplify_m: float = 0.0
    name: str = "polygons"
    bytes_per_pixel: float = 40.0

    @property
    def assets(self) -> Mapping[str, Asset]:
        """GeoParquet and GeoPackage."""
        title = "Regions of each class as polygons, with area and mean probability"
        return {
            ".parquet": Asset(title=title, media_type="application/vnd.apache.parquet", roles=("data",)),
            ".gpkg": Asset(title=f"{title}, for GIS", media_type="application/geopackage+sqlite3", roles=("data",)),
        }

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """The simplification."""
        return {"simplify_m": self.simplify_m}

    def files(self, pixels: DallePixels) -> Mapping[str, bytes]:
        """GeoParquet and GeoPackage."""
        polygons = map_polygons(
            pixels.grid, pixels.landcover, pixels.confidence, pixels.legend, simplify_m=self.simplify_m
        )
        return {".parquet": parquet_bytes(polygons), ".gpkg": geopackage_bytes(polygons)}

    def summary(self, context: SummaryContext) -> Mapping[str, bytes]:
        """Nothing: the polygons of a department are no file that a GIS opens."""
        return {}
