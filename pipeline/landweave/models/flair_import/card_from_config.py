"""Cards for models that people trained with the public tools, from the configuration of their training.

The configuration of FLAIR-HUB's tool is one YAML file or a folder of several; that of FLAIR-1's is one file. Settings
that no network here has are refused, all of them in one message.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landweave.core.errors import CardError
from landweave.models.cards.card import ModelCard
from landweave.models.cards.registry import parse_card, read_yaml, write_card
from landweave.models.checksums import file_sha256
from landweave.models.factory import build, core
from landweave.models.flair_import.flair1_config import Flair1Config
from landweave.models.flair_import.flair_hub_config import FlairHubConfig
from landweave.models.flair_import.schema import card_content_of
from landweave.models.flair_import.zonal_config import is_detection
from landweave.models.networks.position_tables import changed_tensors
from landweave.models.weights import load_weights

_SMALLER, _LARGE = (256, 384), 1024
"""Windows, smaller and larger than those of the training, that are tried."""


def new_card(config: str | Path, weights: str | Path, path: str | Path | None = None) -> Path:
    """Write the card of a model that was trained with the public tools, and return its path.

    Parameters
    ----------
    config
        Of the training: a YAML file, or the folder of several.
    weights
        The trained weights.
    path
        Of the new card; beside the weights by default.

    Raises
    ------
    CardError
        When the configuration describes no network here, or the card exists already.
    WeightsError
        When the weights do not fit the configuration.
    """
    config, weights = Path(config), Path(weights)
    content = card_from_flair_config(config, weights)
    written = Path(path) if path else weights.with_suffix(".yaml")
    if written.absolute().parent == weights.absolute().parent:
        content["weights"]["file"] = weights.name  # the two may move together
    write_card(content, written, f"Written from the training configuration {config.name}: check it once.")
    return written


def card_from_flair_config(file: Path, weights: Path) -> dict[str, Any]:
    """Return the content of the card of a model that was trained with a configuration, once its weights fit.

    Parameters
    ----------
    file
        The training's configuration: a YAML file, or the folder of those of FLAIR-HUB's tool.
    weights
        The trained weights, in any form that is loaded. Their checksum goes into the card.

    Returns
    -------
    dict
        For `landweave.models.cards.registry.write_card`; it has the absolute path of the weights.

    Raises
    ------
    CardError
        When the configuration is neither tool's, or describes a network that does not exist here.
    WeightsError
        When the weights do not fit the network that it describes; the message lists every difference.
    """
    content: dict[str, Any] = {
        "name": weights.stem,
        "title": f"{weights.stem}, from the training configuration {file.name}",
        **_content(file),
        "weights": {"file": str(weights.absolute()), "sha256": file_sha256(weights)},
    }
    card = parse_card(content, f"The card of configuration {file}")
    load_weights(core(build(card, card.window.size)), weights)
    content["window"] = content["window"] | untrained_sizes(card)
    return content


def _content(file: Path) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for part in sorted(file.glob("*.y*ml")) if file.is_dir() else [file]:
        config |= read_yaml(part, "Configuration")
    if is_detection(config):
        raise CardError(
            f"Configuration {file} is one of a detection, which says what is mapped and not how the network was "
            f"trained: make it a run with landweave models import {file}."
        )
    if isinstance(config.get("modalities"), Mapping) and "inputs" in config["modalities"]:
        return card_content_of(FlairHubConfig, config)
    if {"channels", "classes"} <= set(config) and {"encoder_name", "model_framework"} & set(config):
        return card_content_of(Flair1Config, config)
    raise CardError(
        f"Configuration {file} is not one of a training with FLAIR-HUB's tool (modalities: inputs: …) or with "
        f"FLAIR-1's (model_framework or encoder_name, channels, classes). "
        f"It has: {', '.join(map(str, config)) or 'nothing'}."
    )


def untrained_sizes(card: ModelCard) -> dict[str, int]:
    """Return the ``min_untrained_size`` of a card's window where its weights fit other windows than the training's."""
    smallest = None if card.reads_metadata else _min_untrained_size(card)
    return {} if smallest is None else {"min_untrained_size": smallest}


def _min_untrained_size(card: ModelCard) -> int | None:
    """Return the smallest window that the weights fit too, as all larger ones; None when only their own does."""
    if changed_tensors(card, _LARGE):
        return None
    sizes = (size for size in _SMALLER if size % card.unit_px == 0)
    return next((size for size in sizes if not changed_tensors(card, size)), card.window.size)
