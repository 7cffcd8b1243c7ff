"""The legends of the field, against the facts that they were published with."""

import re

import pytest

from landweave.core.errors import CardError
from landweave.models.cards.outputs import find_legend, named_legends

COSIA = find_legend("cosia")
LPIS = find_legend("lpis")
LEGENDS = named_legends()


@pytest.fixture
def facts(shared) -> str:
    return shared("FLAIR.md").read_text(encoding="utf-8")


def test_cosia_has_its_codes_names_and_colours(facts):
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| (#\w{6}) \|$", facts, re.MULTILINE)

    assert [(str(each.code), each.name, each.name_fr, each.color) for each in COSIA.classes] == rows
    assert len(rows) == 19
    assert COSIA.trained == (True,) * 15 + (False,) * 4


def test_crops_have_their_codes_names_and_colours(facts):
    told = facts[facts.index("LPIS level 1") :].splitlines()[0]
    rows = re.findall(r"(\d+) ([a-z/ ]+) (#\w{6})", told)

    assert [(str(each.code), each.name, each.color) for each in LPIS.classes] == rows
    assert len(rows) == 23
    assert all(LPIS.trained)
    assert all(each.name_fr for each in LPIS.classes)


def test_flair1_counts_its_labels_from_one(facts):
    told = facts[facts.index("FLAIR#1 numbering") : facts.index("The 13-class baselines")]
    rows = [(int(code), name) for code, name in re.findall(r"(\d+) ([a-z ]+)[,.]", told)]

    sizes = (12, 13, 15, 19)
    twelve, thirteen, fifteen, every = (LEGENDS[f"flair1-{size}"].classes for size in sizes)
    assert [(each.code, each.name) for each in every] == rows
    assert [len(classes) for classes in (twelve, thirteen, fifteen, every)] == list(sizes)
    assert twelve == every[:12] == thirteen[:12]
    assert fifteen == every[:15]
    assert (thirteen[12].name, thirteen[12].name_fr) == ("other", "autre")


def test_a_class_has_one_colour_and_one_french_name_in_all_of_them():
    cosia = {each.name: (each.name_fr, each.color) for each in COSIA.classes}

    for name, legend in LEGENDS.items():
        if name.startswith("flair1"):
            shared_names = {each.name: (each.name_fr, each.color) for each in legend.classes if each.name != "other"}
            assert shared_names.items() <= cosia.items()


def test_a_legend_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(CardError, match="no legend 'corine'; a card may name cosia, lpis"):
        find_legend("corine")
