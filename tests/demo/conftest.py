"""What the tests of training start from: one small landscape, and the card of all sensors."""

from __future__ import annotations

import pytest

from landweave.models.cards.card import ModelCard
from landweave_demo import training_windows, train
from landweave_demo.landscape.landscape import make_landscape


@pytest.fixture(scope="session")
def lesson() -> lessons.TrainingLandscape:
    return lessons.prepare_landscape(make_landscape(12, height=560, width=600), years=2)


@pytest.fixture(scope="session")
def card() -> ModelCard:
    return train.read_card(train.CARDS["all"])
