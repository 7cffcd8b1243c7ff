"""What the tests of training start from: one small scene, and the card of all sensors."""

from __future__ import annotations

import pytest

from landweave.models.cards.card import ModelCard
from landweave_demo import lessons, train
from landweave_demo.scene import make_scene


@pytest.fixture(scope="session")
def lesson() -> lessons.Lesson:
    return lessons.prepare(make_scene(12, height=560, width=600), years=2)


@pytest.fixture(scope="session")
def card() -> ModelCard:
    return train.read_card(train.CARDS["all"])
