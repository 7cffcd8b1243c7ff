"""A ramp with a coordinate hash, written as tiles and echoed by a model, comes back pixel for pixel.

The oracle knows nothing of ours but the numbers of the files' headers: pyproj on pixel centres, and numpy.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyproj
import pytest
from numpy.typing import NDArray

from landweave.core.blending import Blend, Blending
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Lattice
from landweave.core.legend import NODATA
from landweave.core.protocols import BlockState
from landweave.engine.inline import InlineEngine
from landweave.mapping.inputs import MapInput
from landweave.mapping.job import MapJob
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from tests.helpers.marks import mostly_slow
from tests.helpers.memory import ArrayStore, ConstantModel, EchoModel, PositionModel, gray_legend
from tests.helpers.tiles import hashed, write_tile

GRID = Grid.from_bounds((700010, 6600003, 700061, 6600042), crs="EPSG:2154", resolution=0.2)
"""195 rows and 255 columns."""

BANDS = ("R", "G", "B", "NIR")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One tile as it was written: where its header says it lies, and ``values (band, y, x)``."""

    path: Path
    values: NDArray[np.uint8]
    corner_xy: tuple[float, float]
    pixel: float
    crs: str

    def places(self, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows and columns among its pixels, 0.5 for the centre of the first, of every pixel centre of ``grid``."""
        x, y = np.meshgrid(grid.x, grid.y)
        if self.crs != grid.crs:
            x, y = pyproj.Transformer.from_crs(grid.crs, self.crs, always_xy=True).transform(x, y)
        return (self.corner_xy[1] - y) / self.pixel, (x - self.corner_xy[0]) / self.pixel

    def covers(self, grid: Grid) -> NDArray[np.bool_]:
        """Pixel centres of ``grid`` that lie in the tile."""
        rows, columns = self.places(grid)
        _, height, width = self.values.shape
        return (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)


@dataclass
class Delivery:
    """Tiles of hashed pixels in one folder; ``smooth`` ones have values that a kernel can be told by."""

    folder: Path
    pieces: list[Piece] = field(default_factory=list)
    smooth: bool = False

    def add(
        self,
        name: str,
        shape: tuple[int, int],
        corner_xy: tuple[float, float],
        *,
        pixel: float = 0.2,
        crs: str = "EPSG:2154",
        bands: tuple[int, ...] = (0, 1, 2, 3),
    ) -> None:
        rows, columns = np.indices(shape) + np.array([len(self.pieces) * 977, len(self.pieces) * 311])[:, None, None]
        if self.smooth:
            planes = [120 + 60 * np.sin(rows / 9 + band) + 50 * np.cos(columns / (7 + band)) for band in bands]
            values = np.stack(planes).round().astype(np.uint8)
        else:
            values = np.stack([hashed(rows, columns, band) for band in bands])
        path = write_tile(self.folder / f"{name}.tif", values, corner_xy=corner_xy, pixel=pixel, crs=crs)
        self.pieces.append(Piece(path=path, values=values, corner_xy=corner_xy, pixel=pixel, crs=crs))

    def source(self, grid: Grid = GRID, **settings: Any) -> MosaicSource:
        bands = {name: BandFiles(files=(str(self.folder / "*.tif"),), band=i + 1) for i, name in enumerate(BANDS)}
        return MosaicSource.open(MosaicSpec(modality="AERIAL_RGBI", bands=bands, **settings), grid)


def map_of(source: MosaicSource, model: Any, *, band: str = "R", block: int = 80, grid: Grid = GRID) -> ArrayStore:
    """The map of one band, by the whole way from the files."""
    blocks = Blocks.covering(grid.extent, block)
    job = MapJob(
        key="echo",
        grid=grid.with_extent(blocks.extent),
        blocks=blocks,
        factor=1,
        blending=Blending(Lattice(window=64, stride=48), Blend.COSINE),
        model=model,
        inputs={"AERIAL_RGBI": MapInput(source=source, bands=(band,))},
        legend=gray_legend(model.classes),
        area=None,
        store=ArrayStore(blocks=blocks),
        arrays=("landcover", "confidence"),
    )
    results = dict(InlineEngine().run(job, blocks))
    assert {result.state for result in results.values()} <= {BlockState.DONE, BlockState.NO_INPUT}
    return job.store


def echo(source: MosaicSource, band: str = "R") -> NDArray[np.uint8]:
    return map_of(source, EchoModel(classes=250), band=band).cut("landcover", GRID.extent)


def expected_of(
    pieces: list[Piece], band: int, kernel: Literal["nearest", "bilinear"], tolerance: float = 1e-3
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """What the first tile that covers a pixel says, and where a hair's breadth cannot change the answer."""
    answer, sure = np.full(GRID.shape, NODATA, np.uint8), np.ones(GRID.shape, bool)
    for piece in reversed(pieces):
        rows, columns = piece.places(GRID)
        inside = piece.covers(GRID)
        plane = piece.values[band].astype(np.float64)
        if kernel == "nearest":
            value = plane[_index(rows, plane.shape[0]), _index(columns, plane.shape[1])]
            certain = _far_from_integer(rows, tolerance) & _far_from_integer(columns, tolerance)
        else:
            value = _bilinear(plane, rows - 0.5, columns - 0.5)
            certain = _far_from_integer(value + 0.5, 0.02)
        answer = np.where(inside, np.floor(value + 0.5).astype(np.uint8), answer)
        edges = [rows, rows - plane.shape[0], columns, columns - plane.shape[1]]
        at_edge = np.logical_or.reduce([np.abs(edge) < tolerance for edge in edges])
        sure = np.where(inside, certain, sure) & ~at_edge
    return answer, sure


def _index(places: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    return np.clip(np.floor(places), 0, size - 1).astype(np.int64)


def _far_from_integer(places: NDArray[np.float64], tolerance: float) -> NDArray[np.bool_]:
    return np.abs(places - np.rint(places)) > tolerance


def _bilinear(plane: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    dy, dx = y - top, x - left
    padded = np.pad(plane, 1, mode="edge")

    def at(row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float64]:
        height, width = plane.shape
        return padded[np.clip(row, -1, height) + 1, np.clip(column, -1, width) + 1]

    upper = at(top, left) * (1 - dx) + at(top, left + 1) * dx
    lower = at(top + 1, left) * (1 - dx) + at(top + 1, left + 1) * dx
    return upper * (1 - dy) + lower * dy


@pytest.fixture
def pasted(tmp_path: Path) -> Delivery:
    """Four tiles on the grid with a hole between them, cut off the blocks and the windows."""
    delivery = Delivery(tmp_path)
    delivery.add("a", (90, 101), (700010, 6600042))
    delivery.add("b", (90, 120), (700010 + 101 * 0.2, 6600042))
    delivery.add("c", (70, 131), (700010, 6600042 - 90 * 0.2))
    delivery.add("d", (95, 110), (700010 + 140 * 0.2, 6600042 - 100 * 0.2))
    return delivery


@pytest.mark.parametrize("band", range(4))
def test_pasted_tiles_come_back(pasted: Delivery, band: int) -> None:
    source = pasted.source()
    assert source.alignment.pasted
    expected, _ = expected_of(pasted.pieces, band, "nearest", tolerance=0)
    assert 0.6 < (expected != NODATA).mean() < 0.95
    np.testing.assert_array_equal(echo(source, BANDS[band]), expected)


def test_pasted_tiles_a_hair_off_the_grid_come_back(tmp_path: Path) -> None:
    """Pixels of 0.19999999999963 m, corners a hundredth of a pixel off."""
    delivery = Delivery(tmp_path)
    delivery.add("a", (150, 180), (700012.002, 6600041.9985), pixel=0.19999999999963)
    source = delivery.source()
    assert source.alignment.pasted
    expected, _ = expected_of(delivery.pieces, 0, "nearest", tolerance=0)
    np.testing.assert_array_equal(echo(source), expected)


def test_overlapping_tiles_come_back_in_the_stated_order(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path)
    for name, corner in (("a", (700011, 6600041)), ("b", (700020, 6600035)), ("c", (700015, 6600038))):
        delivery.add(name, (110, 130), corner)
    for order, pieces in (("name", [0, 1, 2]), ("listed", [2, 0, 1])):
        files = tuple(str(delivery.pieces[place].path) for place in pieces)
        bands = {"R": BandFiles(files=files, band=1)}
        source = MosaicSource.open(MosaicSpec(modality="AERIAL_RGBI", bands=bands, order=order), GRID)
        expected, _ = expected_of([delivery.pieces[place] for place in pieces], 0, "nearest", tolerance=0)
        np.testing.assert_array_equal(echo(source), expected)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
def test_resampled_tiles_come_back(tmp_path: Path, kernel: str) -> None:
    """Two tiles that share pixels of 0.19988 m, seventeen hundredths of a pixel off the grid."""
    delivery = Delivery(tmp_path, smooth=kernel == "bilinear")
    delivery.add("a", (140, 100), (700012.034, 6600040.066), pixel=0.19988)
    delivery.add("b", (140, 90), (700012.034 + 100 * 0.19988, 6600040.066), pixel=0.19988)
    source = delivery.source(resampling=kernel)
    assert not source.alignment.pasted
    pieces = delivery.pieces
    if kernel == "bilinear":  # neighbours are one image: no seam between them
        values = np.concatenate([piece.values for piece in pieces], axis=2)
        first = pieces[0]
        pieces = [Piece(path=first.path, values=values, corner_xy=first.corner_xy, pixel=0.19988, crs="EPSG:2154")]
    assert_comes_back(source, pieces, kernel)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
@pytest.mark.parametrize("other", mostly_slow(["EPSG:32631", "EPSG:3944"], fast=["EPSG:32631"]))
def test_tiles_of_several_crs_come_back(tmp_path: Path, kernel: str, other: str) -> None:
    """A tile in Lambert-93 and one in another projection, which the grid sees turned, overlapping under it."""
    delivery = Delivery(tmp_path, smooth=kernel == "bilinear")
    delivery.add("a", (120, 110), (700013.0, 6600040.0))
    x, y = pyproj.Transformer.from_crs("EPSG:2154", other, always_xy=True).transform(700030.0, 6600038.0)
    delivery.add("b", (130, 125), (round(x, 2), round(y, 2)), crs=other)
    source = delivery.source(resampling=kernel)
    assert_comes_back(source, delivery.pieces, kernel)


def assert_comes_back(source: MosaicSource, pieces: list[Piece], kernel: Any) -> None:
    for band in (0, 3):
        expected, sure = expected_of(pieces, band, kernel)
        found = echo(source, BANDS[band])
        assert sure[expected != NODATA].mean() > 0.9
        assert 0.3 < (expected != NODATA).mean() < 0.98
        np.testing.assert_array_equal(found[sure], expected[sure])


@pytest.mark.parametrize("pixel", [0.2, 0.19988])
def test_bands_from_different_files_come_back(tmp_path: Path, pixel: float) -> None:
    """NIR is band 1 of one product, R is band 2 of another; both are pasted, or both resampled."""
    rgb, irc = Delivery(tmp_path / "rgb"), Delivery(tmp_path / "irc")
    for name, corner in (("a", (700012.0, 6600040.0)), ("b", (700012.0 + 101 * pixel, 6600040.0))):
        rgb.add(name, (140, 101), corner, pixel=pixel, bands=(0, 1, 2))
        irc.add(name, (140, 101), corner, pixel=pixel, bands=(3, 0, 1))
    bands = {
        "NIR": BandFiles(files=(str(irc.folder),), band=1),
        "R": BandFiles(files=(str(rgb.folder / "*.tif"),), band=1),
        "B": BandFiles(files=(str(rgb.folder / "*.tif"),), band=3),
    }
    source = MosaicSource.open(MosaicSpec(modality="AERIAL_RGBI", bands=bands, resampling="nearest"), GRID)
    for name, pieces, band in (("NIR", irc.pieces, 0), ("R", rgb.pieces, 0), ("B", rgb.pieces, 2)):
        expected, sure = expected_of(pieces, band, "nearest", tolerance=0 if pixel == 0.2 else 1e-3)
        np.testing.assert_array_equal(echo(source, name)[sure], expected[sure])


def test_a_constant_model_gives_a_constant_map_from_files(pasted: Delivery) -> None:
    store = map_of(pasted.source(), ConstantModel(classes=5, best=3))
    expected, _ = expected_of(pasted.pieces, 0, "nearest", tolerance=0)
    np.testing.assert_array_equal(store.cut("landcover", GRID.extent), np.where(expected == NODATA, NODATA, 3))
    assert set(np.unique(store.cut("confidence", GRID.extent))) == {round(250 * 10 / 21), NODATA}


def test_a_position_model_proves_the_lattice(tmp_path: Path) -> None:
    """Without overlap every pixel shows its place in the one window it lies in, counted from the CRS origin."""
    delivery = Delivery(tmp_path)
    delivery.add("a", GRID.shape, (700010, 6600042))
    blocks = Blocks.covering(GRID.extent, 80)
    job = MapJob(
        key="position",
        grid=GRID.with_extent(blocks.extent),
        blocks=blocks,
        factor=1,
        blending=Blending(Lattice(window=64, stride=64), Blend.CROP),
        model=PositionModel(),
        inputs={"AERIAL_RGBI": MapInput(source=delivery.source(), bands=("R",))},
        legend=gray_legend(3),
        area=None,
        store=ArrayStore(blocks=blocks),
        arrays=("landcover", "confidence", "probability"),
    )
    dict(InlineEngine().run(job, blocks))
    found = job.store.cut("probability", GRID.extent)
    # From the metres of the pixel centres, not from any index of ours.
    rows = np.floor(-GRID.y / 0.2).astype(int) % 64
    columns = np.floor(GRID.x / 0.2).astype(int) % 64
    np.testing.assert_array_equal(found[0], np.rint(250 * rows / 128)[:, None].repeat(GRID.shape[1], 1))
    np.testing.assert_array_equal(found[1], np.rint(250 * columns / 192)[None, :].repeat(GRID.shape[0], 0))
