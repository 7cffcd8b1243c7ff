"""Surface and terrain models as a source: DSM, DTM and their difference, in metres on the imagery's own grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely

from landweave.core.errors import ConfigError
from landweave.core.grid import Bounds, Grid
from landweave.core.modalities import ELEVATION_BANDS as BANDS
from landweave.core.modalities import GROUND_M
from landweave.core.polygons import overlap
from landweave.core.protocols import Raster, ReadCost, SourceFile
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import MosaicSpec
from landweave.sources.requests import check_bands

_NEEDS = {"DSM": ("DSM",), "DTM": ("DTM",), "NDSM": ("DSM", "DTM")}


@dataclass(frozen=True, kw_only=True)
class ElevationSource:
    """Two elevation models, each with its own pixels, nodata and CRS, on one grid. Picklable.

    Attributes
    ----------
    modality
        FLAIR-HUB's name.
    dsm, dtm
        The models, each a source of one band of that name.
    """

    modality: str
    dsm: MosaicSource
    dtm: MosaicSource

    @classmethod
    def open(
        cls, dsm: MosaicSpec, dtm: MosaicSpec, grid: Grid, *, modality: str = "DEM_ELEV", limited: bool = True
    ) -> ElevationSource:
        """The models on the pixels of ``grid``, from headers alone.

        Parameters
        ----------
        dsm, dtm
            One band each, ``DSM`` and ``DTM``; values are read as float32.
        grid
            Pixels to align with: those of the imagery.
        modality
            Name of the input.
        limited
            Whether heights that no ground on Earth has are no data: -9999, -32767 and their like without a nodata tag.

        Raises
        ------
        InputError
            As `landweave.sources.mosaic.source.MosaicSource.open`, for either model.
        """
        for spec, band in ((dsm, "DSM"), (dtm, "DTM")):
            if tuple(spec.bands) != (band,):
                raise ConfigError(f"{modality} takes a model with the one band {band!r}, got {list(spec.bands)}.")
        surface, terrain = (
            MosaicSource.open(replace(spec, as_float=True, limits=GROUND_M if limited else None), grid)
            for spec in (dsm, dtm)
        )
        return cls(modality=modality, dsm=surface, dtm=terrain)

    @property
    def models(self) -> Mapping[str, MosaicSource]:
        """Both models by the name of their band."""
        return {"DSM": self.dsm, "DTM": self.dtm}

    @property
    def limited(self) -> bool:
        """Whether heights that no ground on Earth has are no data."""
        return self.dsm.index.spec.limits is not None

    @property
    def bands(self) -> tuple[str, ...]:
        """`BANDS`."""
        return BANDS

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, metres."""
        return np.dtype(np.float32)

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Of both models; plain JSON values."""
        models = {band.lower(): dict(model.fingerprint_fields) for band, model in self.models.items()}
        return {"modality": self.modality, **models}

    def bounds(self, grid: Grid) -> Bounds | None:
        """Bounds ``(x0, y0, x1, y1)`` in the CRS of ``grid`` where both models are; None where they never meet."""
        surface, terrain = self.dsm.bounds(grid), self.dtm.bounds(grid)
        if surface is None or terrain is None:
            return None
        x0, y0 = max(surface[0], terrain[0]), max(surface[1], terrain[1])
        x1, y1 = min(surface[2], terrain[2]), min(surface[3], terrain[3])
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

    def footprint(self, grid: Grid) -> shapely.Geometry:
        """Ground where both models are, in whole pixels of ``grid`` and its CRS."""
        return overlap(self.dsm.footprint(grid), self.dtm.footprint(grid))

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """Files of both models that touch ``grid``. No pixel is read."""
        return tuple(
            replace(file, id=f"{band}:{file.id}") for band, model in self.models.items() for file in model.files(grid)
        )

    def cost(self, grid: Grid) -> ReadCost:
        """Of both models."""
        return self.dsm.cost(grid) + self.dtm.cost(grid)

    def read(self, grid: Grid, bands: Sequence[str]) -> Raster:
        """Pixels of ``bands`` on ``grid``, float32 metres; valid where every model they need is measured.

        Parameters
        ----------
        grid
            As in `landweave.sources.mosaic.source.MosaicSource.read`.
        bands
            Some of `BANDS`, in the order of the result.

        Raises
        ------
        ReadError
            When a file cannot be read.
        ConfigError
            When a band is not one of `BANDS`.
        """
        check_bands(self.modality, BANDS, bands)
        needed = {model for band in bands for model in _NEEDS[band]}
        rasters = {name: model.read(grid, (name,)) for name, model in self.models.items() if name in needed}
        planes = {name: raster.values[0] for name, raster in rasters.items()}
        if "NDSM" in bands:
            planes["NDSM"] = planes["DSM"] - planes["DTM"]
        valid = np.logical_and.reduce([raster.valid for raster in rasters.values()])
        return Raster(values=np.stack([planes[band] for band in bands]), valid=valid)

    def describe(self) -> dict[str, Any]:
        """What `check` prints, of both models."""
        models = {band: model.describe() for band, model in self.models.items()}
        return {"modality": self.modality, "bands": list(BANDS), **models, "notes": list(self._notes)}

    @property
    def _notes(self) -> Iterator[str]:
        """Several zeros that files state of their heights: the ellipsoid, the sea at one port or another."""
        stated: dict[str, str] = {}
        for band, model in self.models.items():
            for facts in (each for tile in model.index.tiles for each in tile.files if each.heights):
                stated.setdefault(facts.heights, f"{band}: {facts.name}")
        if len(stated) > 1:
            named = "; ".join(f"{heights} ({first})" for heights, first in stated.items())
            yield f"files state {len(stated)} systems of heights, whose zeros may be metres apart: {named}"
