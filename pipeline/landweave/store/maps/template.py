"""What a map store will hold, decided before anything is written, and how that is kept in its root attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from importlib import metadata
from typing import Any

from landweave.core.errors import ConfigError, InputError, LatticeError
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent, nearest_multiples
from landweave.core.legend import LandClass, Legend

FORMAT = "landweave-map"
FORMAT_VERSION = 1
LIBRARIES = ("landweave", "zarr", "numcodecs", "numpy")


@dataclass(frozen=True, kw_only=True)
class MapTemplate:
    """Everything about a map except its pixels.

    Attributes
    ----------
    grid
        Output pixels: whole blocks.
    blocks
        Blocks of the same extent; each is one object of every array.
    legend
        What the codes mean.
    confidence, probability, date_fallback
        Whether these arrays are wanted beside ``landcover``.
    chunk
        Pixels a side of what a reader decodes at once; divides the block.
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
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.blocks.size % self.chunk:
            raise LatticeError(
                f"A block of {self.blocks.size} pixels is no whole number of chunks of {self.chunk}: "
                f"use blocks of {nearest_multiples(self.blocks.size, self.chunk)}."
            )
        if self.blocks.extent != self.grid.extent:
            raise ConfigError(f"The grid covers {self.grid.extent}, its blocks {self.blocks.extent}: snap the grid.")

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays, in the order they are written."""
        wanted = {"confidence": self.confidence, "probability": self.probability, "date_fallback": self.date_fallback}
        return ("landcover", *(name for name, is_wanted in wanted.items() if is_wanted))

    def block_shape(self, array: str) -> tuple[int, ...]:
        """Shape of one block of ``array``: ``(y, x)``, or ``(class, y, x)`` for ``probability``."""
        size = self.blocks.size
        return (len(self.legend), size, size) if array == "probability" else (size, size)

    def to_attributes(self) -> dict[str, Any]:
        """Root attributes: plain JSON values, numbers exact."""
        title = {"title": self.attributes["title"]} if "title" in self.attributes else {}
        return {
            "Conventions": "CF-1.11",
            **title,
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "grid": grid_to_json(self.grid),
            "block_size": self.blocks.size,
            "chunk_size": self.chunk,
            "arrays": list(self.arrays),
            "legend": asdict(self.legend),
            "provenance": dict(self.attributes),
            "software": versions(),
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> MapTemplate:
        """The template that `to_attributes` wrote down.

        Raises
        ------
        InputError
            When the attributes are not those of a map of this format.
        """
        found = attributes.get("format"), attributes.get("format_version")
        if found != (FORMAT, FORMAT_VERSION):
            raise InputError(
                f"Not a Landweave map: format {found[0]!r} version {found[1]!r}, {FORMAT!r} version "
                f"{FORMAT_VERSION} is wanted."
            )
        grid = grid_from_json(attributes["grid"])
        classes = tuple(LandClass(**entry) for entry in attributes["legend"]["classes"])
        return cls(
            grid=grid,
            blocks=Blocks(extent=grid.extent, size=attributes["block_size"]),
            legend=Legend(name=attributes["legend"]["name"], classes=classes),
            confidence="confidence" in attributes["arrays"],
            probability="probability" in attributes["arrays"],
            date_fallback="date_fallback" in attributes["arrays"],
            chunk=attributes["chunk_size"],
            attributes=attributes["provenance"],
        )


def grid_to_json(grid: Grid) -> dict[str, Any]:
    """A grid as plain JSON values, exact."""
    return {
        "crs": grid.crs,
        "resolution": str(grid.resolution),
        "rows": [grid.extent.y.start, grid.extent.y.stop],
        "columns": [grid.extent.x.start, grid.extent.x.stop],
        "anchor_xy": [str(value) for value in grid.anchor_xy],
    }


def grid_from_json(written: Mapping[str, Any]) -> Grid:
    """The grid that `grid_to_json` wrote down."""
    anchor_x, anchor_y = (Fraction(value) for value in written["anchor_xy"])
    (top, bottom), (left, right) = written["rows"], written["columns"]
    return Grid(
        crs=written["crs"],
        resolution=Fraction(written["resolution"]),
        extent=Extent.of((top, bottom), (left, right)),
        anchor_xy=(anchor_x, anchor_y),
    )


def versions() -> dict[str, str]:
    """Versions of the libraries that decide what is written, by name."""
    installed: dict[str, str] = {}
    for library in LIBRARIES:
        try:
            installed[library] = metadata.version(library)
        except metadata.PackageNotFoundError:  # used from a source folder
            installed[library] = "unknown"
    return installed
