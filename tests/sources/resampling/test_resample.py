"""Kernels against sums written out pixel by pixel, and the law that an answer does not depend on what is read."""

import numpy as np
import pytest

from landweave.core.lattice import Extent
from landweave.sources.resampling.kernels import EDGE_PX, ResamplingKernel
from landweave.sources.resampling.pixel_coordinates import NODE, AxisCoordinates, InterpolatedCoordinates
from landweave.sources.resampling.resample import Patch, resample

NOTHING = 255


def patch(values, measured):
    """A source with its ring of nothing; the measured pixels start at (0, 0)."""
    rank = np.where(measured, 3, NOTHING).astype(np.uint8)
    height, width = measured.shape
    return Patch(
        values=np.pad(values, ((0, 0), (1, 1), (1, 1)), constant_values=77),
        rank=np.pad(rank, 1, constant_values=NOTHING),
        extent=Extent.of((-1, height + 1), (-1, width + 1)),
    )


def cubic(distance):
    away = abs(distance)
    if away <= 1:
        return 1.5 * away**3 - 2.5 * away**2 + 1
    return -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2 if away < 2 else 0.0


KERNELS = {"bilinear": (1, lambda distance: max(0.0, 1 - abs(distance))), "cubic": (2, cubic)}


def written_out(values, measured, y, x, kernel, widths=(1, 1)):
    """One target pixel at source coordinates ``(y, x)``: value and validity, in float64."""
    height, width = measured.shape
    row, column = int(np.floor(y)), int(np.floor(x))
    if not (0 <= row < height and 0 <= column < width and measured[row, column]):
        return np.nan
    if kernel == "nearest":
        return float(values[row, column])
    support, weigh = KERNELS[kernel]
    total = weights = 0.0
    for i in range(max(0, int(y - support * widths[0]) - 2), min(height, int(y + support * widths[0]) + 3)):
        for j in range(max(0, int(x - support * widths[1]) - 2), min(width, int(x + support * widths[1]) + 3)):
            if measured[i, j]:
                weight = weigh((i + 0.5 - y) / widths[0]) * weigh((j + 0.5 - x) / widths[1])
                total += weight * float(values[i, j])
                weights += weight
    return total / weights


def axes(height, width, step=1.0006, shift=0.37):
    return AxisCoordinates(
        y=shift + (np.arange(height) + 0.5) * step - 1, x=shift + (np.arange(width) + 0.5) * step - 1
    )


@pytest.mark.parametrize("holes", [0, 0.2])
@pytest.mark.parametrize("step", [1.0006, 0.2, 2.7])
@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic"])
def test_axes_agree_with_sums_written_out(rng, kernel, step, holes):
    size = (9, 12) if step < 1 else (40, 50)
    values = rng.normal(500, 100, (1, *size)).astype(np.float32)
    measured = rng.random(size) >= holes
    using = ResamplingKernel.of(kernel, (step, step))
    extent = Extent.of((0, int((size[0] + 5) / step)), (0, int((size[1] + 4) / step)))
    places = axes(*extent.shape, step=step)
    answer = resample(patch(values, measured), places, extent, kernel=using, dtype=np.dtype(np.float32))
    found = np.where(answer.rank == NOTHING, np.nan, answer.values[0])
    expected = np.array(
        [[written_out(values[0], measured, y, x, kernel, using.widths_yx) for x in places.x] for y in places.y]
    )
    inside = ~(np.isnan(found) ^ np.isnan(expected))
    # Within EDGE_PX of a pixel's edge a neighbour stands in for one without data: only there may they differ.
    near_y, near_x = (np.abs(axis - np.rint(axis)) <= EDGE_PX for axis in (places.y, places.x))
    assert inside[~near_y][:, ~near_x].all()
    both = inside & ~np.isnan(expected)
    assert both.mean() > 0.3
    np.testing.assert_allclose(found[both], expected[both], rtol=1e-5)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic"])
def test_points_agree_with_axes_on_the_same_places(rng, kernel):
    values = rng.integers(0, 65535, (2, 40, 50)).astype(np.uint16)
    measured = rng.random((40, 50)) >= 0.1
    extent = Extent.of((NODE * 3, NODE * 5), (-NODE, NODE))
    y, x = (0.3 + 0.97 * np.arange(n) for n in extent.shape)
    rows, columns = 0.3 + 0.97 * NODE * np.arange(3), 0.3 + 0.97 * NODE * np.arange(3)
    nodes = InterpolatedCoordinates(yx=np.stack(np.meshgrid(rows, columns, indexing="ij")), extent=extent)
    np.testing.assert_allclose(nodes.rows(slice(0, 32)), np.stack(np.meshgrid(y, x, indexing="ij")), atol=1e-12)
    using, dtype = ResamplingKernel.of(kernel, (1, 1)), values.dtype
    one = resample(patch(values, measured), AxisCoordinates(y=y, x=x), extent, kernel=using, dtype=dtype)
    other = resample(patch(values, measured), nodes, extent, kernel=using, dtype=dtype)
    np.testing.assert_array_equal(one.rank, other.rank)
    valid = one.rank != NOTHING
    assert np.abs(one.values[:, valid].astype(int) - other.values[:, valid].astype(int)).max() <= 1


@pytest.mark.parametrize("kernel", ["bilinear", "cubic"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_what_is_not_data_never_enters(rng, kernel, dtype):
    measured = rng.random((60, 60)) > 0.3
    values = np.where(measured, 100, 255).astype(dtype)[None]
    extent = Extent.of((0, 58), (0, 58))
    answer = resample(
        patch(values, measured), axes(58, 58), extent, kernel=ResamplingKernel.of(kernel, (1, 1)), dtype=np.dtype(dtype)
    )
    np.testing.assert_allclose(answer.values[0][answer.rank != NOTHING], 100, rtol=1e-6)


def test_nan_under_a_mask_never_enters():
    values = np.full((1, 4, 4), 7, np.float32)
    values[0, 1, 1] = np.nan
    extent = Extent.of((0, 3), (0, 3))
    answer = resample(
        patch(values, ~np.isnan(values[0])),
        AxisCoordinates(y=np.array([0.9, 1.9, 2.9]), x=np.array([0.9, 1.9, 2.9])),
        extent,
        kernel=ResamplingKernel.of("bilinear", (1, 1)),
        dtype=np.dtype(np.float32),
    )
    assert (answer.rank == NOTHING).tolist() == [[False, False, False], [False, True, False], [False, False, False]]
    np.testing.assert_allclose(answer.values[0][answer.rank != NOTHING], 7)


def test_values_are_rounded_once_and_clipped():
    steps = np.array([[[0, 255, 0, 255, 255]]], np.uint8)
    measured = np.ones((1, 5), bool)
    places = AxisCoordinates(y=np.array([0.5]), x=np.array([0.5, 1, 1.5, 3.9, 4.1]))
    linear, cubic_ = (
        resample(
            patch(steps, measured),
            places,
            Extent.of((0, 1), (0, 5)),
            kernel=ResamplingKernel.of(kernel, (1, 1)),
            dtype=steps.dtype,
        ).values[0, 0]
        for kernel in ("bilinear", "cubic")
    )
    assert linear.tolist() == [0, 128, 255, 255, 255]
    assert cubic_[3:].min() == 255  # an overshoot stays white, it does not wrap to black


def test_a_hairline_between_two_tiles_is_closed():
    values, measured = np.full((1, 4, 4), 9, np.uint8), np.ones((4, 4), bool)
    beyond = EDGE_PX * np.array([-1.1, -0.9, 0, 0.9, 1.1])
    for kernel in ("nearest", "bilinear"):
        answer = resample(
            patch(values, measured),
            AxisCoordinates(y=np.array([2.5]), x=4 + beyond),
            Extent.of((0, 1), (0, 5)),
            kernel=ResamplingKernel.of(kernel, (1, 1)),
            dtype=values.dtype,
        )
        assert (answer.rank != NOTHING).tolist() == [[True, True, True, True, False]]
        assert (answer.values[0, 0, :4] == 9).all()


def test_a_place_out_of_reach_is_invalid():
    values, measured = np.full((1, 40, 40), 9, np.uint8), np.ones((40, 40), bool)
    yx = np.full((2, 2, 2), 20.0)
    yx[:, 0, 1] = np.inf
    extent = Extent.of((0, NODE), (0, NODE))
    answer = resample(
        patch(values, measured),
        InterpolatedCoordinates(yx=yx, extent=extent),
        extent,
        kernel=ResamplingKernel.of("bilinear", (1, 1)),
        dtype=values.dtype,
    )
    assert (answer.rank[:, 1:] == NOTHING).all()
