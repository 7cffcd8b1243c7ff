"""Maps with given pixels, stored without a model: no tests here."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent
from landweave.core.legend import NODATA, LandClass, Legend
from landweave.core.protocols import BlockResult, BlockState
from landweave.jobs.ledger import Ledger
from landweave.store.maps.store import MapStore, create_map, create_map_ledger
from landweave.store.maps.template import MapTemplate
from landweave.store.objects import Target

CORNER = (-31_420_160, 4_010_112)
"""Row and column of the first pixel: near Nîmes, off the blocks."""

FIVE = Legend(
    name="five",
    classes=tuple(
        LandClass(code=code, name=name, color=color, trained=code != 9)
        for code, name, color in (
            (0, "building", "#db0e9a"),
            (3, "impervious surface", "#f80c00"),
            (6, "water", "#1553ae"),
            (8, "herbaceous vegetation", "#55ff00"),
            (9, "undefined", "#000000"),
        )
    ),
)
"""Five classes, the last never trained."""


def write_map(  # noqa: PLR0913  a map has many facts
    path: Path,
    landcover: NDArray[np.uint8],
    *,
    confidence: NDArray[np.uint8] | None = None,
    probability: NDArray[np.uint8] | None = None,
    block: int = 64,
    corner: tuple[int, int] = CORNER,
    legend: Legend = FIVE,
    crs: str = "EPSG:2154",
    unfinished: int | None = None,
    **attributes: Any,
) -> MapStore:
    """A map whose pixels ``(y, x)`` start at ``corner``; what its blocks have beyond them is nodata.

    With ``unfinished`` it has a ledger, in which so many of the last blocks are still to be made.
    """
    (top, left), (height, width) = corner, landcover.shape
    mapped = Extent.of((top, top + height), (left, left + width))
    blocks = Blocks.covering(mapped, block)
    arrays = {"landcover": landcover, "confidence": confidence, "probability": probability}
    given = {name: values for name, values in arrays.items() if values is not None}
    template = MapTemplate(
        grid=Grid(crs=crs, resolution=Fraction(1, 5), extent=blocks.extent),
        blocks=blocks,
        legend=legend,
        confidence=confidence is not None,
        probability=probability is not None,
        chunk=block // 2,
        mapped=mapped,
        attributes=attributes,
    )
    store = create_map(Target.parse(path), template)
    whole = {name: np.full((*v.shape[:-2], *blocks.extent.shape), NODATA, np.uint8) for name, v in given.items()}
    for name, values in given.items():
        whole[name][..., *mapped.slices_in(blocks.extent)] = values
    ledger = Ledger(blocks.shape, store.arrays)
    for index in list(blocks)[: len(blocks) - (unfinished or 0)]:
        rows, columns = blocks[index].slices_in(blocks.extent)
        objects = store.write(index, {name: values[..., rows, columns] for name, values in whole.items()})
        ledger.mark(index, BlockResult(state=BlockState.DONE, objects=objects))
    if unfinished is not None:
        ledger.flush(create_map_ledger(store))
    store.finalize()
    return store


def lumps(shape: tuple[int, int], codes: tuple[int, ...], seed: int = 0, side: int = 5) -> NDArray[np.uint8]:
    """Lumps of classes, uint8 ``(y, x)``."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(np.array(codes, np.uint8), size=(-(-shape[0] // side), -(-shape[1] // side)))
    return np.kron(cells, np.ones((side, side), np.uint8))[: shape[0], : shape[1]].copy()


def confused(truth: NDArray[np.uint8], codes: tuple[int, ...], share: float, seed: int = 1) -> NDArray[np.uint8]:
    """``truth`` with a share of its pixels drawn anew."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(truth.shape) < share, rng.choice(np.array(codes, np.uint8), truth.shape), truth)
