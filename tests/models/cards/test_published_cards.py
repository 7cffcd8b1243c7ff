"""The cards that come with the package: what is published of each model, written here a second time."""

import json
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from landweave.core.errors import CardError
from landweave.core.protocols import InputBatch
from landweave.models.cards.outputs import find_legend
from landweave.models.cards.registry import card_path, find_card, list_cards
from landweave.models.factory import build, core
from landweave.models.networks import flair_hub
from landweave.models.networks.flair_hub import FlairHub
from landweave.models.networks.position_tables import changed_tensors
from landweave.models.predictor import resolve_model
from landweave.models.settings import Compute
from tests.helpers.flair_hub_models import FLAIR_HUB_MODELS, tensor_shapes
from tests.helpers.marks import mostly_slow
from tests.models.networks.test_references import EVERY, PART_OF_STD

AERIAL, HISTORY, HEIGHT, SPOT = "AERIAL_RGBI", "AERIAL-RLT_PAN", "DEM_ELEV", "SPOT_RGBI"
S2, ASC, DESC = "SENTINEL2_TS", "SENTINEL1-ASC_TS", "SENTINEL1-DESC_TS"
S1 = (ASC, DESC)


@dataclass(frozen=True)
class Published:
    """A row of the authors' table: what the model reads, millions of parameters, accuracy and mIoU in percent."""

    inputs: tuple[str, ...]
    parameters: float
    accuracy: float
    miou: float


HUB = {
    "LC-A": Published((AERIAL,), 89.4, 77.5, 64.1),
    "LC-B": Published((AERIAL, HEIGHT), 181.4, 78.1, 65.1),
    "LC-C": Published((AERIAL, HEIGHT, SPOT), 270.6, 78.2, 65.2),
    "LC-D": Published((AERIAL, S2), 93.9, 77.6, 64.7),
    "LC-E": Published((AERIAL, *S1), 95.8, 77.7, 64.5),
    "LC-F": Published((AERIAL, S2, *S1), 97.7, 77.7, 64.9),
    "LC-G": Published((S2,), 0.9, 57.8, 34.2),
    "LC-H": Published(S1, 1.8, 54.5, 28.2),
    "LC-I": Published((SPOT,), 89.2, 64.1, 43.5),
    "LC-J": Published((HEIGHT,), 89.4, 67.4, 51.2),
    "LC-K": Published((AERIAL, HISTORY), 181.4, 77.6, 64.3),
    "LC-L": Published((AERIAL, HEIGHT, SPOT, S2, *S1), 276.4, 78.2, 65.8),
    "LC-ALL": Published((AERIAL, HISTORY, HEIGHT, SPOT, S2, *S1), 365.8, 78.2, 65.6),
    "LPIS-A": Published((AERIAL,), 89.4, 86.6, 24.4),
    "LPIS-B": Published((AERIAL, SPOT), 181.2, 87.1, 26.1),
    "LPIS-C": Published((AERIAL, S2), 93.9, 87.5, 29.8),
    "LPIS-D": Published((AERIAL, S2, *S1), 97.7, 88.0, 36.1),
    "LPIS-E": Published((AERIAL, SPOT, S2), 183.1, 87.6, 30.3),
    "LPIS-F": Published((S2,), 0.9, 85.3, 23.8),
    "LPIS-G": Published(S1, 1.8, 84.5, 18.1),
    "LPIS-H": Published((S2, *S1), 2.8, 84.9, 23.8),
    "LPIS-I": Published((SPOT, S2, *S1), 97.5, 87.2, 39.2),
    "LPIS-J": Published((AERIAL, SPOT, S2, *S1), 186.9, 88.0, 35.4),
    "LPIS-K": Published((SPOT,), 89.2, 84.5, 15.1),
}

FLAIR1_BANDS = {"R": (105.08, 52.17), "G": (110.87, 45.38), "B": (101.82, 44), "NIR": (106.38, 39.69)}
FLAIR1_HEIGHT = {"NDSM": (53.26, 79.3)}
HUB_BANDS = {
    AERIAL: {"NIR": (106.59, 39.78), "R": (105.66, 52.23), "G": (111.35, 45.62)},
    HISTORY: {"PAN": (125.92, 38.45)},
    HEIGHT: {"DSM": (311.06, 537.55), "NDSM": (311.06, 537.55)},
    # Bands 4, 1, 2 with the first three numbers of the file's order, as the public training does.
    SPOT: {"NIR": (433.26, 312.76), "R": (508.75, 284.61), "G": (467.77, 226.02)},
    S2: dict.fromkeys(("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"), (0, 1)),
    **{key: {"VV": (0, 1), "VH": (0, 1)} for key in S1},
}
"""Mean and standard deviation of every band, in the order in which a model takes them."""

UNETS = {
    "flair1-unet-resnet34": (5, 19, {15, 16, 17, 19}),
    **{
        f"flair-inc-{bands}-{form}": (channels, outputs, untrained)
        for bands, channels in (("rgbi", 4), ("rgbie", 5))
        for form, outputs, untrained in (
            ("12cl", 19, set(range(13, 20))),
            ("15cl", 19, {15, 16, 17, 19}),
            ("12-outputs", 12, set()),
            ("15-outputs", 15, set()),
            ("19-outputs", 19, set()),
        )
    },
}
"""Channels, outputs, and labels without weight in training."""

UTT = ("flair2-utt", "flair2-utt-without-metadata")


@pytest.fixture(scope="module", autouse=True)
def one_encoder_each():
    """Encoders of one kind and size are made once: nothing here has values."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flair_hub, "_public_encoder", cache(flair_hub._public_encoder))
        yield


@cache
def network(name: str) -> nn.Module:
    """The network of a card for its own window, without memory."""
    with torch.device("meta"):
        return core(build(find_card(name), find_card(name).window.size))


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in network(name).state_dict().items()}


def millions(module: nn.Module) -> float:
    return sum(each.numel() for each in module.parameters()) / 1e6


def normalisation(spec) -> dict[str, tuple[float, float]]:
    return {name: band.statistics for name, band in spec.bands.items()}


def test_these_are_all_there_are():
    assert {*HUB, *UNETS, *UTT} == {name for name in list_cards() if not name.startswith("demo-")}
    assert all(find_card(name).name == name == card_path(name).stem for name in list_cards())


@pytest.mark.parametrize("name", HUB)
def test_a_flair_hub_card_says_what_was_published(name):
    card, row = find_card(name), HUB[name]

    assert tuple(card.inputs) == row.inputs
    assert {key: normalisation(spec) for key, spec in card.inputs.items()} == {
        key: HUB_BANDS[key] for key in row.inputs
    }
    assert [list(spec.bands) for spec in card.inputs.values()] == [list(HUB_BANDS[key]) for key in row.inputs]
    assert card.facts == {
        "parameters_millions": row.parameters,
        "overall_accuracy_percent": row.accuracy,
        "miou_percent": row.miou,
    }
    wanted = (
        {"AERIAL_LABEL-COSIA": find_legend("cosia")}
        if name.startswith("LC")
        else {"ALL_LABEL-LPIS": find_legend("lpis")}
    )
    assert {task: output.legend for task, output in card.outputs.items()} == wanted
    assert card.licence == "Licence Ouverte 2.0"
    assert all(spec.required and spec.centred_size is None for spec in card.inputs.values())
    assert bool(SPOT in row.inputs) == any("SPOT" in text for text in card.unverified)


@pytest.mark.parametrize("name", HUB)
def test_a_flair_hub_card_lies_on_the_lattice_of_its_inputs(name):
    card, inputs = find_card(name), set(HUB[name].inputs)
    series = inputs & {S2, *S1}
    unit = 256 if series else 8 if SPOT in inputs else 2 if HISTORY in inputs else 1

    assert card.unit_px == unit
    assert (card.window.size, card.window.overlap, card.window.trained) == (512, 256 if series else 128, (512,))
    sizes = {AERIAL: 512, HISTORY: 256, HEIGHT: 512, SPOT: 64, S2: 10, ASC: 10, DESC: 10}
    assert {key: card.input_size(key, 512) for key in inputs} == {key: sizes[key] for key in inputs}
    if inputs & {SPOT, HISTORY}:
        with pytest.raises(CardError, match="the weights fit windows of 512"):
            card.check_window(1024)
    else:
        card.check_window(1024)
        with pytest.raises(CardError, match="512, or 384 and more"):
            card.check_window(256)


@pytest.mark.parametrize("name", [name for name, row in HUB.items() if {S2, *S1} & set(row.inputs)])
def test_dates_are_told_as_flair_hub_does(name):
    for modality, spec in find_card(name).inputs.items():
        if spec.dates is None:
            assert modality not in (S2, *S1)
            continue
        rule = spec.dates
        assert (rule.position, rule.reference, rule.composite) == ("after", "05-15", None)
        assert spec.quantity == ("sigma0" if modality in S1 else None)
        if modality == S2:
            assert rule.filter.model_dump() == {
                **{"min_clear_fraction": 0.95, "cloud_max": 1, "snow_max": 1, "clearest": 1}
            }
        else:
            assert rule.filter is None


@pytest.mark.parametrize("name", mostly_slow(HUB, fast=["LC-A", "LC-F", "LC-H", "LPIS-F"]))
def test_a_flair_hub_card_builds_the_published_network(name):
    built = network(name)

    assert shapes(name) == tensor_shapes(FLAIR_HUB_MODELS[name])
    with torch.device("meta"):
        whole = FlairHub(replace(built.spec, aux=True))
    counted = millions(nn.ModuleList([whole.encoders, whole.main_decoders, whole.aux_decoders]))
    assert counted == pytest.approx(find_card(name).facts["parameters_millions"], abs=0.1)


LARGER = mostly_slow([("LC-B", 384), ("LC-D", 768), ("LC-G", 1024)], fast=[("LC-D", 768)])


@pytest.mark.parametrize(("name", "window"), LARGER)
def test_the_smallest_and_larger_windows_allowed_change_no_tensor(name, window):
    card = find_card(name)

    card.check_window(window)
    assert changed_tensors(card, window) == {}


@pytest.mark.parametrize("name", UNETS)
def test_a_unet_card_says_what_was_published(name):
    card, (channels, outputs, untrained) = find_card(name), UNETS[name]
    bands = {AERIAL: FLAIR1_BANDS} if channels == 4 else {AERIAL: FLAIR1_BANDS, HEIGHT: FLAIR1_HEIGHT}

    assert {key: normalisation(spec) for key, spec in card.inputs.items()} == bands
    legend = card.legend("AERIAL_LABEL")
    assert legend.codes == tuple(range(1, outputs + 1))
    assert {each.code for each in legend.classes if not each.trained} == untrained
    assert shapes(name)["encoder.conv1.weight"] == (64, channels, 7, 7)
    assert shapes(name)["segmentation_head.0.weight"][0] == outputs
    assert millions(network(name)) == pytest.approx(card.facts["parameters_millions"], abs=0.1)
    assert card.unit_px == 1
    if channels == 5:
        with pytest.raises(CardError, match="NDSM: training saw this height as bytes"):
            card.check_stated()


@pytest.mark.parametrize("name", UTT)
def test_utt_cards_follow_flair2s_own_rules(name):
    card = find_card(name)
    spec = card.inputs[S2]

    assert {band.statistics[1] for key in (AERIAL, HEIGHT) for band in card.inputs[key].bands.values()} == {255}
    assert [*card.inputs[AERIAL].bands, *card.inputs[HEIGHT].bands] == ["R", "G", "B", "NIR", "NDSM"]
    assert {band.statistics[1] for band in spec.bands.values()} == {65535}
    assert list(spec.bands) == list(HUB_BANDS[S2])
    assert (spec.pixel, spec.centred_size) == (10, 40)
    assert (spec.dates.position, spec.dates.composite) == ("before", "month")
    assert spec.dates.filter.model_dump() == {"max_cloud_fraction": 0.5, "cloud_min": 60, "snow_min": 60}
    assert card.legend().codes == tuple(range(1, 14))
    assert card.unit_px == 1
    with pytest.raises(CardError, match="the weights fit windows of 512"):
        card.check_window(1024)


def test_the_metadata_of_utt_is_a_part_of_one_card_and_no_map_makes_it_up():
    with_metadata, without = (find_card(name) for name in UTT)

    assert millions(network(UTT[0])) == pytest.approx(with_metadata.facts["parameters_millions"], abs=0.1)
    assert {key for key in shapes(UTT[0]) if key not in shapes(UTT[1])} == {
        key for key in shapes(UTT[0]) if key.startswith("mtd_mlp.")
    }
    with pytest.raises(CardError, match=r"AERIAL_METADATA\), which no input of a map gives"):
        with_metadata.with_coding("delivered").check_stated()
    without.with_coding("delivered").check_stated()


@pytest.mark.parametrize(
    ("name", "reference", "prefix"),
    [
        *((name, name, "") for name in ("LC-A", "LC-B", "LC-F", "LPIS-F")),
        ("flair1-unet-resnet34", "FLAIR1-unet-resnet34", "model.seg_model."),
        ("flair2-utt", "FLAIR2-unet-utae", ""),
    ],
)
def test_tensors_are_those_of_the_checkpoint(shared, name, reference, prefix):
    keys = json.loads(shared(f"reference/{reference}.keys.json").read_text())

    wanted = {
        key.removeprefix(prefix): tuple(shape) for key, shape in keys.items() if not key.startswith("aux_decoders.")
    }
    assert shapes(name) == wanted


def assert_answers(card, weights, batch, recorded):
    """The card's predictor, on raw values, gives the softmax of the logits on record."""
    model = resolve_model(card, weights=weights, compute=Compute(batch_size=1, device="cpu"))

    found = np.asarray(model.open().predict(batch))[0, :, ::EVERY, ::EVERY]

    wanted = torch.softmax(torch.from_numpy(recorded["logits"]), 0).numpy()
    # A shift of every logit by d moves no probability by more than d / 2.
    assert np.abs(found - wanted).max() <= PART_OF_STD * recorded["logits"].std() / 2


def test_a_published_crop_model_answers_through_its_card(public, tmp_path):
    weights = tmp_path / "w.safetensors"
    save_file({f"model.{key}": tensor.contiguous() for key, tensor in public.weights("LPIS-F").items()}, weights)
    dates = public.fill.DATES
    batch = InputBatch(
        values=public.values(S2, 1, dates, 10, 10, 10).numpy(),
        valid=np.ones((1, dates, 10, 10), bool),
        days=public.days(S2, dates).numpy(),
        present=np.ones((1, dates), bool),
    )

    assert_answers(find_card("LPIS-F"), weights, {S2: batch}, np.load(public.folder / "LPIS-F.npz"))


def test_the_flair1_unet_answers_through_its_card_when_fed_raw_values(public, tmp_path):
    name = "FLAIR1-unet-resnet34"
    torch.save({"state_dict": public.weights(name)}, tmp_path / "w.ckpt")
    card = find_card("flair1-unet-resnet34").with_coding("delivered")
    normalised = public.values("FLAIR1", 1, 5, 512, 512).numpy()
    mean, std = np.float32([*FLAIR1_BANDS.values(), *FLAIR1_HEIGHT.values()]).T[:, :, None, None]
    raw, seen = normalised * std + mean, np.ones((1, 512, 512), bool)

    batch = {AERIAL: InputBatch(values=raw[:, :4], valid=seen), HEIGHT: InputBatch(values=raw[:, 4:], valid=seen)}
    assert_answers(card, tmp_path / "w.ckpt", batch, np.load(public.folder / f"{name}.npz"))


def test_memory_is_told_of_networks_whose_bands_are_not_three(tmp_path):
    (tmp_path / "w.ckpt").write_bytes(b"not read for this")
    card = find_card("flair1-unet-resnet34").with_coding("delivered")

    one = resolve_model(card, weights=tmp_path / "w.ckpt", compute=Compute(batch_size=1)).memory_bytes()

    assert one > 4 * 24.4e6
