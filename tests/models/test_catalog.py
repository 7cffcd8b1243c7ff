"""Models by name: the list, a card's text, and networks called with the names of the field's inputs."""

import re
import subprocess
import sys

import pytest
import torch
import yaml
from torch import zeros

from landweave.core.errors import CardError
from landweave.models import factory
from landweave.models.cards.registry import find_card, list_cards, read_card
from landweave.models.catalog import list_models, load_model, show_model
from landweave.models.factory import core
from landweave.models.networks.dummy_inputs import dummy_inputs
from tests.helpers.marks import mostly_slow
from tests.helpers.networks import drawn
from tests.models.conftest import small_content

PUBLISHED = sorted({"LC-A", "LC-D", "LPIS-F", "LPIS-H", "flair1-unet-resnet34"} & set(list_cards()))


@pytest.fixture
def small_file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small_content()))
    return path


@pytest.mark.parametrize("name", mostly_slow(PUBLISHED, fast=["LC-D", "flair1-unet-resnet34"]))
def test_a_published_network_is_built_by_name_and_answers_by_task(name):
    card = find_card(name)
    with torch.device("meta"):
        network = load_model(name, window=512).to("meta")
    inputs = dummy_inputs(card, (512, 512), batch=2, dates=3, on="meta")

    with torch.inference_mode():
        answers = network(inputs, (512, 512))
        smaller = network(inputs, (100, 120))

    wanted = {task: (2, len(output.legend), 512, 512) for task, output in card.outputs.items()}
    assert {task: tuple(each.shape) for task, each in answers.items()} == wanted
    assert all(each.shape[-2:] == (100, 120) for each in smaller.values())
    assert not network.training


def test_masks_of_dates_are_optional():
    if "LPIS-H" not in PUBLISHED:
        pytest.skip("the card is not there")
    with torch.device("meta"):
        network = load_model("LPIS-H", window=512).to("meta")
    inputs = dummy_inputs(find_card("LPIS-H"), (512, 512), dates=3, on="meta")

    without = {name: tensor for name, tensor in inputs.items() if not name.endswith("MASK")}

    assert list(network(without)) == list(network(inputs)) == ["ALL_LABEL-LPIS"]


@pytest.fixture(scope="module")
def crops():
    return load_model("LPIS-H")


def given(batch=2, dates=3):
    return dummy_inputs(find_card("LPIS-H"), (512, 512), batch=batch, dates=dates)


WRONG = {
    "a series left out": ({"SENTINEL1-ASC_TS": None}, r"SENTINEL1-ASC_TS \(b, t, 2, y, x\) is missing"),
    "no days": ({"SENTINEL2_DATES": None}, r"SENTINEL2_DATES \(b, t\) is missing"),
    "days of one date": ({"SENTINEL2_DATES": zeros(2, 1)}, r"SENTINEL2_DATES is \(2, 1\), not \(2, 3\)"),
    "days without batch": ({"SENTINEL2_DATES": zeros(3)}, r"SENTINEL2_DATES is \(3,\), not \(2, 3\)"),
    "a mask for one": ({"SENTINEL2_MASK": zeros(1, 3) == 0}, r"SENTINEL2_MASK is \(1, 3\), not \(2, 3\)"),
    "a mask of numbers": ({"SENTINEL2_MASK": zeros(2, 3)}, "SENTINEL2_MASK is float32, not bool"),
    "fewer bands": ({"SENTINEL2_TS": zeros(2, 3, 4, 10, 10)}, r"is \(2, 3, 4, 10, 10\), not \(b, t, 10, y, x\)"),
    "one date, as an image": ({"SENTINEL2_TS": zeros(2, 10, 10, 10)}, r"is \(2, 10, 10, 10\), not \(b, t, 10, y, x\)"),
    "no date": ({"SENTINEL2_TS": zeros(2, 0, 10, 10, 10)}, r"is \(2, 0, 10, 10, 10\), not \(b, t, 10, y, x\)"),
    "other ground": ({"SENTINEL2_TS": zeros(2, 3, 10, 20, 20)}, r"SENTINEL2_TS 204.8 x 204.8 m"),
    "another batch": ({"SENTINEL2_TS": zeros(1, 3, 10, 10, 10), "SENTINEL2_DATES": zeros(1, 3)}, "SENTINEL2_TS 1"),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_call_that_does_not_fit_the_card_is_refused_with_all_that_is_wrong(crops, how):
    changes, told = WRONG[how]
    inputs = {name: each for name, each in (given() | changes).items() if each is not None}
    if "SENTINEL2_TS" in changes:
        inputs.pop("SENTINEL2_MASK")

    with pytest.raises(CardError, match="LPIS-H was called with inputs that do not fit it:") as caught:
        crops(inputs, (512, 512))

    assert re.search(told, str(caught.value)), str(caught.value)


def test_a_call_says_everything_that_is_wrong_at_once(crops):
    with pytest.raises(CardError) as caught:
        crops({})

    assert all(f"{name} (b, t" in str(caught.value) for name in find_card("LPIS-H").inputs)


def test_images_have_the_size_that_the_network_was_built_for():
    with torch.device("meta"):
        network = load_model("LC-D", 768).to("meta")
    inputs = dummy_inputs(find_card("LC-D"), (512, 512), dates=2, on="meta")

    with pytest.raises(CardError, match=r"AERIAL_RGBI is 512 x 512 pixels, not 768 x 768: build the network for"):
        network(inputs)
    assert list(network(dummy_inputs(find_card("LC-D"), (768, 768), dates=2, on="meta"))) == ["AERIAL_LABEL-COSIA"]


def test_metadata_is_an_input_of_its_own():
    with torch.device("meta"):
        network = load_model("flair2-utt").to("meta")
    inputs = dummy_inputs(find_card("flair2-utt"), (512, 512), batch=2, on="meta")
    assert list(network(inputs)) == ["AERIAL_LABEL"]
    with pytest.raises(CardError, match=r"AERIAL_METADATA \(b, 45\) is missing"):
        network({name: each for name, each in inputs.items() if name != "AERIAL_METADATA"})
    with pytest.raises(CardError, match=r"SENTINEL2_TS is 10 x 10 pixels, not 40 x 40"):
        network(inputs | {"SENTINEL2_TS": torch.zeros(2, 12, 10, 10, 10, device="meta")})


@pytest.mark.parametrize("name", ["flair1-unet-resnet34", "LPIS-F"])
def test_weights_are_taken_as_they_are_published(name, tmp_path):
    card = find_card(name)
    tensors = drawn(core(factory.build(card, 512)))
    torch.save({"state_dict": {f"model.seg_model.{key}": each for key, each in tensors.items()}}, tmp_path / "w.ckpt")

    network = load_model(name, weights=str(tmp_path / "w.ckpt"))

    found = core(network).state_dict()
    assert all(torch.equal(found[key], each) for key, each in tensors.items())


def test_position_tables_are_resized_only_when_asked_for():
    with torch.device("meta"), pytest.raises(CardError, match="position tables to be resized"):
        load_model("LC-A", 256)
    with torch.device("meta"):
        network = load_model("LC-A", 256, resize_tables=True)
    assert not network.training


@pytest.mark.parametrize("window", [0, -512])
def test_no_window_is_not_the_default_one(window):
    with torch.device("meta"), pytest.raises(CardError, match=f"window of {window} px"):
        load_model("LPIS-F", window)


def test_the_package_is_quick_to_import():
    code = "import landweave.models.catalog, sys; print([n for n in ('torch', 'timm') if n in sys.modules])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_every_card_is_listed_once():
    listing = list_models()

    assert tuple(listing) == list_cards()
    assert listing["LC-A"] == find_card("LC-A")
    head, *lines = str(listing).splitlines()
    assert [line.split()[0] for line in lines] == list(list_cards())
    assert head.split() == ["name", "Mparam", "mIoU", "what", "it", "is"]


def test_lists_and_cards_show_themselves_in_a_notebook():
    listing = list_models()

    table = listing._repr_html_()
    assert table.count("<tr>") == len(listing) + 1
    assert "<td>89.4</td>" in table
    shown = listing["LC-A"]._repr_html_()
    assert "AERIAL_RGBI" in shown
    assert "background:#db0e9a" in shown
    assert "clear cut (not trained)" in shown


def test_a_card_is_shown_as_its_file_says_it_under_what_follows_from_it(small_file, tmp_path):
    small_file.write_text("# Mine.\n" + small_file.read_text())

    shown = show_model(str(small_file))

    again = tmp_path / "again.yaml"
    again.write_text(shown)
    assert shown.endswith(small_file.read_text())
    assert f"# {small_file}" in shown
    assert "# LABEL: 0 class 0, 1 class 1, 2 class 2, 3 class 3\n" in shown
    assert read_card(again) == read_card(small_file)


def test_classes_never_trained_are_marked():
    text = " ".join(show_model("LC-A").replace("#", "").split())

    assert "14 brushwood, 15 clear cut*, 16 ligneous*" in text
    assert "(* never trained, dropped before the argmax)" in text
