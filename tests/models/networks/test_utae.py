"""A series answers as it does alone: padded, shuffled, in company, or reduced to one date."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landweave.core.errors import CardError
from landweave.models.networks.utae import Utae, UtaeSpec, attended, day_signal, normalised_over_dates

PART_OF_STD = 1e-5
PART_OF_STD_BEFORE = 1e-4
"""For the maps behind the scores: the last norm of the temporal encoder enlarges what float32 rounds."""
SPECS = {
    "alone": UtaeSpec(channels=10, score_widths=(32, 19, 23)),
    "unet_utae": UtaeSpec(channels=2, encoder_widths=(64, 64, 128, 128), decoder_widths=(64, 64, 128, 128)),
    "strided": UtaeSpec(channels=4, encoder_widths=(32, 64), decoder_widths=(32, 64), kernel=4, stride=2, heads=8),
}


def build(spec: UtaeSpec) -> Utae:
    """A network in evaluation mode whose norms have seen something."""
    torch.manual_seed(7)
    net = Utae(spec).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm):
            nn.init.normal_(module.weight, mean=1, std=0.1)
            nn.init.normal_(module.bias, std=0.1)
    return net


@pytest.fixture(scope="module", params=SPECS)
def net(request) -> Utae:
    return build(SPECS[request.param])


def series(net: Utae, dates: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((1, dates, net.spec.channels, 10, 10), generator=generator)
    days = torch.randperm(365, generator=generator)[:dates].sort().values.float() - 134
    return x, days[None]


def answer(net: Utae, *inputs: Tensor) -> list[Tensor]:
    """Every map of the decoder, and the scores."""
    with torch.inference_mode():
        maps = net.maps(*inputs)
        return [*maps, net.out_conv(maps[-1])]


def assert_same(found: list[Tensor], wanted: list[Tensor]) -> None:
    allowed = [*[PART_OF_STD_BEFORE] * (len(wanted) - 1), PART_OF_STD]
    for one, other, part in zip(found, wanted, allowed, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= part * other.std()


@pytest.mark.parametrize("added", [0, 1, 5, 40])
@pytest.mark.parametrize("filler", [0.0, float("nan")])
def test_padding_of_any_length_and_content_changes_nothing(net, added, filler):
    x, days = series(net, 7)
    padded = torch.cat([x, torch.full((1, added, *x.shape[2:]), filler)], dim=1)
    padded_days = torch.cat([days, torch.full((1, added), filler)], dim=1)
    real = torch.arange(7 + added)[None] < 7

    assert_same(answer(net, padded, padded_days, real), answer(net, x, days))


def test_padding_may_stand_anywhere(net):
    x, days = series(net, 5)
    real = torch.tensor([[False, True, True, False, True, True, False, True]])
    spread, spread_days = torch.zeros(1, 8, *x.shape[2:]), torch.zeros(1, 8)
    spread[real], spread_days[real] = x[0], days[0]

    assert_same(answer(net, spread, spread_days, real), answer(net, x, days))


def test_a_longer_neighbour_in_the_batch_changes_nothing(net):
    short, short_days = series(net, 4, seed=1)
    long, long_days = series(net, 23, seed=2)
    x = torch.cat([torch.cat([short, torch.zeros(1, 19, *short.shape[2:])], dim=1), long])
    days = torch.cat([torch.cat([short_days, torch.zeros(1, 19)], dim=1), long_days])
    real = torch.arange(23) < torch.tensor([[4], [23]])

    both = answer(net, x, days, real)

    assert_same([each[:1] for each in both], answer(net, short, short_days))
    assert_same([each[1:] for each in both], answer(net, long, long_days))


def test_the_order_of_dates_changes_nothing(net):
    x, days = series(net, 9)
    order = torch.tensor([4, 0, 8, 2, 7, 1, 6, 3, 5])

    assert_same(answer(net, x[:, order], days[:, order]), answer(net, x, days))


@pytest.mark.parametrize("added", [0, 1, 40])
def test_one_date_only_answers_as_it_does_alone(net, added):
    x, days = series(net, 1)
    padded = torch.cat([torch.zeros(1, added, *x.shape[2:]), x], dim=1)
    padded_days = torch.cat([torch.zeros(1, added), days], dim=1)
    real = torch.arange(added + 1)[None] == added

    assert_same(answer(net, padded, padded_days, real), answer(net, x, days))


def test_dates_and_their_days_do_matter(net):
    x, days = series(net, 7)
    wanted = answer(net, x, days)[-1]
    assert torch.equal(net(x, days), wanted)
    padded = torch.cat([x, torch.zeros(1, 5, *x.shape[2:])], dim=1), torch.cat([days, torch.zeros(1, 5)], dim=1)

    for other in (answer(net, x, days + 90)[-1], answer(net, *padded)[-1], answer(net, x[:, :6], days[:, :6])[-1]):
        assert (other - wanted).abs().max() > 1e-3 * wanted.std()


def test_a_series_without_any_real_date_is_finite(net):
    x, days = series(net, 3)
    found = answer(net, torch.full_like(x, float("nan")), days, torch.zeros(1, 3, dtype=torch.bool))

    assert all(each.isfinite().all() for each in found)


def test_with_every_date_real_the_norm_is_group_norm():
    norm = nn.GroupNorm(16, 128)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 6, 128, 5) * 30 + 200

    found = normalised_over_dates(x, torch.ones(2, 5, dtype=torch.bool), norm)

    torch.testing.assert_close(found, norm(x.flatten(0, 1)).unflatten(0, (2, 6)), rtol=1e-4, atol=1e-4)


def test_days_are_coded_in_pairs_of_sine_and_cosine():
    days = np.array([-134.0, 0, 1, 230])
    wanted = [[(np.sin, np.cos)[i % 2](day / 1000 ** (2 * (i // 2) / 16)) for i in range(16)] for day in days]

    found = day_signal(torch.from_numpy(days).float()[None], 16)

    np.testing.assert_allclose(found[0], wanted, atol=1e-5)


def test_each_head_weighs_its_own_share_of_channels():
    stage = torch.stack([torch.full((4, 2, 2), 1.0), torch.full((4, 2, 2), 10.0)])[None]
    attention = torch.tensor([[0.25, 0.75], [1, 0]])[None, :, :, None, None].expand(1, 2, 2, 1, 1)

    found = attended(stage, attention)

    assert found[0, :, 0, 0].tolist() == [7.75, 7.75, 1, 1]


@pytest.mark.parametrize(
    ("widths", "said"),
    [
        ({"decoder_widths": (32, 64, 128)}, r"\(64, 64, 64, 128\) down and \(32, 64, 128\) up"),
        ({"decoder_widths": (32, 32, 64, 64)}, "same deepest one"),
        ({"encoder_widths": (64, 64, 72, 128)}, r"\[72\] cannot be shared by 16"),
    ],
)
def test_widths_that_cannot_be_are_refused(widths, said):
    with pytest.raises(CardError, match=said):
        UtaeSpec(channels=10, **widths)
