"""Small maps with every trap in them: for the tests of stores and formats."""

from fractions import Fraction

import numpy as np

from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent
from landweave.core.legend import NODATA, LandClass, Legend
from landweave.store.maps.overviews import create_overviews
from landweave.store.maps.store import MapStore, create_map
from landweave.store.maps.template import MapTemplate
from landweave.store.objects import Target

LEGEND = Legend(
    name="sample",
    classes=(
        LandClass(code=0, name="building", color="#db0e9a"),
        LandClass(code=3, name="impervious surface", color="#f80c00"),
        LandClass(code=6, name="water", color="#1553ae"),
        LandClass(code=18, name="undefined", color="#000000", trained=False),
    ),
)


def template(down=3, across=2, block=64, chunk=32, *, sides=None, shift=0, crs="EPSG:2154", **changes) -> MapTemplate:
    """A map near Nîmes, north of the CRS origin, so that its rows are negative.

    Its blocks are squares at multiples of their side; ``sides`` high and wide, and ``shift`` pixels beside, if wanted.
    """
    top, left = -31_420_000 // block * block + shift, 4_010_000 // block * block + shift
    extent = Extent.of((top, top + down * block), (left, left + across * block))
    grid = Grid(crs=crs, resolution=Fraction(1, 5), extent=extent)
    attributes = {"title": "Sample", "license": "Licence Ouverte 2.0", "source": "drawn at random"}
    settings = {"legend": LEGEND, "chunk": chunk, "attributes": attributes, **changes}
    height, width = sides or (block, block)
    return MapTemplate(grid=grid, blocks=Blocks(extent=extent, height=height, width=width), **settings)


def pixels(wanted: MapTemplate, seed=0) -> dict[str, np.ndarray]:
    """Values of a whole map: lumps of classes, an edge without data, a chunk of buildings, one of nothing."""
    rng = np.random.default_rng(seed)
    height, width = wanted.grid.shape
    lumps = rng.choice(np.array(wanted.legend.codes, np.uint8), size=(-(-height // 5), -(-width // 5)))
    landcover = np.kron(lumps, np.ones((5, 5), np.uint8))[:height, :width].copy()
    landcover[: wanted.chunk, : wanted.chunk] = 0
    landcover[wanted.chunk : 2 * wanted.chunk, : wanted.chunk] = NODATA
    landcover[:, -7:] = NODATA
    confidence = rng.integers(0, 251, (height, width)).astype(np.uint8)
    confidence[landcover == NODATA] = NODATA
    arrays = {"landcover": landcover, "confidence": confidence}
    if wanted.probability:
        arrays["probability"] = rng.integers(0, 251, (len(wanted.legend), height, width)).astype(np.uint8)
    return {name: values for name, values in arrays.items() if name in wanted.arrays}


def block_of(arrays: dict[str, np.ndarray], store: MapStore, index) -> dict[str, np.ndarray]:
    """The part of whole arrays that is one block."""
    rows, columns = store.block(index).slices_in(store.grid.extent)
    return {name: values[..., rows, columns] for name, values in arrays.items()}


def written(target: Target, wanted: MapTemplate, *, overviews=False, seed=0) -> tuple[MapStore, dict]:
    """A map with all its blocks, and its values."""
    store, arrays = create_map(target, wanted), pixels(wanted, seed)
    for index in wanted.blocks:
        store.write(index, block_of(arrays, store, index))
    if overviews:
        for job in create_overviews(store):
            make = job.open()
            for index in job.blocks:
                make(index)
    return store, arrays
