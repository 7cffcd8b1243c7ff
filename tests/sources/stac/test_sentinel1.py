import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

from landweave.sources.stac.items import UnusableItem
from landweave.sources.stac.sentinel1 import quantity_of, read_sentinel1
from tests.helpers.stac_items import radar, real_items, with_properties

BOTH = ("VV", "VH")
ORTHO = "Sigma0 backscatter, orthorectified"


@pytest.fixture
def write_vv(tmp_path):
    """A small measurement file: with ground control points, on the map, or neither."""

    def write(*, gcps=0, crs=None):
        path = tmp_path / "vv.tif"
        points = [
            GroundControlPoint(row=10 * n, col=10 * (n % 2), x=3 + 0.1 * (n % 2), y=43 + 0.1 * n) for n in range(gcps)
        ]
        place = {"crs": crs, "transform": Affine(10, 0, 5e5, 0, -10, 4.8e6)} if crs else {}
        if points:
            place = {"gcps": points, "crs": "EPSG:4326"}
        with rasterio.open(
            path, "w", driver="GTiff", width=20, height=20, count=1, dtype="float32", **place
        ) as dataset:
            dataset.write(np.ones((1, 20, 20), np.float32))
        return str(path)

    return write


def test_planetary_computers_terrain_corrected_items_are_read_though_their_product_type_says_grd(shared):
    items = real_items(shared("data/stac") / "sentinel-1-rtc-pc.json")
    assert {item["properties"]["sar:product_type"] for item in items} == {"GRD"}
    scenes = [read_sentinel1(item, BOTH) for item in items]
    # From the names: S1A, 2024-04-19 around 04:58, absolute orbit 053498; four frames of one pass.
    assert {scene.datatake for scene in scenes} == {"S1A_A053498"}
    assert [str(scene.time) for scene in scenes] == [
        "2024-04-19T04:58:01",
        "2024-04-19T04:58:26",
        "2024-04-19T04:58:51",
        "2024-04-19T04:59:10",
    ]
    assert {(scene.orbit_state, scene.relative_orbit) for scene in scenes} == {("descending", 51)}
    assert {(scene.quantity, str(scene.solar_day)) for scene in scenes} == {("gamma0_rtc", "2024-04-19")}
    last = scenes[-1].assets
    assert [last[name].href[-15:] for name in BOTH] == ["/iw-vv.rtc.tiff", "/iw-vh.rtc.tiff"]
    assert (last["VV"].crs, last["VV"].shape, last["VV"].nodata) == ("EPSG:32633", (12949, 27526), -32768)
    assert last["VV"].transform == Affine(10, 0, 373180, 0, -10, 3424680)
    assert (last["VV"].scale, last["VV"].offset) == (1, 0)


def test_an_item_of_the_open_rtc_tiles_is_read(shared):
    (item,) = real_items(shared("data/stac") / "S1B_20161121_12SYJ_ASC.json")
    scene = read_sentinel1(item, BOTH)
    assert (scene.datatake, scene.tile, scene.orbit_state, scene.relative_orbit) == (
        "S1B_A003050",
        "12SYJ",
        "ascending",
        49,
    )
    assert scene.quantity == "gamma0_rtc"
    # One in the morning UTC is the evening before at 108 degrees west.
    assert (str(scene.time), str(scene.solar_day)) == ("2016-11-21T01:09:37", "2016-11-20")
    assert [scene.assets[name].href[-13:] for name in BOTH] == ["Gamma0_VV.tif", "Gamma0_VH.tif"]
    assert scene.assets["VH"].transform == Affine(20, 0, 699960, 0, -20, 4400040)


@pytest.mark.parametrize(
    "name", ["mspc-s1-grd.json", "S1A_IW_GRDH_1SDV_20210809T173953_20210809T174018_039156_049F13.json"]
)
def test_raw_products_are_refused_whatever_else_they_say(shared, name):
    (item,) = real_items(shared("data/stac") / name)
    with pytest.raises(UnusableItem, match=r"is raw: .*neither its collection 'sentinel-?1-grd'.*in radar geometry"):
        read_sentinel1(item, BOTH)
    # Neither a product type nor a transform makes it anything else.
    dressed = with_properties(
        item, sar__product_type="RTC", proj__transform=[10, 0, 5e5, 0, -10, 4.8e6], proj__epsg=32631
    )
    with pytest.raises(UnusableItem, match="is raw"):
        read_sentinel1(dressed, BOTH)


@pytest.mark.parametrize(
    ("collection", "text", "quantity"),
    [
        ("sentinel-1-rtc", "", "gamma0_rtc"),
        ("s1_rtc", "", "gamma0_rtc"),
        ("sentinel-1-grd", "", ""),
        ("sentinel-1-grd", "amplitude of signal, with radiometric terrain correction applied", ""),
        ("sentinel-1-rtc", "amplitude of signal", ""),
        ("sentinel-1-grd", "sigma0, orthorectified", "sigma0"),
        ("backscatter", "gamma naught with terrain flattening", "gamma0_rtc"),
        ("backscatter", "gamma nought", "gamma0"),
        ("my-sigma0", "vv", "sigma0"),
        ("backscatter", "vv", ""),
    ],
)
def test_the_quantity_is_told_by_words_the_assets_before_the_collections(collection, text, quantity):
    assert quantity_of(collection, text) == quantity


def test_sigma0_must_be_said_to_lie_on_the_map():
    read = read_sentinel1(radar(collection="sigma0", text="orthorectified"), BOTH)
    assert (read.quantity, sorted(read.assets)) == ("sigma0", ["VH", "VV"])
    with pytest.raises(UnusableItem, match="nothing says that it is orthorectified"):
        read_sentinel1(radar(collection="sigma0"), BOTH)


def test_gamma0_must_be_said_to_be_terrain_corrected():
    with pytest.raises(UnusableItem, match="gamma0 without a word of terrain correction"):
        read_sentinel1(radar(collection="backscatter", text="gamma0"), BOTH)


def test_ground_control_points_in_the_file_count_more_than_words(write_vv):
    item = radar(collection="sigma0", text=ORTHO)
    item["assets"]["vv"]["href"] = write_vv(gcps=6)
    with pytest.raises(UnusableItem, match="radar geometry: VV has 6 ground control points"):
        read_sentinel1(item, ("VV",))


def test_a_raw_item_names_the_control_points_that_its_file_has(write_vv):
    item = radar(collection="sentinel-1-grd")
    item["assets"]["vv"]["href"] = write_vv(gcps=4)
    with pytest.raises(UnusableItem, match="4 ground control points in its file"):
        read_sentinel1(item, ("VV",))


def test_a_file_on_the_map_needs_no_words_and_one_on_none_does(write_vv):
    item = radar(collection="sigma0")
    item["assets"]["vv"]["href"] = write_vv(crs="EPSG:32631")
    assert read_sentinel1(item, ("VV",)).quantity == "sigma0"
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        item["assets"]["vv"]["href"] = write_vv()
    with pytest.raises(UnusableItem, match="nothing says"):
        read_sentinel1(item, ("VV",))


def test_the_quantity_asked_for_is_the_one_that_is_read():
    item = radar(collection="card4l", keys="sigma0_{}", text="orthorectified")
    flattened = radar(collection="card4l", keys="gamma0_{}", text="terrain corrected")["assets"]
    item["assets"] |= flattened
    for quantity in ("sigma0", "gamma0_rtc"):
        scene = read_sentinel1(item, BOTH, quantity=quantity)
        assert scene.quantity == quantity
        assert all(quantity[:6] in scene.assets[name].href for name in BOTH)
    with pytest.raises(UnusableItem, match="measures sigma0 and gamma0_rtc: name one"):
        read_sentinel1(item, BOTH)
    with pytest.raises(UnusableItem, match="measures gamma0_rtc, sigma0 was asked"):
        read_sentinel1(radar(), BOTH, quantity="sigma0")


@pytest.mark.parametrize("how", [{"unit": "dB"}, {"title": "VV (dB)"}, {"raster:bands": [{"unit": "decibel"}]}])
def test_decibels_are_no_linear_power(how):
    item = radar()
    item["assets"]["vv"] |= how
    with pytest.raises(UnusableItem, match="stores VV in decibels"):
        read_sentinel1(item, BOTH)


def test_scale_and_offset_are_the_items_own():
    item = radar()
    item["assets"]["vh"]["raster:bands"] = [{"scale": 0.0001, "offset": -0.5, "nodata": 0}]
    asset = read_sentinel1(item, BOTH).assets["VH"]
    assert (asset.scale, asset.offset, asset.nodata) == (0.0001, -0.5, 0)


def test_a_pass_is_named_by_its_orbit(shared):
    assert read_sentinel1(radar("20210614"), BOTH).datatake == "S1A_A038014"
    assert read_sentinel1(with_properties(radar(), sat__absolute_orbit=None), BOTH).datatake == "S1A_R059"
    bare = with_properties(radar(), sat__absolute_orbit=None, sat__relative_orbit=None)
    with pytest.raises(UnusableItem, match="neither its absolute nor its relative orbit"):
        read_sentinel1(bare, BOTH)
    items = real_items(shared("data/stac") / "sentinel-1-rtc-pc.json")
    named = with_properties(items[0], sat__absolute_orbit=None, platform=None)
    assert read_sentinel1(named, BOTH).datatake == "S1A_A053498"


def test_a_missing_polarisation_is_named_with_what_there_is():
    item = radar()
    del item["assets"]["vh"]
    with pytest.raises(UnusableItem, match="no asset for VH; it has vv"):
        read_sentinel1(item, BOTH)
