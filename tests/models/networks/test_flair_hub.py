"""How FLAIR-HUB networks join their inputs; `test_references.py` has their numbers."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from landweave.core.errors import CardError
from landweave.models.cards.inputs import days_input, mask_input
from landweave.models.factory import build
from landweave.models.networks.flair_hub import MODALITY_ORDER, FlairHub, FlairHubSpec, Modality, respaced_widths
from tests.helpers.flair_hub_models import CLASSES, COSIA, FLAIR_HUB_MODELS, LPIS, MODALITIES

SIZE = (128, 128)
AERIAL_ALONE = {"AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {}}}}


def small(name: str = "LC-L", encoder: str = "convnext_atto", **changes) -> FlairHub:
    torch.manual_seed(5)
    return FlairHub(replace(FLAIR_HUB_MODELS[name], encoder=encoder, **changes)).eval()


def inputs(spec: FlairHubSpec, batch: int, dates: int = 2) -> dict[str, Tensor]:
    """Windows of a quarter of the usual size a side where that is enough; series keep all of theirs."""
    generator = torch.Generator().manual_seed(batch)
    given = {}
    for each in spec.images:
        side = max(each.window // 4, 32)
        given[each.name] = torch.randn((batch, each.channels, side, side), generator=generator)
    for each in spec.series:
        given[each.name] = torch.randn((batch, dates, each.channels, 10, 10), generator=generator)
        given[days_input(each.name)] = torch.randint(-134, 231, (batch, dates), generator=generator).float()
    return given


def answer(net: FlairHub, given: dict[str, Tensor], size: tuple[int, int] | None = SIZE) -> dict[str, Tensor]:
    with torch.inference_mode():
        return net(given, size)


@pytest.mark.parametrize("encoder", ["convnext_atto", "resnet18"])
def test_a_batch_answers_as_each_window_does_alone(encoder):
    net = small(encoder=encoder)
    given = inputs(net.spec, batch=2)

    together = answer(net, given)[COSIA]

    for i in range(2):
        alone = answer(net, {name: tensor[i : i + 1] for name, tensor in given.items()})[COSIA]
        assert (together[i] - alone[0]).abs().max() <= 1e-4 * together.std()


def test_padded_dates_change_nothing_in_a_fused_model():
    net = small("LC-F")
    given = inputs(net.spec, batch=2)
    padded = dict(given)
    for each in net.spec.series:
        padded[each.name] = torch.cat([given[each.name], torch.zeros(2, 9, each.channels, 10, 10)], dim=1)
        padded[days_input(each.name)] = torch.cat([given[days_input(each.name)], torch.zeros(2, 9)], dim=1)
        padded[mask_input(each.name)] = torch.arange(11).expand(2, 11) < 2

    wanted = answer(net, given)[COSIA]

    assert (answer(net, padded)[COSIA] - wanted).abs().max() <= 1e-5 * wanted.std()


@pytest.mark.parametrize("name", ["AERIAL_RGBI", "DEM_ELEV", "SPOT_RGBI", "SENTINEL2_TS", "SENTINEL1-DESC_TS"])
def test_every_input_counts(name):
    net = small()
    given = inputs(net.spec, batch=1)
    wanted = answer(net, given)[COSIA]

    changed = answer(net, given | {name: given[name] + 1})[COSIA]

    assert (changed - wanted).abs().max() > 1e-4 * wanted.std()


def test_each_task_has_its_own_answer():
    for name in ("LC-D", "LC-H"):
        net = small(name, classes=CLASSES)
        found = answer(net, inputs(net.spec, batch=2))

        assert {task: tuple(logits.shape) for task, logits in found.items()} == {
            COSIA: (2, 19, *SIZE),
            LPIS: (2, 23, *SIZE),
        }


def test_series_alone_answer_with_the_mean_of_their_scores():
    net = small("LC-H")
    given = inputs(net.spec, batch=1)
    ascending, descending = net.spec.series
    with torch.inference_mode():
        scores = [
            net.encoders[each.name](given[each.name], given[days_input(each.name)]) for each in (ascending, descending)
        ]

    found = answer(net, given, (10, 10))[COSIA]

    torch.testing.assert_close(found, (scores[0] + scores[1]) / 2)


@pytest.mark.parametrize(("name", "size"), [("LC-A", (128, 128)), ("LC-I", (256, 256)), ("LC-G", (512, 512))])
def test_without_a_size_the_answer_is_at_the_first_inputs_scale(name, size):
    net = small(name)

    assert answer(net, inputs(net.spec, batch=1), None)[COSIA].shape[-2:] == size


def test_the_order_in_which_inputs_are_listed_does_not_matter():
    spec = FLAIR_HUB_MODELS["LC-ALL"]
    backwards = replace(spec, modalities=spec.modalities[::-1])

    assert [each.name for each in (*backwards.images, *backwards.series)] == [*MODALITY_ORDER]


def test_a_series_names_its_days_and_its_mask():
    name = "SENTINEL1-ASC_TS"

    assert (days_input(name), mask_input(name)) == ("SENTINEL1-ASC_DATES", "SENTINEL1-ASC_MASK")
    assert [name for name, each in MODALITIES.items() if each.is_series] == [
        "SENTINEL2_TS",
        "SENTINEL1-ASC_TS",
        "SENTINEL1-DESC_TS",
    ]


def test_inputs_given_twice_or_not_at_all_are_refused():
    aerial = Modality(name="AERIAL_RGBI", channels=3, window=512)
    with pytest.raises(CardError, match="AERIAL_RGBI"):
        FlairHubSpec(modalities=(aerial, aerial), classes=CLASSES)
    with pytest.raises(CardError, match=r"got \[\] and 2 outputs"):
        FlairHubSpec(modalities=(), classes=CLASSES)


def test_widths_are_respaced_over_the_same_range():
    assert respaced_widths((64, 64, 64, 128), 4) == (64, 64, 128, 128)
    assert respaced_widths((64, 64, 64, 128), 6) == (64, 64, 64, 128, 128, 128)


def test_an_encoder_goes_by_its_name_in_either_library(small_card):
    card = small_card(architecture={"kind": "flair_hub", "encoder": "lcnet_035"}, inputs=AERIAL_ALONE)
    prefixed = small_card(architecture={"kind": "flair_hub", "encoder": "tu-lcnet_035"}, inputs=AERIAL_ALONE)

    assert build(card, 64).state_dict().keys() == build(prefixed, 64).state_dict().keys()


def test_an_unknown_encoder_is_refused_with_where_names_come_from(small_card):
    card = small_card(architecture={"kind": "flair_hub", "encoder": "swinn_base"}, inputs=AERIAL_ALONE)

    with pytest.raises(CardError, match="encoder 'swinn_base' is in neither segmentation-models-pytorch nor timm"):
        build(card, 64)
