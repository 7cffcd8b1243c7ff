"""Every published model has the size its authors give, and the tensors that its checkpoint has."""

import json
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from landweave.models.networks import flair_hub
from landweave.models.networks.flair1 import Flair1, FlairSpec
from landweave.models.networks.flair2 import Flair2
from landweave.models.networks.flair_hub import FlairHub
from tests.helpers.flair_hub_models import FLAIR_HUB_MODELS, tensor_shapes, with_size
from tests.helpers.marks import mostly_slow

PUBLISHED_MILLIONS = {
    "LC-A": 89.4,
    "LC-B": 181.4,
    "LC-C": 270.6,
    "LC-D": 93.9,
    "LC-E": 95.8,
    "LC-F": 97.7,
    "LC-G": 0.9,
    "LC-H": 1.8,
    "LC-I": 89.2,
    "LC-J": 89.4,
    "LC-K": 181.4,
    "LC-L": 276.4,
    "LC-ALL": 365.8,
    "LPIS-A": 89.4,
    "LPIS-B": 181.2,
    "LPIS-C": 93.9,
    "LPIS-D": 97.7,
    "LPIS-E": 183.1,
    "LPIS-F": 0.9,
    "LPIS-G": 1.8,
    "LPIS-H": 2.8,
    "LPIS-I": 97.5,
    "LPIS-J": 186.9,
    "LPIS-K": 89.2,
    "FLAIR#1 baseline": 24.4,
    "FLAIR#2 baseline": 27.3,
}
"""Encoders, main decoder, and an auxiliary decoder for each image where there are several modalities."""

WORDS = {
    "aerial": "AERIAL_RGBI",
    "historical": "AERIAL-RLT_PAN",
    "elevation": "DEM_ELEV",
    "SPOT": "SPOT_RGBI",
    "S2": "SENTINEL2_TS",
    "S1 asc": "SENTINEL1-ASC_TS",
    "S1 desc": "SENTINEL1-DESC_TS",
}


def build(name: str) -> nn.Module | nn.ModuleList:
    """The parts that the published figure counts, without memory."""
    with torch.device("meta"):
        if name == "FLAIR#1 baseline":
            return Flair1(FlairSpec())
        if name == "FLAIR#2 baseline":
            return Flair2(FlairSpec(classes=13, metadata=True))
        net = FlairHub(replace(FLAIR_HUB_MODELS[name], aux=True))
        return nn.ModuleList([net.encoders, net.main_decoders, net.aux_decoders])


@pytest.mark.slow
def test_all_26_models_have_the_published_number_of_parameters(monkeypatch):
    monkeypatch.setattr(flair_hub, "_public_encoder", cache(flair_hub._public_encoder))
    found = {name: sum(each.numel() for each in build(name).parameters()) / 1e6 for name in PUBLISHED_MILLIONS}

    assert {name for name in found if abs(found[name] - PUBLISHED_MILLIONS[name]) > 0.1} == set()
    assert {*FLAIR_HUB_MODELS} == {name for name in found if not name.startswith("FLAIR")}


def test_models_read_the_published_modalities(shared):
    for line in shared("FLAIR.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 2 and cells[1] in FLAIR_HUB_MODELS:
            spec = FLAIR_HUB_MODELS[cells[1]]
            words = WORDS if cells[2] == "all seven" else cells[2].split(", ")
            assert {each.name for each in spec.modalities} == {WORDS[word] for word in words}, cells[1]


@pytest.mark.parametrize("name", ["LC-A", "LC-B", "LC-F", "LPIS-F"])
@pytest.mark.parametrize("aux", mostly_slow([True, False], fast=[True]))  # test_published_cards has those without
def test_tensors_are_those_of_the_checkpoint(shared, name, aux):
    keys = json.loads(shared(f"reference/{name}.keys.json").read_text())
    wanted = {key: tuple(shape) for key, shape in keys.items() if aux or not key.startswith("aux_decoders.")}

    assert tensor_shapes(replace(FLAIR_HUB_MODELS[name], aux=aux)) == wanted


FITTING = {256: False, 320: False, 384: True, 768: True, 1024: True}


@pytest.mark.parametrize("size", mostly_slow(FITTING, fast=[320, 384]))
def test_swin_weights_fit_other_windows_from_384_pixels_up(size):
    spec = FLAIR_HUB_MODELS["LC-A"]

    assert (tensor_shapes(with_size(spec, size)) == tensor_shapes(spec)) is FITTING[size]


def test_spot_weights_fit_their_own_window_only():
    spec = FLAIR_HUB_MODELS["LPIS-K"]

    assert tensor_shapes(with_size(spec, 1024)) != tensor_shapes(spec)
