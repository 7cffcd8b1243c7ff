"""Position tables at other windows: which change, who refuses, and what resizing keeps."""

import numpy as np
import pytest
import torch

from landweave.core.errors import CardError, WeightsError
from landweave.core.protocols import InputBatch
from landweave.models.factory import build, core, load
from landweave.models.inference import torch_threads
from landweave.models.networks.position_tables import (
    any_window,
    changed_tensors,
    check_window,
    refuse_changed,
    with_resized_tables,
)
from landweave.models.networks.resizing import resized_tables
from landweave.models.predictor import resolve_model
from landweave.models.settings import Compute
from landweave.models.weights import load_weights, read_tensors


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


@pytest.fixture
def hub(small_card):
    """One image of 64 px through the small Swin of timm: its last stages are smaller than its attention windows."""
    return small_card(
        architecture={"kind": "flair_hub", "encoder": "swin_tiny_patch4_window7_224"},
        inputs={"AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {}}}},
        window={"size": 128, "overlap": 0, "multiple": 32},
    )


def test_windows_beyond_the_attention_of_every_stage_change_nothing(small_card):
    card = small_card(
        architecture={"kind": "flair_hub", "encoder": "swin_tiny_patch4_window7_224"},
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
    assert "ask for position tables to be resized (model: {resize_tables: true})" in text
    with pytest.raises(CardError, match="multiple of 32"):
        changed_tensors(hub, 240)


@pytest.mark.slow
def test_resized_tables_fill_the_network_and_keep_the_rest(hub, weights_of):
    tensors = read_tensors(weights_of(hub))[0]
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


@pytest.mark.slow
def test_asking_for_resized_tables_is_another_model_that_takes_other_windows(hub, weights_of):
    asked = with_resized_tables(hub)

    assert asked.sha256 != hub.sha256
    assert with_resized_tables(asked) == asked
    asked.check_window(256)
    with pytest.raises(CardError, match="multiple of 32"):
        asked.check_window(240)

    weights, compute = weights_of(hub), Compute(batch_size=1, torch_threads=1, device="cpu")
    model = resolve_model(asked, weights=weights, window=256, compute=compute)
    predictor = model.open()

    pixels = np.random.default_rng(1).integers(0, 255, (1, 1, 256, 256), dtype=np.uint8)
    batch = {"AERIAL_RGBI": InputBatch(values=pixels, valid=np.ones((1, 256, 256), bool))}
    assert predictor.predict(batch).shape == (1, 4, 256, 256)
    assert model.memory_bytes() > weights.stat().st_size
    assert (
        model.fingerprint_fields["card"]
        != resolve_model(hub, weights=weights, compute=compute).fingerprint_fields["card"]
    )


def test_at_its_own_window_a_model_with_resized_tables_answers_as_published(hub, weights_of):
    weights = weights_of(hub)
    inputs = {"AERIAL_RGBI": torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(1))}

    with torch.inference_mode():
        answers = [load(card, 128, weights, batch_size=1)(inputs)["LABEL"] for card in (hub, with_resized_tables(hub))]

    assert torch.equal(*answers)


def test_only_networks_with_such_tables_have_them_resized(small_card):
    with pytest.raises(CardError, match=r"small \(smp\) is no network of FLAIR-HUB: leave model.resize_tables out"):
        with_resized_tables(small_card())


def test_a_run_that_asks_for_a_window_gets_the_tables_that_do_not_fit(hub, small_card, tmp_path):
    (tmp_path / "w.ckpt").write_bytes(b"not read for this")

    with pytest.raises(CardError, match=r"256 px was asked for(?s:.*)\(49, 24\) in the weights"):
        resolve_model(hub, weights=tmp_path / "w.ckpt", window=256)
    with pytest.raises(CardError, match="240 px is not a multiple of 32"):
        check_window(hub, 240)
    with pytest.raises(CardError, match=r"the weights fit windows of 64\.$"):
        check_window(small_card(), 128)
    check_window(hub, 128)
