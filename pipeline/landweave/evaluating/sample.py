"""A stratified random sample of a map for photo-interpreters, and what comes back of it.

::

    count    pixels of each class, block by block
    draw     ranks among the pixels of a class, without replacement: the n-th pixel in the order of the blocks
    find     the pixels of these ranks, in the blocks that hold them
    write    GeoPackage: points to interpret, in random order and without the class of the map (it would sway them);
             the strata beside them; a chip of imagery for each point
    read     points with a reference, strata -> areas with intervals
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landweave.core.area_estimates import AreaEstimates, allocate, estimate
from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import HECTARE_M2, Grid
from landweave.core.lattice import BlockIndex, Extent
from landweave.core.legend import NODATA, Legend
from landweave.core.protocols import Engine, RasterSource
from landweave.core.tables import Rows, as_html, as_text, columns
from landweave.core.words import counted
from landweave.formats.chips import write_chips
from landweave.formats.hectares import check_areas
from landweave.formats.sample_file import CANNOT_TELL, SampleFile, SamplePoint, read_sample, write_sample
from landweave.jobs.gather import CountingJob, gather
from landweave.jobs.progress import Progress
from landweave.store.maps.store import MapStore

CHIP_M = 51.2
"""Side of a chip in metres: what an interpreter has to see around a pixel."""

FEW_POINTS = 30
"""Least points of a class for intervals that rest on the normal distribution; the paper draws 50 to 100."""

SAMPLE_COLUMNS = ("class", "hectares", "± 95 %", "on the map", "user's accuracy", "producer's accuracy")

Ranks = Mapping[BlockIndex, Mapping[int, NDArray[np.int64]]]
"""Which pixels of a class, in the order of a block's rows, by block and class."""


@dataclass(frozen=True, kw_only=True)
class SamplingRule:
    """How many points are drawn, and how.

    Attributes
    ----------
    size
        Points in all.
    minimum
        Of each class.
    seed
        The same seed draws the same points of the same map.

    Raises
    ------
    ConfigError
        When a class may get fewer than two points, or the seed is below 0.

    Examples
    --------
    >>> SamplingRule(size=2000, seed=7)
    SamplingRule(size=2000, minimum=50, seed=7)
    """

    size: int = 1000
    minimum: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        if self.minimum < 2 or self.size < self.minimum:
            raise ConfigError(
                f"A sample of {self.size} points, {self.minimum} of each class at least, was asked for: nothing can be "
                "said of the error of a class with fewer than 2, and there cannot be fewer in all."
            )
        if self.seed < 0:
            raise ConfigError(f"The seed of a sample is {self.seed}: a seed is a whole number from 0.")


def draw_sample(store: MapStore, rule: SamplingRule, engine: Engine, progress: Progress) -> SampleFile:
    """A stratified random sample of the pixels of a map; every pixel of a class is as probable as any other of it.

    Parameters
    ----------
    store
        The map.
    rule
        How many points.
    engine, progress
        Read the blocks.

    Raises
    ------
    InputError
        When the map has no class, or areas in its CRS are not those on the ground.
    """
    check_areas(store.grid)
    key = f"sample-{store.target}"
    counting = CountingJob(key, partial(_count_classes, store))
    counted = dict(gather(counting, engine, store.blocks, progress=progress))
    codes = [code for code in store.legend.codes if any(counts[code] for counts in counted.values())]
    if not codes:
        raise InputError(f"{store.target} has no pixel with a class: there is nothing to sample.")
    pixels = {code: int(sum(counts[code] for counts in counted.values())) for code in codes}
    rng = np.random.default_rng(rule.seed)
    ranks = _ranks(counted, allocate(pixels, rule.size, rule.minimum), rng)
    finding = CountingJob(f"{key}-find", partial(_find_ranks, store, ranks))
    places = [
        (code, *place)
        for _, by_code in gather(finding, engine, ranks, progress=progress)
        for code, found in by_code.items()
        for place in found.tolist()
    ]
    order = rng.permutation(len(places))  # strata mixed, so that none is interpreted by a tired eye alone
    points = tuple(_point(store, number, *places[place]) for number, place in enumerate(order.tolist(), 1))
    hectares = float(store.grid.pixel_m2 / HECTARE_M2)
    return SampleFile(
        points=points,
        areas={code: count * hectares for code, count in pixels.items()},
        pixels=pixels,
        legend=store.legend,
        crs=store.grid.crs,
        source=f"{store.target}, fingerprint {store.attrs.get('fingerprint', 'unknown')}, seed {rule.seed}",
    )


def _count_classes(store: MapStore, index: BlockIndex) -> tuple[int, NDArray[np.int64]]:
    """Pixels of a block, and those of each class."""
    classes = store.read("landcover", store.block(index))
    return classes.size, np.bincount(classes.ravel(), minlength=NODATA + 1)


def _find_ranks(store: MapStore, ranks: Ranks, index: BlockIndex) -> tuple[int, dict[int, NDArray[np.int64]]]:
    """Row and column of each rank among the pixels of a class in a block, counted from the anchor; no pixel counts."""
    extent = store.block(index)
    classes = store.read("landcover", extent)
    found = {}
    for code, wanted in ranks[index].items():
        rows, columns = np.divmod(np.flatnonzero(classes.ravel() == code)[wanted], classes.shape[1])
        found[code] = np.stack([rows + extent.y.start, columns + extent.x.start], axis=1)
    return 0, found


def _ranks(
    counted: Mapping[BlockIndex, NDArray[np.int64]], units: Mapping[int, int], rng: np.random.Generator
) -> dict[BlockIndex, dict[int, NDArray[np.int64]]]:
    """Ranks by block and class, drawn without replacement among all pixels of the class."""
    found: dict[BlockIndex, dict[int, NDArray[np.int64]]] = {}
    blocks = list(counted)
    for code, number in sorted(units.items()):
        ends = np.cumsum([counted[index][code] for index in blocks])
        drawn = np.sort(rng.choice(ends[-1], size=number, replace=False))
        holders = np.searchsorted(ends, drawn, side="right")
        for place in np.unique(holders).tolist():
            start = ends[place - 1] if place else 0
            found.setdefault(blocks[place], {})[code] = drawn[holders == place] - start
    return dict(sorted(found.items()))


def _point(store: MapStore, number: int, stratum: int, row: int, column: int) -> SamplePoint:
    x, y = store.grid.corner(row, column)
    half = store.grid.resolution / 2
    return SamplePoint(id=number, stratum=stratum, x=float(x + half), y=float(y - half), row=row, column=column)


def write_with_chips(
    sample: SampleFile, path: str | os.PathLike[str], grid: Grid, imagery: RasterSource | None, bands: Sequence[str]
) -> Path:
    """Write a sample as a GeoPackage, with a PNG of the imagery around each point in a folder beside it.

    Parameters
    ----------
    sample
        What is written.
    path
        File to write; none may be there.
    grid
        Pixels of the imagery; its extent plays no part.
    imagery
        Images of the ground, opened on ``grid``; None for no chips.
    bands
        The three that are shown as red, green and blue.
    """
    target = Path(path)
    folder = target.with_name(f"{target.stem}_chips")
    if imagery:  # before the sample: where that is, all of them are
        read = ((point, imagery.read(grid.with_extent(_around(grid, point)), bands)) for point in sample.points)
        write_chips(((f"{point.id:05d}.png", raster) for point, raster in read), folder, float(grid.resolution))
    return write_sample(sample, target, chips=folder.name if imagery else "")


def _around(grid: Grid, point: SamplePoint) -> Extent:
    """Pixels of a chip, the point in the middle one."""
    side = max(3, round(CHIP_M / float(grid.resolution)) // 2 * 2 + 1)
    at = grid.covering((point.x - 1e-6, point.y - 1e-6, point.x + 1e-6, point.y + 1e-6))
    top, left = at.y.start - side // 2, at.x.start - side // 2
    return Extent.of((top, top + side), (left, left + side))


@dataclass(frozen=True, kw_only=True)
class SampleEstimates:
    """Areas and accuracies that an interpreted sample gives, in hectares; shown as a table.

    Attributes
    ----------
    estimates
        The numbers.
    legend
        Names of the classes.
    notes
        What a person should know.
    """

    estimates: AreaEstimates
    legend: Legend
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> Rows:
        """The result as rows of a name and a value."""
        value, margin = self.estimates.accuracy
        units = int(self.estimates.counts.sum())
        return [
            ("sample", f"{counted(units, 'point')} in {len(self.estimates.strata)} strata"),
            ("overall accuracy", f"{value:.4f} ± {margin:.4f} (95 %)"),
            *(("note", note) for note in (*self.notes, *self._doubts())),
        ]

    def _named(self, codes: Iterable[int]) -> str:
        return ", ".join(f"{code} {self.legend.names.get(code, 'not in the map')}" for code in codes)

    def _doubts(self) -> Iterator[str]:
        """Where the intervals say less than they seem to."""
        found = self.estimates
        chance = [(code, row) for code, row in zip(found.strata, found.counts, strict=True) if code not in found.whole]
        if few := [code for code, row in chance if row.sum() < FEW_POINTS]:
            yield f"fewer than {FEW_POINTS} points of {self._named(few)}: do not trust the intervals that rest on them"
        if alike := [code for code, row in chance if row[found.codes.index(code)] in (0, row.sum())]:
            yield (
                f"all or none of the points of {self._named(alike)} are right: ± 0 is no certainty, n points can miss "
                "what covers 3 / n of a class"
            )
        if absent := [code for code, units in zip(found.codes, found.counts.sum(0), strict=True) if not units]:
            yield (
                f"no point has the reference {self._named(absent)}: the producer's accuracy is not known, and 0 "
                "hectares have no interval"
            )

    @cached_property
    def table(self) -> list[tuple[str, ...]]:
        """A row for each class, the first with the names of the columns."""
        found, names = self.estimates, self.legend.names
        users, producers = found.users_accuracy, found.producers_accuracy
        rows: list[tuple[str, ...]] = [SAMPLE_COLUMNS]
        for place, code in enumerate(found.codes):
            at = found.strata.index(code) if code in found.strata else None
            has_units = bool(found.counts[:, place].any())
            beside = (
                ("0.00", "", "")
                if at is None
                else (
                    f"{found.areas[at]:,.2f}",
                    f"{users[0][at]:.3f} ± {users[1][at]:.3f}",
                    f"{producers[0][at]:.3f} ± {producers[1][at]:.3f}" if has_units else "no reference point",
                )
            )
            area = (f"{found.estimated[place]:,.2f}", f"{found.margins[place]:,.2f}" if has_units else "unknown")
            rows.append((f"{code} {names.get(code, 'not in the map')}", *area, *beside))
        return rows

    @property
    def plain(self) -> dict[str, object]:
        """Every number as plain JSON values."""
        found = self.estimates
        producers, users = found.producers_accuracy, found.users_accuracy
        return {
            "strata": list(found.strata),
            "codes": list(found.codes),
            "counts": found.counts.tolist(),
            "mapped_ha": found.areas.tolist(),
            "estimated_ha": found.estimated.tolist(),
            "margin_95_ha": [
                margin if units else None
                for margin, units in zip(found.margins.tolist(), found.counts.sum(0), strict=True)
            ],
            "accuracy": found.accuracy,
            "users_accuracy": [each.tolist() for each in users],
            "producers_accuracy": [[None if np.isnan(v) else v for v in each.tolist()] for each in producers],
            "notes": [*self.notes, *self._doubts()],
        }

    def __str__(self) -> str:
        return f"{as_text(self.rows)}\n\n{columns(self.table)}"

    def _repr_html_(self) -> str:
        return as_html(self.rows) + as_html(self.table)


def estimate_areas(path: str | os.PathLike[str], *, accept_missing: bool = False) -> SampleEstimates:
    """Hectares of each class with their 95 % intervals, from a sample that was interpreted.

    Parameters
    ----------
    path
        The GeoPackage that `draw_sample` wrote, its column ``reference`` filled with codes of the legend; 255 where the
        interpreter cannot tell.
    accept_missing
        Whether points without a reference are left out as those are: strata then have fewer points.

    Raises
    ------
    InputError
        When points have no reference, a reference is no class, or a stratum has fewer than two points.
    """
    sample = read_sample(path)
    missing = [point.id for point in sample.points if point.reference is None]
    if missing and not accept_missing:
        listed = ", ".join(map(str, missing[:12])) + (", …" if len(missing) > 12 else "")
        raise InputError(
            f"{path}: {len(missing):,} of {counted(len(sample.points), 'point')} without a reference: {listed}. Fill "
            "the column with codes of the legend (255: cannot tell), or accept that they are missing."
        )
    known = {*sample.legend.codes, CANNOT_TELL, None}
    if odd := [(point.id, point.reference) for point in sample.points if point.reference not in known]:
        listed = ", ".join(f"{each.code} {each.name}" for each in sample.legend.classes)
        raise InputError(f"{path}: reference {odd[0][1]} of point {odd[0][0]} is no class: {listed}; 255 cannot tell.")
    interpreted = [(p.stratum, p.reference) for p in sample.points if p.reference not in (None, CANNOT_TELL)]
    pairs = [(stratum, reference) for stratum, reference in interpreted if reference is not None]
    without = len(sample.points) - len(pairs)
    notes = (
        (f"{without:,} of {counted(len(sample.points), 'point')} without a class of reference: left out",)
        if without
        else ()
    )
    return SampleEstimates(estimates=estimate(sample.areas, pairs, sample.pixels), legend=sample.legend, notes=notes)
