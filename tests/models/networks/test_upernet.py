"""The UPerNet decoder, layer by layer; `test_references.py` has its numbers."""

import json

import pytest
import torch
from torch.nn import functional

from landweave.core.errors import CardError
from landweave.models.networks.upernet import UPerNet

SWIN = (1, 0, 128, 256, 512, 1024)
SMALL = (1, 0, 8, 16, 32, 64)


def stages(channels: tuple[int, ...], height: int, width: int, *, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn((2, each, height >> i, width >> i), generator=generator) for i, each in enumerate(channels)]


def small(channels: tuple[int, ...] = SMALL, classes: int = 5) -> UPerNet:
    torch.manual_seed(3)
    return UPerNet(channels, classes, pyramid=16, bottleneck=8).eval()


def test_names_and_shapes_are_those_of_published_weights(shared):
    prefix = "main_decoders.AERIAL_LABEL-COSIA.seg_model."
    keys = json.loads(shared("reference/LC-A.keys.json").read_text())
    wanted = {name.removeprefix(prefix): shape for name, shape in keys.items() if name.startswith(prefix)}
    with torch.device("meta"):
        held = UPerNet(SWIN, 19).state_dict()

    assert {name: list(tensor.shape) for name, tensor in held.items()} == wanted


@pytest.mark.parametrize("size", [(64, 64), (64, 128), (96, 160)])
def test_scores_have_the_size_of_the_image(size):
    with torch.inference_mode():
        assert small()(stages(SMALL, *size)).shape == (2, 5, *size)


def test_the_image_lends_its_size_only():
    given = stages(SMALL, 64, 64)
    net = small()
    with torch.inference_mode():
        wanted = net(given)
        assert torch.equal(net([torch.full_like(given[0], torch.nan), *given[1:]]), wanted)
        assert torch.equal(net([torch.zeros(2, 7, 64, 64), *given[1:]]), wanted)


@pytest.mark.parametrize("stage", [2, 3, 4, 5])
def test_every_other_stage_counts(stage):
    given, others = stages(SMALL, 64, 64), stages(SMALL, 64, 64, seed=1)
    net = small()
    with torch.inference_mode():
        changed = net([*given[:stage], others[stage], *given[stage + 1 :]])
        assert (changed - net(given)).abs().max() > 1e-3


def test_a_stage_at_half_size_is_used_where_the_encoder_has_one():
    channels = (1, 4, 8, 16, 32, 64)
    given, others = stages(channels, 64, 64), stages(channels, 64, 64, seed=1)
    net = small(channels)
    with torch.inference_mode():
        assert (net([given[0], others[1], *given[2:]]) - net(given)).abs().max() > 1e-3


def test_the_head_enlarges_four_times_with_aligned_corners():
    given = stages(SMALL, 64, 64)
    net = small()
    with torch.inference_mode():
        quarter = net.segmentation_head[0](net.decoder(given))
        wanted = functional.interpolate(quarter, size=(64, 64), mode="bilinear", align_corners=True)
        torch.testing.assert_close(net(given), wanted)


def test_too_few_stages_are_refused():
    with pytest.raises(CardError, match="4 encoder stages or more, image included, not 3"):
        UPerNet((1, 8, 16), 2)
