"""Crosswalks: labels are mapped by a table, probabilities are summed before a class is chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landweave.core.crosswalk import Crosswalk, load_crosswalk, parse_crosswalk
from landweave.core.errors import ConfigError
from landweave.core.legend import NODATA, LandClass, Legend
from landweave.models.cards.outputs import named_legends
from tests.helpers.commands import ROOT

COSIA = named_legends()["cosia"]
PACKAGED = sorted(path.stem for path in (ROOT / "configs/crosswalks").glob("*.yaml"))


def made() -> dict[str, Any]:
    """Trees (two kinds) and the rest: three source classes, two targets."""
    return {
        "name": "two",
        "source": "three",
        "classes": [
            {"code": 4, "name": "lawn", "color": "#00ff00", "source_codes": [0]},
            {"code": 9, "name": "trees", "color": "#006600", "source_codes": [1, 2]},
        ],
    }


THREE = Legend(
    name="three",
    classes=tuple(LandClass(code=code, name=name, color="#000000") for code, name in enumerate(["lawn", "oak", "fir"])),
)


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_crosswalks_have_a_target_for_each_class(name: str) -> None:
    crosswalk = load_crosswalk(name)
    crosswalk.check(COSIA)
    assert set(crosswalk.classes_of(np.array(COSIA.codes, np.uint8))) <= {*crosswalk.legend.codes, NODATA}


def test_the_baseline_classes_are_flairs_own_numbering() -> None:
    """Rare classes are "other"; every other class keeps its name and colour."""
    crosswalk = load_crosswalk("cosia-to-flair13")
    assert crosswalk.legend.codes == tuple(range(1, 14))
    for source, target in crosswalk.codes:
        if target != 13:
            assert crosswalk.legend.names[target] == COSIA.names[source]
            assert crosswalk.legend.colors[target] == COSIA.colors[source]
    assert [source for source, target in crosswalk.codes if target == 13] == [1, 2, 7, 15, 16, 17, 18]


def test_summed_probabilities_differ_from_mapped_labels() -> None:
    """A lawn of 0.4 beside an oak and a fir of 0.3 each: the label is lawn, the ground is trees."""
    crosswalk = parse_crosswalk(made(), "here")
    probabilities = np.array([[[100]], [[75]], [[75]]], np.uint8)
    label = np.array([[0]], np.uint8)
    classes, confidence = crosswalk.merge(label, probabilities, THREE)
    assert crosswalk.classes_of(label).item() == 4
    assert (classes.item(), confidence.item()) == (9, 150)


@given(
    probabilities=hnp.arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 83)),
    label=hnp.arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2, 255])),
)
def test_merging_is_the_argmax_of_sums(probabilities: np.ndarray, label: np.ndarray) -> None:
    crosswalk = parse_crosswalk(made(), "here")
    classes, confidence = crosswalk.merge(label, probabilities, THREE)
    lawn, trees = probabilities[0].astype(int), probabilities[1:].sum(axis=0)
    own = crosswalk.classes_of(label)
    expected = np.where(lawn > trees, 4, np.where(trees > lawn, 9, own))
    missing = label == 255
    np.testing.assert_array_equal(classes, np.where(missing, 255, expected))
    np.testing.assert_array_equal(confidence, np.where(missing, 255, np.maximum(lawn, trees)))


@given(hnp.arrays(np.uint8, (19, 3, 3), elements=st.integers(0, 13)))
def test_the_identity_leaves_the_most_probable_label(probabilities: np.ndarray) -> None:
    label = probabilities.argmax(axis=0).astype(np.uint8)
    crosswalk = Crosswalk.identity(COSIA)
    assert crosswalk.is_one_to_one
    np.testing.assert_array_equal(crosswalk.merge(label, probabilities, COSIA)[0], label)


def test_classes_that_are_left_out_are_nodata() -> None:
    content = made() | {"left_out": [2]}
    content["classes"][1]["source_codes"] = [1]
    crosswalk = parse_crosswalk(content, "here")
    assert crosswalk.classes_of(np.array([0, 1, 2, 255], np.uint8)).tolist() == [4, 9, 255, 255]
    assert not crosswalk.is_one_to_one
    probabilities = np.array([[[0, 10]], [[0, 9]], [[250, 200]]], np.uint8)
    classes, confidence = crosswalk.merge(np.array([[2, 2]], np.uint8), probabilities, THREE)
    assert (classes.tolist(), confidence.tolist()) == ([[255, 4]], [[255, 10]])


def test_ones_own_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(made()))
    assert load_crosswalk(file) == parse_crosswalk(made(), "here")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"source": None}, "source"),
        ({"classes": [{"code": 1}]}, "source_codes"),
        ({"classes": [{"code": 1, "name": "a", "color": "red", "source_codes": [0]}]}, "#rrggbb"),
        ({"classes": [{"code": 1, "name": "a", "color": "#000000", "source_codes": ["0"]}]}, "'0'"),
        ({"classes": [{"code": 1, "name": "a", "color": "#000000", "source_codes": [0], "colour": 1}]}, "colour"),
        ({"classes": [{"code": 1, "name": 7, "color": "#000000", "source_codes": [0]}]}, "7"),
        ({"classes": [{"code": 1, "name": "a", "color": "#000000", "source_codes": 5}]}, "of 'a' is 5, and is a list"),
        ({"left_out": [0]}, "twice"),
        ({"left_out": [65535]}, "65535"),
        ({"left_out": [255]}, "255 is nodata"),
        ({"legend": 1}, "legend"),
        ({"classes": 4}, "classes"),
    ],
)
def test_a_crosswalk_that_is_wrong_is_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_crosswalk(made() | change, "here")


def test_one_without_codes_leads_nowhere() -> None:
    assert (replace(parse_crosswalk(made(), "here"), codes=()).table == 255).all()


def test_another_legend_or_a_missing_class_is_refused() -> None:
    crosswalk = parse_crosswalk(made(), "here")
    with pytest.raises(ConfigError, match="'three', the map has 'cosia'"):
        crosswalk.check(COSIA)
    four = Legend(name="three", classes=(*THREE.classes, LandClass(code=3, name="elm", color="#111111")))
    with pytest.raises(ConfigError, match=r"3 \(elm\)"):
        crosswalk.check(four)


@pytest.mark.parametrize(("text", "named"), [("cosia-to-mars", "cosia-to-flair13"), ("none.yaml", "cannot be read")])
def test_a_crosswalk_that_is_not_there_is_named(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_crosswalk(text)
