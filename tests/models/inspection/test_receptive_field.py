"""Receptive field of networks whose reach is known by hand, and against gradients."""

import pytest
import torch
from torch import nn

from landweave.models.inference import torch_threads
from landweave.models.inspection.receptive_field import measure_receptive_field

INPUTS = {"AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {}}}}
WINDOW = 32


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


class Named(nn.Module):
    """A network of one tensor under the names of a card."""

    def __init__(self, layers, width=None):
        super().__init__()
        self.layers = layers.eval()
        self.width = width

    def forward(self, inputs, size):
        x = inputs["AERIAL_RGBI"]
        assert self.width in (None, x.shape[-1]), "made for one window only"
        return {"LABEL": self.layers(x)}


class Plus(nn.Module):
    """What ``layer`` gives, added to its input."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return x + self.layer(x)


class Mean(nn.Module):
    """A mean over the window that no kind of layer betrays."""

    def forward(self, x):
        return x.mean((-2, -1), keepdim=True)


def conv(kernel=3, **options):
    return nn.Conv2d(1, 1, kernel, padding="same" if "stride" not in options else kernel // 2, **options)


KNOWN = {
    "nothing but its pixel": (nn.Sequential(conv(1), nn.BatchNorm2d(1), nn.ReLU()), 1, 0),
    "three 3x3": (nn.Sequential(conv(), nn.ReLU(), conv(), nn.ReLU(), conv()), 1, 3),
    "dilated": (conv(dilation=4), 1, 4),
    "along rows": (conv((1, 5)), 1, 2),
    "along columns": (conv((5, 1)), 1, 2),
    # Answers 2j and 2j + 1 read columns 2j - 1 to 2j + 1: the second looks two to the left.
    "strided": (nn.Sequential(conv(stride=2), nn.Upsample(scale_factor=2)), 2, 2),
    # The first of a cell of four looks three to the right.
    "pooled": (nn.Sequential(nn.MaxPool2d(4), nn.Upsample(scale_factor=4)), 4, 3),
}


@pytest.mark.parametrize("name", KNOWN)
def test_reach_is_what_the_layers_come_to(small_card, name):
    layers, period, wanted = KNOWN[name]
    card = small_card(inputs=INPUTS, window={"size": WINDOW, "overlap": 0})

    reach = measure_receptive_field(card, Named(layers), WINDOW, period=period)

    assert reach.pixels == wanted
    assert reach.pixels is not None
    assert f"{wanted} px" in str(reach)


@pytest.mark.parametrize(
    "layers",
    [
        Plus(nn.AdaptiveAvgPool2d(1)),
        nn.GroupNorm(1, 1),
        nn.InstanceNorm2d(1),
        Plus(Mean()),
        nn.Sequential(conv(), Plus(Mean()), conv()),
    ],
    ids=["pool", "group norm", "instance norm", "mean", "mean between convolutions"],
)
def test_a_network_that_looks_at_all_of_its_window_is_global(small_card, layers):
    card = small_card(inputs=INPUTS, window={"size": WINDOW, "overlap": 0})

    reach = measure_receptive_field(card, Named(layers), WINDOW, period=1)

    assert reach.pixels is None
    assert reach.seen == 8 * WINDOW
    assert "global" in str(reach)


@pytest.mark.parametrize(("layers", "pixels"), [(conv(), 1), (nn.Sequential(conv(), Plus(Mean())), None)])
def test_a_network_made_for_one_window_is_looked_at_in_it(small_card, layers, pixels):
    card = small_card(inputs=INPUTS, window={"size": WINDOW, "overlap": 0})

    reach = measure_receptive_field(card, Named(layers, width=WINDOW), WINDOW, period=1)

    assert reach.pixels == pixels
    assert reach.seen == WINDOW


def test_reach_is_that_of_gradients(small_card):
    torch.manual_seed(0)
    down = [nn.Conv2d(1, 2, 5, stride=2, padding=2), nn.Conv2d(2, 2, 3, stride=2, padding=1)]
    layers = nn.Sequential(*down, nn.Conv2d(2, 1, 3, padding=1), nn.Upsample(scale_factor=4), conv())
    card = small_card(inputs=INPUTS, window={"size": WINDOW, "overlap": 0})

    reach = measure_receptive_field(card, Named(layers), WINDOW, period=4)

    # Without activations every gradient that can be is something: an oracle that knows no NaN.
    x = torch.randn(1, 1, 4, 128, requires_grad=True)
    answer = layers(x)
    farthest = 0
    for column in range(60, 64):
        (gradient,) = torch.autograd.grad(answer[..., column].sum(), x, retain_graph=True)
        seen = gradient.abs().sum((0, 1, 2)).nonzero()
        farthest = max(farthest, column - int(seen[0]), int(seen[-1]) - column)
    assert reach.pixels == farthest


def test_columns_are_as_wide_as_the_cards_unit(small_card):
    inputs = INPUTS | {"SPOT_RGBI": {"pixel": 1.6, "bands": {"R": {}}}}
    card = small_card(inputs=inputs, window={"size": WINDOW, "overlap": 0, "multiple": 8})

    class Both(nn.Module):
        def forward(self, inputs, size):
            spot = nn.functional.interpolate(inputs["SPOT_RGBI"], scale_factor=8)
            return {"LABEL": inputs["AERIAL_RGBI"] + nn.functional.max_pool2d(spot, 17, 1, 8)}

    assert measure_receptive_field(card, Both(), WINDOW, period=8).pixels == 8
