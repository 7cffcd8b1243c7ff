"""Polygons of a map: dissolving those of two dalles is vectorising both at once, and files hold what was made."""

import io
from itertools import pairwise

import geopandas
import numpy as np
import pytest
import shapely

from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.formats.polygons import LAYER, geopackage_bytes, map_polygons, parquet_bytes
from tests.store.samples import LEGEND

GRID = Grid.from_bounds((700_000, 6_600_000, 700_018, 6_600_012), crs="EPSG:2154", resolution="1/5")
CODES = np.array([0, 3, 6, 255], np.uint8)


def sample() -> tuple[np.ndarray, np.ndarray]:
    """Classes and confidence, the confidence of some pixels not known."""
    rng = np.random.default_rng(2)
    classes = np.kron(CODES[rng.integers(0, 4, (20, 30))], np.ones((3, 3), np.uint8))
    classes[rng.random(classes.shape) < 0.03] = 6
    confidence = rng.integers(0, 251, classes.shape).astype(np.uint8)
    confidence[(classes == 255) | (rng.random(classes.shape) < 0.1)] = 255
    return classes, confidence


def polygons_of(extent: Extent, simplify_m: float = 0.0) -> geopandas.GeoDataFrame:
    classes, confidence = (each[extent.slices_in(GRID.extent)] for each in sample())
    return map_polygons(GRID.with_extent(extent), classes, confidence, LEGEND, simplify_m=simplify_m)


def dalles() -> list[Extent]:
    """Four parts of unlike sizes."""
    y, x = GRID.extent.y, GRID.extent.x
    rows, columns = (y.start, y.start + 23, y.stop), (x.start, x.start + 41, x.stop)
    return [Extent.of(row, column) for row in pairwise(rows) for column in pairwise(columns)]


def normal(geometries) -> list[bytes]:
    return sorted(shapely.to_wkb(shapely.normalize(shapely.simplify(np.asarray(geometries), 0))))


def test_dalles_dissolved_are_the_polygons_of_the_whole() -> None:
    whole, parts = polygons_of(GRID.extent), [polygons_of(each) for each in dalles()]
    for code in (0, 3, 6):
        pieces = np.concatenate([part.geometry[part["class"] == code] for part in parts])
        # Regions of one class that meet at a corner only are one polygon's worth of area to a union, and two here.
        united, wanted = shapely.union_all(pieces), whole[whole["class"] == code].geometry
        assert normal(shapely.get_parts(united)) == normal(shapely.get_parts(shapely.union_all(wanted)))
    assert sum(part["area_m2"].sum() for part in parts) == pytest.approx(whole["area_m2"].sum(), abs=1e-9)


def test_a_polygon_says_class_name_area_and_confidence_of_its_pixels() -> None:
    classes, confidence = sample()
    found = polygons_of(GRID.extent)
    assert found.geometry.is_valid.all()
    assert set(found["class"]) == {0, 3, 6}
    assert found["area_m2"].sum() == pytest.approx((classes != 255).sum() / 25)
    assert np.allclose(found["area_m2"], found.geometry.area, rtol=1e-9)
    assert (found["name"] == found["class"].map(LEGEND.names)).all()
    x, y = np.meshgrid(GRID.x, GRID.y)
    for row in found.iloc[::37].itertuples():
        inside = shapely.contains_xy(row.geometry, x, y) & (confidence != 255)
        assert (
            row.confidence == pytest.approx(confidence[inside].mean() / 250)
            if inside.any()
            else np.isnan(row.confidence)
        )


def test_corners_are_the_nearest_floats_of_the_exact_ones() -> None:
    corners = {tuple(point) for point in shapely.get_coordinates(polygons_of(GRID.extent).geometry)}
    exact = {float(GRID.corner(0, column)[0]) for column in range(GRID.extent.x.start, GRID.extent.x.stop + 1)}
    assert {x for x, _ in corners} <= exact


def test_simplified_polygons_fit_together_and_keep_the_edges_of_the_dalle() -> None:
    for extent in dalles():
        exact, found = polygons_of(extent), polygons_of(extent, 0.5)
        assert found.geometry.is_valid.all()
        assert shapely.coverage_is_valid(found.geometry.to_numpy())
        assert shapely.get_num_coordinates(found.geometry).sum() < shapely.get_num_coordinates(exact.geometry).sum()
        assert found.drop(columns="geometry").equals(exact.drop(columns="geometry"))
        edge = shapely.box(*GRID.with_extent(extent).bounds).exterior
        for before, after in zip(exact.geometry, found.geometry, strict=True):
            assert shapely.equals(before.boundary & edge, after.boundary & edge)


def test_without_confidence_or_classes(tmp_path) -> None:
    classes, _ = sample()
    assert map_polygons(GRID, classes, None, LEGEND)["confidence"].isna().all()
    nothing = map_polygons(GRID, np.full(GRID.shape, 255, np.uint8), None, LEGEND)
    assert len(nothing) == 0
    assert len(geopandas.read_parquet(io.BytesIO(parquet_bytes(nothing)))) == 0
    (tmp_path / "nothing.gpkg").write_bytes(geopackage_bytes(nothing))
    assert len(geopandas.read_file(tmp_path / "nothing.gpkg", layer=LAYER)) == 0


def test_files_hold_the_polygons_and_are_the_same_bytes_each_time(tmp_path) -> None:
    found = polygons_of(GRID.extent)
    parquet, package = parquet_bytes(found), geopackage_bytes(found)
    assert parquet_bytes(polygons_of(GRID.extent)) == parquet
    assert geopackage_bytes(polygons_of(GRID.extent)) == package
    (tmp_path / "a.gpkg").write_bytes(package)
    for again in (geopandas.read_parquet(io.BytesIO(parquet)), geopandas.read_file(tmp_path / "a.gpkg", layer=LAYER)):
        assert again.crs == found.crs == "EPSG:2154"
        assert again.geometry.geom_equals_exact(found.geometry, 0).all()
        for name in ("class", "name", "area_m2", "confidence"):
            assert again[name].equals(found[name].astype(again[name].dtype))
