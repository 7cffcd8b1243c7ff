"""The package's own door: networks by the name of their card, called with what the field calls its inputs."""

import subprocess
import sys

import pytest
import torch

import landweave.models
from landweave.models.blank import blank_inputs
from landweave.models.registry import find_card, list_cards

PUBLISHED = sorted({"LC-A", "LC-D", "LPIS-F", "LPIS-H", "flair1-unet-resnet34"} & set(list_cards()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_is_built_by_name_and_answers_by_task(name):
    card = find_card(name)
    with torch.device("meta"):
        network = landweave.models.build(name, window=512).to("meta")
    inputs = blank_inputs(card, (512, 512), batch=2, dates=3, on="meta")

    with torch.inference_mode():
        answers = network(inputs, (512, 512))
        smaller = network(inputs, (100, 120))

    wanted = {task: (2, len(output.legend), 512, 512) for task, output in card.outputs.items()}
    assert {task: tuple(each.shape) for task, each in answers.items()} == wanted
    assert all(each.shape[-2:] == (100, 120) for each in smaller.values())
    assert not network.training


def test_masks_of_dates_are_optional():
    if "LPIS-H" not in PUBLISHED:
        pytest.skip("the card is not there")
    with torch.device("meta"):
        network = landweave.models.build("LPIS-H", window=512).to("meta")
    inputs = blank_inputs(find_card("LPIS-H"), (512, 512), dates=3, on="meta")

    without = {name: tensor for name, tensor in inputs.items() if not name.endswith("MASK")}

    assert list(network(without)) == list(network(inputs)) == ["ALL_LABEL-LPIS"]


def test_the_package_is_quick_to_import():
    code = "import landweave.models, sys; print([n for n in ('torch', 'timm') if n in sys.modules])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
