"""FLAIR#2's series: each patch is given the pixels that are published for it, on their dates, with their masks."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landweave.config.schema import ModelSection
from landweave.core.errors import CardError, InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.timeseries import PixelClass
from landweave.models.cards.registry import find_card
from landweave.setup.dataset import ModelUse, region_config
from landweave.setup.map_setup import set_up_map
from landweave.sources.patches.layout import open_dataset
from landweave.sources.patches.superarea import SuperareaSpec, fit_corner, open_superarea
from tests.helpers.patches import MadeRegion, Superarea, write_flair_2
from tests.helpers.tiles import textured

PRODUCTS = tuple(
    f"S2A_MSIL2A_2021{day}T105421_N0214_R051_T31TDJ_2021{day}T134321" for day in ("0310", "0612", "0110", "0612")
)
RNG = np.random.default_rng(0)
VALUES = RNG.integers(1, 9000, (4, 10, 70, 80)).astype(np.uint16)
MASKS = RNG.integers(0, 50, (4, 2, 70, 80)).astype(np.uint8)
MASKS[0, 1], MASKS[1, 0] = 80, 60  # a date of clouds, and one of snow
CARD = "flair2-utt-without-metadata"


def made(before_xy=(233.7, 251.3)) -> tuple[MadeRegion, Superarea]:
    """Three by four patches of 102.4 m, well inside an array that begins within a pixel of both."""
    shape = (3 * 512, 4 * 512)
    arrays = {"AERIAL_RGBI": textured(shape, 5, 1), "AERIAL_LABEL-COSIA": np.ones((1, *shape), np.uint8)}
    region = MadeRegion(domain="D015_2020", name="Z2_UU", arrays=arrays, missing=((1, 2),))
    return region, Superarea(values=VALUES, masks=MASKS, products=PRODUCTS, before_xy=before_xy)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    return write_flair_2(tmp_path_factory.mktemp("flair2"), made())


def map_of(folder):
    dataset = open_dataset(folder).select()
    (region,) = dataset.regions.values()
    card = find_card(CARD)
    weights = folder / "none.safetensors"  # a map is set up without opening them
    weights.write_bytes(b"")
    use = ModelUse(model=ModelSection(card=CARD, coding="delivered", weights=str(weights)))
    return set_up_map(region_config(use, card, dataset, region))


def test_each_patch_is_given_the_pixels_that_are_published_for_it(folder):
    job = map_of(folder).job
    region, area = made()
    order = (2, 0, 1, 3)  # January before March; of two products of one instant the first is the first
    series = job.inputs["SENTINEL2_TS"]
    assert [str(each.time)[:10] for each in series.source.observations] == [
        "2021-01-10", "2021-03-10", "2021-06-12", "2021-06-12",
    ]  # fmt: skip
    for place in region.patches():
        row, column = area.centroid(region, place)
        window = Extent.of(*((512 * number, 512 * number + 512) for number in place))
        loaded = series.load(job.read_grid(series, window), job.grid)
        y, x = series.footprint.cut(window).slices_in(loaded.extent)
        published = VALUES[list(order), :, row - 20 : row + 20, column - 20 : column + 20]
        np.testing.assert_array_equal(loaded.series.values[..., y, x], published, err_msg=str(place))
        # Clouds of 80 and snow of 60 on whole dates: what is left are January and the second product of June.
        assert [dates for group in loaded.select(window).dates for dates in group] == [0, 3]
    found = loaded.series.pixel_class[..., y, x]
    assert (found[1] == PixelClass.CLOUD).all()
    assert (found[2] == PixelClass.SNOW).all()
    assert (found[[0, 3]] == PixelClass.CLEAR).all()


def test_the_published_departments_are_read_too(folder, tmp_path):
    """As IGN's files by department lie: D015_2020/aerial/Z2_UU, the centroids in a folder beside all data."""
    for old, new in (("aerial", "aerial"), ("labels", "labels"), ("sen", "sen")):
        for path in (folder / f"flair_2_{old}_test/D015_2020").rglob("*.*"):
            target = tmp_path / "data/flair#2-test/D015_2020" / new / "Z2_UU" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    (tmp_path / "aux-data").mkdir()
    (tmp_path / "aux-data/flair-2_centroids_sp_to_patch.json").symlink_to(folder / "flair-2_centroids_sp_to_patch.json")
    dataset = open_dataset(tmp_path / "data/flair#2-test").select()
    assert (dataset.layout, list(dataset.regions)) == ("flair-2", ["D015_Z2_UU"])
    assert (
        map_of(tmp_path / "data/flair#2-test").job.inputs["SENTINEL2_TS"].phase_yx
        == map_of(folder).job.inputs["SENTINEL2_TS"].phase_yx
    )


def test_other_pixels_than_the_arrays_have_are_refused():
    spec = SuperareaSpec(modality="S2", values="", masks="", products="", centroids="", images=())
    grid = Grid.from_bounds((0, 0, 1024, 1024), crs="EPSG:2154", resolution=10.24)
    with pytest.raises(InputError, match=r"have pixels of 10 m; S2 is to be read on pixels of 10\.24 m"):
        open_superarea(spec, grid)


def test_what_disagrees_is_named(folder, tmp_path):
    base = write_flair_2(tmp_path / "base", made())
    centroids = base / "flair-2_centroids_sp_to_patch.json"
    stated = json.loads(centroids.read_text())
    beside = {**stated, "IMG_000002.tif": [stated["IMG_000002.tif"][0] + 1, stated["IMG_000002.tif"][1]]}
    centroids.write_text(json.dumps(beside))
    assert "1 patches are cut one pixel beside" in str(map_of(base).job.inputs["SENTINEL2_TS"].source.describe())
    centroids.write_text(json.dumps({name: [column, row] for name, (row, column) in stated.items()}))
    with pytest.raises(InputError, match=r"off one array of 10 m: IMG_0000.*by .* pixels"):
        map_of(base)
    centroids.write_text("{}")
    with pytest.raises(InputError, match=r"names none of the 11 patches, such as IMG_000001.tif"):
        map_of(base)
    centroids.unlink()
    with pytest.raises(InputError, match=r"no flair-2_centroids_sp_to_patch\.json beside them"):
        map_of(base)
    centroids.write_text(json.dumps(stated))
    (products,) = base.rglob("*_products.txt")
    products.write_text("\n".join(PRODUCTS[:3]))
    with pytest.raises(InputError, match=r"has the shape \(4, 10, 70, 80\); .* lists 3 dates"):
        map_of(base)
    products.write_text("S2A_2021")
    with pytest.raises(InputError, match="'S2A_2021', which is no product"):
        map_of(base)
    (values,) = base.rglob("*_data.npy")
    values.write_bytes(values.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read as an array"):
        map_of(base)
    (masks,) = base.rglob("*_masks.npy")
    masks.unlink()
    with pytest.raises(InputError, match="has a series without SENTINEL2_MSK-SC"):
        map_of(base)
    values.unlink()
    with pytest.raises(CardError, match="SENTINEL2_TS is missing"):
        map_of(base)


@given(
    st.fractions(-50, 50, max_denominator=97),
    st.lists(st.fractions(-500, 500, max_denominator=97), min_size=1, max_size=12),
)
def test_a_corner_holds_every_centre_in_its_published_pixel(corner: Fraction, centres: list[Fraction]):
    pixels = [(centre - corner).__floor__() for centre in centres]
    found, off = fit_corner(centres, pixels)
    assert off == 0
    assert [(centre - found).__floor__() for centre in centres] == pixels
    assert abs(found - corner) < 1
