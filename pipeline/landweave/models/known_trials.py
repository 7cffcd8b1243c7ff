"""Networks that were loaded and tried before, with the same weights and the same code: not again, by anybody.

A trial takes as long as a window or two, in `check`, before a run, and in each of its workers; that of an engine as
long as three batches, as its logits are compared with eager torch's, and counts on the same kind of CPU.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib import metadata

from landweave.core.source_digest import source_digest
from landweave.core.user_cache import UserCache
from landweave.models.engine_names import LIBRARIES, Engine
from landweave.models.settings import InferenceSettings, cpu_flags

_CACHE = UserCache("trials")

_OF_NETWORKS = ("torch", "torchvision", "timm", "segmentation-models-pytorch")


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
    notes = _CACHE.get({key: software_stamp(settings.engine)}).get(key)
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
    _CACHE.put({_key(settings, weights_sha256): (software_stamp(settings.engine), notes)})


def _key(settings: InferenceSettings, weights_sha256: str) -> str:
    fields = {**asdict(settings), "card": settings.card.sha256, "weights": weights_sha256.lower()}
    if settings.engine != "eager":
        fields["cpu"] = cpu_flags()
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def software_stamp(engine: Engine = "eager") -> str:
    """What software decides of what is found out about networks: this package's sources, and what they are made of.

    Parameters
    ----------
    engine
        What runs them.
    """
    return " ".join([source_digest(), *map(_version, (*_OF_NETWORKS, *LIBRARIES[engine]))])


def _version(library: str) -> str:
    """Of a library, also where builds of another name hold it (onnxruntime-gpu); a driver may lack what workers run."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        others = sorted(set(metadata.packages_distributions().get(library.replace("-", "_"), ())))
        return "+".join(f"{name}-{metadata.version(name)}" for name in others) or "absent"
