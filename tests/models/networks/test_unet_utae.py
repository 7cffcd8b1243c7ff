"""Series join the encoder of images, and change nothing where there are none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from landweave.core.errors import CardError
from landweave.models._torchvision import smp
from landweave.models.cards.registry import find_card
from landweave.models.factory import StackedInputs, build
from landweave.models.networks.unet_utae import UnetUtae, UnetUtaeSpec
from landweave.models.networks.utae import UtaeSpec

UTAE = UtaeSpec(
    channels=3, encoder_widths=(16, 16), decoder_widths=(16, 16), score_widths=(8,), heads=4, model_width=32
)
SERIES = "SENTINEL2_TS"


def unet() -> torch.nn.Module:
    torch.manual_seed(1)
    return smp.Unet(encoder_name="resnet18", encoder_weights=None, in_channels=4, classes=5, decoder_channels=[8] * 5)


def fused(stages: tuple[int, ...] = (3, 5), series: bool = True) -> UnetUtae:
    spec = UnetUtaeSpec(images=("RGB", "H"), series={SERIES: UTAE} if series else {}, stages=stages, output="LABEL")
    torch.manual_seed(2)
    return UnetUtae(unet(), spec).eval()


def inputs(dates: int = 4) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return {
        "RGB": torch.randn(2, 3, 64, 64),
        "H": torch.randn(2, 1, 64, 64),
        SERIES: torch.randn(2, dates, 3, 5, 5),
        "SENTINEL2_DATES": torch.linspace(-100, 200, dates).expand(2, dates).contiguous(),
    }


@torch.inference_mode()
def test_without_series_it_is_the_network_as_it_comes() -> None:
    given = inputs()
    plain = StackedInputs(unet(), ("RGB", "H"), "LABEL").eval()
    assert torch.equal(fused(series=False)(given)["LABEL"], plain(given)["LABEL"])


@torch.inference_mode()
def test_joins_of_zero_weight_leave_the_images_alone() -> None:
    network = fused()
    for join in network.joins.values():
        torch.nn.init.zeros_(join.weight)
        torch.nn.init.zeros_(join.bias)
    assert torch.equal(network(inputs())["LABEL"], fused(series=False)(inputs())["LABEL"])


@torch.inference_mode()
def test_the_season_counts() -> None:
    given = inputs()
    mixed_up = given | {"SENTINEL2_DATES": given["SENTINEL2_DATES"].flip(1)}
    assert not torch.allclose(fused()(given)["LABEL"], fused()(mixed_up)["LABEL"], atol=1e-4)


@torch.inference_mode()
def test_dates_may_come_in_any_order_with_their_days() -> None:
    given = inputs()
    turned = given | {name: given[name].flip(1) for name in (SERIES, "SENTINEL2_DATES")}
    assert torch.allclose(fused()(given)["LABEL"], fused()(turned)["LABEL"], atol=1e-5)


@torch.inference_mode()
def test_padding_changes_nothing() -> None:
    given = inputs()
    padded = given | {
        SERIES: torch.cat([given[SERIES], torch.full((2, 3, 3, 5, 5), 1e3)], dim=1),
        "SENTINEL2_DATES": torch.cat([given["SENTINEL2_DATES"], torch.full((2, 3), 77.0)], dim=1),
        "SENTINEL2_MASK": torch.tensor([[True] * 4 + [False] * 3] * 2),
    }
    assert torch.allclose(fused()(padded)["LABEL"], fused()(given)["LABEL"], atol=1e-5)


@torch.inference_mode()
def test_a_window_answers_as_it_does_alone() -> None:
    given = inputs()
    both = fused()(given)["LABEL"]
    alone = fused()({name: tensor[1:] for name, tensor in given.items()})["LABEL"]
    assert torch.allclose(both[1:], alone, atol=1e-5)


@torch.inference_mode()
def test_the_answer_is_resized_when_asked() -> None:
    assert fused()(inputs(), (32, 48))["LABEL"].shape == (2, 5, 32, 48)


def test_a_stage_that_the_encoder_has_not_is_refused() -> None:
    with pytest.raises(CardError, match=r"\[6\].* 0 to 5"):
        fused(stages=(3, 6))


@torch.inference_mode()
def test_a_card_gives_a_branch_for_each_of_its_series() -> None:
    card = find_card("demo-fusion")
    network = build(card, 512)
    assert isinstance(network, UnetUtae)
    assert set(network.series) == {"SENTINEL2_TS", "SENTINEL1-ASC_TS", "SENTINEL1-DESC_TS"}
    assert network.spec.images == ("AERIAL_RGBI", "DEM_ELEV")
    assert set(network.joins) == {"3", "4", "5"}
    assert not network.training
