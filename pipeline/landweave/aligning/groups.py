"""What is to be aligned: one modality, and the group of a cube that it fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from landweave.core.errors import ConfigError
from landweave.core.grid import Grid
from landweave.core.protocols import RasterSource, SeriesSource, has_dates
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
        A `SeriesSource`, or a `RasterSource` for a group without dates.
    grid
        Pixels; they are snapped outwards to whole tiles.
    bands
        In the order they are stored.
    tile, chunk, time_shard
        As in `GroupTemplate`; ``time_shard`` has no effect on a raster.
    rules
        What else decides the pixels of a series (resampling, how scenes are joined), plain JSON values; for a raster
        the source's ``fingerprint_fields`` are added.
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
        return self.source if has_dates(self.source) else None

    def template(self, area: PolygonArea | None) -> GroupTemplate:
        """What the group holds, for the tiles of ``area``."""
        series = self.series
        source = {} if series else {"source": dict(self.source.fingerprint_fields)}
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
            rules={**self.rules, **source, "area": area.fingerprint_fields if area else "all"},
        )
