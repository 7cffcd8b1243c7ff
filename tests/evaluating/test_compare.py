"""A map beside other products on their own pixels, through crosswalks: majorities counted by hand."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import shapely

import landweave as lw
from landweave.core.crosswalk import load_crosswalk
from tests.helpers.commands import Command, done, write_config
from tests.helpers.maps import CORNER, lumps, write_map
from tests.helpers.tiles import write_tile

SHAPE = (260, 310)
MAPPED = lumps(SHAPE, (0, 3, 6, 8), side=7)
MAPPED[:, 280:] = 255
XY = (CORNER[1] / 5, -CORNER[0] / 5)
CLASSES = [
    {"code": 1, "name": "built", "color": "#ff0000", "source_codes": [0, 3]},
    {"code": 2, "name": "other", "color": "#00ff00", "source_codes": [6, 8, 9]},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    """A map, and crosswalks of its classes and of another product's to two classes."""
    base = tmp_path_factory.mktemp("compare")
    write_map(base / "map.zarr", MAPPED)
    (base / "five.yaml").write_text(json.dumps({"name": "two", "source": "five", "classes": CLASSES}))
    theirs = [{**CLASSES[0], "source_codes": [50]}, {**CLASSES[1], "source_codes": [10, 20]}]
    (base / "oso.yaml").write_text(json.dumps({"name": "two", "source": "oso", "classes": theirs, "left_out": [80]}))
    return base


def by_hand(values: np.ndarray, locate, table=None) -> Counter:
    """Pairs (other, majority of the map) of a raster, pixel by pixel; ``locate`` gives row and column of points."""
    votes: dict[tuple[int, int], Counter] = {}
    rows, columns = np.indices(SHAPE)
    x, y = XY[0] + (columns + 0.5) * 0.2, XY[1] - (rows + 0.5) * 0.2
    down, across = locate(x, y)
    for r, c, code in zip(down.ravel(), across.ravel(), MAPPED.ravel(), strict=True):
        votes.setdefault((int(r), int(c)), Counter())[int(code) if table is None else int(table[code])] += 1
    pairs: Counter = Counter()
    for (r, c), counts in votes.items():
        if not (0 <= r < values.shape[0] and 0 <= c < values.shape[1]) or values[r, c] == 255:
            continue
        known = {code: number for code, number in counts.items() if code != 255}
        full = sum(known.values()) >= 0.5 * by_hand.pixel_m2 / 0.04
        best = min(known, key=lambda code: (-known[code], code)) if full else 255
        pairs[int(values[r, c]) * 256 + best] += 1
    return pairs


def test_a_raster_of_10_m_is_compared_on_its_own_pixels(folder, tmp_path):
    values = lumps((9, 9), (0, 3, 6, 8), seed=4, side=1)
    values[0, 0] = 255
    corner = (XY[0] - 13.3, XY[1] + 4.7)  # off the map's pixels and beyond the map
    path = write_tile(tmp_path / "other.tif", values[None], corner_xy=corner, pixel=10)
    result = lw.compare(folder / "map.zarr", path)
    by_hand.pixel_m2 = 100
    expected = by_hand(values, lambda x, y: (np.floor((corner[1] - y) / 10), np.floor((x - corner[0]) / 10)))
    found = Counter({pair: n for pair, n in result.counts.pairs.items() if pair % 256 != 255})
    assert found == Counter({pair: n for pair, n in expected.items() if pair % 256 != 255})
    assert sum(found.values()) > 15
    assert "the reference's own, of 10 in EPSG:2154" in str(result)


def test_pixels_of_about_the_maps_size_are_all_compared(folder, tmp_path):
    """Few hold as many centres of the map's pixels as their area, and those of a finer raster none."""
    fine = write_tile(tmp_path / "fine.tif", np.kron(MAPPED, np.ones((2, 2), np.uint8))[None], corner_xy=XY, pixel=0.1)
    scores = lw.compare(folder / "map.zarr", fine).scores
    assert (scores.confusion.sum(), scores.accuracy) == (4 * 260 * 280, 1)
    coarse = write_tile(tmp_path / "coarse.tif", np.zeros((1, 170, 180), np.uint8), corner_xy=XY, pixel=0.3)
    assert lw.compare(folder / "map.zarr", coarse).scores.confusion.sum() == 170 * 180


def test_a_raster_in_degrees_is_compared_through_crosswalks(folder, tmp_path, landweave: Command):
    """As ESA WorldCover: 1/12000 degree, other codes, one of them left out."""
    to_degrees = pyproj.Transformer.from_crs("EPSG:2154", "EPSG:4326", always_xy=True)
    step = 1 / 12000
    west, north = to_degrees.transform(*XY)
    west, north = np.floor(west / step) * step, np.ceil(north / step) * step
    values = lumps((9, 12), (10, 20, 50, 80), seed=5, side=1)
    path = write_tile(tmp_path / "world.tif", values[None], corner_xy=(west, north), pixel=step, crs="EPSG:4326")
    other = lw.Labels(files=path, crosswalk=folder / "oso.yaml")
    result = lw.compare(folder / "map.zarr", other, crosswalk=folder / "five.yaml")
    ours, theirs = np.full(256, 255), np.full(256, 255)
    ours[[0, 3]], ours[[6, 8, 9]], theirs[50], theirs[[10, 20]] = 1, 2, 1, 2

    def locate(x, y):
        lon, lat = to_degrees.transform(x, y)
        return np.floor((north - lat) / step), np.floor((lon - west) / step)

    by_hand.pixel_m2 = 9.27 * 9.27 * np.cos(np.radians(north))
    expected = by_hand(theirs[values], locate, ours)
    found = Counter(result.counts.pairs)
    inner = {pair: n for pair, n in expected.items() if pair % 256 != 255}
    for pair, number in inner.items():
        assert abs(found[pair] - number) <= 1  # a pixel that is half covered may go either way
    assert result.legend.name == "two"
    assert 20 < result.scores.confusion.sum() <= (theirs[values] != 255).sum()
    config = write_config(folder, Path("card.yaml"), Path("weights.safetensors"), output={"store": "map.zarr"})
    for named in (folder / "map.zarr", config):
        crosswalks = ["--crosswalk", folder / "five.yaml", "--other-crosswalk", folder / "oso.yaml"]
        assert done(landweave("compare", named, path, *crosswalks)).strip() == str(result).strip()


def test_polygons_of_another_product_are_compared_on_the_maps_pixels(folder, tmp_path):
    x0, y1 = XY
    boxes = [shapely.box(x0 + 8, y1 - 20, x0 + 14, y1 - 10), shapely.box(x0 + 15, y1 - 20, x0 + 20, y1 - 10)]
    frame = geopandas.GeoDataFrame({"cover": ["built", "Other"]}, geometry=boxes, crs="EPSG:2154")
    frame.to_file(tmp_path / "ocs.gpkg")
    labels = lw.Labels(files=tmp_path / "ocs.gpkg", column="cover")
    result = lw.compare(folder / "map.zarr", labels, crosswalk=folder / "five.yaml")
    ours = np.full(256, 255)
    ours[[0, 3]], ours[[6, 8, 9]] = 1, 2
    built, other = ours[MAPPED[50:100, 40:70]], ours[MAPPED[50:100, 75:100]]
    expected = [[(built == 1).sum(), (built == 2).sum()], [(other == 1).sum(), (other == 2).sum()]]
    assert result.scores.confusion.tolist() == expected
    # Names are of the classes that a crosswalk leads to, codes are those that it lists.
    labels = lw.Labels(files=tmp_path / "ocs.gpkg", column="cover", crosswalk=folder / "oso.yaml")
    named = lw.compare(folder / "map.zarr", labels, crosswalk=folder / "five.yaml")
    assert named.scores.confusion.tolist() == expected
    frame.assign(cover=[50, 10]).to_file(tmp_path / "ocs.gpkg")
    coded = lw.compare(folder / "map.zarr", labels, crosswalk=folder / "five.yaml")
    assert coded.scores.confusion.tolist() == expected


VRT_BAND = """<VRTRasterBand dataType="Byte" band="{number}"><SimpleSource><SourceFilename relativeToVRT="1">{file}
</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"""


def test_a_band_of_a_vrt_may_be_another_of_its_file(folder, tmp_path):
    """As ``gdalbuildvrt -separate`` makes it."""
    empty = write_tile(tmp_path / "a.tif", np.zeros((1, *SHAPE), np.uint8), corner_xy=XY)
    write_tile(tmp_path / "b.tif", MAPPED[None], corner_xy=XY, nodata=200)
    bands = [
        VRT_BAND.format(number=number, file=name).replace("\n", "") for number, name in ((1, empty.name), (2, "b.tif"))
    ]
    size = f'rasterXSize="{SHAPE[1]}" rasterYSize="{SHAPE[0]}"'
    (tmp_path / "m.vrt").write_text(f"<VRTDataset {size}>{''.join(bands)}</VRTDataset>")
    assert lw.compare(folder / "map.zarr", lw.Labels(files=tmp_path / "m.vrt", band=2)).scores.accuracy == 1


def test_rasters_elsewhere_and_foreign_crosswalks_are_refused(folder, tmp_path):
    away = write_tile(tmp_path / "away.tif", np.zeros((1, 5, 5), np.uint8), corner_xy=(XY[0] + 9e4, XY[1]), pixel=10)
    with pytest.raises(lw.errors.InputError, match="lies in"):
        lw.compare(folder / "map.zarr", away)
    huge = write_tile(tmp_path / "huge.tif", np.zeros((1, 2, 2), np.uint8), corner_xy=XY, pixel=10_000)
    with pytest.raises(lw.errors.InputError, match="has 50,000 pixels of the map side by side, and 6,000 at most"):
        lw.compare(folder / "map.zarr", huge)
    with pytest.raises(lw.errors.ConfigError, match="is for the legend 'oso', the map has 'five'"):
        lw.compare(folder / "map.zarr", away, crosswalk=folder / "oso.yaml")


def test_a_tag_that_the_crosswalk_leaves_out_is_no_class(folder, tmp_path):
    other = write_tile(
        tmp_path / "o.tif", np.where(MAPPED == 0, 80, 50)[None].astype(np.uint8), corner_xy=XY, nodata=80
    )
    labels = lw.Labels(files=other, crosswalk=folder / "oso.yaml")
    result = lw.compare(folder / "map.zarr", labels, crosswalk=folder / "five.yaml")
    assert result.notes == ()  # nothing says that its pixels count
    assert result.counts.pixels == (MAPPED != 0).sum()


def test_crosswalks_to_other_legends_are_refused(folder, tmp_path):
    """Codes alone would agree: 1 is built here, and trees there."""
    theirs = [{"code": 1, "name": "trees", "color": "#00ff00", "source_codes": [50]}]
    (tmp_path / "trees.yaml").write_text(json.dumps({"name": "trees", "source": "oso", "classes": theirs}))
    other = write_tile(tmp_path / "o.tif", np.full((1, 9, 9), 50, np.uint8), corner_xy=XY, pixel=10)
    labels = lw.Labels(files=other, crosswalk=tmp_path / "trees.yaml")
    with pytest.raises(lw.errors.ConfigError, match=r"1 is 'trees'.* where it is 'built': name crosswalks to one"):
        lw.compare(str(folder / "map.zarr"), labels, crosswalk=folder / "five.yaml")


def test_codes_of_three_digits_come_onto_the_classes_by_a_crosswalk(folder, tmp_path):
    """As those of CORINE Land Cover, 999 where it has none."""
    codes = np.where(np.arange(81).reshape(1, 9, 9) % 2, 523, 112).astype(np.int32)
    codes[0, 0, 0] = 999
    oso = load_crosswalk(folder / "oso.yaml")
    first, second = oso.codes[0], oso.codes[2]  # of both classes
    by_three_digits = replace(oso, codes=((112, first[1]), (523, second[1]), (999, 255)))
    plain = np.choose(codes % 2, [first[0], second[0]]).astype(np.uint8)
    plain[0, 0, 0] = 255
    results = []
    for name, values, crosswalk in (("wide.tif", codes, by_three_digits), ("plain.tif", plain, oso)):
        labels = lw.Labels(files=write_tile(tmp_path / name, values, corner_xy=XY, pixel=10), crosswalk=crosswalk)
        results.append(lw.compare(str(folder / "map.zarr"), labels, crosswalk=folder / "five.yaml"))
    wide, narrow = results
    assert wide.scores.confusion.sum() > 0
    np.testing.assert_array_equal(wide.scores.confusion, narrow.scores.confusion)
    with pytest.raises(lw.errors.ReadError, match=r"hold 999: codes are .* from 0 to 254.* A crosswalk brings larger"):
        lw.compare(str(folder / "map.zarr"), tmp_path / "wide.tif", crosswalk=folder / "five.yaml")
    square = shapely.box(XY[0], XY[1] - 40, XY[0] + 40, XY[1])
    geopandas.GeoDataFrame({"code": ["523"]}, geometry=[square], crs="EPSG:2154").to_file(tmp_path / "clc.gpkg")
    polygons = lw.Labels(files=tmp_path / "clc.gpkg", column="code", crosswalk=by_three_digits)
    found = lw.compare(str(folder / "map.zarr"), polygons, crosswalk=folder / "five.yaml")
    assert {pair // 256 for pair in found.counts.pairs} == {second[1]}


def test_codes_that_the_crosswalk_does_not_list_are_refused(folder, tmp_path):
    """A crosswalk of another product would leave most pixels out, and score the rest."""
    values = np.full((1, 9, 9), 50, np.uint8)
    values[0, 3, 3] = 30
    other = write_tile(tmp_path / "o.tif", values, corner_xy=XY, pixel=10)
    with pytest.raises(lw.errors.ReadError, match="hold code 30, which their crosswalk does not list"):
        lw.compare(
            str(folder / "map.zarr"), lw.Labels(files=other, crosswalk=folder / "oso.yaml"),
            crosswalk=folder / "five.yaml",
        )  # fmt: skip
    square = shapely.box(XY[0], XY[1] - 40, XY[0] + 40, XY[1])
    frame = geopandas.GeoDataFrame({"code": [30]}, geometry=[square], crs="EPSG:2154")
    frame.to_file(tmp_path / "o.gpkg")
    labels = lw.Labels(files=tmp_path / "o.gpkg", column="code", crosswalk=folder / "oso.yaml")
    with pytest.raises(lw.errors.InputError, match="holds code 30, which their crosswalk"):
        lw.compare(str(folder / "map.zarr"), labels, crosswalk=folder / "five.yaml")
