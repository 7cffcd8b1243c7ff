"""By how much networks shrink their inputs."""

import pytest
import torch
from torch import nn

from landweave.models.cards.registry import find_card
from landweave.models.factory import build
from landweave.models.inspection.strides import measure_strides, period_px

SERIES = {"pixel": 10.24, "bands": {"VV": {}, "VH": {}}, "dates": {}}


def on_meta(card, window):
    with torch.device("meta"):
        return build(card, window).to("meta")


def test_every_input_of_joined_ones_is_shrunk_alike(small_card):
    card = small_card()

    strides = measure_strides(card, on_meta(card, 64), 64)

    assert strides == {"AERIAL_RGBI": 8, "DEM_ELEV": 8}
    assert period_px(card, strides) == 8


def test_each_branch_has_its_own_stride(small_card):
    card = small_card(
        architecture={"kind": "flair_hub", "encoder": "resnet18"},
        inputs={
            "AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {}}},
            "SPOT_RGBI": {"pixel": 1.6, "bands": {"R": {}}},
            "SENTINEL1-ASC_TS": SERIES,
        },
        window={"size": 512, "overlap": 256},
    )

    strides = measure_strides(card, on_meta(card, 512), 512)

    assert strides == {"AERIAL_RGBI": 32, "SPOT_RGBI": 32, "SENTINEL1-ASC_TS": 1}
    assert period_px(card, strides) == 256


def test_values_given_stage_by_stage_are_no_stages():
    card = find_card("flair2-utt-without-metadata")

    strides = measure_strides(card, on_meta(card, 512), 512)

    assert strides == {"AERIAL_RGBI": 32, "DEM_ELEV": 32, "SENTINEL2_TS": 8}


@pytest.mark.parametrize(("layer", "stride"), [(nn.Conv2d(2, 4, 4, stride=4), 4), (nn.Conv2d(2, 4, 1), 1)])
def test_a_network_without_an_encoder_tells_by_its_layers(small_card, layer, stride):
    card = small_card(inputs={"AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {}, "G": {}}}})

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, inputs, size):
            x = self.layer(inputs["AERIAL_RGBI"])
            return {"LABEL": x + self.pool(x)}

    assert measure_strides(card, Plain(), 64) == {"AERIAL_RGBI": stride}
