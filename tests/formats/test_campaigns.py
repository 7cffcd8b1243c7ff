import pickle

import geopandas
import pandas as pd
import pytest
import shapely

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.formats.campaigns import read_campaigns

DATES = {
    "text": ["2020-07-14", "2021-08-01", "2020-09-30"],
    "compact": ["20200714", "20210801", "20200930"],
    "number": [2020, 2021, 2020],
    "date": pd.to_datetime(["2020-07-14", "2021-08-01", "2020-09-30"]),
}


@pytest.fixture
def graph(tmp_path):
    """Three strips of 100 m, west to east, flown in 2020, 2021 and 2020 again."""
    path = tmp_path / "graph.gpkg"
    strips = [shapely.box(x, 6599000, x + 100, 6600000) for x in (700000, 700100, 700200)]
    geopandas.GeoDataFrame(DATES, geometry=strips, crs="EPSG:2154").to_file(path)
    return str(path)


def window(x: float, y: float = 6599500) -> Grid:
    return Grid.from_bounds((x - 10, y - 10, x + 10, y + 10), crs="EPSG:2154", resolution=0.2)


@pytest.mark.parametrize("column", list(DATES))
def test_the_year_is_that_of_the_ground_under_the_centre(graph, column):
    campaigns = pickle.loads(pickle.dumps(read_campaigns(graph, column=column, crs="EPSG:2154")))
    assert campaigns.years == (2020, 2021)
    assert [campaigns.year_of(window(x)) for x in (700050, 700099, 700101, 700150, 700250)] == [
        2020, 2020, 2021, 2021, 2020,
    ]  # fmt: skip


def test_where_two_years_were_flown_over_the_earlier_one_tells(tmp_path):
    path = tmp_path / "twice.gpkg"
    strips = [shapely.box(700000, 6599000, x, 6600000) for x in (700300, 700200)]
    geopandas.GeoDataFrame({"flown": [2021, 2020]}, geometry=strips, crs="EPSG:2154").to_file(path)
    campaigns = read_campaigns(str(path), column="flown", crs="EPSG:2154")
    assert [campaigns.year_of(window(x)) for x in (700100, 700250)] == [2020, 2021]


def test_beyond_every_strip_the_nearest_one_tells(graph):
    campaigns = read_campaigns(graph, column="text", crs="EPSG:2154")
    assert campaigns.year_of(window(699000)) == 2020
    assert campaigns.year_of(window(700150, 6601000)) == 2021


def test_the_graph_may_lie_in_another_crs(graph, tmp_path):
    path = tmp_path / "geographic.gpkg"
    geopandas.read_file(graph).to_crs("EPSG:4326").to_file(path)
    campaigns = read_campaigns(str(path), column="text", crs="EPSG:2154")
    assert campaigns.year_of(window(700150)) == 2021


def test_what_is_wrong_is_said(graph, tmp_path):
    with pytest.raises(InputError, match=r"no column 'flown'; its columns are \['text'"):
        read_campaigns(graph, column="flown", crs="EPSG:2154")
    path = tmp_path / "odd.gpkg"
    geopandas.read_file(graph).assign(text="summer").to_file(path)
    with pytest.raises(InputError, match="'summer', which does not begin with a year"):
        read_campaigns(str(path), column="text", crs="EPSG:2154")
