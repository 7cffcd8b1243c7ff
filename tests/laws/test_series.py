"""Laws of dates in a map: chosen window by window, fed with their own days, whatever is read together."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from landweave.core.blending import Blend, Blending
from landweave.core.errors import ConfigError
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent, Lattice
from landweave.core.legend import NODATA
from landweave.core.protocols import BlockState, InputBatch
from landweave.core.pyramid import modes
from landweave.core.timeseries import (
    DateFallback,
    DatesRule,
    MaxCloudFraction,
    MinClearFraction,
    Observation,
    PixelClass,
)
from landweave.mapping.inputs import MapInput
from landweave.mapping.job import MapJob
from landweave.store.maps.overviews import create_overviews
from landweave.store.maps.store import create_map
from landweave.store.maps.template import MapTemplate
from landweave.store.maps.views import open_map
from landweave.store.objects import Target
from tests.core.test_timeseries import ladder
from tests.helpers.memory import (
    ArraySeries,
    ArraySource,
    ArrayStore,
    DayErrorModel,
    DaysModel,
    EchoModel,
    days_code,
    gray_legend,
    one_hot,
)

BASE = Grid.from_bounds((700000, 6600000, 700080, 6600060), crs="EPSG:2154", resolution=0.2)
"""300 rows and 400 columns."""

NESTED = Fraction(64, 5)
"""Base pixels a side of a pixel of the nested series: 64 of them are 5 of it, as 256 px of 0.2 m are 5 of 10.24 m."""

CENTRED = 10

CLEAR = DatesRule(filter=MinClearFraction(min_clear_fraction=0.8))
SPOILT = DatesRule(filter=MaxCloudFraction(max_cloud_fraction=0.5), position="before")


def own_grid(factor: Fraction | int, around: int = 20) -> Grid:
    """Pixels of a series over the base pixels and somewhat beyond."""
    extent = BASE.extent.coarsen(factor).grow(around)
    return replace(BASE, resolution=BASE.resolution * factor, extent=extent)


def steps_of(*days: str) -> tuple[Observation, ...]:
    return tuple(Observation(datatake_id=day, time=np.datetime64(f"{day}T10:50:31")) for day in days)


YEAR = steps_of(*(str(np.datetime64("2021-01-02") + 12 * number) for number in range(30)))


def offset_of(observation: Observation, rule: DatesRule) -> int:
    """By the calendar, with nothing of ours."""
    day = date.fromisoformat(str(observation.time)[:10])
    month, number = map(int, rule.reference.split("-"))
    after = (day - date(day.year, month, number)).days
    return after if rule.position == "after" else -after


def clouds_over(grid: Grid, dates: int, seed: int = 0) -> NDArray[np.uint8]:
    """States in patches of a few pixels, other ones on every date, denser to the east.

    In the north-east corner snow never melts, in the south-east it is never clear, in the south-west no swath passes.
    """
    rng = np.random.default_rng(seed)
    height, width = grid.shape
    patches = rng.random((dates, -(-height // 4), -(-width // 4))).repeat(4, 1).repeat(4, 2)[:, :height, :width]
    state = np.full((dates, height, width), PixelClass.CLEAR, np.uint8)
    often = np.linspace(0.02, 0.5, width)
    state[patches < often] = PixelClass.CLOUD
    state[patches < often * 0.3] = PixelClass.SNOW
    state[patches > 0.98] = PixelClass.SHADOW
    state[3:4, :, : width // 2] = PixelClass.NOT_ACQUIRED
    corner = int(Fraction(1, 5) / grid.resolution * 150) + 20
    state[:, :corner, -corner:] = PixelClass.SNOW
    state[:, -corner:, -corner:] = np.where(patches > 0.6, PixelClass.CLEAR, PixelClass.CLOUD)[:, -corner:, -corner:]
    state[:, -corner:, :corner] = PixelClass.NOT_ACQUIRED
    return state


def series_of(factor: Fraction | int, rule: DatesRule, observations=YEAR, **changes) -> ArraySeries:
    """Every pixel holds the day offset of its date."""
    grid = own_grid(factor)
    offsets = np.array([offset_of(observation, rule) for observation in observations], np.int16)
    values = np.broadcast_to(offsets[:, None, None, None], (len(observations), 1, *grid.shape)).copy()
    settings = {"pixel_class": clouds_over(grid, len(observations)), "observations": observations, **changes}
    return ArraySeries(bands=("B8",), grid=grid, values=values, **settings)


AERIAL = MapInput(
    source=ArraySource(bands=("R",), grid=BASE, values=np.zeros((1, *BASE.shape), np.uint8)), bands=("R",)
)


def job(model, item: MapInput | None = None, *, extent=BASE.extent, block=128, stride=64, window=128, **changes):
    blocks = Blocks.covering(extent, block)
    factor = changes.pop("factor", 1)
    inputs = changes.pop("inputs", {"AERIAL_RGBI": AERIAL, "SENTINEL2_TS": item})
    unit = changes.pop("unit", 64)
    return MapJob(
        key="series",
        grid=BASE.with_extent(blocks.extent),
        blocks=blocks,
        factor=factor,
        blending=Blending(Lattice(window=window, stride=stride, unit=unit), changes.pop("blend", Blend.COSINE)),
        model=model,
        inputs=inputs,
        legend=gray_legend(model.classes),
        area=changes.pop("area", None),
        store=ArrayStore(blocks=blocks.coarsen(factor)),
        arrays=changes.pop("arrays", ("landcover", "confidence")),
        **changes,
    )


def run(mapping: MapJob):
    function = mapping.open()
    for index in mapping.blocks:
        assert function(index).state.finished
    return mapping.store


def footprint_of(start: int, window: int, item: MapInput) -> tuple[int, int]:
    """First pixel and number of pixels on one axis, in fractions."""
    if item.size is None:
        return int(Fraction(start) / item.factor), int(Fraction(window) / item.factor)
    middle = start + Fraction(window, 2)
    near = range(int(middle / item.factor) - 2, int(middle / item.factor) + 3)
    nearest = min(near, key=lambda pixel: (abs((pixel + Fraction(1, 2)) * item.factor - middle), -pixel))
    return nearest - item.size // 2, item.size


def states_of(item: MapInput, top: int, left: int, window: int = 128) -> NDArray[np.uint8]:
    """What the footprint of one window saw, date by date."""
    (row, height), (column, width) = (footprint_of(start, window, item) for start in (top, left))
    outer = item.source.grid.extent
    y, x = row - outer.y.start, column - outer.x.start
    assert min(y, x) >= 0
    state = item.source.pixel_class[:, y : y + height, x : x + width]
    assert state.shape[1:] == (height, width)
    return state


NEST = {"bands": ("B8",), "factor": NESTED, "required": False}
CENTRE = {"bands": ("B8",), "factor": CENTRED, "size": 16, "required": False}
INPUTS = [(NEST, CLEAR), (NEST, SPOILT), (NEST, DatesRule()), (CENTRE, CLEAR), (CENTRE, SPOILT)]


def series_input(settings: Mapping, rule: DatesRule, **changes) -> MapInput:
    return MapInput(**{"source": series_of(settings["factor"], rule), "dates": rule, **settings, **changes})


@pytest.mark.parametrize(("settings", "rule"), INPUTS)
def test_images_and_days_are_one_selection(settings: Mapping, rule: DatesRule) -> None:
    """Pixels hold the day offset of their date: an image with another one's day would show."""
    store = run(job(DayErrorModel(classes=8, window=128), series_input(settings, rule)))
    assert (store.cut("landcover", BASE.extent) == 0).all()
    assert (store.cut("confidence", BASE.extent) == 250).all()


@pytest.mark.parametrize(("block", "batch_size"), [(64, 1), (192, 3)])
@pytest.mark.parametrize(("settings", "rule"), INPUTS)
def test_each_window_is_given_its_own_dates(settings, rule, block: int, batch_size: int) -> None:
    """Windows side by side, each answering for its dates, against a list made window by window with plain loops."""
    item = series_input(settings, rule)
    model = DaysModel(classes=60, window=128, batch_size=batch_size)
    store = run(job(model, item, block=block, stride=128, blend=Blend.LINEAR))
    found, counts = store.cut("landcover", BASE.extent), set()
    for top in range(BASE.extent.y.start // 128 * 128, BASE.extent.y.stop, 128):
        for left in range(BASE.extent.x.start // 128 * 128, BASE.extent.x.stop, 128):
            kept, _ = ladder(states_of(item, top, left), rule.filter)
            part = Extent.of((top, top + 128), (left, left + 128)).intersect(BASE.extent)
            expected = days_code([offset_of(YEAR[index], rule) for index in kept], 60)
            assert (found[part.slices_in(BASE.extent)] == expected).all()
            counts.add(len(kept))
    assert len(counts) > (4 if rule.filter else 2)
    assert 0 in counts


@pytest.mark.parametrize(("blend", "factor"), [(Blend.COSINE, 1), (Blend.CROP, 1), (Blend.COSINE, 4)])
def test_the_worst_rung_of_a_pixels_windows_is_a_layer(blend: Blend, factor: int) -> None:
    """Each window is laid down pixel by pixel where it has weight; radar, unfiltered, has no part in it."""
    item = series_input(NEST, CLEAR)
    nowhere = np.zeros((len(YEAR), *own_grid(CENTRED).shape), np.uint8)
    radar = series_input(CENTRE, DatesRule(), source=series_of(CENTRED, DatesRule(), pixel_class=nowhere))
    inputs = {"AERIAL_RGBI": AERIAL, "SENTINEL2_TS": item, "SENTINEL1-ASC_TS": radar}
    arrays = ("landcover", "date_fallback")
    mapping = job(DaysModel(classes=50, window=128), inputs=inputs, blend=blend, arrays=arrays, factor=factor)
    store = run(mapping)
    whole = mapping.blocks.extent
    expected = np.zeros(whole.shape, np.uint8)
    weights = np.outer(mapping.blending.weights, mapping.blending.weights)
    for window in mapping.blending.lattice.windows(whole):
        inside = window.intersect(whole)
        weighted = weights[inside.slices_in(window)] > 0
        if not (weighted.any() and window.intersect(BASE.extent).size):
            continue
        _, date_fallback = ladder(states_of(item, window.y.start, window.x.start), CLEAR.filter)
        here = expected[inside.slices_in(whole)]
        here[weighted] = np.maximum(here[weighted], date_fallback)
    height, width = whole.shape
    cells = expected.reshape(height // factor, factor, width // factor, factor).max((1, 3))
    covered = store.arrays["landcover"] != NODATA
    assert (store.arrays["date_fallback"][~covered] == NODATA).all()
    np.testing.assert_array_equal(store.arrays["date_fallback"][covered], cells[covered])
    assert set(np.unique(cells[covered])) == {0, 1, 2, 3}


def test_of_two_filtered_series_the_lower_rung_counts() -> None:
    """Windows side by side: each input goes down its own ladder, over its own footprint and by its own rule."""
    items = {"SENTINEL2_TS": series_input(NEST, CLEAR), "SENTINEL1-ASC_TS": series_input(CENTRE, SPOILT)}
    inputs = {"AERIAL_RGBI": AERIAL, **items}
    settings = {"stride": 128, "blend": Blend.LINEAR, "arrays": ("landcover", "date_fallback")}
    store = run(job(DaysModel(classes=5, window=128), inputs=inputs, **settings))
    found, pairs = store.cut("date_fallback", BASE.extent), set()
    for top in range(BASE.extent.y.start // 128 * 128, BASE.extent.y.stop, 128):
        for left in range(BASE.extent.x.start // 128 * 128, BASE.extent.x.stop, 128):
            date_fallbacks = [ladder(states_of(item, top, left), item.dates.filter)[1] for item in items.values()]
            part = Extent.of((top, top + 128), (left, left + 128)).intersect(BASE.extent)
            assert (found[part.slices_in(BASE.extent)] == max(date_fallbacks)).all()
            pairs.add(tuple(date_fallbacks))
    assert any(first != second for first, second in pairs)


def test_the_rung_is_a_layer_of_the_store(tmp_path: Path) -> None:
    mapping = job(DaysModel(classes=5, window=128), series_input(NEST, CLEAR), arrays=("landcover", "date_fallback"))
    template = MapTemplate(
        grid=mapping.grid, blocks=mapping.blocks, legend=mapping.legend, confidence=False, date_fallback=True, chunk=64
    )
    store = create_map(Target.parse(tmp_path / "map.zarr"), template)
    kept = run(mapping).arrays["date_fallback"]
    run(replace(mapping, store=store))
    for overview in create_overviews(store):
        fill = overview.open()
        assert all(fill(index).state.finished for index in overview.blocks)
    view = open_map(store.target)
    assert list(view.data_vars) == ["landcover", "date_fallback"]
    date_fallback = view["date_fallback"]
    np.testing.assert_array_equal(date_fallback.values, kept)
    assert date_fallback.attrs["flag_values"] == list(DateFallback)
    assert date_fallback.attrs["flag_meanings"].split() == ["passed", "passed_but_for_clouds", "clearest", "absent"]
    assert date_fallback.attrs["_FillValue"] == NODATA
    np.testing.assert_array_equal(open_map(store.target, level=1)["date_fallback"].values, modes(kept, 1)[0])


@dataclass(frozen=True, kw_only=True)
class PlaceModel(EchoModel):
    """Answers 1 where a centred series that holds its own row and column is not the one around its window, else 0.

    A window is known by the aerial image, which holds base rows and columns.
    """

    classes: int = 2
    item: MapInput
    windows: set[tuple[int, int]] = field(default_factory=set, compare=False)

    def predict(self, batch: Mapping[str, InputBatch]) -> NDArray[np.float32]:
        aerial, around = batch["AERIAL_RGBI"].values, batch["SENTINEL2_TS"].values
        wrong = np.zeros(aerial[:, 0].shape, np.int64)
        for place, image in enumerate(aerial):
            starts, size = (int(image[0, 0, 0]), int(image[1, 0, 0])), image.shape[-1]
            (row, height), (column, width) = (footprint_of(start, size, self.item) for start in starts)
            rows, columns = np.meshgrid(np.arange(row, row + height), np.arange(column, column + width), indexing="ij")
            wrong[place] = not np.array_equal(around[place, 0], np.stack([rows, columns]))
            self.windows.add(starts)
        return one_hot(wrong, 2)


def coordinates(extent: Extent) -> NDArray[np.int32]:
    y, x = np.arange(extent.y.start, extent.y.stop), np.arange(extent.x.start, extent.x.stop)
    return np.stack(np.meshgrid(y, x, indexing="ij")).astype(np.int32)


@pytest.mark.parametrize(
    ("factor", "size", "window", "stride"),
    [(10, 16, 40, 24), (Fraction(50, 7), 9, 33, 20), (3, 40, 24, 17), (Fraction(7, 3), 1, 31, 31)],
)
def test_a_centred_input_is_cut_to_the_pixel(factor, size: int, window: int, stride: int) -> None:
    ground, grid = BASE.with_extent(BASE.extent.grow(2 * window)), own_grid(factor, around=90)
    aerial = ArraySource(bands=("y", "x"), grid=ground, values=coordinates(ground.extent))
    around = ArraySeries(bands=("y", "x"), grid=grid, values=coordinates(grid.extent)[None], observations=YEAR[:1])
    item = MapInput(source=around, bands=("y", "x"), factor=factor, size=size)
    inputs = {"AERIAL_RGBI": MapInput(source=aerial, bands=("y", "x")), "SENTINEL2_TS": item}
    model = PlaceModel(item=item)
    store = run(job(model, inputs=inputs, block=60, window=window, stride=stride, unit=1, blend=Blend.LINEAR))
    assert len(model.windows) > 100
    assert (store.cut("landcover", BASE.extent) == 0).all()
    assert (store.cut("confidence", BASE.extent) == 250).all()
    moved = replace(model, item=replace(item, size=size + 2))
    assert (run(replace(job(moved, inputs=inputs, window=40, stride=40, unit=1))).arrays["landcover"] == 1).any()


def test_a_centred_image_without_dates_is_cut_the_same() -> None:
    grid = own_grid(CENTRED)
    source = ArraySource(bands=("y", "x"), grid=grid, values=coordinates(grid.extent))
    item = MapInput(source=source, bands=("y", "x"), factor=CENTRED, size=16)
    mapping = job(EchoModel(classes=2), inputs={"SPOT_RGBI": item})
    top, left = BASE.extent.y.start + 3, BASE.extent.x.start + 101
    batch = mapping.window(Extent.of((top, top + 128), (left, left + 128)))["SPOT_RGBI"]
    twin = MapInput(source=series_of(CENTRED, CLEAR), bands=("B8",), factor=CENTRED, size=16)
    (row, _), (column, _) = (footprint_of(start, 128, twin) for start in (top, left))
    assert batch.values.shape == (1, 2, 16, 16)
    assert batch.values[0, :, 0, 0].tolist() == [row, column]
    assert batch.values[0, :, -1, -1].tolist() == [row + 15, column + 15]


@pytest.mark.parametrize("settings", [NEST, CENTRE])
def test_a_required_series_answers_where_some_date_measured(settings: Mapping) -> None:
    """Judged by the pixel of the series that holds a base pixel's centre."""
    grid = own_grid(settings["factor"])
    state = np.random.default_rng(1).choice([0, 0, 0, 0, 1, 2, 5], (3, *grid.shape)).astype(np.uint8)
    source = series_of(settings["factor"], CLEAR, YEAR[:3], pixel_class=state)
    item = MapInput(**{"source": source, "dates": CLEAR, **settings, "required": True})
    found = run(job(DayErrorModel(classes=2, window=128), item)).cut("landcover", BASE.extent)
    seen = np.isin(state, [1, 2]).any(0)
    rows, columns = (
        [int((pixel + Fraction(1, 2)) // item.factor) - outer.start for pixel in range(span.start, span.stop)]
        for span, outer in ((BASE.extent.y, grid.extent.y), (BASE.extent.x, grid.extent.x))
    )
    assert 0.2 < seen.mean() < 0.8
    np.testing.assert_array_equal(found != NODATA, seen[np.ix_(rows, columns)])


def test_an_absent_series_is_one_date_that_measured_nothing() -> None:
    """The same as the predictor makes of an input that is not there at all."""
    item = series_input(NEST, CLEAR)
    item = replace(item, source=replace(item.source, pixel_class=np.zeros_like(item.source.pixel_class)))
    window = Extent.of((BASE.extent.y.start // 64 * 64,) * 2, (BASE.extent.x.start // 64 * 64,) * 2)
    window = Extent(window.y.grow(0, 128), window.x.grow(0, 128))
    given = job(DaysModel(classes=2, window=128), item).window(window)["SENTINEL2_TS"]
    assert given.values.shape == (1, 1, 1, 10, 10)
    assert not given.values.any()
    assert not given.valid.any()
    assert (given.days.tolist(), given.present.tolist()) == ([[0.0]], [[True]])


def test_a_year_without_dates() -> None:
    arrays = ("landcover", "date_fallback")
    item = series_input(NEST, CLEAR, year=1999)
    store = run(job(DaysModel(classes=60, window=128), item, arrays=arrays))
    assert (store.cut("landcover", BASE.extent) == days_code([], 60)).all()
    assert (store.cut("date_fallback", BASE.extent) == 3).all()
    optional = job(DaysModel(classes=60, window=128), item, arrays=arrays)
    counts = [optional.open()(index).counts for index in optional.blocks]
    assert all(each["absent SENTINEL2_TS"] == each["windows"] > 0 for each in counts)
    mapping = job(DaysModel(classes=60, window=128), replace(item, required=True), arrays=arrays)
    assert {mapping.open()(index).state for index in mapping.blocks} == {BlockState.NO_INPUT}


def test_dates_of_two_years_are_refused_and_one_may_be_chosen() -> None:
    observations = steps_of("2020-12-31", "2021-01-01", "2021-06-01", "2022-01-01")
    source = series_of(NESTED, DatesRule(), observations, pixel_class=None)
    with pytest.raises(ConfigError, match="SENTINEL2_TS has dates of 3 years, 2020 to 2022"):
        MapInput(source=source, **NEST)
    item = MapInput(source=source, year=2021, **NEST)
    mapping = job(DaysModel(classes=60, window=128), item)
    assert (run(mapping).cut("landcover", BASE.extent) == days_code([-134, 17], 60)).all()


@dataclass(frozen=True)
class WestAndEast:
    """Flown over in 2021 west of ``border`` (an easting), in 2022 east of it."""

    border: float
    years = (2021, 2022)
    meaning: Mapping = field(default_factory=dict)

    def year_of(self, grid: Grid) -> int:
        return 2021 if (grid.bounds[0] + grid.bounds[2]) / 2 < self.border else 2022


def test_the_year_may_differ_over_the_ground() -> None:
    """Pixels hold the year of their date; where one window alone answers, it is that of the window's centre."""
    observations = steps_of("2020-07-01", "2021-07-01", "2022-07-01", "2023-07-01")
    years = np.broadcast_to(np.arange(4, dtype=np.uint8)[:, None, None, None], (4, 1, *own_grid(NESTED).shape)).copy()
    source = ArraySeries(bands=("B8",), grid=own_grid(NESTED), values=years, observations=observations)
    border = BASE.bounds[0] + 31
    item = MapInput(source=source, bands=("B8",), factor=NESTED, dates=CLEAR, year=WestAndEast(border))
    assert item.indices == (1, 2)
    mapping = job(
        LastDateModel(classes=4, window=64), item, stride=64, window=64, block=64, extent=BASE.extent, blend=Blend.CROP
    )
    found = run(mapping).cut("landcover", BASE.extent)
    for window in mapping.blending.lattice.windows(BASE.extent):
        part = window.intersect(BASE.extent)
        wanted = 1 if (BASE.with_extent(window).bounds[0] + BASE.with_extent(window).bounds[2]) / 2 < border else 2
        assert (found[part.slices_in(BASE.extent)] == wanted).all()
    assert set(np.unique(found)) == {1, 2}


@dataclass(frozen=True, kw_only=True)
class LastDateModel(EchoModel):
    """Answers the value of the last real date at every pixel of the window, from its first pixel."""

    window: int

    def predict(self, batch: Mapping[str, InputBatch]) -> NDArray[np.float32]:
        """One-hot."""
        series = batch["SENTINEL2_TS"]
        assert (series.present.sum(1) == 1).all()  # one date of one year, and no other
        codes = series.values[:, 0, 0, 0, 0].astype(np.uint8)
        return one_hot(np.broadcast_to(codes[:, None, None], (len(codes), self.window, self.window)), self.classes)


def test_clouds_in_a_kept_date_are_fed_and_what_is_not_measured_is_not() -> None:
    grid = own_grid(NESTED)
    state = np.full((2, *grid.shape), PixelClass.CLEAR, np.uint8)
    state[0, ::7] = PixelClass.CLOUD
    state[0, :, ::20] = PixelClass.NODATA
    rule = DatesRule(filter=MinClearFraction(min_clear_fraction=0.6))
    item = MapInput(source=series_of(NESTED, rule, YEAR[:2], pixel_class=state), dates=rule, **NEST)
    top, left = BASE.extent.y.start // 64 * 64, BASE.extent.x.start // 64 * 64
    given = job(DaysModel(classes=2, window=128), item).window(Extent.of((top, top + 128), (left, left + 128)))
    given = given["SENTINEL2_TS"]
    np.testing.assert_array_equal(given.valid[0], states_of(item, top, left) != PixelClass.NODATA)
    assert not given.valid.all()
    assert given.values.dtype == np.int16
    assert given.present.all()


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_months_are_composed_from_the_windows_own_dates(statistic: str) -> None:
    """A month whose dates are all clouded, and one without any date, are left out: neither copied nor zero."""
    rule = DatesRule(filter=MinClearFraction(), composite="month", statistic=statistic)
    observations = steps_of("2021-01-03", "2021-01-13", "2021-01-23", "2021-02-02", "2021-04-03", "2021-04-28")
    grid = own_grid(NESTED)
    state = np.full((6, *grid.shape), PixelClass.CLEAR, np.uint8)
    state[3] = state[1] = PixelClass.CLOUD
    state[0, ::13, ::13] = PixelClass.CLOUD
    rng = np.random.default_rng(2)
    source = replace(
        series_of(NESTED, rule, observations, pixel_class=state),
        values=rng.integers(0, 9000, (6, 1, *grid.shape), np.int16),
    )
    item = MapInput(source=source, dates=rule, **NEST)
    top, left = BASE.extent.y.start // 64 * 64, BASE.extent.x.start // 64 * 64
    given = job(DaysModel(classes=2, window=128), item).window(Extent.of((top, top + 128), (left, left + 128)))
    given = given["SENTINEL2_TS"]
    assert given.days.tolist() == [[-120.0, -30.0]]
    assert given.present.tolist() == [[True, True]]
    assert given.values.dtype == np.float32
    (row, _), (column, _) = (footprint_of(start, 128, item) for start in (top, left))
    here = np.s_[row - grid.extent.y.start :, column - grid.extent.x.start :]
    of = {"mean": np.mean, "median": np.median}[statistic]
    for y, x in np.ndindex(10, 10):
        for place, dates in enumerate([(0, 2), (4, 5)]):
            clear = [source.values[date, 0][here][y, x] for date in dates if state[date][here][y, x] == 1]
            assert given.values[0, place, 0, y, x] == np.float32(of(np.array(clear, float)))


def test_clouds_alone_make_no_composite() -> None:
    """Without snow the ladder keeps the cloudy dates; of their clear pixels there are none to compose."""
    rule = DatesRule(filter=MinClearFraction(), composite="half-month")
    state = np.full((30, *own_grid(NESTED).shape), PixelClass.CLOUD, np.uint8)
    item = series_input(NEST, rule, source=series_of(NESTED, rule, pixel_class=state))
    store = run(job(DaysModel(classes=60, window=128), item, arrays=("landcover", "date_fallback")))
    assert (store.cut("landcover", BASE.extent) == days_code([], 60)).all()
    assert (store.cut("date_fallback", BASE.extent) == DateFallback.ABSENT).all()


@pytest.mark.parametrize(("block", "moved"), [(64, (0, 0)), (320, (1, 7)), (192, (33, 100))])
def test_maps_do_not_depend_on_block_or_area(block: int, moved: tuple[int, int]) -> None:
    arrays = ("landcover", "confidence", "probability", "date_fallback")
    inputs = {
        "AERIAL_RGBI": AERIAL,
        "SENTINEL2_TS": series_input(NEST, CLEAR),
        "SENTINEL1-ASC_TS": series_input(CENTRE, DatesRule(filter=SPOILT.filter, composite="half-month")),
    }
    model = DaysModel(classes=40, window=128)
    whole = run(job(model, inputs=inputs, arrays=arrays))
    y, x = BASE.extent.y, BASE.extent.x
    part = Extent.of((y.start + moved[0], y.stop - 20), (x.start + moved[1], x.stop - 31))
    other = run(job(replace(model, batch_size=3), inputs=inputs, arrays=arrays, extent=part, block=block))
    for name in arrays:
        np.testing.assert_array_equal(other.cut(name, part), whole.cut(name, part))


def test_each_input_is_read_once_a_block() -> None:
    reads: list[Extent] = []

    @dataclass(frozen=True, kw_only=True)
    class Watched(ArraySeries):
        def read(self, grid, bands, observations):
            reads.append(grid.extent)
            return super().read(grid, bands, observations)

    plain = series_of(CENTRED, CLEAR)
    source = Watched(
        **{name: getattr(plain, name) for name in ("bands", "grid", "values", "observations", "pixel_class")}
    )
    item = MapInput(source=source, dates=CLEAR, **CENTRE)
    mapping = job(DaysModel(classes=2, window=128), item)
    run(mapping)
    assert reads == [mapping.read_grid(item, mapping.blocks[index]).extent for index in mapping.blocks]


def test_a_repaired_date_makes_its_blocks_stale() -> None:
    item = series_input(CENTRE, CLEAR)
    mapping = job(DaysModel(classes=2, window=128), item)
    other = replace(mapping, inputs={**mapping.inputs, "SENTINEL2_TS": replace(item, source=_Repaired(item.source))})
    assert mapping.input_version((0, 0)) != other.input_version((0, 0))


class _Repaired:
    """A series whose scenes have another version."""

    def __init__(self, source: ArraySeries) -> None:
        self.source = source
        self.observations = source.observations
        self.modality = source.modality

    def files(self, grid: Grid):
        return tuple(replace(scene, version="1") for scene in self.source.files(grid))
