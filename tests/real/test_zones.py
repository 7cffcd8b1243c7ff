"""Real outlines as zones: 5,000 buildings of Massachusetts, held against GDAL's mask of each on the whole at once."""

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.features

import landweave as lw
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks
from landweave.store.maps.template import MapTemplate
from landweave.store.objects import Target
from tests.store.samples import LEGEND, written


@pytest.fixture(scope="module")
def town(shared, tmp_path_factory):
    """A map of the image's ground whose classes are its brightness, on pixels of half a metre; and the outlines."""
    with rasterio.open(shared("data/massachusetts/22978945_15.tif")) as file:
        bounds = file.bounds
    grid = Grid.from_bounds([round(each, 3) for each in bounds], crs="EPSG:26986", resolution="1/2")
    blocks = Blocks.covering(grid.extent, 512)
    template = MapTemplate(
        grid=grid.with_extent(blocks.extent), blocks=blocks, legend=LEGEND, chunk=128, attributes={"title": "Town"}
    )
    path = tmp_path_factory.mktemp("town") / "map.zarr"
    _, arrays = written(Target.parse(path), template)
    zones = geopandas.read_file(f"zip://{shared('data/massachusetts/massachusetts_buildings.zip')}")
    return path, template.grid, arrays, zones.to_crs("EPSG:26986")


def test_hectares_of_real_outlines_are_those_of_masks_of_the_whole(town):
    path, grid, arrays, zones = town

    found = lw.area_by_class(path, zones)

    assert found["zone"].size == len(zones)
    chosen = np.random.default_rng(0).choice(len(zones), 60, replace=False)
    inside = 0
    for row in chosen:
        mask = rasterio.features.geometry_mask([zones.geometry.iloc[row]], grid.shape, grid.transform, invert=True)
        classes, confidence = arrays["landcover"][mask], arrays["confidence"][mask]
        for code, name in ((0, "building"), (3, "impervious_surface"), (6, "water"), (18, "undefined")):
            here = classes == code
            assert found[f"{name}_ha"].iloc[row] == pytest.approx(here.sum() * 0.25 / 1e4, abs=1e-12)
            if here.any():
                assert found[f"{name}_confidence"].iloc[row] == pytest.approx(confidence[here].mean() / 250)
        inside += mask.sum()
    assert inside > 1000
