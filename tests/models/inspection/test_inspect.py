"""A model taken apart: parameters, operations and memory counted another way, and how they are told."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from landweave.core.errors import CardError
from landweave.models.factory import build
from landweave.models.inference import torch_threads
from landweave.models.inspection.inspect import count_parameters, inspect
from landweave.models.inspection.placement_consistency import PlacementConsistency
from landweave.models.networks.dummy_inputs import dummy_inputs
from landweave.models.networks.flair_hub import FlairHub
from tests.helpers.flair_hub_models import FLAIR_HUB_MODELS
from tests.models.conftest import SWIN


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


def multiplications_and_additions(network, inputs, size):
    """Of the convolutions, each as its definition has it."""
    total = 0

    def count(layer, given, answer):
        nonlocal total
        inner = layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
        total += 2 * inner * answer.numel()

    hooks = [each.register_forward_hook(count) for each in network.modules() if isinstance(each, nn.Conv2d)]
    with torch.no_grad():
        network(inputs, size)
    for hook in hooks:
        hook.remove()
    return total


def test_a_convolutional_network_is_counted_as_by_hand(small_card):
    card = small_card()
    network = build(card, 64)

    found = inspect(card)

    assert found.operations == multiplications_and_additions(network, dummy_inputs(card, (64, 64)), (64, 64))
    assert sum(found.parameters.values()) == sum(each.numel() for each in network.parameters())
    assert list(found.parameters) == ["encoder", "decoder", "segmentation_head"]
    assert found.weight_bytes == sum(each.nbytes for each in (*network.parameters(), *network.buffers()))
    assert found.activation_bytes >= 64 * 64 * 4 * 4  # no less than its logits
    assert found.strides == {"AERIAL_RGBI": 8, "DEM_ELEV": 8}
    assert 8 < found.receptive_field.pixels < 64
    assert found.dates == found.training_parameters == 0


def test_a_network_that_pools_its_window_is_global(small_card):
    found = inspect(small_card(architecture=SWIN))

    assert found.receptive_field.pixels is None
    assert found.strides["AERIAL_RGBI"] == 32


@pytest.mark.slow
def test_parts_of_a_multi_sensor_network_are_named_by_input_and_task(small_card):
    series = {"pixel": 3.2, "bands": {"VV": {}, "VH": {}}, "dates": {}}
    image = {"pixel": 0.2, "bands": {"R": {}}}
    card = small_card(
        architecture={"kind": "flair_hub", "encoder": "resnet18"},
        inputs={"AERIAL_RGBI": image, "DEM_ELEV": image, "SENTINEL1-ASC_TS": series},
    )

    found = inspect(card)

    assert list(found.parameters) == [
        "encoders.AERIAL_RGBI",
        "encoders.DEM_ELEV",
        "encoders.SENTINEL1-ASC_TS",
        "fusion_handler",
        "main_decoders.LABEL",
    ]
    assert found.training_parameters == 2 * found.parameters["main_decoders.LABEL"]
    assert found.receptive_field.pixels is None
    assert found.dates == 12
    assert "of 12 dates" in str(found)
    assert "in training" in str(found)


def test_published_parts_come_to_the_published_count():
    with torch.device("meta"):
        parts = count_parameters(FlairHub(FLAIR_HUB_MODELS["LC-D"]))

    # Of 93.9 M, 4.5 are the auxiliary decoder that serves training; fusion is not counted.
    counted = sum(count for name, count in parts.items() if name != "fusion_handler")
    assert counted / 1e6 == pytest.approx(93.9 - parts["main_decoders.AERIAL_LABEL-COSIA"] / 1e6, abs=0.1)


def test_it_is_told_in_rows_as_text_and_as_a_table(small_card):
    placements = PlacementConsistency(window=64, unit=1, distances=(0, 32), pixels=(900, 900), differing=(90, 0))
    found = replace(inspect(small_card(name="a<b")), placement_consistency=placements)

    text, table = str(found), found._repr_html_()

    assert len(text.splitlines()) == len(found.rows)
    assert "overlap under 1%" in text
    assert "10.00% of 900 px" in text
    assert "a&lt;b" in table
    assert table.count("<tr>") == len(found.rows)


def test_a_program_is_inspected_with_its_file(small_card, tmp_path):
    inputs = {"AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {}}}}
    card = small_card(architecture={"kind": "exported"}, inputs=inputs, window={"size": 16, "overlap": 0})
    path = tmp_path / "conv.pt2"
    layer = nn.Conv2d(1, 4, 3, padding=1).eval()
    torch.export.save(torch.export.export(layer, (torch.zeros(2, 1, 16, 16),)), path)

    found = inspect(card, weights=path)

    assert sum(found.parameters.values()) == 4 * 9 + 4
    assert found.operations == 2 * 9 * 4 * 16 * 16
    assert found.receptive_field.pixels == 1
    with pytest.raises(CardError, match="give its"):
        inspect(card)
