"""A card with odd values is refused by the key, or they do not matter; no library's own error comes through."""

import copy

import pytest

from landweave.core.errors import CardError
from landweave.models.cards.registry import parse_card
from landweave.models.predictor import resolve_model
from landweave.models.settings import Compute
from tests.models.conftest import CLASSES, UNET, small_content

ODD = (None, True, -1, 0.5, float("nan"), float("inf"), 10**30, "x", "", "1/0", "nan", [], [["a"]], {}, {"a": None})


def places(content, above=()):
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


def with_value(content, path, value):
    changed = copy.deepcopy(content)
    section = changed
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return changed


WHOLE = small_content(
    inputs={
        **small_content()["inputs"],
        "SENTINEL2_TS": {
            "pixel": 3.2,
            "bands": {"B2": {}},
            "dates": {"reference": "05-15", "filter": {"min_clear_fraction": 0.9, "cloud_max": 1, "clearest": 2}},
        },
    }
)
WHOLE["outputs"]["LABEL"] |= {"activation": "softmax"}


def refused(content):
    """The message; anything else that is raised fails the test."""
    try:
        parse_card(content, "The card")
    except CardError as error:
        return str(error)
    return None


def test_an_odd_value_anywhere_is_refused_by_its_key_or_does_not_matter():
    for path in places(WHOLE):
        for value in ODD:
            refusal = refused(with_value(WHOLE, path, value))
            assert refusal is None or any(str(key) in refusal for key in path), (path, value, refusal)


@pytest.mark.parametrize(
    ("path", "values", "told"),
    [
        ("inputs/AERIAL_RGBI/pixel", ["1/0", float("nan"), "inf", 0, True], "inputs.AERIAL_RGBI.pixel"),
        ("inputs/AERIAL_RGBI/bands/R/mean", [float("nan"), float("inf"), True, "nan"], "bands.R.mean"),
        ("inputs/AERIAL_RGBI/bands/R/std", [0, -1, float("inf"), "1"], "bands.R.std"),
        ("inputs/DEM_ELEV/fill", [float("nan"), True], "DEM_ELEV.fill"),
        ("inputs/DEM_ELEV/bands/NDSM/coding/scale", [0, -5, float("nan")], "coding.HeightCoding.scale"),
        ("inputs/SENTINEL2_TS/dates/filter/cloud_max", [101, -1, float("nan")], "cloud_max"),
        ("window/overlap", [64, 100, 10**30], "window: .*overlap .* is not less than size 64"),
        ("window/trained", [[0], [-1]], "window.trained.0"),
        ("window/min_untrained_size", [0, -1], "window.min_untrained_size"),
        ("outputs/LABEL/legend/classes/1/code", [1.5, True, "1", None], "classes.1.code"),
        ("outputs/LABEL/legend/classes/1/trained", ["no", None, 0], "classes.1.trained"),
        ("outputs/LABEL/legend/classes/1/name", [None, 7, []], "classes.1.name"),
        ("outputs/LABEL/legend/classes/1", [None, "water"], "classes.1: "),
        ("outputs/LABEL/legend/name", [None, 7], "a legend needs a name"),
        ("outputs/LABEL/legend/classes", [[CLASSES[0]], None], "one class maps every pixel|a list of classes"),
        ("weights", [{"sha256": "abc"}, {"sha256": "0" * 63}], "weights.sha256"),
    ],
)
def test_an_odd_value_is_told_with_its_key(path, values, told):
    keys = [int(key) if key.isdigit() else key for key in path.split("/")]
    content = WHOLE | {"weights": {}}
    for value in values:
        with pytest.raises(CardError, match=told):
            parse_card(with_value(content, keys, value), "The card")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"encoder_name": None}, "cannot be built as"),
        ({"encoder_name": "no-such-encoder"}, "cannot be built as"),
        ({"encoder_depth": "deep"}, "cannot be built as"),
        ({"decoder_channels": [16]}, "cannot be built as"),
        ({"decoder_channels": 16}, "cannot be built as"),
    ],
)
def test_an_architecture_that_cannot_be_is_refused_and_no_library_raises(small_card, changes, told):
    architecture = {**UNET, "arguments": {**UNET["arguments"], **changes}}
    card = small_card(architecture=architecture)

    with pytest.raises(CardError, match=told):
        resolve_model(card, weights=__file__, compute=Compute(device="cpu")).memory_bytes()


def test_inputs_that_its_network_cannot_join_are_refused(small_card):
    spot = {"SPOT_RGBI": {"pixel": 1.6, "bands": {"R": {}}}}
    card = small_card(inputs=small_content()["inputs"] | spot)

    with pytest.raises(CardError, match=r"small cannot take windows of 64 px: Sizes of tensors[\s\S]*do not fit"):
        resolve_model(card, weights=__file__, compute=Compute(device="cpu")).memory_bytes()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stages": [9]}, "encoder has stages 0 to 3"),
        ({"series": {"heads": 7, "model_width": 64}}, "cannot be shared by 7 attention heads"),
        ({"series": {"heads": 0}}, "series.heads"),
        ({"series": {"widths": [0]}}, "series.widths.0"),
    ],
)
def test_a_unet_with_series_that_cannot_be_is_refused(changes, told):
    architecture = {**UNET, "kind": "unet_utae", "stages": [2, 3], **changes}
    content = WHOLE | {"architecture": architecture, "window": {"size": 64, "overlap": 16, "multiple": 16}}

    with pytest.raises(CardError, match=told):
        resolve_model(parse_card(content, "small"), weights=__file__, compute=Compute(device="cpu")).memory_bytes()
