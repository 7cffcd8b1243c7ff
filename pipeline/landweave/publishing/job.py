"""One dalle: its pixels read and cleaned up, a file for each ending of each product, and a STAC item of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from landweave.core.lattice import BlockIndex
from landweave.core.legend import NODATA
from landweave.core.protocols import BlockFunction, BlockResult, BlockState, WrittenObject
from landweave.core.stopwatch import Stopwatch
from landweave.publishing.catalog import Catalog, PublishedFile
from landweave.publishing.dalles import DalleGrid
from landweave.publishing.products import DallePixels, DalleProduct
from landweave.publishing.publication import ITEM, Publication
from landweave.publishing.reader import PublishedPixels


def column_of(product: DalleProduct, ending: str) -> str:
    """Column of the ledger for the files of a product with one ending.

    Parameters
    ----------
    product, ending
        Of the files.
    """
    return f"{product.name}{ending}"


@dataclass(frozen=True, kw_only=True)
class PublishJob:
    """Everything a worker needs to publish any dalle: `landweave.core.protocols.BlockJob`.

    Attributes
    ----------
    key
        Identifies the run on its workers.
    pixels
        The map as it is published.
    dalles
        The blocks of the job.
    products
        What is made of each dalle.
    catalog
        Makes the item of a dalle.
    publication
        Where the files are written.
    inputs
        Digest of the blocks of the map that each dalle reads, by index; those that are not finished are in
        ``unfinished``.
    unfinished
        How many blocks of the map are not finished, by the dalles that have any.
    earlier
        Checksums of the files that a dalle had before, by the dalles that are made again.
    """

    key: str
    pixels: PublishedPixels
    dalles: DalleGrid
    products: tuple[DalleProduct, ...]
    catalog: Catalog
    publication: Publication
    inputs: Mapping[BlockIndex, int] = field(default_factory=dict)
    unfinished: Mapping[BlockIndex, int] = field(default_factory=dict)
    earlier: Mapping[BlockIndex, tuple[int, ...]] = field(default_factory=dict)

    def open(self) -> BlockFunction:
        """The function that publishes one dalle; it may be called from two threads."""
        return self._run

    def read(self, index: BlockIndex) -> DallePixels:
        """The pixels of one dalle."""
        return DallePixels(
            name=self.dalles.name_of(index),
            grid=self.dalles.grid.with_extent(self.dalles.extent(index)),
            legend=self.pixels.legend,
            read=self.pixels.read(self.dalles.read_extent(index)),
            levels=self.dalles.levels,
        )

    def _run(self, index: BlockIndex) -> BlockResult:
        watch = Stopwatch()
        with watch("total"):
            result = self._publish(index, watch)
        return replace(result, seconds=dict(watch.seconds), inputs=self.inputs.get(index, 0))

    def _publish(self, index: BlockIndex, watch: Stopwatch) -> BlockResult:
        with watch("read"):
            pixels = self.read(index)
        valid = int(np.count_nonzero(pixels.landcover != NODATA))
        counts = {"pixels": valid, "covered": pixels.landcover.size, "valid": valid}
        missing = self.unfinished.get(index, 0)
        reason = f"{missing} blocks of the map are not finished here: nodata" if missing else ""
        if not valid:
            if earlier := self.earlier.get(index):
                self.publication.remove(pixels.name, earlier)
            return BlockResult(state=BlockState.NO_INPUT, reason=reason, counts=counts)
        objects = tuple(self._write(index, pixels, watch))
        return BlockResult(state=BlockState.DONE, reason=reason, objects=objects, counts=counts)

    def _write(self, index: BlockIndex, pixels: DallePixels, watch: Stopwatch) -> Iterator[WrittenObject]:
        earlier, files = self.earlier.get(index, ()), []
        for product in self.products:
            with watch(product.name):
                contents = product.files(pixels)
            for number, (ending, asset) in enumerate(product.assets.items()):
                column = column_of(product, ending)
                with watch("write"):
                    yield self.publication.write(pixels.name, column, contents[ending], earlier)
                path, key = self.publication.key(pixels.name, column), column if number else product.name
                files.append(PublishedFile.of(key, path, contents[ending], asset))
        item = self.catalog.item(pixels.name, pixels.grid, files)
        with watch("write"):
            yield self.publication.write(pixels.name, ITEM, item, earlier)
