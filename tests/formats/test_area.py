import geopandas
import numpy as np
import pytest
import rasterio.features
import shapely

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.formats.area import PolygonArea, read_area

GRID = Grid.from_bounds((700000, 6599900, 700130, 6600000), crs="EPSG:2154", resolution=0.5)


@pytest.fixture
def communes(tmp_path):
    path = tmp_path / "communes.gpkg"
    squares = [shapely.box(x, 6599950, x + 40, 6599990) for x in (700000, 700040, 700200)]
    frame = geopandas.GeoDataFrame({"insee": ["30189", "30190", "31555"]}, geometry=squares, crs="EPSG:2154")
    frame.to_file(path, layer="communes")
    return path


def test_a_filter_picks_and_unites(communes):
    area = read_area(str(communes), where="insee LIKE '30%'", crs="EPSG:2154")
    assert area.bounds == (700000, 6599950, 700080, 6599990)
    assert area.geometry.geom_type == "Polygon"
    assert len(read_area(str(communes), crs="EPSG:2154").geometry.geoms) == 2


def test_an_area_comes_in_the_grids_crs(communes):
    area = read_area(str(communes), where="insee = '30189'", crs="EPSG:32631")
    assert area.geometry.area == pytest.approx(1600, rel=1e-2)
    assert area.bounds[0] < 600000


def test_law_a_straight_line_of_the_file_stays_that_line(tmp_path):
    """Half a degree along a parallel is 30 m off the line between its ends in Lambert-93."""
    box = shapely.box(2.5, 44, 3, 44.2)
    geopandas.GeoDataFrame(geometry=[box], crs="EPSG:4326").to_file(tmp_path / "box.gpkg")
    fine = geopandas.GeoSeries([shapely.segmentize(box, 1e-4)], crs="EPSG:4326").to_crs("EPSG:2154")[0]
    area = read_area(str(tmp_path / "box.gpkg"), crs="EPSG:2154")
    assert area.geometry.hausdorff_distance(fine) < 8  # of corners: points lie as far apart
    assert area.geometry.symmetric_difference(fine).area < 0.002 * fine.length
    assert not area.notes
    old = geopandas.GeoDataFrame(geometry=[box], crs="EPSG:4326").to_crs("EPSG:27572")
    old.to_file(tmp_path / "old.gpkg")
    (note,) = read_area(str(tmp_path / "old.gpkg"), crs="EPSG:2154").notes
    assert "EPSG:27572 comes to EPSG:2154" in note


def test_what_is_wrong_is_said(communes, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_area(str(tmp_path / "nowhere.gpkg"), crs="EPSG:2154")
    with pytest.raises(InputError, match=r"0 of 3 features match .*columns \['insee'\]"):
        read_area(str(communes), where="insee = '75056'", crs="EPSG:2154")
    with pytest.raises(InputError, match=r"filter .* not understood(.|\n)*columns \['insee'\]"):
        read_area(str(communes), where="code = '31'", crs="EPSG:2154")
    with pytest.raises(InputError, match=r"1 layer, \['communes'\], and 'departments' is asked"):
        read_area(str(communes), layer="departments", crs="EPSG:2154")
    (tmp_path / "text.gpkg").write_text("not a vector file")
    with pytest.raises(InputError, match="not a vector file"):
        read_area(str(tmp_path / "text.gpkg"), crs="EPSG:2154")


def test_several_layers_must_be_told_apart(communes):
    frame = geopandas.GeoDataFrame({"code": ["30"]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:2154")
    frame.to_file(communes, layer="departments")
    with pytest.raises(InputError, match="2 layers"):
        read_area(str(communes), crs="EPSG:2154")
    assert read_area(str(communes), layer="departments", crs="EPSG:2154").geometry.area == 1


def test_an_outline_the_long_way_around_the_earth_is_noted(tmp_path):
    sides = [shapely.box(179.99, -17, 180, -16.99), shapely.box(-180, -17, -179.99, -16.99)]
    shapes = {"two": shapely.MultiPolygon(sides), "beyond": shapely.box(179.99, -17, 180.01, -16.99)}
    shapes["long"] = shapely.box(-179.99, -17, 179.99, -16.99)
    found = {}
    for name, shape in shapes.items():
        geopandas.GeoDataFrame(geometry=[shape], crs="EPSG:4326").to_file(tmp_path / f"{name}.geojson")
        found[name] = read_area(str(tmp_path / f"{name}.geojson"), crs="EPSG:32760")
    assert found["two"].geometry.area == pytest.approx(found["beyond"].geometry.area)
    assert (found["two"].notes, found["beyond"].notes) == ((), ())
    assert "1 of 1 feature go around more than half" in found["long"].notes[0]


def test_lines_and_files_without_a_crs_are_refused(tmp_path):
    line = geopandas.GeoDataFrame(geometry=[shapely.LineString([(0, 0), (1, 1)])], crs="EPSG:2154")
    line.to_file(tmp_path / "line.gpkg")
    with pytest.raises(InputError, match="none of the 1 feature that match is a polygon"):
        read_area(str(tmp_path / "line.gpkg"), crs="EPSG:2154")
    bare = geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.box(0, 0, 1, 1)])
    with pytest.warns(UserWarning, match="crs"):
        bare.to_file(tmp_path / "bare.shp")
    with pytest.raises(InputError, match="no CRS"):
        read_area(str(tmp_path / "bare.shp"), crs="EPSG:2154")


def test_a_real_file_in_a_zip(shared):
    area = read_area(str(shared("data/massachusetts/massachusetts_buildings.zip")), crs="EPSG:26986")
    grid = Grid.from_bounds((229018, 893971, 230200, 894871), crs="EPSG:26986", resolution=1)
    share = area.mask(grid).mean()
    assert share == pytest.approx(
        area.geometry.intersection(shapely.box(*grid.bounds)).area / grid.extent.size, rel=0.01
    )


def star(rng, points=400):
    angles = np.sort(rng.uniform(0, 2 * np.pi, points))
    radii = rng.uniform(15, 60, points)
    ring = np.c_[700065 + radii * np.cos(angles), 6599950 + radii * np.sin(angles)]
    return shapely.Polygon(ring, [shapely.box(700060, 6599945, 700070, 6599955).exterior])


def test_inside_is_what_shapely_says_of_the_centres(rng_of_test):
    area = shapely.union(star(rng_of_test), shapely.box(700120, 6599901, 700129, 6599910)).buffer(0)
    x, y = np.meshgrid(GRID.x, GRID.y)
    inside = PolygonArea(area).mask(GRID)
    np.testing.assert_array_equal(inside, shapely.contains_xy(area, x, y))
    burnt = rasterio.features.rasterize([area], out_shape=GRID.shape, transform=GRID.transform)
    assert (inside != burnt.astype(bool)).mean() < 1e-3


@pytest.fixture
def rng_of_test():
    return np.random.default_rng(31)


def test_a_pixel_has_one_answer_whatever_extent_is_asked(rng_of_test):
    # Corners on pixel centres, where the last digit would decide.
    on_centres = shapely.Polygon([(700010.25, 6599910.25), (700060.25, 6599910.25), (700040.75, 6599990.75)])
    for area in (star(rng_of_test), on_centres):
        whole = PolygonArea(area).mask(GRID)
        for _ in range(40):
            y = np.sort(rng_of_test.choice(200, 2, replace=False)) + GRID.extent.y.start
            x = np.sort(rng_of_test.choice(260, 2, replace=False)) + GRID.extent.x.start
            extent = Extent.of((int(y[0]), int(y[1])), (int(x[0]), int(x[1])))
            part = PolygonArea(area).mask(GRID.with_extent(extent))
            np.testing.assert_array_equal(part, whole[extent.slices_in(GRID.extent)])


def test_neighbours_share_out_their_pixels(rng_of_test):
    border = np.c_[700065 + rng_of_test.normal(0, 5, 60), np.linspace(6599900, 6600000, 60)]
    border[::7] = np.round(border[::7] * 4) / 4
    west = shapely.Polygon([(700000, 6599900), *border, (700000, 6600000)])
    east = shapely.Polygon([(700130, 6600000), *border[::-1], (700130, 6599900)])
    count = PolygonArea(west).mask(GRID).astype(int) + PolygonArea(east).mask(GRID)
    assert (count == 1).all()


def test_an_area_on_no_known_datum_is_refused(tmp_path):
    square = shapely.box(700000, 6599950, 700040, 6599990)
    geopandas.GeoDataFrame(geometry=[square], crs="EPSG:2154").to_file(tmp_path / "a.shp")
    lambert = (tmp_path / "a.prj").read_text()
    datum = lambert.replace("D_RGF_1993", "D_unknown").replace("GCS_RGF_1993", "unknown").replace("RGF_1993_", "")
    for text in (datum, 'LOCAL_CS["site",UNIT["Meter",1.0]]'):
        (tmp_path / "a.prj").write_text(text)
        with pytest.raises(InputError, match=r"layer 'a': .* has a CRS .*: write a known CRS into the file"):
            read_area(str(tmp_path / "a.shp"), crs="EPSG:2154")


def test_an_area_in_another_name_of_the_crs_stays_where_it_is(tmp_path):
    square = shapely.box(700000, 6599950, 700040, 6599990)
    geopandas.GeoDataFrame(geometry=[square], crs="EPSG:9794").to_file(tmp_path / "a.gpkg")
    assert read_area(str(tmp_path / "a.gpkg"), crs="EPSG:2154").geometry.equals(square)
