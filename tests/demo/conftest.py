"""Fixtures of the tests of training: one small landscape, and the card with all sensors."""

from __future__ import annotations

import pytest

import landweave as lw
from landweave_demo.landscape.landscape import make_landscape
from landweave_demo.training.windows import ModelCard, TrainingLandscape, prepare_landscape


@pytest.fixture(scope="session")
def training_landscape() -> TrainingLandscape:
    return prepare_landscape(make_landscape(12, height=560, width=600), years=2)


@pytest.fixture(scope="session")
def card() -> ModelCard:
    return lw.list_models()["demo-fusion"]
