"""A network from outside is tried before it maps: what it gives is what its card says, or it is refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from landweave import api
from landweave.core.errors import CardError, LandweaveError, PredictError
from landweave.core.protocols import InputBatch
from landweave.models.cards.card import ModelCard
from landweave.models.cards.registry import parse_card, read_card
from landweave.models.factory import build, core
from landweave.models.inference import TorchPredictor
from landweave.models.inspection.inspect import inspect
from landweave.models.predictor import TorchModel, resolve_model
from landweave.models.settings import Compute
from landweave.models.weights import read_tensors
from tests.helpers.networks import write_weights
from tests.helpers.small import Small
from tests.models.conftest import CLASSES, UNET, small_content

SIZE = 16
FOUR = {"name": "four", "classes": CLASSES}
PAIR = {"name": "pair", "classes": [CLASSES[1], CLASSES[3]]}


class Conv(nn.Module):
    """A convolution over two bands, and what ``last`` makes of its values."""

    def __init__(self, channels: int, last: Callable[[Tensor], Any]) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.conv = nn.Conv2d(2, channels, 3, padding=1)
        self.last = last

    def forward(self, x: Tensor) -> Any:
        return self.last(self.conv(x.float()))


@pytest.fixture
def card(small_card: Callable[..., ModelCard]) -> Callable[..., ModelCard]:
    """A card of a program over two bands; keywords go to its output."""

    def make(**output: Any) -> ModelCard:
        legend = output.pop("legend", FOUR)
        return small_card(
            architecture={"kind": "exported"},
            inputs={"AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {}, "G": {}}}},
            window={"size": SIZE, "overlap": 4},
            outputs={"LABEL": {"legend": legend, "pixel": 0.2, **output}},
        )

    return make


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., TorchModel]:
    """A model of a program that ends in ``last``."""

    def make(
        card: ModelCard, last: Callable[[Tensor], Any], *, channels: int = 4, batch: int = 2, dtype: Any = torch.float32
    ) -> TorchModel:
        path = tmp_path / "program.pt2"
        example = torch.zeros(batch, 2, SIZE, SIZE, dtype=dtype)
        torch.export.save(torch.export.export(Conv(channels, last).eval(), (example,)), path)
        return resolve_model(card, weights=path, compute=Compute(batch_size=batch, torch_threads=1, device="cpu"))

    return make


def batch_of(seed: int = 0) -> dict[str, InputBatch]:
    values = np.random.default_rng(seed).normal(size=(2, 2, SIZE, SIZE)).astype(np.float32)
    return {"AERIAL_RGBI": InputBatch(values=values, valid=np.ones((2, SIZE, SIZE), bool))}


def logits(channels: int, seed: int = 0) -> Tensor:
    with torch.inference_mode():
        return Conv(channels, lambda x: x)(torch.from_numpy(batch_of(seed)["AERIAL_RGBI"].values))


def stretched(x: Tensor) -> Tensor:
    """Each window over its own range: there is none where nothing is measured."""
    centred = x - x[..., 5:6, 5:6]
    return centred / centred.abs().amax((1, 2, 3), keepdim=True)


def wide_sigmoid(x: Tensor) -> Tensor:
    return (4 * x).sigmoid()


WRONG: dict[str, tuple[int, Callable[[Tensor], Any], str]] = {
    "more channels than classes": (6, lambda x: x, r"gives \(2, 6, 16, 16\).*card says .* \(2, 4, 16, 16\)"),
    "one channel": (1, lambda x: x, r"gives \(2, 1, 16, 16\).*activation and threshold"),
    "a quarter of the size": (4, lambda x: x[..., ::4, ::4], r"gives \(2, 4, 4, 4\).*every pixel of the window"),
    "classes last": (4, lambda x: x.permute(0, 2, 3, 1), r"gives \(2, 16, 16, 4\)"),
    "a dict": (4, lambda x: {"out": x, "aux": x * 2}, "gives a dict with out, aux, and is to give one tensor"),
    "a dict of one": (4, lambda x: {"logits": x}, "gives a dict with logits"),
    "a tuple": (4, lambda x: (x, x * 2), "gives a tuple, and is to give one tensor"),
    "a list of one": (4, lambda x: [x], "gives a list, and is to give one tensor"),
    "classes": (4, lambda x: x.argmax(1), r"gives int64 of \(2, 16, 16\): classes that are decided already"),
    "bytes": (4, lambda x: (x.softmax(1) * 255).to(torch.uint8), "gives uint8 .*: classes that are decided already"),
    "decided classes as numbers": (4, lambda x: x.argmax(1).float(), r"gives float32 of \(2, 16, 16\)"),
    "no numbers": (4, lambda x: x / (x - x), "values that are not finite"),
    "no numbers where nothing is measured": (4, stretched, "not finite, for noise or where nothing is measured"),
    "its neighbours": (4, lambda x: x - x.mean(0, keepdim=True), "other values when another window of its batch"),
    "a softmax": (4, lambda x: x.softmax(1), "probabilities that sum to one .* Write activation: none"),
    "decided classes one by one": (
        4,
        lambda x: nn.functional.one_hot(x.argmax(1), 4).permute(0, 3, 1, 2).float(),
        "probabilities that sum to one",
    ),
    "a sigmoid of each class": (4, wide_sigmoid, "do not sum to one .* activation: softmax in the card"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_program_that_gives_something_else_is_refused_by_name(card: Any, opened: Any, name: str) -> None:
    channels, last, message = WRONG[name]

    with pytest.raises(LandweaveError, match=message):
        opened(card(), last, channels=channels).verify()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float64])
def test_a_program_of_other_numbers_than_normalised_ones_is_refused(card: Any, opened: Any, dtype: torch.dtype) -> None:
    with pytest.raises(LandweaveError, match=f"takes {str(dtype)[6:]} of .* normalised float32"):
        opened(card(), lambda x: x, dtype=dtype).verify()


def test_what_its_card_says_is_accepted_with_any_batch(card: Any, opened: Any) -> None:
    for batch in (1, 3):
        opened(card(), lambda x: x, batch=batch).verify()
        opened(card(), lambda x: x.half(), batch=batch).verify()


RIGHT: dict[str, tuple[Callable[[Tensor], Tensor], dict[str, Any]]] = {
    "logits": (lambda x: x, {}),
    "logits, stated": (lambda x: x, {"activation": "softmax"}),
    "a log-softmax, whose softmax it is": (lambda x: x.log_softmax(1), {}),
    "a softmax": (lambda x: x.softmax(1), {"activation": "none"}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_probabilities_are_the_networks_own(card: Any, opened: Any, name: str) -> None:
    last, output = RIGHT[name]

    prediction = opened(card(**output), last).open().predict(batch_of())

    np.testing.assert_allclose(prediction, logits(4).softmax(1).numpy(), atol=1e-6)


@pytest.mark.parametrize("inside", [False, True])
def test_one_channel_is_the_probability_of_the_second_class(card: Any, opened: Any, inside: bool) -> None:
    binary = card(legend=PAIR, activation="none" if inside else "sigmoid", threshold=0.3)

    prediction = opened(binary, torch.sigmoid if inside else lambda x: x, channels=1).open().predict(batch_of())

    second = logits(1).sigmoid().numpy()
    np.testing.assert_allclose(prediction, np.concatenate([1 - second, second], 1), atol=1e-6)


@pytest.mark.parametrize(
    ("output", "channels", "last", "message"),
    [
        ({"activation": "none"}, 4, lambda x: x, "no probabilities of its classes"),
        ({"activation": "none"}, 4, lambda x: x.sigmoid(), "no probabilities of its classes"),
        ({"activation": "softmax"}, 4, lambda x: x.softmax(1), "Write activation: none"),
        ({"legend": PAIR, "activation": "sigmoid", "threshold": 0.5}, 1, wide_sigmoid, "a sigmoid is inside"),
        ({"legend": PAIR, "activation": "none", "threshold": 0.5}, 1, lambda x: x, "no probabilities"),
        ({"legend": PAIR, "activation": "sigmoid", "threshold": 0.5}, 2, lambda x: x, r"\(2, 1, 16, 16\)"),
    ],
)
def test_an_activation_that_contradicts_the_network_is_refused(
    card: Any, opened: Any, output: dict[str, Any], channels: int, last: Any, message: str
) -> None:
    with pytest.raises(LandweaveError, match=message):
        opened(card(**output), last, channels=channels).verify()


def test_a_sigmoid_of_each_class_is_taken_for_logits_where_the_card_says_so(card: Any, opened: Any) -> None:
    opened(card(activation="softmax"), lambda x: x.sigmoid()).verify()


@pytest.mark.parametrize(
    ("output", "channels", "told"),
    [
        ({}, 4, "activation: softmax"),
        ({"legend": PAIR, "activation": "sigmoid", "threshold": 0.5}, 1, "activation: none"),
    ],
)
@pytest.mark.parametrize(("low", "high"), [(0.006, 0.06), (0.05, 0.7), (0.3, 0.95)])
def test_logits_that_lie_within_0_and_1_by_chance_are_noted(
    card: Any, opened: Any, output: dict[str, Any], channels: int, told: str, low: float, high: float
) -> None:
    model = opened(card(**output), lambda x: low + (high - low) * wide_sigmoid(x), channels=channels)

    (note,) = model.verify()

    assert told in note
    assert "values from 0." in note


class Given(nn.Module):
    """Gives the same values for anything."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = values

    def forward(self, inputs: Any, size: Any = None) -> dict[str, Tensor]:
        return {"LABEL": self.values}


def test_values_that_cease_to_be_probabilities_fail_their_block(card: Any, opened: Any) -> None:
    settings = opened(card(activation="none"), lambda x: x.softmax(1)).settings

    with pytest.raises(PredictError, match="no probabilities, from 0 to 0: its card says activation: none"):
        TorchPredictor(settings, Given(torch.zeros(2, 4, SIZE, SIZE)).eval()).predict(batch_of())


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"activation": "sigmoid"}, "activation: sigmoid needs the threshold"),
        ({"activation": "relu"}, "outputs.LABEL.activation"),
        ({"threshold": 0.4}, "a threshold is for one channel"),
        ({"activation": "softmax", "threshold": 0.4}, "a threshold is for one channel"),
        ({"activation": "sigmoid", "threshold": 0.4, "legend": FOUR}, "two trained classes, and the legend has 4"),
        ({"activation": "sigmoid", "threshold": 1.0}, "outputs.LABEL.threshold"),
        ({"activation": "sigmoid", "threshold": "half"}, "outputs.LABEL.threshold"),
    ],
)
def test_a_card_without_the_means_to_decide_is_refused(tmp_path: Path, output: dict[str, Any], message: str) -> None:
    content = small_content(outputs={"LABEL": {"legend": PAIR, "pixel": 0.2, **output}})

    with pytest.raises(CardError, match=message):
        parse_card(content, "The card")


def test_activation_and_threshold_are_part_of_the_cards_checksum(card: Any) -> None:
    outputs = ({}, {"activation": "none"}, *({"activation": "sigmoid", "threshold": each} for each in (0.4, 0.5)))

    assert len({card(legend=PAIR, **each).sha256 for each in outputs}) == 4


def test_an_architecture_of_the_registry_has_one_channel_for_a_threshold(small_card: Any, weights_of: Any) -> None:
    output = {"legend": PAIR, "pixel": 0.2, "activation": "sigmoid", "threshold": 0.5}
    binary = small_card(outputs={"LABEL": output})
    network = core(build(binary, 64))

    assert network.segmentation_head[0].out_channels == 1
    resolve_model(binary, weights=weights_of(binary), compute=Compute(batch_size=2, device="cpu")).verify()


def test_a_softmax_inside_an_architecture_of_the_registry_is_found(small_card: Any, weights_of: Any) -> None:
    softmax = {**UNET, "arguments": {**UNET["arguments"], "activation": "softmax2d"}}
    card = small_card(architecture=softmax)

    with pytest.raises(CardError, match="a softmax is inside already"):
        resolve_model(card, weights=weights_of(card), compute=Compute(batch_size=2, device="cpu")).verify()


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A small run whose card is a program with one channel."""
    small = Small.make(tmp_path_factory.mktemp("binary"))
    content = yaml.safe_load(small.card.read_text())
    content["outputs"] = {"LABEL": {"pixel": 0.2, "legend": PAIR, "activation": "sigmoid", "threshold": 0.3}}
    small.card.write_text(yaml.safe_dump(content))
    write_weights(small.card)
    return small


def test_a_map_of_two_classes_is_parted_by_its_threshold_after_blending(binary: Small) -> None:
    api.run(binary.loaded(output={"probability": True}), progress=False)

    result = api.open_map(binary.store)
    first, second = result["probability"].values.astype(int)
    classes, confidence = result["landcover"].values, result["confidence"].values
    mapped = classes != 255
    assert {1, 3} == set(np.unique(classes[mapped]))
    clear = mapped & (abs(second - 75) > 1)  # a probability is stored in steps of 1/250
    assert np.array_equal(classes[clear] == 3, second[clear] > 75)
    assert (abs(first + second - 250)[mapped] <= 1).all()
    assert np.array_equal(confidence[clear], np.where(second > 75, second, first)[clear])


def test_check_and_run_refuse_before_anything_is_written(binary: Small) -> None:
    content = yaml.safe_load(binary.card.read_text())
    content["architecture"]["arguments"]["activation"] = "sigmoid"
    other = binary.folder / "inside.yaml"
    other.write_text(yaml.safe_dump(content))
    config = binary.loaded(model={"card": str(other)}, output={"store": "unwritten.zarr"})

    for command in (api.check, api.run, lambda given: api.predict(given)["landcover"].values):
        with pytest.raises(CardError, match="a sigmoid is inside already"):
            command(config)
    assert not (binary.folder / "unwritten.zarr").exists()


def test_what_was_left_out_of_the_weights_is_among_the_notes(binary: Small) -> None:
    path = binary.folder / "training.ckpt"
    torch.save({"state_dict": read_tensors(binary.weights)[0] | {"criterion.weight": torch.ones(2)}}, path)

    found = str(api.check(binary.loaded(model={"weights": str(path)}, output={"store": "unwritten.zarr"})))

    note = "tensors of training alone are left out: criterion.weight"
    assert note in found
    assert note in str(inspect(read_card(binary.card), weights=path))
