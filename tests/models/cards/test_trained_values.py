"""Laws of values beside those of the training: other units and types are refused, odd but good imagery never is."""

import numpy as np
import pytest

from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import InputSpec
from landweave.models.cards.registry import find_card, list_cards
from landweave.models.cards.trained_values import TrainedValues
from tests.models.conftest import small_content

RANDOM = np.random.default_rng(3)
SIZE = 8 * 64 * 64


def around(*means: float, std: float = 20, dtype: str = "uint8", names: tuple[str, ...] = ("NIR", "R", "G")):
    """Bands of that mean, as numbers of that type."""
    info = np.iinfo(dtype) if dtype[0] in "iu" else np.finfo(dtype)
    planes = [np.clip(RANDOM.normal(mean, std, SIZE), max(info.min, -1e30), min(info.max, 1e30)) for mean in means]
    return {name: plane.astype(dtype).astype(float) for name, plane in zip(names, planes, strict=True)}


def refusals(card: str, modality: str, values, dtype: str, quantity: str = "") -> list[str]:
    trained = TrainedValues.of(modality, find_card(card).inputs[modality], quantity)
    return [each.text for each in trained.findings(values, np.dtype(dtype)) if each.refused]


AERIAL = ("LC-A", "AERIAL_RGBI")
GOOD_AERIAL = {
    "a usual summer": (around(107, 106, 111, std=45), "uint8"),
    "a dark forest": (around(60, 20, 25, std=8), "uint8"),
    "snow": (around(250, 254, 254, std=4), "uint8"),
    "water": (around(2, 30, 45, std=3), "uint8"),
    "black water": (around(0.2, 8, 12, std=2), "uint8"),
    "a winter evening": (around(18, 15, 16, std=6), "uint8"),
    "one grey level": (around(90, 90, 90, std=0), "uint8"),
    "bytes in 16 bits": (around(107, 106, 111, std=40), "uint16"),
    "bytes as floats": (around(107, 106, 111, std=30, dtype="float32"), "float32"),
    "still water": (around(3, 2, 2, std=0), "uint8"),
    "glare": (around(200, 255, 255, std=0), "uint8"),
    "nothing but 0": (around(0, 0, 0, std=0), "uint8"),
}


@pytest.mark.parametrize("name", GOOD_AERIAL)
def test_odd_imagery_is_not_refused(name):
    values, dtype = GOOD_AERIAL[name]
    values = {band: np.clip(plane, 0, 255) for band, plane in values.items()}
    for card in (AERIAL, ("flair-inc-rgbi-15cl", "AERIAL_RGBI"), ("flair2-utt-without-metadata", "AERIAL_RGBI")):
        bands = find_card(card[0]).inputs[card[1]].names
        planes = {band: values.get(band, values["G"]) for band in bands}
        assert refusals(*card, planes, dtype) == []


@pytest.mark.parametrize(
    ("values", "dtype", "said"),
    [
        (around(27000, 27000, 28000, std=9000, dtype="uint16"), "uint16", "lie outside 0 to 255"),
        (around(812, 640, 700, std=300, dtype="uint16"), "uint16", "lie outside 0 to 255"),
        (around(250, 200, 210, std=120, dtype="uint16"), "uint16", "lie outside 0 to 255"),
        (around(-20, 30, 10, std=40, dtype="int16"), "int16", "lie outside 0 to 255"),
        (around(0.4, 0.3, 0.3, std=0.1, dtype="float32"), "float32", "far too small"),
        (around(0, 0.1, -0.1, std=1, dtype="float32"), "float32", "lie outside 0 to 255"),
        ({name: np.minimum(plane, 1) for name, plane in around(1, 0.5, 0.6, std=0.5).items()}, "uint8", "too small"),
        ({**around(1, 110, 120, std=30), "NIR": np.full(SIZE, 255.0)}, "uint8", "an alpha band"),
    ],
)
def test_other_numbers_are_refused(values, dtype, said):
    found = refusals(*AERIAL, values, dtype)
    assert found
    assert said in found[0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("levels", [(2, 3, 3), (255, 255, 200), (255, 255, 255), (0, 0, 2), (0, 255, 0), (0, 255, 255)])
@pytest.mark.parametrize("varied", [(), ("NIR",), ("NIR", "G")])
def test_bytes_are_not_refused_for_bytes_however_dark_or_bright(levels, varied, dtype):
    values = {name: np.full(SIZE, float(level)) for name, level in zip(("NIR", "R", "G"), levels, strict=True)}
    for name in varied:
        values[name] = np.clip(values[name] + RANDOM.integers(-3, 4, SIZE), 0, 255)
    flat = [name for name, plane in values.items() if plane.min() == plane.max()]
    alpha = len(flat) == 1 and bool(values[flat[0]][0] == 255)
    assert bool(refusals(*AERIAL, values, dtype)) is alpha


@pytest.mark.parametrize(
    ("values", "dtype", "refused"),
    [
        (around(430, 510, 470, std=200, dtype="uint16"), "uint16", False),
        (around(3300, 4500, 4600, std=300, dtype="uint16"), "uint16", False),  # snow
        (around(60, 150, 250, std=20, dtype="uint16"), "uint16", False),  # water
        (around(100, 90, 110, std=30), "uint8", True),  # a picture
        (around(0.1, 0.1, 0.1, std=0.03, dtype="float32"), "float32", True),
        (around(27000, 20000, 28000, std=5000, dtype="uint16"), "uint16", True),
    ],
)
def test_spot(values, dtype, refused):
    assert bool(refusals("LC-I", "SPOT_RGBI", values, dtype)) is refused


S2 = find_card("LC-G").inputs["SENTINEL2_TS"].names


@pytest.mark.parametrize(
    ("reflectance", "dtype", "refused"),
    [
        (np.linspace(500, 3000, 10), "uint16", False),
        (np.linspace(11000, 800, 10), "uint16", False),  # snow
        (np.linspace(260, 5, 10), "uint16", False),  # water
        (np.linspace(12000, 7000, 10), "uint16", False),  # cloud
        (np.linspace(0.05, 0.3, 10), "float32", True),
        (np.ones(10), "uint16", True),  # reflectance of 0 to 1, rounded
        (np.linspace(50, 120, 10), "uint8", True),  # a picture
        (np.linspace(-25, -12, 10), "float32", True),
        (np.linspace(20000, 60000, 10), "uint16", True),
    ],
)
def test_reflectance(reflectance, dtype, refused):
    values = around(*reflectance, std=abs(reflectance).max() / 50, dtype=dtype, names=S2)
    for card in ("LC-G", "demo-fusion", "flair2-utt-without-metadata"):
        assert bool(refusals(card, "SENTINEL2_TS", values, dtype, "reflectance")) is refused


@pytest.mark.parametrize(
    ("power", "refused"),
    [((0.1, 0.02), False), ((0.002, 0.0004), False), ((2.0, 0.3), False), ((-9, -16), True), ((180, 60), True)],
)
def test_radar(power, refused):
    values = around(*power, std=abs(power[1]) / 10, dtype="float32", names=("VV", "VH"))
    assert bool(refusals("LC-H", "SENTINEL1-ASC_TS", values, "float32", "sigma0")) is refused


def height_findings(dsm, dtm, **read):
    trained = TrainedValues.of("DEM_ELEV", find_card("LC-B").inputs["DEM_ELEV"])
    dsm, dtm = np.asarray(dsm, float), np.asarray(dtm, float)
    return list(trained.findings({"DSM": dsm, "DTM": dtm, "NDSM": dsm - dtm}, np.dtype("float32"), **read))


GROUND = RANDOM.normal(300, 30, SIZE)
TREES = np.where(RANDOM.random(SIZE) < 0.4, RANDOM.uniform(3, 25, SIZE), RANDOM.normal(0, 0.2, SIZE))


@pytest.mark.parametrize("ground", [GROUND, GROUND - 320, GROUND + 4500, GROUND / 10 - 430])
def test_heights_in_metres_pass_from_the_dead_sea_to_the_highest_summits(ground):
    assert height_findings(ground + TREES, ground) == []


def test_heights_that_are_no_metres_are_refused_and_odd_ones_told():
    (first, *_) = height_findings((GROUND + TREES) * 100, GROUND * 100)
    assert (first.refused, "DSM has a median of 3" in first.text) == (True, True)
    assert any(each.refused for each in height_findings(GROUND * 100 + TREES, GROUND))  # one in centimetres
    (feet,) = height_findings(GROUND * 3.28, GROUND)
    assert (feet.refused, "median of 68" in feet.text) == (True, True)
    one_tile = np.where(np.arange(SIZE) % 4 == 0, (GROUND + TREES) * 10, GROUND + TREES)  # whose tag of 0.1 is lost
    (lost,) = height_findings(one_tile, GROUND)
    assert (lost.refused, "25.00% of NDSM lie outside -5 to 100 m" in lost.text) == (False, True)
    zero, *_ = height_findings(GROUND + TREES + 47, GROUND)
    assert (zero.refused, "above the ellipsoid, the other above sea level?" in zero.text) == (False, True)
    (swapped,) = height_findings(GROUND, GROUND + TREES)
    assert "below the DTM by more than 1 m on 40%, above it on 0%" in swapped.text
    assert any(each.refused for each in height_findings(TREES, GROUND))  # heights above ground, as a surface
    holes = np.where(np.arange(SIZE) % 50 == 0, -9999, GROUND)
    assert any("2.00% of DTM lie outside -500 to 9000 m" in each.text for each in height_findings(GROUND, holes))


def test_statistics_of_one_band_in_another_scale_are_refused():
    """A card of bytes, whose infrared was normalised after it was divided by 255."""
    bands = {name: {"mean": 110, "std": 45} for name in ("R", "G")} | {"NIR": {"mean": 0.42, "std": 0.18}}
    trained = TrainedValues.of("AERIAL_RGBI", InputSpec.model_validate({"pixel": 0.2, "bands": bands}))
    (found,) = trained.findings(around(107, 106, 111, std=45), np.dtype("uint8"))
    assert (found.refused, "100 std from the means: NIR has" in found.text) == (True, True)


def test_bands_that_are_one_picture_are_told():
    """An infrared folder that holds the colour files, a DTM in place of the DSM; a flat DSM and DTM are no such."""
    trained = TrainedValues.of("AERIAL_RGBI", find_card("LC-A").inputs["AERIAL_RGBI"])
    values = around(107, 106, 111)
    found = trained.findings({**values, "NIR": values["R"]}, np.dtype("uint8"))
    assert [(each.refused, each.text.partition(":")[0]) for each in found] == [
        (False, "NIR and R are the same at every sampled pixel")
    ]
    assert "DSM and DTM are the same at every sampled pixel" in height_findings(GROUND, GROUND)[0].text
    assert height_findings(GROUND * 0, GROUND * 0) == []


SEA = RANDOM.random(SIZE) < 0.6
SHORE = np.where(SEA, np.where(RANDOM.random(SIZE) < 0.2, RANDOM.uniform(-99999, 0, SIZE), -99999), GROUND)
"""Mostly a number for no data; a fifth of it is mixed with ground, as interpolation does."""


@pytest.mark.parametrize(
    ("dsm", "dtm"),
    [
        (np.where(SEA, -99999, GROUND + TREES), np.where(SEA, -99999, GROUND)),
        (GROUND + TREES, np.where(SEA, -99999, GROUND)),
        (np.where(SEA, -32767, GROUND + TREES), np.where(SEA, 1e20, GROUND)),
        (SHORE + np.where(SEA, 0, TREES), SHORE),
        (np.full(SIZE, -9999), GROUND),
    ],
)
def test_no_data_without_a_tag_is_noted_where_it_is_read_as_such_and_refused_where_it_is_fed(dsm, dtm):
    found = height_findings(dsm, dtm, limited=True)
    assert not any(each.refused for each in found)
    assert any("lie outside -500 to 9000 m, and are no data" in each.text for each in found)
    fed = [each.text for each in height_findings(dsm, dtm) if each.refused]
    assert any("no data that nothing declares?" in text for text in fed)


def test_another_unit_is_refused_where_heights_beyond_ground_are_no_data():
    for dsm, dtm in (((GROUND + TREES) * 100, GROUND * 100), (np.where(SEA, -9999, GROUND * 3.28), GROUND)):
        assert any(each.refused for each in height_findings(dsm, dtm, limited=True))


@pytest.mark.parametrize("above", [-40 + TREES, 180 + TREES])
def test_a_quarry_or_a_tower_is_noted_in_a_small_area_and_refused_all_over_a_wide_one(above):
    for wide in (False, True):
        found = height_findings(GROUND + above, GROUND, wide=wide)
        assert found
        assert any(each.refused for each in found) is wide
    assert any(each.refused for each in height_findings(GROUND * 100, GROUND * 100, wide=False))


def test_a_card_without_a_stated_type_is_held_to_its_statistics():
    def spec(**band):
        return InputSpec.model_validate({"pixel": 1, "bands": {"R": band}})

    bytes_of = around(110, names=("R",))
    assert TrainedValues.of("ORTHO", spec(mean=106, std=40)).dtype == ""
    assert TrainedValues.of("AERIAL_RGBI", spec(mean=106, std=40)).dtype == "uint8"
    assert TrainedValues.of("AERIAL_RGBI", spec(mean=1400, std=900)).dtype == ""
    assert TrainedValues.of("AERIAL_RGBI", spec(mean=0.4, std=0.2)).dtype == ""
    stated = spec(mean=1400, std=900).model_copy(update={"dtype": "uint16"})
    assert TrainedValues.of("AERIAL_RGBI", stated).dtype == "uint16"
    for mean, refused in ((110, False), (250, False), (440, True), (1900, True), (0.5, True)):
        values = around(mean, std=mean / 9, dtype="float32", names=("R",))
        found = list(TrainedValues.of("ORTHO", spec(mean=106, std=40)).findings(values, np.dtype("float32")))
        assert any(each.refused for each in found) is refused
    for mean, std, refused in ((106, 40, False), (250, 127, False), (106, 1600, True), (260, 40, True)):
        found = TrainedValues.of("AERIAL_RGBI", spec(mean=mean, std=std)).findings(bytes_of, np.dtype("uint8"))
        assert any(each.refused and "of other numbers" in each.text for each in found) is refused  # a variance
    for mean, std in ((0, 255), (0, 256), (0, 65535), (127.5, 127.5), (128, 128), (32768, 32768), (0, 10000)):
        for dtype, level in (("uint8", 110), ("uint16", 600)):  # a scale to 0 to 1, or to -1 to 1: no statistics
            if dtype == "uint8" or std > 256:
                values = around(level, names=("R",), dtype=dtype)
                found = TrainedValues.of("ORTHO", spec(mean=mean, std=std)).findings(values, np.dtype(dtype))
                assert not any(each.refused for each in found), (mean, std, dtype)
    unit = TrainedValues.of("AERIAL_RGBI", spec(mean=0.4, std=0.2))  # trained on 0 to 1
    assert any(each.refused for each in unit.findings(around(110, names=("R",)), np.dtype("uint8")))


@pytest.mark.parametrize(("mean", "refused"), [(480, False), (60, False), (9000, False), (0.4, True)])
def test_a_scale_is_of_the_type_not_of_the_values(mean, refused):
    spec = InputSpec.model_validate({"pixel": 1.6, "bands": {"R": {"scale": "1/65535"}}})
    values = around(mean, std=mean / 9, dtype="float32", names=("R",))
    found = TrainedValues.of("SPOT_RGBI", spec).findings(values, np.dtype("uint16"))
    assert any(each.refused for each in found) is refused


def test_every_card_says_what_it_was_trained_on_and_its_checksum_does_not_depend_on_it():
    for name in list_cards():
        for modality, spec in find_card(name).inputs.items():
            trained = TrainedValues.of(modality, spec, "sigma0" if modality.startswith("SENTINEL1") else "reflectance")
            assert trained.dtype or trained.unit == "power", (name, modality)
    assert ("AERIAL_RGBI", "NIR, R, G of 0.2 m, uint8") in find_card("LC-A").rows
    inputs = {"AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {}}}}
    plain, typed = (
        ModelCard.model_validate(small_content(inputs={"AERIAL_RGBI": {**inputs["AERIAL_RGBI"], **more}}))
        for more in ({}, {"dtype": "uint16"})
    )
    assert plain.sha256 == typed.sha256
