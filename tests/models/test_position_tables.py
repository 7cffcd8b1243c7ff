"""Position tables at other windows: which change, who refuses, and what resizing keeps."""

import pytest
import torch

from landweave.errors import CardError, WeightsError
from landweave.models.builders import build, core
from landweave.models.inference import torch_threads
from landweave.models.position_tables import any_window, changed_tensors, refuse_changed, resized_tables
from landweave.models.weights import load_weights, read_tensors


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


@pytest.fixture
def hub(small_card):
    """One image of 64 px through the small Swin of timm: its last stages are smaller than its attention windows."""
    return small_card(
        builder={"kind": "flair_hub", "encoder": "swin_tiny_patch4_window7_224"},
        inputs={"AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {}}}},
        window={"size": 128, "overlap": 0, "multiple": 32},
    )


def test_windows_beyond_the_attention_of_every_stage_change_nothing(small_card):
    card = small_card(
        builder={"kind": "flair_hub", "encoder": "swin_tiny_patch4_window7_224"},
        inputs={"AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {}}}},
        window={"size": 224, "overlap": 0, "multiple": 32},
    )

    assert changed_tensors(card, 512) == {}
    refuse_changed(card, 512)
    assert len(changed_tensors(card, 128)) == 2 + 0  # the two blocks of the last stage, 4 x 4 there


def test_a_window_that_changes_tables_is_refused_with_their_shapes(hub):
    with pytest.raises(CardError) as caught:
        refuse_changed(hub, 256)

    text = str(caught.value)
    assert "layers_3.blocks.0.attn.relative_position_bias_table: (49, 24) in the weights, (169, 24)" in text
    assert "ask for position tables to be resized" in text
    with pytest.raises(CardError, match="multiple of 32"):
        changed_tensors(hub, 240)


def test_resized_tables_fill_the_network_and_keep_the_rest(hub, weights_of):
    tensors = read_tensors(weights_of(hub))
    network = core(build(any_window(hub), 256))

    resized = resized_tables(tensors, network)

    network.load_state_dict(resized, strict=True)
    changed = {name for name in tensors if resized[name] is not tensors[name]}
    assert changed == set(changed_tensors(hub, 256))
    for name in changed:
        old, new = tensors[name], resized[name]
        # What lies at no offset at all is in the middle of both, and is kept.
        assert torch.allclose(new[len(new) // 2], old[len(old) // 2], atol=1e-5)
        assert old.min() - 1 < new.min() < new.max() < old.max() + 1


def test_without_being_asked_nothing_is_resized(hub, weights_of):
    with pytest.raises(WeightsError, match=r"of another shape: .*relative_position_bias_table is \(49, 24\)"):
        load_weights(core(build(any_window(hub), 256)), weights_of(hub))


def test_tables_of_another_model_are_left_to_be_refused(hub):
    network = core(build(hub, 128))
    name = next(each for each in network.state_dict() if each.endswith("relative_position_bias_table"))
    strange = torch.zeros(49, 5)

    assert resized_tables({name: strange}, network)[name] is strange
