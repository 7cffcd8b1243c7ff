"""What is made of each dalle: the seam between the job, which knows no format, and its products.

::

    map ──> DallePixels ──> product.files ──> bytes by ending ──> one object each, a column of the ledger each
                                          └─> one STAC asset each
    all dalles done ──────> product.summary ──> files over all dalles (an index, a style, a table)

A product is a frozen record that is pickled to the workers; its files depend on the pixels it is given and on its own
fields alone, so that a dalle is the same bytes wherever and whenever it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from landweave.core.grid import Grid
from landweave.core.legend import Legend
from landweave.core.pyramid import levels_of


@dataclass(frozen=True, kw_only=True)
class DallePixels:
    """The pixels of one dalle as they are published: of the target legend, cleaned up.

    Attributes
    ----------
    name
        Of the dalle, ``0770_6278``.
    grid
        Pixels of its files.
    legend
        What the codes mean.
    read
        By array, ``landcover`` and ``confidence`` where the map has it: uint8 ``(y, x)``, 255 = nodata, from the first
        pixel of ``grid`` on; it may have more rows and columns at the south and east, which overviews need.
    levels
        Number of overviews.
    """

    name: str
    grid: Grid
    legend: Legend
    read: Mapping[str, NDArray[np.uint8]]
    levels: int

    @property
    def landcover(self) -> NDArray[np.uint8]:
        """Classes, uint8 ``(y, x)`` on ``grid``, 255 = nodata."""
        return self.array("landcover")

    @property
    def confidence(self) -> NDArray[np.uint8] | None:
        """Probability x 250 of the class shown, uint8 ``(y, x)``; 255 = nodata or not known; None without one."""
        return self.array("confidence") if "confidence" in self.read else None

    def array(self, name: str) -> NDArray[np.uint8]:
        """One array on ``grid``."""
        height, width = self.grid.shape
        return self.read[name][:height, :width]

    def pyramid(self, name: str) -> list[NDArray[np.uint8]]:
        """One array on ``grid``, and its overviews, each twice as coarse, as `landweave.core.pyramid` makes them."""
        found = levels_of(name, self.read[name], self.levels)
        height, width = self.grid.shape
        sizes = [(-(-height // (1 << level)), -(-width // (1 << level))) for level in range(len(found))]
        return [each[:rows, :columns] for each, (rows, columns) in zip(found, sizes, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Asset:
    """How a STAC item lists one file of a product.

    Attributes
    ----------
    title, media_type
        Of the file.
    roles
        ``data``, ``metadata``, ``visual``, …
    fields
        Further fields of the asset: bands, classes.
    """

    title: str
    media_type: str
    roles: tuple[str, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PublishedDalle:
    """A dalle that is done, as a file over all dalles lists it: its name, its pixels, and the bytes of its files."""

    name: str
    grid: Grid
    sizes: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class SummaryContext:
    """What a file over all dalles is made of.

    Attributes
    ----------
    dalles
        Those that are done, north to south, then west to east.
    legend
        Of the published classes.
    read
        Content of a file of the product, by the name of the dalle and the file's ending.
    """

    dalles: Sequence[PublishedDalle]
    legend: Legend
    read: Callable[[str, str], bytes]


class DalleProduct(Protocol):
    """Files made of each dalle. Picklable; `files` is called from several threads."""

    @property
    def name(self) -> str:
        """Folder of the files, and the part of their names before that of the dalle."""

    @property
    def assets(self) -> Mapping[str, Asset]:
        """The files of a dalle by their ending, such as ``.tif``, the main one first."""

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """All that decides the files but the pixels, as plain JSON values."""

    @property
    def bytes_per_pixel(self) -> float:
        """Memory that `files` takes, over the pixels of a dalle."""

    def files(self, pixels: DallePixels) -> Mapping[str, bytes]:
        """The content of each file of `assets`, by its ending."""

    def summary(self, context: SummaryContext) -> Mapping[str, bytes]:
        """Files over all dalles, by their name beside the collection."""
