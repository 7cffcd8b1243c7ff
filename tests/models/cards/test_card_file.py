"""Cards written to a file and read again: the same card."""

import pytest

from landweave.core.errors import CardError
from landweave.models.cards.card_file import card_content, card_text, write_card
from landweave.models.cards.registry import find_card, list_cards, read_card


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
