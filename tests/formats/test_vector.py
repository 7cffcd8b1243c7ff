"""Vector files of every format: the features that a filter takes, or one sentence that says what to do."""

import json
import shutil
import zipfile

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely

from landweave.core.errors import InputError
from landweave.formats.area import read_area
from landweave.formats.campaigns import read_campaigns
from landweave.formats.vector import read_features

CODES = ["31", "30", "07", "2A", None, "31", "2a"]
NAMES = ["Haute-Garonne", "Gard", "Ardèche", "Corse d'Ajaccio", None, 'Été "neuf"', "corse"]
PEOPLE = [5, -2, 7, 3, 9, 5, 0]
SQUARES = [shapely.box(2 + i * 0.01, 45, 2.005 + i * 0.01, 45.005) for i in range(len(CODES))]
PLACES = geopandas.GeoDataFrame({"code": CODES, "nom": NAMES, "pop": PEOPLE}, geometry=SQUARES, crs="EPSG:4326")

FORMATS = {
    "gpkg": "GPKG",
    "shp": "ESRI Shapefile",
    "zip": "ESRI Shapefile",
    "fgb": "FlatGeobuf",
    "geojson": "GeoJSON",
    "gml": "GML",
    "kml": "KML",
    "sqlite": "SQLite",
    "parquet": "",
}
FILTERS = {
    "code = '31'": PLACES.code == "31",
    "pop = 5": PLACES["pop"] == 5,
    "code IN ('30', '07')": PLACES.code.isin(["30", "07"]),
    "nom LIKE 'Corse%'": np.array([str(name).lower().startswith("corse") for name in NAMES]),
    "code IS NULL": PLACES.code.isna(),
    "code IS NOT NULL": PLACES.code.notna(),
    "(code = '31' AND pop > 4) OR pop <= -2": ((PLACES.code == "31") & (PLACES["pop"] > 4)) | (PLACES["pop"] <= -2),
    "nom = 'Corse d''Ajaccio' OR \"nom\" = 'Ardèche'": PLACES.nom.isin(["Corse d'Ajaccio", "Ardèche"]),
    "code = '2A'": PLACES.code == "2A",
}


def write(path, frame=PLACES, driver=None):
    """The places in a file of the format that its name says."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
        return path
    if path.suffix != ".zip":
        pyogrio.write_dataframe(frame, path, driver=driver or FORMATS[path.suffix[1:]])
        return path
    folder = path.with_suffix("")
    folder.mkdir()
    write(folder / "places.shp", frame)
    with zipfile.ZipFile(path, "w") as archive:
        for part in sorted(folder.iterdir()):
            archive.write(part, part.name)
    return path


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    return {kind: str(write(folder / f"places_{kind}.{kind}")) for kind in FORMATS}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("where", FILTERS)
def test_a_filter_takes_the_same_features_of_every_format(places, kind, where):
    wanted = shapely.union_all(PLACES.geometry[FILTERS[where]].array)
    assert not wanted.is_empty
    area = read_area(places[kind], where=where, crs="EPSG:4326").geometry
    assert shapely.symmetric_difference(area, wanted).area < 1e-12


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("cod = '31'", r"area\.where .*\(no such column: cod.*'code', 'nom', 'pop'"),
        ("\"cod\" <> '31'", r"area\.where .*\(no such column: cod.*'code', 'nom', 'pop'"),
        ("code = '31", r"area\.where .*unrecognized token"),
        ("", r"area\.where '' .*syntax error"),
        ("code = 'XX'", r"0 of 7 features match area\.where .*'code', 'nom', 'pop'"),
    ],
)
def test_a_wrong_filter_is_refused_alike_in_every_format(places, kind, where, message):
    with pytest.raises(InputError, match=message):
        read_area(places[kind], where=where, crs="EPSG:4326")


OWN = {
    "fid of text": {"fid": ["a", "b", "a", *"defg"]},
    "fid with repeats": {"fid": [5, 5, 7, 8, 9, 9, 1]},
    "fid that is no whole number": {"fid": [1.5, 2.5, 0, 1, 2, 3, 4]},
    "names in two cases": {"CODE": list("abcdefg"), "Code": PEOPLE, "code_2": NAMES},
    "names of other formats": {"geom": CODES, "ogc_fid": NAMES, "rowid": PEOPLE},
    "a name like that of the geometry": {"Geometry": NAMES},
}


@pytest.mark.parametrize("kind", OWN)
def test_columns_of_geoparquet_may_have_any_name(tmp_path, kind):
    frame = PLACES.assign(**OWN[kind])
    path = str(write(tmp_path / "own.parquet", frame))
    for where in (None, "pop > -3"):
        found = read_features(path, setting="zones", crs=None, where=where, columns=None)
        assert found.drop(columns="geometry").to_dict("list") == frame.drop(columns="geometry").to_dict("list")
        assert found.geom_equals_exact(frame, 0).all()
    last = list(OWN[kind])[-1]
    assert list(read_features(path, setting="labels", crs=None, columns=[last])[last]) == list(frame[last])
    some = read_features(path, setting="zones", crs=None, where="nom = 'Gard'", columns=None)
    assert list(some[last]) == [frame[last][1]]


def test_geoparquet_may_hold_more_than_one_geometry_and_durations(tmp_path):
    frame = PLACES.assign(centre=PLACES.geometry.envelope, lasted=np.arange(7).astype("timedelta64[s]"))
    found = read_features(str(write(tmp_path / "more.parquet", frame)), setting="zones", crs=None, columns=None)
    assert found.geom_equals_exact(PLACES, 0).all()
    centres = shapely.normalize(shapely.from_wkt(found["centre"].to_numpy(str)))
    assert shapely.equals_exact(centres, shapely.normalize(SQUARES), 1e-9).all()
    assert found["lasted"][1] == "0 days 00:00:01"


def geojson(path, *geometries, **top):
    features = [{"type": "Feature", "properties": {"n": n}, "geometry": each} for n, each in enumerate(geometries)]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **top}))
    return str(path)


def polygon(*points):
    return {"type": "Polygon", "coordinates": [[list(point) for point in points]]}


SQUARE = polygon((2, 45), (2.1, 45), (2.1, 45.1), (2, 45.1), (2, 45))
LAMBERT = polygon((700000, 6600000), (700100, 6600000), (700100, 6600100), (700000, 6600000))


def named(name):
    return {"crs": {"type": "name", "properties": {"name": name}}}


@pytest.mark.parametrize(
    ("geometries", "top", "message"),
    [
        ([LAMBERT], {}, r"in degrees.* up to 700100, 6600100: write the true CRS"),
        ([LAMBERT], named("urn:ogc:def:crs:OGC:1.3:CRS84"), r"in degrees.*700100"),
        ([SQUARE], named("EPSG:999999"), r"'EPSG:999999' is no CRS"),
        ([SQUARE], {"crs": "hello"}, "'unreadable' is no CRS"),
        ([polygon((2, 45), (2.1, 45), (2.1, 45.1), (2, 45.1))], {}, "do not form a closed linestring.*closed outlines"),
        ([polygon((2, 45), (float("nan"), 45), (2.1, 45.1), (2, 45))], {}, "no finite numbers"),
        ([None], {}, "none of the 1 feature .* without geometry"),
        ([{"type": "Polygon", "coordinates": []}], {}, "none of the 1 feature"),
        ([{"type": "Point", "coordinates": [2, 45]}], {}, "none of the 1 feature that match is a polygon, but Point"),
        ([{"type": "Polygon", "coordinates": [[[2, 45]] * 4]}], {}, "but a polygon without an area"),
        ([{"type": "LineString", "coordinates": [[2, 45], [3, 45]]}, None], {}, "but LineString, without geometry"),
        ([polygon((2, 45), (3, 46), (2, 45), (2, 45))], {}, "none of the 1 feature"),
        ([], {}, "0 features"),
    ],
)
def test_geojson_that_says_something_odd_is_refused_in_one_sentence(tmp_path, geometries, top, message):
    path = geojson(tmp_path / "odd.geojson", *geometries, **top)
    with pytest.raises(InputError, match=message) as refusal:
        read_area(path, crs="EPSG:2154")
    assert path in str(refusal.value)


def test_geojson_in_the_crs_that_it_states_is_read(tmp_path):
    path = geojson(tmp_path / "lambert.geojson", LAMBERT, **named("urn:ogc:def:crs:EPSG::2154"))
    assert read_area(path, crs="EPSG:2154").bounds == (700000, 6600000, 700100, 6600100)


def test_only_the_ground_of_polygons_counts_and_the_rest_is_noted(tmp_path):
    collection = {
        "type": "GeometryCollection",
        "geometries": [
            {"type": "Point", "coordinates": [9, 9]},
            {"type": "GeometryCollection", "geometries": [SQUARE]},
        ],
    }
    cross = polygon((4, 45), (4.1, 45.1), (4.1, 45), (4, 45.1), (4, 45))
    path = geojson(tmp_path / "mixed.geojson", collection, None, {"type": "Point", "coordinates": [8, 8]}, cross)
    area = read_area(path, crs="EPSG:4326")
    wings = shapely.union(
        shapely.Polygon([(4, 45), (4.05, 45.05), (4, 45.1)]), shapely.Polygon([(4.1, 45), (4.05, 45.05), (4.1, 45.1)])
    )
    wanted = shapely.union(shapely.box(2, 45, 2.1, 45.1), wings)
    assert shapely.symmetric_difference(area.geometry, wanted).area < 1e-12
    assert area.notes == (
        "3 of 4 features are not polygons: left out, or what they hold of them is taken",
        "1 of 4 features have outlines that cross themselves: inside by the even-odd rule",
    )


@pytest.mark.parametrize(
    ("wkt", "size"),
    [
        ("POLYGON Z ((2 45 7, 2.1 45 7, 2.1 45.1 9, 2 45.1 7, 2 45 7))", 0.01),
        ("POLYGON M ((2 45 7, 2.1 45 7, 2.1 45.1 9, 2 45.1 7, 2 45 7))", 0.01),
        ("POLYGON ZM ((2 45 7 1, 2.1 45 7 1, 2.1 45.1 9 1, 2 45.1 7 1, 2 45 7 1))", 0.01),
        ("CURVEPOLYGON (CIRCULARSTRING (2 45, 2.1 45.1, 2.2 45, 2.1 44.9, 2 45))", np.pi / 100),
    ],
)
def test_heights_measures_and_curves_are_no_obstacle(tmp_path, wkt, size):
    path = tmp_path / "curve.csv"
    path.write_text(f'WKT,n\n"{wkt}",1\n')
    shutil.copy(write(tmp_path / "as.shp").with_suffix(".prj"), path.with_suffix(".prj"))
    area = read_area(str(path), crs="EPSG:4326")
    assert area.geometry.area == pytest.approx(size, rel=1e-3)
    assert not area.geometry.has_z


def test_a_surface_that_shapely_does_not_know_is_refused(tmp_path):
    path = tmp_path / "surface.csv"
    path.write_text('WKT,n\n"POLYHEDRALSURFACE Z (((2 45 1, 2.1 45.1 1, 2.2 45 1, 2 45 1)))",1\n')
    shutil.copy(write(tmp_path / "as.shp").with_suffix(".prj"), path.with_suffix(".prj"))
    with pytest.raises(InputError, match="cannot be read"):
        read_area(str(path), crs="EPSG:4326")


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "zip"])
@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.9, 0.99])
def test_a_file_that_ends_early_is_never_taken_for_a_smaller_area(tmp_path, kind, share):
    path = write(tmp_path / f"cut.{kind}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    if kind == "sqlite" and share >= 0.9:  # what is missing held no feature
        area = read_area(str(path), crs="EPSG:4326").geometry
        assert shapely.symmetric_difference(area, shapely.union_all(SQUARES)).area < 1e-12
        return
    with pytest.raises(InputError, match=r"cut\."):
        read_area(str(path), crs="EPSG:4326")


@pytest.mark.parametrize(
    ("missing", "where", "message"),
    [
        ("prj", None, r"no CRS: .*\.prj"),
        ("shx", None, r"\.shx"),
        ("dbf", "code = '31'", r"no such column: code.*columns \[\]"),
    ],
)
def test_a_shapefile_without_one_of_its_files_is_refused(tmp_path, missing, where, message):
    path = write(tmp_path / "part.shp")
    path.with_suffix(f".{missing}").unlink()
    with pytest.raises(InputError, match=message):
        read_area(str(path), where=where, crs="EPSG:4326")


def test_text_in_another_encoding_than_the_file_says(tmp_path):
    path = tmp_path / "latin.shp"
    dates = PLACES.assign(nom="Ardèche", flown="2020 été")
    pyogrio.write_dataframe(dates, path, encoding="ISO-8859-1")
    assert shapely.box(2, 45, 2.005, 45.005).within(
        read_area(str(path), where="nom = 'Ardèche'", crs="EPSG:4326").geometry.buffer(1e-9)
    )
    path.with_suffix(".cpg").write_text("UTF-8")
    with pytest.raises(InputError, match="0 of 7 features"):
        read_area(str(path), where="nom = 'Ardèche'", crs="EPSG:4326")
    with pytest.raises(InputError, match=r"text is not in utf-8.*\.cpg"):
        read_campaigns(str(path), column="flown", crs="EPSG:4326")


def test_a_crs_that_is_nonsense_or_leads_nowhere(tmp_path):
    path = write(tmp_path / "odd.shp")
    path.with_suffix(".prj").write_text("nonsense")
    with pytest.raises(InputError, match="CRS"):
        read_area(str(path), crs="EPSG:2154")
    path.with_suffix(".prj").write_text('LOCAL_CS["shed",UNIT["metre",1]]')
    with pytest.raises(InputError, match=r"CRS|does not lead"):
        read_area(str(path), crs="EPSG:2154")


def test_ground_that_a_projection_does_not_reach(tmp_path):
    pole = geojson(tmp_path / "pole.geojson", polygon((0, -90), (90, -90), (90, -80), (0, -90)))
    with pytest.raises(InputError, match=r"\(bounds \(0\.0, -90\.0, 90\.0, -80\.0\) in .* be expressed in EPSG:2154"):
        read_area(pole, crs="EPSG:2154")


def test_ground_of_another_body(tmp_path):
    moon = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="IAU_2015:30100")
    moon.to_file(tmp_path / "moon.gpkg")
    with pytest.raises(InputError, match=r"moon.gpkg.* of a body of 1,737 km"):
        read_area(str(tmp_path / "moon.gpkg"), crs="EPSG:2154")


@pytest.mark.parametrize("parts", [[(179.5, 180), (-180, -179.6)], [(179.5, 180.4)], [(-180.5, -179.6)]])
def test_an_area_across_the_180th_meridian_is_one(tmp_path, parts):
    boxes = [shapely.box(west, -17, east, -16.5) for west, east in parts]
    path = geojson(tmp_path / "fiji.geojson", shapely.geometry.mapping(shapely.MultiPolygon(boxes)))
    area = read_area(path, crs="EPSG:32760").geometry
    assert area.geom_type == "Polygon"
    assert area.bounds[2] - area.bounds[0] == pytest.approx(96000, rel=0.02)


def test_a_zip_of_several_layers_has_to_say_which(tmp_path):
    path = write(tmp_path / "two.zip")
    with zipfile.ZipFile(path, "a") as archive:
        for part in (tmp_path / "two").iterdir():
            archive.write(part, f"other{part.suffix}")
    with pytest.raises(InputError, match=r"2 layers, \[.*'other'.*name one of them as area.layer"):
        read_area(str(path), crs="EPSG:4326")
    assert not read_area(str(path), layer="other", where="code = '31'", crs="EPSG:4326").geometry.is_empty


def test_tables_without_geometries_are_no_layers_to_choose_from(tmp_path):
    path = write(tmp_path / "styled.gpkg")
    pyogrio.write_dataframe(PLACES.drop(columns="geometry"), path, layer="styles", append=False)
    assert not read_area(str(path), crs="EPSG:4326").geometry.is_empty
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no layer with geometries"):
        read_area(str(table), crs="EPSG:4326")


@pytest.mark.parametrize("kind", FORMATS)
def test_campaigns_of_every_format(tmp_path, kind):
    frame = PLACES.assign(flown=["2020-05-01"] * 3 + ["20210501"] * 4)
    campaigns = read_campaigns(str(write(tmp_path / f"graph.{kind}", frame)), column="flown", crs="EPSG:4326")
    wanted = {2020: SQUARES[:3], 2021: SQUARES[3:]}
    assert campaigns.years == (2020, 2021)
    for year, squares in wanted.items():
        assert shapely.symmetric_difference(campaigns.areas[year], shapely.union_all(squares)).area < 1e-12


@pytest.mark.parametrize("value", ["18003", "14/07/2021", "20211", "20219901", None, "", "2.021e3"])
def test_what_only_resembles_a_year_is_refused(tmp_path, value):
    path = write(tmp_path / "graph.gpkg", PLACES.assign(flown=[value] * len(PLACES)))
    with pytest.raises(InputError, match=r"column 'flown' holds .* does not begin with a year"):
        read_campaigns(str(path), column="flown", crs="EPSG:4326")


def test_features_without_ground_have_no_year(tmp_path):
    frame = PLACES.assign(flown=[2020] * 6 + [1999])
    frame.loc[6, "geometry"] = None
    assert read_campaigns(str(write(tmp_path / "graph.gpkg", frame)), column="flown", crs="EPSG:4326").years == (2020,)
    lines = PLACES.assign(flown=2020, geometry=PLACES.boundary)
    with pytest.raises(InputError, match="is a polygon, but LineString"):
        read_campaigns(str(write(tmp_path / "lines.gpkg", lines)), column="flown", crs="EPSG:4326")


REFERENCES = {
    "virtual layer": '<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>{}</SrcDataSource></OGRVRTLayer>'
    "</OGRVRTDataSource>",
    "service": "<OGRWFSDataSource><URL>http://127.0.0.1:9/</URL></OGRWFSDataSource>",
    "command": '{{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read {} ! write a.gpkg"}}',
}


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("packed", [False, True])
def test_a_text_that_makes_gdal_open_other_files_is_refused(tmp_path, kind, packed):
    secret = tmp_path / "secret.gpkg"
    write(secret, PLACES)
    text, path = REFERENCES[kind].format(secret), tmp_path / ("area.zip" if packed else "area.geojson")
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("area.gpkg", text)
    else:
        path.write_text(f"\n<!-- an area -->\n{text}" if text.startswith("<") else text)
    with pytest.raises(InputError, match="leads to other files"):
        read_area(str(path), crs="EPSG:2154")
