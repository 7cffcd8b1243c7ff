"""A small sample of every input of a map, compared with what the model was trained on: before anything is mapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.errors import InputError, ReadError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent, Span
from landweave.core.modalities import ELEVATION_BANDS
from landweave.core.protocols import RasterSource, has_dates
from landweave.core.tables import Rows
from landweave.core.timeseries import measured
from landweave.core.words import bullets
from landweave.mapping.inputs import MapInput, own_pixels
from landweave.mapping.job import MapJob
from landweave.models.cards.trained_values import Values
from landweave.sources.checksums import without_checksums
from landweave.sources.mosaic.elevation import ElevationSource
from landweave.sources.mosaic.source import MosaicSource

SIDE = 64
"""Pixels a side of a sampled window: a block or two of a tiled file."""

WINDOWS, ROUNDS = 8, 3
"""Windows read at once, and how often others are tried where most hold no measurement."""

WIDE_M = 1000
"""Ground over which a sample is spread that no one tower, roof or quarry fills."""

DATES = 4
"""Of a series, spread over it; every window is read on one of them, and other windows on others."""


@dataclass(frozen=True, kw_only=True)
class ValueReport:
    """What the samples of all inputs say.

    Attributes
    ----------
    rows
        One for each input, of all its bands.
    samples
        What was found of every band, and what is known of it from the training.
    notes
        What a person should know.
    """

    rows: Rows = ()
    samples: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def check_values(job: MapJob) -> ValueReport:
    """Sampled values of every input beside those of the training. Always the same windows are read of a map.

    Raises
    ------
    InputError
        When values cannot be of the quantity, unit or type that the model was trained on, and the input does not say
        that they are accepted; of all inputs in one message.
    """
    rows, samples = list[tuple[str, str]](), dict[str, str]()
    notes, refused = list[str](), list[str]()
    for name, item in job.inputs.items():
        values, spread, failure = _sample(job, item)
        if not values:
            notes.append(f"{name}: its values are not compared with the training: {failure}")
            continue
        limited = isinstance(item.source, ElevationSource) and item.source.limited
        rows.append((f"{name}.values", _joined_row(item, values)))
        samples |= {f"{name}.values.{band}": _row(item, band, values) for band in values}
        for each in item.trained.findings(values, item.source.dtype, limited=limited, wide=spread >= WIDE_M):
            listed = refused if each.refused and not item.accept_range else notes
            listed.append(f"{name}: {each.text}")
    if refused:
        names = dict.fromkeys(text.partition(":")[0] for text in refused)
        keys = " and ".join(f"inputs.{name}.accept_range: true" for name in names)
        heights = any(isinstance(job.inputs[name].source, ElevationSource) for name in names)
        beyond = ", and heights that no ground has: state the nodata of their files first" if heights else ""
        raise InputError(
            f"Values are not of the kind that the model was trained on:{bullets(refused)}"
            f"\nGive them as in training; {keys} (or accept_range of `predict`) feeds them all the same{beyond}."
        )
    return ValueReport(rows=rows, samples=samples, notes=tuple(notes))


def _joined_row(item: MapInput, values: Values) -> str:
    """The medians of all bands, each with the mean of the training where it is known."""
    means = {band: item.trained.mean(band) for band in values}
    medians = [
        f"{band} {np.median(plane):g}{f' ({means[band]})' if means[band] else ''}" for band, plane in values.items()
    ]
    planes = np.stack(list(values.values()))
    title = "medians (means of the training)" if any(means.values()) else "medians"
    return f"{title}: {', '.join(medians)}; {planes.min():g} to {planes.max():g} in {planes.shape[1]:,} pixels"


def _row(item: MapInput, band: str, values: Values) -> str:
    plane, trained = values[band], item.trained.summary(band)
    found = f"median {np.median(plane):g}, {plane.min():g} to {plane.max():g} in {plane.size:,} pixels"
    return f"{found}; trained on {trained}" if trained else found


def _sample(job: MapJob, item: MapInput) -> tuple[Values, float, str]:
    """Values by band where they are measured, and the metres over which they are spread; none, and why."""
    bands = tuple(dict.fromkeys((*item.bands, *(name for name in ELEVATION_BANDS if name in item.source.bands))))
    windows, failure = sampled_windows(job, item), "no sampled pixel is measured"
    planes, grids = list[NDArray[Any]](), list[Grid]()
    with ThreadPoolExecutor(WINDOWS) as pool:
        for _ in range(ROUNDS):
            some = list(islice(windows, WINDOWS))
            found = list(pool.map(lambda window: _read(item, bands, *window), some))
            failures = [each for each in found if isinstance(each, str)]
            failure = next(iter(failures), failure)
            for each, (_, grid) in zip(found, some, strict=True):
                if not isinstance(each, str) and each.size:
                    planes.append(each)
                    grids.append(grid)
            if len(planes) > WINDOWS // 2 or len(failures) > WINDOWS // 2 or len(found) < WINDOWS:
                break
    if not planes:
        return {}, 0.0, failure
    joined = np.concatenate(planes, axis=1).astype(np.float64)
    return dict(zip(bands, joined, strict=True)), _spread(grids), ""


def _spread(grids: Sequence[Grid]) -> float:
    """Metres from the first to the last row or column of the windows."""
    bounds = np.array([grid.bounds for grid in grids])
    return float((bounds[:, 2:].max(axis=0) - bounds[:, :2].min(axis=0)).max())


def _read(item: MapInput, bands: Sequence[str], number: int, grid: Grid) -> NDArray[Any] | str:
    """Measured values ``(band, pixel)`` of one window; the reason where a file cannot be read."""
    source = item.source
    try:
        with without_checksums():  # for one window no file is read whole
            if has_dates(source):
                count = len(item.indices)
                date = item.indices[(number * count // DATES + number // WINDOWS) % count]
                series = source.read(grid, bands, [date])
                values, valid = series.values[0], measured(series.pixel_class[0])
            else:
                raster = _as_delivered(source).read(grid, bands)
                values, valid = raster.values, raster.valid
        return np.asarray(values[:, valid])
    except ReadError as error:  # its block will fail, with the reason in the ledger
        return str(error)


def sampled_windows(job: MapJob, item: MapInput) -> Iterator[tuple[int, Grid]]:
    """Numbered windows in the area that files touch, spread over it, each once."""
    own, source = own_pixels(item, job.grid), item.source
    named = not has_dates(source) and bool(source.files(own))

    @cache
    def holds(extent: Extent) -> bool:
        grid = own.with_extent(extent)
        inside = job.area is None or bool(job.area.touched(grid, [extent.y], [extent.x]).any())
        return inside and (not named or bool(source.files(grid)))

    seen = set[Extent]()
    for number in range(WINDOWS * ROUNDS if not has_dates(source) or item.indices else 0):
        extent = own.extent
        turns = [number, number // 4, *np.random.default_rng(number).integers(0, 4, 64).tolist()]
        while max(extent.shape) > SIDE and holds(extent):
            parts, turn = _quarters(extent), turns.pop(0)
            ordered = (parts[(turn + step) % len(parts)] for step in range(len(parts)))
            extent = next(filter(holds, ordered), Extent.of((0, 0), (0, 0)))
        if 0 < max(extent.shape) <= SIDE and (extent not in seen or has_dates(source)):
            seen.add(extent)
            yield number, own.with_extent(extent)


def _quarters(extent: Extent) -> list[Extent]:
    return [Extent(y, x) for y in _halves(extent.y) for x in _halves(extent.x)]


def _halves(span: Span) -> list[Span]:
    middle = (span.start + span.stop) // 2
    return [span] if span.size <= SIDE else [Span(span.start, middle), Span(middle, span.stop)]


def _as_delivered(source: RasterSource) -> RasterSource:
    """The source with impossible heights as data, and dark tile edges: to find these takes a pass over the tile."""
    if isinstance(source, ElevationSource):
        return replace(source, dsm=_with_all(source.dsm), dtm=_with_all(source.dtm))
    return _with_all(source) if isinstance(source, MosaicSource) else source


def _with_all(source: MosaicSource) -> MosaicSource:
    spec = replace(source.index.spec, nodata_border=False, limits=None)
    return replace(source, index=replace(source.index, spec=spec))
