"""Laws of model cards: what they say is checked, what they need is compared with what there is."""

import json
import pickle
from fractions import Fraction

import pytest
from pydantic import ValidationError

from landweave.core.errors import CardError
from landweave.models.cards.card import ModelCard, check_inputs
from landweave.models.cards.inputs import HeightCoding
from landweave.models.cards.outputs import find_legend
from landweave.models.cards.registry import find_card
from tests.models.conftest import small_content

COSIA = find_legend("cosia")

S2 = {"pixel": 10.24, "bands": {"B2": {}}, "dates": {"filter": {"min_clear_fraction": 0.95}}}
SPOT = {"pixel": 1.6, "bands": {"NIR": {}}}
AERIAL = {"pixel": 0.2, "bands": {"R": {}}}
WINDOW = {"size": 512, "overlap": 256}


def card_of(inputs, **changes):
    return ModelCard.model_validate(small_content(inputs=inputs, window=WINDOW, **changes))


@pytest.mark.parametrize(
    ("inputs", "unit", "sizes"),
    [
        ({"AERIAL_RGBI": AERIAL}, 1, {"AERIAL_RGBI": 512}),
        ({"AERIAL_RGBI": AERIAL, "SPOT_RGBI": SPOT}, 8, {"SPOT_RGBI": 64}),
        ({"AERIAL_RGBI": AERIAL, "SENTINEL2_TS": S2}, 256, {"SENTINEL2_TS": 10}),
        ({"SENTINEL2_TS": S2}, 256, {"SENTINEL2_TS": 10}),
        (
            {
                "AERIAL_RGBI": AERIAL,
                "SENTINEL2_TS": S2 | {"pixel": 10, "centred_size": 40},
            },
            1,
            {"SENTINEL2_TS": 40},
        ),
    ],
)
def test_the_unit_is_where_the_pixels_of_nested_inputs_meet(inputs, unit, sizes):
    card = card_of(inputs)

    assert card.base_pixel == Fraction(1, 5)
    assert card.unit_px == unit
    assert {name: card.input_size(name, 512) for name in sizes} == sizes


def test_a_window_that_cuts_an_input_is_refused_with_its_neighbours():
    card = card_of({"AERIAL_RGBI": AERIAL, "SENTINEL2_TS": S2})
    card = card.model_copy(update={"window": card.window.model_copy(update={"min_untrained_size": 384})})

    with pytest.raises(CardError, match=r"640.*every 256 px.*512 or 768"):
        card.check_window(640)


def test_windows_that_were_not_trained_need_leave():
    card = card_of({"AERIAL_RGBI": AERIAL})

    card.check_window(512)
    with pytest.raises(CardError, match=r"1024 px.*windows of 512"):
        card.check_window(1024)
    with pytest.raises(CardError, match=r"100 px.*multiple of 32"):
        card.model_copy(update={"window": card.window.model_copy(update={"multiple": 32})}).check_window(100)


def test_the_sha256_holds_what_decides_an_answer_and_nothing_else():
    card = ModelCard.model_validate(small_content())
    talk = small_content(title="Other words", facts={"miou": 1}, unverified=["x"], source="y")
    talk["window"] = talk["window"] | {"overlap": 32}
    other = small_content()
    other["inputs"]["AERIAL_RGBI"]["bands"]["R"]["mean"] = 101
    turned = small_content()
    turned["inputs"]["AERIAL_RGBI"]["bands"] = dict(reversed(turned["inputs"]["AERIAL_RGBI"]["bands"].items()))

    assert ModelCard.model_validate(talk).sha256 == card.sha256
    assert len({card.sha256, *(ModelCard.model_validate(each).sha256 for each in (other, turned))}) == 3
    assert pickle.loads(pickle.dumps(card)) == card


def test_exact_numbers_come_from_what_was_written():
    card = ModelCard.model_validate(json.loads(json.dumps(small_content())))
    green = card.inputs["AERIAL_RGBI"].bands["G"]

    assert card.inputs["AERIAL_RGBI"].pixel == Fraction(1, 5)
    assert green.statistics == (0, 255)


def test_a_legend_is_named_or_listed():
    card = ModelCard.model_validate(small_content(outputs={"L": {"legend": "cosia", "pixel": 0.2}}))

    assert card.legend() is COSIA
    with pytest.raises(ValidationError, match=r"no legend 'corine'.*cosia, lpis"):
        ModelCard.model_validate(small_content(outputs={"L": {"legend": "corine", "pixel": 0.2}}))


def test_several_outputs_need_a_choice():
    output = small_content()["outputs"]["LABEL"]
    card = ModelCard.model_validate(small_content(outputs={"A": output, "B": output}))

    assert card.output_name("B") == "B"
    with pytest.raises(CardError, match=r"none named.*A, B"):
        card.legend()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows": {}}, "windows"),
        ({"architecture": {"kind": "smp", "name": "Unet", "arguments": {"classes": 3}}}, "classes: follows"),
        ({"architecture": {"kind": "tensorflow"}}, "tensorflow"),
        ({"inputs": {"A": {"pixel": -1, "bands": {"R": {}}}}}, "not positive"),
        ({"inputs": {"A": {"pixel": 1, "bands": {"R": {"mean": 1, "scale": 2}}}}}, "either mean and std, or scale"),
        ({"inputs": {"A": {"pixel": 1, "bands": {"R": {}}, "centred_size": 0}}}, "greater than 0"),
        ({"window": {"size": 60, "overlap": 16, "multiple": 8}}, "60 px is not a multiple of 8"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        ModelCard.model_validate(small_content(**change))


def test_all_mismatches_of_the_inputs_come_at_once():
    card = card_of({"AERIAL_RGBI": {"pixel": 0.2, "bands": {"NIR": {}, "R": {}}}, "SPOT_RGBI": SPOT})

    check_inputs(card, {"AERIAL_RGBI": ("R", "G", "NIR"), "SPOT_RGBI": ("NIR",), "DEM_ELEV": ("DSM",)})
    with pytest.raises(CardError) as caught:
        check_inputs(card, {"AERIAL_RGBI": ("R", "G")})

    text = str(caught.value)
    assert "AERIAL_RGBI lacks NIR of NIR, R: it has R, G" in text
    assert "SPOT_RGBI is missing (bands NIR)" in text


def test_an_optional_input_may_be_missing_but_not_half_there():
    card = ModelCard.model_validate(small_content())

    check_inputs(card, {"AERIAL_RGBI": ("R", "G")})
    with pytest.raises(CardError, match="DEM_ELEV lacks NDSM"):
        check_inputs(card, {"AERIAL_RGBI": ("R", "G"), "DEM_ELEV": ("DSM",)})


def test_an_unstated_byte_coding_is_refused_until_it_is_stated():
    content = small_content()
    content["inputs"]["DEM_ELEV"]["bands"]["NDSM"]["coding"] = "unstated"
    card = ModelCard.model_validate(content)
    offers = {"AERIAL_RGBI": ("R", "G"), "DEM_ELEV": ("NDSM",)}

    with pytest.raises(CardError, match=r"DEM_ELEV NDSM.*not published.*coding"):
        check_inputs(card, offers)
    with pytest.raises(CardError, match="NDSM"):
        card.check_stated()

    stated = card.with_coding(HeightCoding(scale=5))
    stated.check_stated()
    check_inputs(stated, offers)
    assert stated.sha256 != card.with_coding(HeightCoding(scale=4)).sha256
    with pytest.raises(CardError, match="no band of small needs one"):
        stated.with_coding(HeightCoding(scale=5))


@pytest.mark.parametrize(("name", "pixel", "sizes"), [("LC-G", 10.24, (10, 5, 8)), ("LPIS-H", 10.24, (10, 5, 8))])
def test_a_model_of_series_alone_can_answer_on_its_own_pixels(name, pixel, sizes):
    card = find_card(name).on_input_pixels()
    assert float(card.base_pixel) == pixel
    assert card.unit_px == 1
    assert (card.window.size, card.window.overlap, card.window.min_untrained_size) == sizes
    # The same ground: the network sees what it saw.
    modality = next(iter(card.inputs))
    assert card.input_size(modality, card.window.size) == find_card(name).input_size(modality, 512)
    assert card.sha256 != find_card(name).sha256


def test_windows_that_cut_the_inputs_pixels_are_refused():
    card = find_card("LC-G")
    odd = card.model_copy(update={"window": card.window.model_copy(update={"overlap": 128})})
    with pytest.raises(CardError, match=r"128 px overlapping, are no whole number of .* 10.24 m"):
        odd.on_input_pixels()
