"""Hectares by class of zones in files, on maps that are stored or sliced; real outlines are in tests/real."""

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

import landweave as lw
from landweave.core.errors import ConfigError, InputError, OutputError
from landweave.formats.hectares import FORMATS
from landweave.store.objects import Target
from tests.helpers.kills import killed_after_renames
from tests.store.samples import template, written

TEMPLATE = template(down=3, across=2)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("map") / "map.zarr"
    return path, written(Target.parse(path), TEMPLATE)[1]


def boxes(*inside: tuple[float, float, float, float], crs="EPSG:2154", **columns) -> geopandas.GeoDataFrame:
    """Zones by their share of the map from its north-west corner: x0, y0, x1, y1."""
    x0, y0, x1, y1 = TEMPLATE.grid.bounds
    shares = np.array(inside)
    x, y = x0 + shares[:, ::2] * (x1 - x0), y1 - shares[:, 1::2] * (y1 - y0)
    shapes = shapely.box(x[:, 0], y[:, 1], x[:, 1], y[:, 0])
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs="EPSG:2154").to_crs(crs)


def test_a_zone_says_its_area_its_classes_and_what_is_not_mapped(stored):
    path, arrays = stored
    zones = boxes((0, 0, 1, 1), (0, 0, 0.5, 0.5), (0.5, 0, 1.5, 1), (7, 7, 8, 8), nom=["all", "corner", None, "far"])

    found = lw.open_map(path).landweave.area_by_class(zones)

    height, width = TEMPLATE.grid.shape
    parts = [np.s_[:, :], np.s_[: height // 2, : width // 2], np.s_[:, width // 2 :]]
    assert found["zone"].tolist() == [1, 2, 3, 4]
    assert found["nom"].tolist()[:2] == ["all", "corner"]
    size = np.array([height * width, height * width / 4, height * width, height * width])
    assert np.allclose(found["area_ha"], size * 0.04 / 1e4, rtol=1e-12)
    for row, part in enumerate(parts):
        classes, confidence = arrays["landcover"][part], arrays["confidence"][part]
        for code, name in ((0, "building"), (3, "impervious_surface"), (6, "water"), (18, "undefined")):
            assert found[f"{name}_ha"][row] == pytest.approx((classes == code).sum() * 4e-6)
            assert found[f"{name}_confidence"][row] == pytest.approx(confidence[classes == code].mean() / 250)
        assert found["not_mapped"][row] == pytest.approx(1 - (classes != 255).sum() / size[row])
        assert found["confidence"][row] == pytest.approx(confidence[classes != 255].mean() / 250)
    assert found["not_mapped"][3] == 1
    assert np.isnan(found["confidence"][3])
    assert found.crs == "EPSG:2154"


def test_outlines_that_cross_themselves_are_told_and_inside_by_the_even_odd_rule(stored):
    x0, y0, x1, y1 = TEMPLATE.grid.bounds
    bow = shapely.Polygon([(x0, y1), (x1, y0), (x1, y1), (x0, y0)])
    zones = geopandas.GeoDataFrame(geometry=[shapely.box(x0, y0, x1, y1), bow], crs="EPSG:2154")
    found = lw.area_by_class(stored[0], zones)
    assert any("1 of 2 zones, zone 2 the first, with outlines that cross" in note for note in found.attrs["notes"])
    assert found["area_ha"][1] == pytest.approx(found["area_ha"][0] / 2, rel=0.02)


def test_slices_masked_and_chunked_maps_give_what_the_whole_gives(stored):
    path, _ = stored
    zones = boxes((0.1, 0.1, 0.8, 0.6))
    whole = lw.area_by_class(path, zones)
    rows, columns = slice(10, 150), slice(5, 110)
    for mapped in (
        lw.open_map(path, chunks={}),
        lw.open_map(path).isel(y=rows, x=columns),
        xr.decode_cf(lw.open_map(path)).isel(y=rows, x=columns),
    ):
        pd.testing.assert_frame_equal(mapped.landweave.area_by_class(zones), whole)
    of_classes = lw.open_map(path).landcover.landweave.area_by_class(zones)
    assert of_classes["water_ha"].equals(whole["water_ha"])
    assert of_classes["confidence"].isna().all()


def test_zones_in_degrees_follow_the_straight_lines_of_their_file_and_share_their_borders(stored):
    path, _ = stored
    west, south, east, north = boxes((-200, -200, 200, 200)).to_crs("EPSG:4326").total_bounds
    middle = (west + east) / 2
    halves = geopandas.GeoDataFrame(
        geometry=[shapely.box(west, south, middle, north), shapely.box(middle, south, east, north)], crs="EPSG:4326"
    )

    found = lw.area_by_class(path, halves)

    dense = geopandas.GeoSeries(shapely.segmentize(halves.geometry.to_numpy(), 1e-4), crs="EPSG:4326").to_crs(
        "EPSG:2154"
    )
    assert np.allclose(found.area, dense.area, rtol=1e-9)
    assert any("points added" in note for note in found.attrs["notes"])
    mapped = found[[name for name in found.columns if name.endswith("_ha") and name != "area_ha"]].to_numpy().sum()
    assert mapped == pytest.approx((stored[1]["landcover"] != 255).sum() * 4e-6)


def test_thousands_of_zones_without_a_column(stored):
    path, arrays = stored
    edges = np.linspace(0, 1, 41)
    zones = boxes(*((x, y, x + 1 / 40, y + 1 / 40) for x in edges[:-1] for y in edges[:-1]))
    found = lw.area_by_class(path, zones)
    assert len(found) == 1600
    assert found["water_ha"].sum() == pytest.approx((arrays["landcover"] == 6).sum() * 4e-6)


def test_the_command_writes_tables_that_others_read(stored, tmp_path, landweave):
    path, _ = stored
    zones = boxes((0, 0, 1, 1), (0, 0, 0.5, 0.5), nom=["Nîmes", "Uzès"], area_ha=[1.0, 2.0])
    zones.to_file(tmp_path / "communes.gpkg", layer="commune")
    boxes((0, 0, 1, 1)).to_file(tmp_path / "communes.gpkg", layer="departement")
    csv, parquet = tmp_path / "out" / "hectares.csv", tmp_path / "hectares.parquet"
    command = ("hectares", path, tmp_path / "communes.gpkg", "--to", csv, "--to", parquet)

    ended = landweave(*command, "--layer", "commune", "--where", "nom LIKE 'N%'")

    assert ended.code == 0, ended.err
    assert "\n1 zones\n" in ended.out
    assert f"wrote {csv}\n" in ended.out
    wanted = lw.area_by_class(path, zones.iloc[:1])
    table = pd.read_csv(csv)
    assert table["nom"].tolist() == ["Nîmes"]
    assert table["area_ha_of_zone"].tolist() == [1.0]
    pd.testing.assert_frame_equal(table, pd.DataFrame(wanted.drop(columns="geometry")), check_dtype=False)
    assert geopandas.read_parquet(parquet).geometry.geom_equals_exact(wanted.geometry, 1e-9).all()
    again = landweave(*command, "--layer", "commune")
    assert (again.code, again.out) == (2, "")
    assert "is there already" in again.err


def test_a_table_that_stopped_halfway_is_the_same_when_run_again(stored, tmp_path, monkeypatch):
    zones, tables = boxes((0, 0, 1, 1)), [tmp_path / "a.csv", tmp_path / "a.parquet"]

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(FORMATS, ".parquet", killed)
        with pytest.raises(KeyboardInterrupt):
            lw.area_by_class(stored[0], zones, to=tables)
    assert not [table for table in tables if table.exists()]
    wanted = lw.area_by_class(stored[0], zones, to=tables)
    assert [table.read_bytes() for table in tables] == [write(wanted) for write in FORMATS.values()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.parquet"]


@pytest.mark.parametrize(
    ("zones", "options", "said"),
    [
        (boxes((5, 5, 6, 6)), {}, "none of its 1 zone meets the map"),
        (boxes((0, 0, 1, 1)).set_crs(None, allow_override=True), {}, "has no CRS"),
        (boxes((0, 0, 1, 1)).set_geometry(shapely.points([[1, 2]]), crs="EPSG:2154"), {}, "is a polygon, but Point"),
        ("none.gpkg", {}, "none.gpkg does not exist"),
        (boxes((0, 0, 1, 1)), {"to": "a.xlsx"}, r"end in \.csv or \.parquet, not a\.xlsx"),
    ],
)
def test_what_cannot_be_measured_is_refused(stored, zones, options, said):
    with pytest.raises(InputError, match=said):
        lw.area_by_class(stored[0], zones, **options)


def test_a_map_whose_crs_does_not_keep_areas_is_refused(stored):
    mapped = lw.open_map(stored[0])
    x, y = 270_000 + np.arange(mapped.x.size) * 0.2, 6_000_000 - np.arange(mapped.y.size) * 0.2
    mercator = mapped.assign_coords(x=x, y=y).drop_attrs().rio.write_crs("EPSG:3857")
    mercator["landcover"].attrs = mapped["landcover"].attrs
    with pytest.raises((InputError, ConfigError), match=r"2\.\d+ to 2\.\d+ ha in EPSG:3857"):
        mercator.landweave.area_by_class(boxes((0, 0, 1, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("renames", [0, 1])
def test_killed_while_tables_are_written_and_run_again_they_are_the_same_bytes(stored, tmp_path, renames):
    boxes((0, 0, 1, 1)).to_file(tmp_path / "zones.gpkg")
    arguments = str(stored[0]), str(tmp_path / "zones.gpkg")
    whole, files = ([tmp_path / name / f"a{ending}" for ending in FORMATS] for name in ("whole", "killed"))
    lw.area_by_class(*arguments, to=whole)
    killed_after_renames(f"lw.area_by_class(*{arguments}, to={list(map(str, files))})", renames)
    assert sum(file.exists() for file in files) == renames
    if renames:
        content = files[0].read_bytes()
        files[0].write_bytes(b"mine")
        with pytest.raises(OutputError, match="other areas"):
            lw.area_by_class(*arguments, to=files)
        files[0].write_bytes(content)
    lw.area_by_class(*arguments, to=files)
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in whole]
    assert len(list(files[0].parent.iterdir())) == len(files)
