"""Models, sources and stores that live in memory: for laws, tutorials, and anyone testing code built on ports.

Each model answers something that a wrong map could not: its input (`EchoModel`), a constant (`ConstantModel`),
the place of a pixel in its window (`PositionModel`), how far pixels that hold their own day are from the day they are
said to be of (`DayErrorModel`), or which days its window was given (`DaysModel`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Blocks, Extent
from landweave.core.legend import LandClass, Legend
from landweave.core.protocols import InputBatch, Predictor, Raster, ReadCost, Series, SourceFile, WrittenObject
from landweave.core.timeseries import Observation, PixelClass


def gray_legend(classes: int) -> Legend:
    """A legend of ``classes`` shades of grey, numbered from 0."""
    shades = [round(255 * code / max(classes - 1, 1)) for code in range(classes)]
    return Legend(
        name=f"gray-{classes}",
        classes=tuple(
            LandClass(code=code, name=f"class {code}", color=f"#{shade:02x}{shade:02x}{shade:02x}")
            for code, shade in enumerate(shades)
        ),
    )


def one_hot(classes: NDArray[Any], count: int) -> NDArray[np.float32]:
    """Certain probabilities: ``(n, y, x)`` class numbers to float32 ``(n, class, y, x)``."""
    return cast("NDArray[np.float32]", (classes[:, None] == np.arange(count)[:, None, None]).astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class _MemoryModel:
    """What the models here share: a class count, a batch size, and being their own predictor."""

    classes: int
    batch_size: int = 2
    torch_threads: int | None = None

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """The model's own fields."""
        return {"model": repr(self)}

    def memory_bytes(self) -> int:
        """Nothing worth counting."""
        return 0

    def verify(self) -> None:
        """There is nothing that could not fit."""

    def open(self) -> Predictor:
        """The model itself."""
        return self  # type: ignore[return-value]  # the subclasses below are predictors


@dataclass(frozen=True, kw_only=True)
class EchoModel(_MemoryModel):
    """Answers, with certainty, the first band of its first input as a class number."""

    def predict(self, batch: Mapping[str, InputBatch]) -> NDArray[np.float32]:
        """One-hot of the input."""
        values = next(iter(batch.values())).values
        return one_hot(values[:, 0], self.classes)


@dataclass(frozen=True, kw_only=True)
class ConstantModel(_MemoryModel):
    """Answers the same uneven probabilities everywhere; ``best`` is the most probable class."""

    best: int = 0

    def predict(self, batch: Mapping[str, InputBatch]) -> NDArray[np.float32]:
        """The same probabilities at every pixel."""
        valid = next(iter(batch.values())).valid
        weights = np.arange(1, self.classes + 1, dtype=np.float32)
        weights[self.best] = 2 * self.classes
        share = weights / weights.sum()
        shape = (valid.shape[0], self.classes, *valid.shape[1:])
        return np.broadcast_to(share[None, :, None, None], shape).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class PositionModel(_MemoryModel):
    """Answers the place of each pixel in its window: probabilities rise with the row and the column.

    Class 0 gets the share of the row, class 1 of the column, class 2 the rest.
    """

    classes: int = 3

    def predict(self, batch: Mapping[str, InputBatch]) -> NDArray[np.float32]:
        """Shares of ``row``, ``column`` and the rest."""
        n, height, width = next(iter(batch.values())).valid.shape
        row = np.arange(height, dtype=np.float32)[:, None] / np.float32(2 * height)
        column = np.arange(width, dtype=np.float32)[None, :] / np.float32(3 * width)
        row, column = np.broadcast_arrays(row, column)
        shares = np.stack([row, column, 1 - row - column])
        return np.repeat(shares[None], n, 0)


@dataclass(frozen=True, kw_only=True)
class _SeriesModel(_MemoryModel):
    """What models of a series share: its name, and the base pixels a side of a window, which they answer for."""

    window: int
    series: str = "SENTINEL2_TS"

    def predict(self, batch: Mapping[str, InputBatch]) -> NDArray[np.float32]:
        """One-hot of the window's answer, at each of its pixels."""
        answers = one_hot(self._answers(batch[self.series])[:, None, None], self.classes)
        return np.broadcast_to(answers, (*answers.shape[:2], self.window, self.window)).copy()

    def _answers(self, given: InputBatch) -> NDArray[np.int64]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class DayErrorModel(_SeriesModel):
    """Answers the largest difference between a measured pixel of the first band and the day offset of its image.

    Over a series whose pixels hold their own day offset that is 0 wherever images and days are one selection.
    """

    def _answers(self, given: InputBatch) -> NDArray[np.int64]:
        assert given.days is not None
        assert given.present is not None
        error = np.abs(given.values[:, :, 0] - given.days[:, :, None, None])
        seen = given.valid & given.present[:, :, None, None]
        worst = np.ceil(np.where(seen, error, 0).max((1, 2, 3))).astype(np.int64)
        return np.asarray(np.minimum(worst, self.classes - 1))


@dataclass(frozen=True, kw_only=True)
class DaysModel(_SeriesModel):
    """Answers `days_code` of the days of a window's images, in their order; of none where nothing was measured."""

    def _answers(self, given: InputBatch) -> NDArray[np.int64]:
        assert given.days is not None
        assert given.present is not None
        windows = zip(given.days, given.present, given.valid, strict=True)
        kept = (days[present] if valid.any() else () for days, present, valid in windows)
        return np.array([days_code(days, self.classes) for days in kept])


def days_code(days: Sequence[float] | NDArray[np.float32], classes: int) -> int:
    """A class number for a list of day offsets, as good as random and always the same."""
    digest = sha256(",".join(f"{float(day):g}" for day in days).encode()).digest()
    return int.from_bytes(digest[:4], "little") % classes


@dataclass(frozen=True, kw_only=True)
class _MemoryPixels:
    """What the sources here share: one array in memory, of pixels on ``grid``, which requests must be on too."""

    bands: tuple[str, ...]
    grid: Grid
    values: NDArray[Any] = field(repr=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array."""
        return self.values.dtype

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Digest of the pixels."""
        return {"array": sha256(np.ascontiguousarray(self.values).tobytes()).hexdigest()}

    def describe(self) -> Mapping[str, Any]:
        """Its shape."""
        return {"array": self.values.shape}

    def bounds(self, grid: Grid) -> tuple[float, float, float, float]:
        """Bounds of the array."""
        return self.grid.bounds

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """The array as one scene."""
        size = self.values.nbytes
        return (SourceFile(id="array", location="memory://array", size=size, version="0", format="memory"),)

    def cost(self, grid: Grid) -> ReadCost:
        """Nothing is decoded."""
        return ReadCost(bytes=0, decoded_pixels={})

    def _cut(self, values: NDArray[Any], grid: Grid, beyond: Any = 0) -> NDArray[Any]:
        """``(…, y, x)`` of the array's pixels on ``grid``, ``beyond`` outside of them."""
        if grid.with_extent(self.grid.extent) != self.grid:
            raise ValueError(f"Pixels of {grid.resolution} were asked of an array of {self.grid.resolution}.")
        part = grid.extent.intersect(self.grid.extent)
        cut = np.full((*values.shape[:-2], *grid.shape), beyond, values.dtype)
        if part.size:
            cut[..., *part.slices_in(grid.extent)] = values[..., *part.slices_in(self.grid.extent)]
        return cut


@dataclass(frozen=True, kw_only=True)
class ArraySource(_MemoryPixels):
    """A source whose pixels are one array ``(band, y, x)`` in memory; ``valid`` bool ``(y, x)``, all by default."""

    modality: str = "AERIAL_RGBI"
    valid: NDArray[np.bool_] | None = field(default=None, repr=False)

    def read(self, grid: Grid, bands: Sequence[str]) -> Raster:
        """The pixels of ``grid``, zero and invalid beyond the array."""
        valid = np.ones(self.grid.shape, np.bool_) if self.valid is None else self.valid
        channels = [self.bands.index(band) for band in bands]
        return Raster(values=self._cut(self.values[channels], grid), valid=self._cut(valid, grid))


@dataclass(frozen=True, kw_only=True)
class ArraySeries(_MemoryPixels):
    """A series whose dates are one array ``(time, band, y, x)`` in memory.

    Attributes
    ----------
    observations
        One a date, ascending in time.
    pixel_class
        uint8 `landweave.core.timeseries.PixelClass` ``(time, y, x)``; all clear by default.
    """

    modality: str = "SENTINEL2_TS"
    observations: tuple[Observation, ...]
    pixel_class: NDArray[np.uint8] | None = field(default=None, repr=False)
    quantity: str = "reflectance"
    cloud_mask: Mapping[str, Any] = field(default_factory=lambda: {"source": "scl"})

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Digest of the pixels, and the dates."""
        return {
            **super().fingerprint_fields,
            "observations": [observation.datatake_id for observation in self.observations],
        }

    def read(self, grid: Grid, bands: Sequence[str], indices: Sequence[int]) -> Series:
        """The pixels of ``grid``, zero and not acquired beyond the array."""
        chosen, channels = list(indices), [self.bands.index(band) for band in bands]
        clear = np.full((len(self.observations), *self.grid.shape), PixelClass.CLEAR, np.uint8)
        state = self._cut(
            (clear if self.pixel_class is None else self.pixel_class)[chosen], grid, PixelClass.NOT_ACQUIRED
        )
        values = self._cut(self.values[np.ix_(chosen, channels)], grid)
        values *= np.isin(state, [each for each in PixelClass if each.measured])[:, None]
        return Series(values=values, pixel_class=state)


@dataclass(frozen=True, kw_only=True)
class ArrayStore:
    """A store in memory: whole arrays, 255 where nothing was written.

    Attributes
    ----------
    blocks
        In output pixels.
    arrays
        Name to uint8 ``(…, y, x)`` over all blocks.
    """

    blocks: Blocks
    arrays: dict[str, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def write(self, index: BlockIndex, arrays: Mapping[str, NDArray[Any]]) -> tuple[WrittenObject, ...]:
        """Put a block in its place."""
        place = self.blocks[index].slices_in(self.blocks.extent)
        for name, block in arrays.items():
            shape = (*block.shape[:-2], *self.blocks.extent.shape)
            whole = self.arrays.setdefault(name, np.full(shape, 255, np.uint8))
            whole[..., *place] = block
        return tuple(
            WrittenObject(
                array=name, size=block.nbytes, checksum=int.from_bytes(sha256(block.tobytes()).digest()[:8], "little")
            )
            for name, block in arrays.items()
        )

    def cut(self, name: str, extent: Extent) -> NDArray[np.uint8]:
        """Pixels of ``extent``, for comparing runs with other blocks."""
        return self.arrays[name][..., *extent.slices_in(self.blocks.extent)]
