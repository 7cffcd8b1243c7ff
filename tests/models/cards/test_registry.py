"""Cards by name and by path, what a wrong file or name gets, and cards written and read again: the same card."""

import pytest
import yaml

from landweave.core.errors import CardError
from landweave.models.cards.registry import card_content, card_text, find_card, list_cards, read_card, write_card
from tests.models.conftest import small_content


def test_cards_that_come_with_the_package_are_listed_and_found():
    assert "flair1-unet-resnet34" in list_cards()
    assert find_card("flair1-unet-resnet34").name == "flair1-unet-resnet34"


def test_a_misspelt_name_is_answered_with_its_neighbours():
    with pytest.raises(CardError, match=r"'flair1-unet-resnet43'.*did you mean flair1-unet-resnet34"):
        find_card("flair1-unet-resnet43")


def test_a_path_is_read_and_its_weights_lie_beside_it(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(small_content(weights={"file": "mine.safetensors"}), sort_keys=False))

    card = find_card(path)

    assert card.weights.file == str(tmp_path / "mine.safetensors")
    assert find_card(str(path)) == card


def test_everything_wrong_with_a_card_is_listed(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(small_content(titel="x", window={"size": "big", "overlap": 1})))

    with pytest.raises(CardError) as caught:
        find_card(path)

    text = str(caught.value)
    assert str(path) in text
    assert "titel" in text
    assert "window.size" in text


@pytest.mark.parametrize(
    ("content", "message"), [("a: [1", "not YAML"), ("- 1", "holds a list"), (None, "cannot be read")]
)
def test_a_file_that_is_no_card_is_refused(tmp_path, content, message):
    path = tmp_path / "odd.yaml"
    if content is not None:
        path.write_text(content)

    with pytest.raises(CardError, match=message):
        find_card(path)


def written(card, folder):
    path = folder / "card.yaml"
    write_card(card_content(card), path, "first line\nsecond line")
    return path


def test_a_card_of_its_own_classes_comes_back(small_card, tmp_path):
    card = small_card()
    path = written(card, tmp_path)

    found = read_card(path)

    assert found == card
    assert found.sha256 == card.sha256
    assert path.read_text().startswith("# first line\n# second line\nname: small\n")


@pytest.mark.parametrize("name", list_cards())
def test_every_card_of_the_package_comes_back(name, tmp_path):
    card = find_card(name)

    found = read_card(written(card, tmp_path))

    assert found.sha256 == card.sha256
    assert found.outputs == card.outputs
    assert found.window == card.window


def test_known_legends_are_named_only(small_card):
    outputs = {"LABEL": {"legend": "cosia", "pixel": "1/5"}}

    assert "legend: cosia" in card_text(card_content(small_card(outputs=outputs)))


def test_a_card_that_is_there_is_kept(small_card, tmp_path):
    path = written(small_card(), tmp_path)
    before = path.read_text()

    with pytest.raises(CardError, match="is there already"):
        write_card({"name": "other"}, path)
    assert path.read_text() == before
    with pytest.raises(CardError, match="cannot be written"):
        write_card({"name": "other"}, tmp_path / "none" / "card.yaml")


@pytest.mark.parametrize(
    ("name", "checksum"),
    [
        ("LC-A", "97a1a74004cb647f"),
        ("demo-fusion", "792fadfeb608600f"),
        ("demo-unet", "2dda3b338f07d751"),
        ("flair2-utt", "6326252401de9e60"),
    ],
)
def test_the_checksum_of_a_card_stays(name, checksum):
    """It depends on the order of the fields too; maps that were begun before carry it in their fingerprint."""
    assert find_card(name).sha256.startswith(checksum)
