"""A model whose logits are twice what they should be: its temperature is found, carried by the card, and applied."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

import landweave as lw
from landweave.core.errors import CardError
from landweave.models.cards.card import ModelCard
from landweave.models.cards.outputs import OutputSpec, find_legend
from landweave.models.cards.registry import read_card
from landweave.models.inference import output_probabilities
from tests.helpers.networks import unet, write_card
from tests.helpers.small import Small
from tests.helpers.tiles import PIXEL, write_tile

WRONG = 2.0


def output(**changes) -> OutputSpec:
    return OutputSpec(legend=find_legend("cosia"), pixel="0.2", **changes)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_logits_are_divided_before_the_softmax(temperature):
    logits = torch.randn(2, 19, 8, 8)
    found = output_probabilities(logits, output(temperature=temperature))
    expected = torch.softmax(logits.double() / temperature, 1)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(found.argmax(1), logits.argmax(1))


def test_of_one_channel_the_sigmoid_is_of_the_divided_logit():
    two = {"name": "two", "classes": [{"code": c, "name": str(c), "color": "#000000"} for c in (0, 1)]}
    spec = OutputSpec(legend=two, pixel="0.2", activation="sigmoid", threshold=0.5, temperature=3)
    logits: Tensor = torch.randn(1, 1, 4, 4)
    torch.testing.assert_close(output_probabilities(logits, spec)[:, 1:], torch.sigmoid(logits / 3))


def test_without_a_temperature_nothing_changes_and_one_enters_the_checksum(tmp_path):
    path = write_card(tmp_path / "small.yaml", unet(), window=64, overlap=16)
    plain = read_card(path)
    hotter = with_temperature(plain, 1.5)
    assert plain.sha256 != hotter.sha256 != with_temperature(plain, 1.6).sha256
    logits = torch.randn(1, 5, 4, 4)
    assert torch.equal(output_probabilities(logits, plain.outputs["LABEL"]), torch.softmax(logits, 1))


def with_temperature(card: ModelCard, temperature: float) -> ModelCard:
    spec = card.outputs["LABEL"].model_copy(update={"temperature": temperature})
    return card.model_copy(update={"outputs": {"LABEL": spec}})


@pytest.mark.parametrize("changes", [{"temperature": 0}, {"temperature": 2, "activation": "none"}])
def test_what_divides_no_logits_is_refused(tmp_path, changes):
    path = write_card(tmp_path / "small.yaml", unet(), window=64, overlap=16)
    content = yaml.safe_load(path.read_text())
    content["outputs"]["LABEL"].update(changes)
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(CardError, match=r"temperature|logits"):
        read_card(path)


@pytest.mark.slow
def test_the_temperature_of_a_map_is_found_and_makes_the_next_map_honest(tmp_path):
    """Labels are drawn from the probabilities of the model with logits half as large: its temperature is 2."""
    small = Small.make(tmp_path)
    windows = {"overlap": 0, "blend": "crop"}  # one window a pixel: blended probabilities have no logits
    honest = small.folder / "honest.yaml"
    content = yaml.safe_load(small.card.read_text())
    content["outputs"]["LABEL"]["temperature"] = WRONG
    honest.write_text(yaml.safe_dump({**content, "name": "honest"}, sort_keys=False))
    maps = {}
    for name, card in (("hot", small.card), ("honest", honest)):
        model = {"card": str(card), "weights": str(small.weights)}
        config = small.loaded(windows=windows, model=model, output={"store": f"{name}.zarr"})
        lw.run(config, progress=False)
        maps[name] = lw.open_map(tmp_path / f"{name}.zarr")
    # The maximum of one window a pixel is of one class in both; probabilities differ.
    np.testing.assert_array_equal(maps["hot"].landcover.values, maps["honest"].landcover.values)
    rng = np.random.default_rng(0)
    stored = maps["honest"].probability.values
    drawn = (np.cumsum(stored / 250.0, 0) < rng.random(stored.shape[1:]) * (stored.sum(0) / 250.0)).sum(0)
    truth = np.where(maps["honest"].landcover.values == 255, 255, drawn.clip(0, 4)).astype(np.uint8)
    grid = maps["hot"].landweave.grid
    corner = (grid.extent.x.start * PIXEL, -grid.extent.y.start * PIXEL)
    labels = write_tile(tmp_path / "drawn.tif", truth[None], corner_xy=corner)
    before, after = (lw.evaluate(tmp_path / f"{name}.zarr", labels) for name in ("hot", "honest"))
    assert before.temperature == pytest.approx(WRONG, rel=0.06)
    assert after.temperature == pytest.approx(1, rel=0.06)
    assert after.calibration_error < 0.02 < before.calibration_error
