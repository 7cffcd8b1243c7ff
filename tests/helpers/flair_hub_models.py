"""The published FLAIR-HUB models, written a second time beside their cards; no tests here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import torch

from landweave.models.networks.flair_hub import MODALITY_ORDER, FlairHub, FlairHubSpec, Modality

MODALITIES: Mapping[str, Modality] = {
    modality.name: modality
    for modality in (
        Modality(name="AERIAL_RGBI", channels=3, window=512),
        Modality(name="AERIAL-RLT_PAN", channels=1, window=256, scale=Fraction(2)),
        Modality(name="DEM_ELEV", channels=2, window=512),
        Modality(name="SPOT_RGBI", channels=3, window=64, scale=Fraction(8)),
        Modality(name="SENTINEL2_TS", channels=10, window=10, scale=Fraction(256, 5)),
        Modality(name="SENTINEL1-ASC_TS", channels=2, window=10, scale=Fraction(256, 5)),
        Modality(name="SENTINEL1-DESC_TS", channels=2, window=10, scale=Fraction(256, 5)),
    )
}
"""The seven modalities as published models read them, in the order in which they are concatenated."""

COSIA = "AERIAL_LABEL-COSIA"
LPIS = "ALL_LABEL-LPIS"
CLASSES = {COSIA: 19, LPIS: 23}


def _published(label: str, *names: str) -> FlairHubSpec:
    return FlairHubSpec(modalities=tuple(MODALITIES[name] for name in names), classes={label: CLASSES[label]})


_AERIAL, _HISTORY, _ELEVATION, _SPOT, _S2, *_S1 = MODALITY_ORDER

FLAIR_HUB_MODELS: Mapping[str, FlairHubSpec] = {
    "LC-A": _published(COSIA, _AERIAL),
    "LC-B": _published(COSIA, _AERIAL, _ELEVATION),
    "LC-C": _published(COSIA, _AERIAL, _ELEVATION, _SPOT),
    "LC-D": _published(COSIA, _AERIAL, _S2),
    "LC-E": _published(COSIA, _AERIAL, *_S1),
    "LC-F": _published(COSIA, _AERIAL, _S2, *_S1),
    "LC-G": _published(COSIA, _S2),
    "LC-H": _published(COSIA, *_S1),
    "LC-I": _published(COSIA, _SPOT),
    "LC-J": _published(COSIA, _ELEVATION),
    "LC-K": _published(COSIA, _AERIAL, _HISTORY),
    "LC-L": _published(COSIA, _AERIAL, _ELEVATION, _SPOT, _S2, *_S1),
    "LC-ALL": _published(COSIA, *MODALITIES),
    "LPIS-A": _published(LPIS, _AERIAL),
    "LPIS-B": _published(LPIS, _AERIAL, _SPOT),
    "LPIS-C": _published(LPIS, _AERIAL, _S2),
    "LPIS-D": _published(LPIS, _AERIAL, _S2, *_S1),
    "LPIS-E": _published(LPIS, _AERIAL, _SPOT, _S2),
    "LPIS-F": _published(LPIS, _S2),
    "LPIS-G": _published(LPIS, *_S1),
    "LPIS-H": _published(LPIS, _S2, *_S1),
    "LPIS-I": _published(LPIS, _SPOT, _S2, *_S1),
    "LPIS-J": _published(LPIS, _AERIAL, _SPOT, _S2, *_S1),
    "LPIS-K": _published(LPIS, _SPOT),
}


def with_size(spec: FlairHubSpec, size: int) -> FlairHubSpec:
    """The same network for outputs of ``size`` pixels a side: each window in proportion."""
    return replace(spec, modalities=tuple(replace(each, window=int(size / each.scale)) for each in spec.modalities))


def tensor_shapes(spec: FlairHubSpec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a network; nothing is allocated."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in FlairHub(spec).state_dict().items()}
