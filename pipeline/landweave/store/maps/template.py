"""Everything about a map except its pixels, fixed before anything is written and stored as its root attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from landweave.core.errors import ConfigError, LatticeError
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent, nearest_multiples
from landweave.core.legend import Legend
from landweave.store.common import check_format, root_attributes
from landweave.store.georeference import extent_from_json, extent_to_json, grid_from_json, grid_to_json

FORMAT = "landweave-map"

_OPTIONAL = ("confidence", "probability", "date_fallback")
"""Arrays beside ``landcover``, in the order they are written."""


@dataclass(frozen=True, kw_only=True)
class MapTemplate:
    """Everything about a map except its pixels.

    Attributes
    ----------
    grid
        Output pixels.
    blocks
        Blocks of the same extent; each is one object of every array.
    legend
        What the codes mean.
    confidence, probability, date_fallback
        Whether the map has these arrays beside ``landcover``.
    chunk
        Pixels a side of what a reader decodes at once; divides the block.
    shards
        Whether a block is one shard of such chunks; otherwise it is one chunk, compressed so that older GDAL reads it.
    mapped
        Output pixels inside the bounds of the area, or of the imagery where there is no area; None for all.
    attributes
        Provenance, plain JSON values without secrets; ``title``, ``license`` and ``source`` are shown on pictures.

    Raises
    ------
    LatticeError
        When a block is no whole number of chunks (the nearest sizes are named).
    ConfigError
        When grid and blocks cover different pixels.
    """

    grid: Grid
    blocks: Blocks
    legend: Legend
    confidence: bool = True
    probability: bool = False
    date_fallback: bool = False
    chunk: int = 512
    shards: bool = True
    mapped: Extent | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for side in (self.blocks.height, self.blocks.width):
            if side % self.chunk:
                raise LatticeError(
                    f"A block of {side} pixels is no whole number of chunks of {self.chunk}: "
                    f"use blocks of {nearest_multiples(side, self.chunk)}."
                )
        if self.blocks.extent != self.grid.extent:
            raise ConfigError(f"The grid covers {self.grid.extent}, its blocks {self.blocks.extent}: snap the grid.")
        object.__setattr__(self, "mapped", self.mapped or self.grid.extent)

    @property
    def mapped_extent(self) -> Extent:
        """Output pixels inside the bounds of the area, or of the imagery."""
        assert self.mapped is not None  # set when it was made
        return self.mapped

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays, in the order they are written."""
        return ("landcover", *(name for name in _OPTIONAL if getattr(self, name)))

    def arrays_of(self, level: int) -> tuple[str, ...]:
        """Return the names of the arrays of a level; probabilities exist at full resolution only."""
        return tuple(name for name in self.arrays if not (level and name == "probability"))

    def dimensions(self, array: str) -> tuple[str, ...]:
        """Return the names of the dimensions of ``array``."""
        return ("class", "y", "x") if array == "probability" else ("y", "x")

    def class_shape(self, array: str) -> tuple[int, ...]:
        """Return the shape of ``array`` before y and x: ``(class,)`` of ``probability``, nothing of the others."""
        return (len(self.legend),) if array == "probability" else ()

    def to_attributes(self) -> dict[str, Any]:
        """Return the root attributes: plain JSON values, numbers exact."""
        title = {"title": self.attributes["title"]} if "title" in self.attributes else {}
        fields = {
            **title,
            "grid": grid_to_json(self.grid),
            "mapped": extent_to_json(self.mapped_extent),
            "block": [self.blocks.height, self.blocks.width],
            "chunk_size": self.chunk,
            "shards": self.shards,
            "arrays": list(self.arrays),
            "legend": asdict(self.legend),
            "provenance": dict(self.attributes),
        }
        return root_attributes(FORMAT, fields)

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> MapTemplate:
        """Return the template that `to_attributes` wrote.

        Raises
        ------
        InputError
            When the attributes are not those of a map of this format.
        """
        check_format(attributes, FORMAT)
        grid, arrays = grid_from_json(attributes["grid"]), attributes["arrays"]
        height, width = attributes["block"]
        return cls(
            grid=grid,
            blocks=Blocks(extent=grid.extent, height=height, width=width).of_a_job(),
            legend=Legend.from_json(attributes["legend"]),
            **{name: name in arrays for name in _OPTIONAL},
            chunk=attributes["chunk_size"],
            shards=attributes["shards"],
            mapped=extent_from_json(attributes["mapped"]),
            attributes=attributes["provenance"],
        )
