"""What is to be aligned: one part a modality, and the group of a cube that it fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from landweave.core.errors import ConfigError
from landweave.core.grid import Grid
from landweave.core.protocols import RasterSource, SeriesSource
from landweave.formats.area import PolygonArea
from landweave.store.cubes.template import GroupTemplate


@dataclass(frozen=True, kw_only=True)
class AlignGroup:
    """One modality to be aligned.

    Attributes
    ----------
    modality
        Name of the group.
    source
        Where its dates come from; a `landweave.core.protocols.RasterSource` becomes a raster without dates.
    grid
        Pixels wanted; they are snapped outwards to whole tiles.
    bands
        In the order they are stored.
    tile, chunk, time_shard
        As `GroupTemplate` has them; ``time_shard`` is of no account for a raster.
    rules
        What else the pixels of a series rest on (kernel, how scenes of a strip are joined), plain JSON values; of a
        raster it is the source's whole meaning.
    """

    modality: str
    source: SeriesSource | RasterSource
    grid: Grid
    bands: tuple[str, ...]
    tile: int = 1024
    chunk: int = 256
    time_shard: int = 32
    rules: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := [band for band in self.bands if band not in self.source.bands]:
            raise ConfigError(
                f"{self.modality}: bands {unknown} are not among those of its source, {list(self.source.bands)}."
            )

    @property
    def series(self) -> SeriesSource | None:
        """The source where it has dates."""
        return cast("SeriesSource", self.source) if hasattr(self.source, "observations") else None

    def template(self, area: PolygonArea | None) -> GroupTemplate:
        """What its group holds, for the tiles of ``area``."""
        series = self.series
        where = {"area": area.fingerprint_fields if area else "all"}
        return GroupTemplate(
            modality=self.modality,
            grid=self.grid.with_extent(self.grid.extent.snap(self.tile)),
            bands=self.bands,
            dtype=self.source.dtype.name,
            tile=self.tile,
            chunk=self.chunk,
            time_shard=self.time_shard if series else None,
            quantity=series.quantity if series else "",
            cloud_mask=series.cloud_mask if series else {},
            rules={**self.rules, **({} if series else {"source": dict(self.source.fingerprint_fields)}), **where},
        )
