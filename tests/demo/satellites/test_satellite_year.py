"""A satellite year: the same for its seed, uniform over uniform ground, and of the season of its day."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import landweave as lw
from landweave_demo.landscape.land_cover import CLASS_CODES
from landweave_demo.landscape.land_use import CROP_CODES, SEASONAL
from landweave_demo.landscape.landscape import Landscape, make_landscape
from landweave_demo.satellites.clouds import CloudField, Sky, interpolate
from landweave_demo.satellites.phenology import OPTICAL_BANDS, SURFACE_TYPES, ParcelGrowth, backscatter_db, reflectance
from landweave_demo.satellites.pixel_centres import PixelCentres
from landweave_demo.satellites.satellite_year import YEAR, SatelliteYear, make_satellite_year

PixelClass = lw.PixelClass

DAYS = np.arange(0, 365, 1.0)


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    return make_landscape(9, height=768, width=768)


@pytest.fixture(scope="module")
def year(landscape: Landscape) -> SatelliteYear:
    return make_satellite_year(landscape, 4)


def centres(size: int = 14) -> PixelCentres:
    return PixelCentres.of_window(3.0, 5.0, size=size, pixel_m=10.24)


def under_clear_sky(year: SatelliteYear) -> SatelliteYear:
    clear = tuple(CloudField(sky=Sky.CLEAR, depth=np.full_like(each.depth, -9)) for each in year.clouds)
    return replace(year, clouds=clear)


def test_every_class_has_a_surface_type() -> None:
    assert set(SURFACE_TYPES) == set(CLASS_CODES)


def test_the_same_seed_gives_the_same_bits(landscape: Landscape, year: SatelliteYear) -> None:
    again = make_satellite_year(landscape, 4)
    assert again.optical_days == year.optical_days
    first, second = (each.optical(centres(), np.random.default_rng(1)) for each in (year, again))
    assert first.values.tobytes() == second.values.tobytes()
    assert first.pixel_class.tobytes() == second.pixel_class.tobytes()
    powers = (each.radar("ascending", centres(), np.random.default_rng(1)) for each in (year, again))
    assert next(powers).tobytes() == next(powers).tobytes()


def test_years_differ(landscape: Landscape, year: SatelliteYear) -> None:
    assert make_satellite_year(landscape, 5).optical_days != year.optical_days


def test_dates_ascend_within_the_year(year: SatelliteYear) -> None:
    for days in (year.optical_days, *year.radar_days.values()):
        assert 15 <= len(days) <= 30
        assert list(days) == sorted(set(days))
        assert {str(day)[:4] for day in days} == {str(YEAR)}


def test_shares_are_the_mean_of_the_truth_below(landscape: Landscape, year: SatelliteYear) -> None:
    """Against counting every pixel of 0.2 m: pixels of 10 m on whole ones, eight points a side against fifty."""
    shares = year._shares(PixelCentres.of_window(0, 0, size=12, pixel_m=10.0), len(year.reflectances))
    assert np.allclose(shares.sum(1), 1)
    codes = np.array([int(np.flatnonzero(year.surface_index == surface)[0]) % 64 for surface in range(shares.shape[1])])
    for code in np.unique(landscape.truth):
        counted = (landscape.truth[:600, :600] == code).reshape(12, 50, 12, 50).mean((1, 3)).ravel()
        assert np.abs(shares[:, codes == code].sum(1) - counted).mean() < 0.02


def test_a_coarser_pixel_is_the_mean_of_finer_ones(year: SatelliteYear) -> None:
    fine, coarse = (
        year._mixed(year.reflectances, PixelCentres.of_window(0, 0, size=size, pixel_m=pixel_m))
        for size, pixel_m in ((24, 5.0), (12, 10.0))
    )
    means = fine.reshape(*fine.shape[:2], 12, 2, 12, 2).mean((3, 5))
    assert np.corrcoef(means.ravel(), coarse.ravel())[0, 1] > 0.99


def test_nothing_hides_the_ground_under_a_clear_sky(year: SatelliteYear) -> None:
    observed = under_clear_sky(year).optical(centres(), np.random.default_rng(0))
    assert (observed.pixel_class == PixelClass.CLEAR).all()
    assert 0 < observed.values.max() < 6000


def test_clouds_are_bright_and_shadows_dark(year: SatelliteYear) -> None:
    whole = PixelCentres.of_window(0, 0, size=15, pixel_m=10.24)
    blue = OPTICAL_BANDS.index("B2")
    observed, bare = (each.optical(whole, np.random.default_rng(0)) for each in (year, under_clear_sky(year)))
    gain = observed.values[:, blue] - bare.values[:, blue]
    assert {PixelClass.CLEAR, PixelClass.CLOUD, PixelClass.SHADOW} <= set(np.unique(observed.pixel_class).tolist())
    assert np.median(gain[observed.pixel_class == PixelClass.CLOUD]) > 1500
    assert np.median(gain[observed.pixel_class == PixelClass.SHADOW]) < -100
    assert np.abs(gain[observed.pixel_class == PixelClass.CLEAR]).max() < 1


def test_crops_of_season_differ_in_their_season_only() -> None:
    """Greenness of each pair on the day of the flight and at its widest apart."""
    for one, other in (SEASONAL[:2], SEASONAL[2:]):
        ndvi = []
        for crop in (one, other):
            reflectances = reflectance(SURFACE_TYPES[CROP_CODES[crop]], ParcelGrowth(), DAYS)
            ndvi.append((reflectances[:, 6] - reflectances[:, 2]) / (reflectances[:, 6] + reflectances[:, 2]))
        apart = np.abs(ndvi[0] - ndvi[1])
        assert apart.max() > 0.4
        assert apart[195:200].max() < 0.1


def test_a_late_parcel_is_its_kind_later() -> None:
    wheat = SURFACE_TYPES[CROP_CODES["wheat"]]
    on_time, late = (reflectance(wheat, ParcelGrowth(late_days=days), DAYS) for days in (0.0, 7.0))
    assert np.allclose(late[7:300], on_time[:293])


def test_rain_brightens_bare_soil_and_not_a_wood() -> None:
    wet, dry = np.full(2, 2.0), np.zeros(2)
    day = np.array([20.0, 30.0])

    def backscatter(code: int, wetness_db: np.ndarray) -> np.ndarray:
        return backscatter_db(SURFACE_TYPES[code], ParcelGrowth(), day, wetness_db)

    gain = {code: (backscatter(code, wet) - backscatter(code, dry)).mean() for code in (5, 13)}
    assert gain[5] == pytest.approx(2.0)
    assert gain[13] < 0.3


def test_speckle_has_the_mean_of_the_ground_and_its_looks(year: SatelliteYear) -> None:
    backscatter = year._mixed(year.backscatter["descending"], centres())
    observed = year.radar("descending", centres(), np.random.default_rng(3), looks=4)
    ratio = observed / (backscatter * (1 + 0.08 * interpolate(year.vigour, centres())))
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert ratio.std() == pytest.approx(0.5, abs=0.02)


def test_a_flatter_look_is_darker(year: SatelliteYear) -> None:
    means = {orbit: 10 * np.log10(year.backscatter[orbit][:, :, 0].mean()) for orbit in year.radar_days}
    assert means["descending"] < means["ascending"] + 0.3
