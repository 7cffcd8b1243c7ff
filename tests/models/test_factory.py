"""Networks of cards: called by name, answering by task; what cannot be built says so."""

import pytest
import torch
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from landweave.core.errors import CardError
from landweave.models.cards.registry import find_card
from landweave.models.catalog import load_model
from landweave.models.factory import build, core, load
from tests.helpers.marks import mostly_slow


def inputs_of(count=1, size=64):
    return {"AERIAL_RGBI": torch.randn(count, 2, size, size), "DEM_ELEV": torch.randn(count, 1, size, size)}


def test_inputs_are_joined_in_the_cards_order_and_the_answer_has_the_size_asked_for(small_card):
    network = build(small_card(), 64)
    inputs = inputs_of()

    with torch.inference_mode():
        answers = network(dict(reversed(inputs.items())), (128, 128))
        plain = core(network)(torch.cat([inputs["AERIAL_RGBI"], inputs["DEM_ELEV"]], 1))
        own = network(inputs)

    assert list(answers) == ["LABEL"]
    assert answers["LABEL"].shape == (1, 4, 128, 128)
    assert torch.equal(own["LABEL"], plain)


def test_building_draws_from_nobodys_random_numbers(small_card):
    torch.manual_seed(1)
    wanted = torch.rand(1)
    torch.manual_seed(1)

    build(small_card(), 64)

    assert torch.equal(torch.rand(1), wanted)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"kind": "smp", "name": "Unnet"}, "'Unnet'.*does not have; Unet is one"),
        ({"kind": "smp", "name": "encoders"}, "does not have"),
        ({"kind": "smp", "name": "Unet", "arguments": {"encoder_name": "vgg0"}}, "cannot be built as Unet"),
        ({"kind": "smp", "name": "Unet", "arguments": {"colour": "red"}}, "colour"),
    ],
)
def test_what_cannot_be_built_says_so(small_card, architecture, message):
    with pytest.raises(CardError, match=message):
        build(small_card(architecture=architecture), 64)


def test_the_public_door_builds_by_name():
    with torch.device("meta"):
        network = load_model("flair1-unet-resnet34")
        answers = network(
            {"AERIAL_RGBI": torch.empty(1, 4, 512, 512), "DEM_ELEV": torch.empty(1, 1, 512, 512)}, (512, 512)
        )

    assert answers["AERIAL_LABEL"].shape == (1, 19, 512, 512)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(24.4e6, abs=0.1e6)


class Draws(TorchDispatchMode):
    """Counts what is drawn at random."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += torch.Tag.nondeterministic_seeded in function.tags
        return function(*args, **(kwargs or {}))


NETWORKS = ("flair1-unet-resnet34", "LC-A", "LC-D", "flair2-utt")


@pytest.mark.parametrize("name", mostly_slow(NETWORKS, fast=["flair2-utt"]))
def test_a_loaded_network_is_as_if_first_values_had_been_drawn(name, tmp_path):
    card = find_card(name)
    drawn = build(card, card.window.size)
    for label, tensor in core(drawn).state_dict().items():
        if "running" in label:  # statistics, which begin with the same values everywhere
            tensor.uniform_(1, 2)
    save_file(core(drawn).state_dict(), tmp_path / "weights.safetensors")

    with Draws() as draws:
        loaded = load(card, card.window.size, tmp_path / "weights.safetensors", batch_size=1)

    assert draws.count == 0
    tensors = dict((*loaded.named_parameters(), *loaded.named_buffers()))
    for label, tensor in (*drawn.named_parameters(), *drawn.named_buffers()):
        assert torch.equal(tensors[label], tensor), label
