"""What is written is what is read: values, places, nodata_borders, nodata."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine

import landweave as lw
from landweave_demo.files.aerial_files import STRIDE_PX, LandscapeFiles, department, write_landscape
from landweave_demo.files.georeference import LEFT_PX, TOP_PX, landscape_transform
from landweave_demo.landscape.land_cover import CLASS_CODES
from landweave_demo.landscape.landscape import Landscape, make_landscape

HEIGHT, WIDTH = 1100, 1240


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    return make_landscape(9, height=HEIGHT, width=WIDTH)


@pytest.fixture(scope="module")
def files(landscape: Landscape, tmp_path_factory: pytest.TempPathFactory) -> LandscapeFiles:
    return write_landscape(landscape, tmp_path_factory.mktemp("landscape"))


def pixel_centres(file: rasterio.DatasetReader) -> tuple[slice, slice]:
    """Pixels of the landscape that a tile holds; fails where the tile is off the 0.2 m lattice."""
    left, top = file.transform.c * 5, file.transform.f * 5
    assert left == pytest.approx(round(left), abs=1e-6)
    col, row = round(left) - LEFT_PX, TOP_PX - round(top)
    assert file.transform == Affine(0.2, 0, round(left) / 5, 0, -0.2, round(top) / 5)
    return slice(row, min(row + file.height, HEIGHT)), slice(col, min(col + file.width, WIDTH))


def test_tiles_overlap_and_cover_the_scene(files: LandscapeFiles) -> None:
    covered = np.zeros((HEIGHT, WIDTH), int)
    for path in files.rvb:
        with rasterio.open(path) as file:
            covered[pixel_centres(file)] += 1
            assert file.crs.to_epsg() == 2154
    assert covered.min() == 1 or not department(HEIGHT, WIDTH)[covered == 0].any()
    assert (covered[:, STRIDE_PX : STRIDE_PX + 4] == 2).any()
    assert [path.name.replace("-E080.tif", "") for path in files.rvb] == [
        path.name.replace("-IRC-E080.jp2", "") for path in files.irc
    ]


def test_infrared_is_lossless_and_its_nodata_border_exactly_0(landscape: Landscape, files: LandscapeFiles) -> None:
    mask = department(HEIGHT, WIDTH)
    for path in files.irc:
        with rasterio.open(path) as file:
            here = pixel_centres(file)
            values = file.read()
            assert file.nodata is None
        inside = values[:, : here[0].stop - here[0].start, : here[1].stop - here[1].start]
        assert (inside == (landscape.rgbi[[3, 0, 1]] * mask)[:, *here]).all()
        assert values.sum() == inside.sum(dtype=np.int64)


def test_the_jpeg_stays_close_and_its_nodata_border_near_0(landscape: Landscape, files: LandscapeFiles) -> None:
    mask = department(HEIGHT, WIDTH)
    nodata_border = []
    for path in files.rvb:
        with rasterio.open(path) as file:
            here = pixel_centres(file)
            values = file.read()[:, : here[0].stop - here[0].start, : here[1].stop - here[1].start]
            assert file.nodata is None
        known = mask[here]
        difference = np.abs(values.astype(int) - landscape.rgbi[:3, *here])[:, known]
        assert difference.mean() < 6
        nodata_border.append(values[:, ~known].ravel())
    black = np.concatenate(nodata_border)
    assert (black == 0).mean() > 0.5
    assert 0 < black.max() < 80


def test_the_surface_is_kept_to_the_centimetre(landscape: Landscape, files: LandscapeFiles) -> None:
    mask = department(HEIGHT, WIDTH)
    for path in files.dsm:
        with rasterio.open(path) as file:
            here = pixel_centres(file)
            values = file.read(1)[: here[0].stop - here[0].start, : here[1].stop - here[1].start]
            assert file.nodata == -9999
        assert (values[~mask[here]] == -9999).all()
        assert np.abs(values - landscape.dsm[here])[mask[here]].max() < 0.0051


def test_the_ground_lies_on_whole_metres(landscape: Landscape, files: LandscapeFiles) -> None:
    compared = 0
    for path in files.dtm:
        with rasterio.open(path) as file:
            assert file.res == (1, 1)
            assert (file.transform.c % 1, file.transform.f % 1) == (0, 0)
            values = file.read(1)
            rows, cols = np.nonzero(values != -9999)
            x, y = file.transform.c + cols + 0.5, file.transform.f - rows - 0.5
        col, row = (x - LEFT_PX / 5) * 5, (TOP_PX / 5 - y) * 5
        inner = (row > 1) & (col > 1) & (row < HEIGHT - 1) & (col < WIDTH - 1)
        expected = landscape.dtm[row[inner].astype(int), col[inner].astype(int)]
        assert np.abs(values[rows, cols][inner] - expected).max() < 0.5
        compared += inner.sum()
    assert compared > 0.9 * HEIGHT * WIDTH / 25 * department(HEIGHT, WIDTH).mean()


def test_the_truth_has_its_place_colours_and_nodata(landscape: Landscape, files: LandscapeFiles) -> None:
    with rasterio.open(files.truth) as file:
        values, colors = file.read(1), file.colormap(1)
        assert file.transform == landscape_transform()
        assert file.nodata == 255
    mask = department(HEIGHT, WIDTH)
    assert (values[mask] == landscape.truth[mask]).all()
    assert (values[~mask] == 255).all()
    for name in ("demo-fusion", "demo-unet"):
        legend = lw.list_models()[name].legend()
        assert legend.codes == CLASS_CODES
        assert {code: colors[code][:3] for code in legend.codes} == legend.colors


def test_the_border_is_no_rectangle() -> None:
    mask = department(HEIGHT, WIDTH)
    assert 0.9 < mask.mean() < 0.97
    last = mask[-1].argmin()
    assert len(set(mask.argmin(axis=1)[mask.min(axis=1) == 0].tolist())) > 100
    assert 0 < last < WIDTH
