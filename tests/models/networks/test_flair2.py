"""FLAIR#2: right for any batch, with and without metadata; `test_references.py` has its numbers."""

import pytest
import torch
from torch import Tensor

from landweave.core.errors import CardError
from landweave.models.networks.flair1 import AERIAL, METADATA, FlairSpec
from landweave.models.networks.flair2 import SERIES, Flair2, centred, stepped_widths

PART_OF_STD = 1e-4


def inputs(batch: int, size: int) -> dict[str, Tensor]:
    """Each window's series is brighter than the one before."""
    generator = torch.Generator().manual_seed(0)
    brightness = torch.arange(1.0, batch + 1)[:, None, None, None, None]
    return {
        AERIAL: torch.rand((batch, 5, size, size), generator=generator),
        SERIES: torch.rand((batch, 3, 10, 40, 40), generator=generator) * brightness,
        "SENTINEL2_DATES": torch.tensor([-100.0, -20, 40]).repeat(batch, 1),
        METADATA: torch.randn((batch, 45), generator=generator),
    }


def build(*, metadata: bool) -> Flair2:
    torch.manual_seed(2)
    return Flair2(FlairSpec(encoder="resnet18", classes=6, metadata=metadata)).eval()


@pytest.fixture(scope="module")
def with_branch() -> Flair2:
    return build(metadata=True)


@pytest.fixture(scope="module")
def without() -> Flair2:
    return build(metadata=False)


def answer(net: Flair2, given: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        return net(given)[net.spec.output]


def test_a_batch_answers_as_each_window_does_alone(without):
    given = inputs(3, 64)

    together = answer(without, given)

    assert together.shape == (3, 6, 64, 64)
    for i in range(3):
        alone = answer(without, {name: tensor[i : i + 1] for name, tensor in given.items()})
        assert (together[i] - alone[0]).abs().max() <= PART_OF_STD * together.std()


def test_metadata_is_each_windows_own(with_branch):
    given = inputs(2, 512)

    together = answer(with_branch, given)
    alone = answer(with_branch, {name: tensor[1:] for name, tensor in given.items()})
    other = answer(with_branch, {name: tensor[1:] for name, tensor in given.items()} | {METADATA: given[METADATA][:1]})

    assert (together[1:] - alone).abs().max() <= PART_OF_STD * together.std()
    assert (other - alone).abs().max() > 10 * PART_OF_STD * together.std()


def test_metadata_is_not_read_where_there_is_no_branch_for_it(without):
    given = inputs(1, 64)

    assert not any(name.startswith("mtd_mlp") for name in without.state_dict())
    assert torch.equal(answer(without, given), answer(without, given | {METADATA: given[METADATA] + 3}))


def test_padded_dates_change_nothing(without):
    given = inputs(2, 64)
    padded = given | {
        SERIES: torch.cat([given[SERIES], torch.zeros(2, 5, 10, 40, 40)], dim=1),
        "SENTINEL2_DATES": torch.cat([given["SENTINEL2_DATES"], torch.zeros(2, 5)], dim=1),
        "SENTINEL2_MASK": torch.arange(8).expand(2, 8) < 3,
    }

    wanted = answer(without, given)

    assert (answer(without, padded) - wanted).abs().max() <= 1e-5 * wanted.std()


@pytest.mark.parametrize("row", [0, 20])
def test_both_the_centre_and_what_lies_around_it_count(without, row):
    given = inputs(1, 64)
    changed = given[SERIES].clone()
    changed[..., row, 20] += 50

    assert not torch.equal(answer(without, given | {SERIES: changed}), answer(without, given))


def test_the_centre_is_the_centre():
    x = torch.arange(40.0).expand(1, 1, 40, 40)

    assert centred(x, 10)[0, 0, 0].tolist() == list(range(15, 25))
    with pytest.raises(CardError, match="10 pixels cannot lie in the middle of 41 x 40"):
        centred(torch.zeros(1, 1, 41, 40), 10)


def test_dense_layers_step_from_one_width_to_the_other():
    assert stepped_widths(64, 5) == (64, 45, 26, 5)
    assert stepped_widths(64, 64) == (64, 128, 128, 64)
    assert stepped_widths(64, 512) == (64, 213, 362, 512)
