"""Networks that were loaded and tried before, with the same weights and the same code: not again, by anybody.

A trial takes as long as a window or two, in `check`, before a run, and in each of its workers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib import metadata

from landweave.core.source_digest import source_digest
from landweave.core.user_cache import UserCache
from landweave.models.settings import InferenceSettings

_CACHE = UserCache("trials")

_LIBRARIES = ("torch", "torchvision", "timm", "segmentation-models-pytorch")


def known_trial(settings: InferenceSettings, weights_sha256: str) -> tuple[str, ...] | None:
    """The notes of a trial that passed; None where there was none.

    Parameters
    ----------
    settings
        Which output of which card, and how it is computed.
    weights_sha256
        Of the weights.
    """
    key = _key(settings, weights_sha256)
    notes = _CACHE.get({key: _stamp()}).get(key)
    return tuple(map(str, notes)) if isinstance(notes, list) else None


def keep_trial(settings: InferenceSettings, weights_sha256: str, notes: tuple[str, ...]) -> None:
    """Keep what a trial that passed has noted.

    Parameters
    ----------
    settings, weights_sha256
        As of `known_trial`.
    notes
        On the weights, and on what the network gives.
    """
    _CACHE.put({_key(settings, weights_sha256): (_stamp(), notes)})


def _key(settings: InferenceSettings, weights_sha256: str) -> str:
    fields = {**asdict(settings), "card": settings.card.sha256, "weights": weights_sha256.lower()}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _stamp() -> str:
    return " ".join([source_digest(), *map(metadata.version, _LIBRARIES)])
