"""Small series and cubes with every trap in them: for the tests of cubes and of alignment."""

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from landweave.aligning.groups import AlignGroup
from landweave.aligning.run import CubeSetup, run_align
from landweave.core.errors import ReadError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.timeseries import Observation, PixelClass
from landweave.engine.inline import InlineEngine
from landweave.store.cubes.sources import source_of
from landweave.store.cubes.store import open_cube_store
from tests.helpers.memory import ArraySeries, ArraySource

TILE, CHUNK, DATES = 32, 16, 3
BANDS = ("B2", "B3", "B8A")
DAYS = ("2021-01-04", "2021-02-08", "2021-03-02", "2021-04-11", "2022-01-09", "2022-05-20", "2020-06-30")
"""In order of arrival; the last to arrive is older than all."""


def grid(down=2, across=3, resolution=Fraction(256, 25)) -> Grid:
    """Whole tiles near Nîmes on the 10.24 m pixel, north of the CRS origin."""
    top, left = -613_600 // TILE * TILE, 78_300 // TILE * TILE
    extent = Extent.of((top, top + down * TILE), (left, left + across * TILE))
    return Grid(crs="EPSG:2154", resolution=resolution, extent=extent)


def step(day: str, orbit=8) -> Observation:
    """A pass in the forenoon of ``day``, of two scenes."""
    time = np.datetime64(f"{day}T10:50:31", "s")
    scenes = [f"S2_{tile}_{day}" for tile in ("31TFJ", "31TFK")]
    return Observation(
        datatake_id=f"{day}_R{orbit:03}", time=time, provenance={"scenes": scenes, "baseline": "04.00", "orbit": orbit}
    )


def series(days=DAYS, *, bands=BANDS, where=None, seed=7, **changes) -> ArraySeries:
    """Dates whose pixels are those of their day, whatever other dates there are.

    Every state occurs; the eastern tile is never acquired, the second date in the north-western tile neither.
    """
    days = sorted(days)
    pairs = [_date(day, bands, where or grid(), seed) for day in days]
    values, state = (np.stack(part) for part in zip(*pairs, strict=True))
    observations = tuple(step(day) for day in days)
    return ArraySeries(
        bands=bands, grid=where or grid(), values=values, pixel_class=state, observations=observations, **changes
    )


def _date(day, bands, where, seed):
    rng = np.random.default_rng([seed, int(np.datetime64(day).astype(int))])
    state = rng.choice(np.arange(1, 6, dtype=np.uint8), size=where.shape)
    state[:CHUNK, :CHUNK] = PixelClass.NOT_ACQUIRED
    state[:, 2 * TILE :] = PixelClass.NOT_ACQUIRED
    if day == DAYS[1]:
        state[:TILE, :TILE] = PixelClass.NOT_ACQUIRED
    measured = np.isin(state, [each for each in PixelClass if each.measured])
    values = rng.integers(1, 12_000, (len(bands), *where.shape)).astype(np.uint16)
    return values * measured, state


def raster(seed=3, resolution=Fraction(8, 5)) -> ArraySource:
    """A SPOT image of float32 with a hole, on a grid of its own."""
    where, rng = grid(resolution=resolution), np.random.default_rng(seed)
    values = rng.normal(size=(2, *where.shape)).astype(np.float32)
    valid = rng.random(where.shape) > 0.2
    valid[:TILE, :TILE] = False
    return ArraySource(modality="SPOT_RGBI", bands=("R", "NIR"), grid=where, values=values * valid, valid=valid)


def part(source, **changes) -> AlignGroup:
    """``source`` in small tiles and time shards."""
    settings = {"modality": source.modality, "grid": source.grid, "bands": source.bands, **changes}
    return AlignGroup(source=source, **{"tile": TILE, "chunk": CHUNK, "time_shard": DATES, **settings})


def align(target, *sources, area=None, **changes):
    """All of ``sources`` in the cube, in this process."""
    setup = CubeSetup(target=target, groups=tuple(part(source) for source in sources), area=area)
    return run_align(setup, engine=InlineEngine(), **changes)


def aligned(target, modality="SENTINEL2_TS"):
    """What the cube has of ``modality``, as a source."""
    return source_of(open_cube_store(target).group(modality))


def objects(target, prefix="SENTINEL2_TS") -> dict[str, bytes]:
    """Every object of pixels, by name."""
    names = [f"{prefix}/{name}/c/" for name in ("band_data", "pixel_class", "valid")]
    return {name: target.get(name) for name in target.list(prefix) if name.startswith(tuple(names))}


@dataclass(frozen=True, kw_only=True)
class Spoilt(ArraySeries):
    """A series some of whose dates cannot be read over a tile."""

    trouble: frozenset[tuple[str, int]] = field(default_factory=frozenset)

    def read(self, grid, bands, observations):
        """The pixels, or an error that names the scene."""
        column = (grid.extent.x.start - self.grid.extent.x.start) // TILE
        for number in observations:
            if (self.observations[number].datatake_id, column) in self.trouble:
                raise ReadError(f"scene of {self.observations[number].datatake_id} ends early")
        return super().read(grid, bands, observations)

    @classmethod
    def of(cls, source: ArraySeries, *trouble: tuple[str, int]) -> "Spoilt":
        """``source`` with trouble at ``(key, column of tiles)``."""
        held = {name: getattr(source, name) for name in source.__dataclass_fields__ if name != "trouble"}
        return cls(**held, trouble=frozenset(trouble))

    def mended(self) -> "Spoilt":
        """The same without trouble."""
        return replace(self, trouble=frozenset())
