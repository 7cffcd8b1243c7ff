"""The two rasters of a dalle: a COG of its classes and one of their confidence, and mosaics of all dalles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from landweave.core.legend import CONFIDENCE_SCALE, NODATA, Legend
from landweave.formats.dalle_cog import class_style, class_table, confidence_style, encode_cog
from landweave.formats.gti import ENDING, mosaic_gti
from landweave.formats.vrt import mosaic_vrt
from landweave.publishing.products import Asset, DallePixels, SummaryContext

COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"


@dataclass(frozen=True, kw_only=True)
class ClassCogs:
    """COGs of classes: `landweave.publishing.products.DalleProduct`.

    Attributes
    ----------
    legend
        Of the published classes.
    tags
        TIFF tags of every file: title, licence, source, the mark of the map.
    levels
        Number of overviews of a file.
    """

    legend: Legend
    tags: Mapping[str, str]
    levels: int
    name: str = "landcover"
    bytes_per_pixel: float = 6.0

    @property
    def assets(self) -> Mapping[str, Asset]:
        """The COG, its table of classes, its style."""
        classes = [
            {"value": each.code, "name": _slug(each.name), "title": each.name, "color_hint": each.color[1:].upper()}
            for each in self.legend.classes
        ]
        band = {"data_type": "uint8", "nodata": NODATA, "classification:classes": classes}
        return {
            ".tif": Asset(title="Land cover", media_type=COG_TYPE, roles=("data",), fields={"bands": [band]}),
            ".tif.aux.xml": Asset(
                title="Names and colours of the classes, for GDAL", media_type="application/xml", roles=("metadata",)
            ),
            ".qml": Asset(title="Style for QGIS", media_type="application/xml", roles=("style",)),
        }

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Legend, tags and overviews."""
        return {"legend": asdict(self.legend), "tags": dict(self.tags), "levels": self.levels}

    def files(self, pixels: DallePixels) -> Mapping[str, bytes]:
        """The COG, its table of classes, its style."""
        names = {f"CLASS_{code}": name for code, name in self.legend.names.items()}
        tags = {**self.tags, **names}
        cog = encode_cog(pixels.pyramid("landcover"), pixels.grid, tags=tags, legend=self.legend)
        return {".tif": cog, ".tif.aux.xml": class_table(self.legend), ".qml": class_style(self.legend)}

    def summary(self, context: SummaryContext) -> Mapping[str, bytes]:
        """A VRT and a GTI over all dalles, and their style."""
        mosaics = _mosaics(self.name, context, self.levels, self.legend)
        return {**mosaics, f"{self.name}.qml": class_style(self.legend)}


@dataclass(frozen=True, kw_only=True)
class ConfidenceCogs:
    """COGs of confidence: `landweave.publishing.products.DalleProduct`.

    Attributes
    ----------
    tags
        TIFF tags of every file.
    levels
        Number of overviews of a file.
    """

    tags: Mapping[str, str]
    levels: int
    name: str = "confidence"
    bytes_per_pixel: float = 8.0

    @property
    def assets(self) -> Mapping[str, Asset]:
        """The COG, its style."""
        band = {"data_type": "uint8", "nodata": NODATA, "unit": "1", "raster:scale": 1 / CONFIDENCE_SCALE}
        return {
            ".tif": Asset(
                title="Probability of the class shown", media_type=COG_TYPE, roles=("data",), fields={"bands": [band]}
            ),
            ".qml": Asset(title="Style for QGIS", media_type="application/xml", roles=("style",)),
        }

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Tags and overviews."""
        return {"tags": dict(self.tags), "levels": self.levels}

    def files(self, pixels: DallePixels) -> Mapping[str, bytes]:
        """The COG, its style."""
        cog = encode_cog(pixels.pyramid("confidence"), pixels.grid, tags=self.tags)
        return {".tif": cog, ".qml": confidence_style()}

    def summary(self, context: SummaryContext) -> Mapping[str, bytes]:
        """A VRT and a GTI over all dalles, and their style."""
        return {**_mosaics(self.name, context, self.levels), f"{self.name}.qml": confidence_style()}


def _mosaics(name: str, context: SummaryContext, levels: int, legend: Legend | None = None) -> Mapping[str, bytes]:
    """Files that show all dalles of a product as one raster."""
    files = {f"{name}/{name}_{dalle.name}.tif": dalle.grid for dalle in context.dalles}
    return {
        f"{name}.vrt": mosaic_vrt(files, levels=levels, legend=legend),
        f"{name}{ENDING}": mosaic_gti(files, levels=levels, legend=legend),
    }


def _slug(name: str) -> str:
    """A name of a class as STAC's classification extension allows it: letters, digits, underscores and hyphens.

    >>> _slug("CS1.1.1.1 built zones")
    'CS1_1_1_1_built_zones'
    """
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
