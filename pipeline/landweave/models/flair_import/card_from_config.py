"""Cards for models that people trained with the public tools: read from the configuration of their training.

The configuration of FLAIR-HUB's tool is one YAML file or a folder of several; that of FLAIR-1's is one file. What a
network of ours cannot be is refused, all of it in one message; nothing is guessed in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from landweave.core.errors import CardError
from landweave.models.cards.card import ModelCard
from landweave.models.factory import build, core
from landweave.models.flair_import.flair1_config import flair1_content
from landweave.models.flair_import.flair_hub_config import flair_hub_content
from landweave.models.networks.position_tables import changed_tensors
from landweave.models.weights import file_sha256, load_weights

_SMALLER, _LARGE = (256, 384), 1024
"""Windows, smaller and larger than those of the training, that are tried for size."""


def card_from_flair_config(file: Path, weights: Path) -> dict[str, Any]:
    """What a card's file says of the model that was trained with a configuration; its weights are known to fit.

    Parameters
    ----------
    file
        The training's configuration: a YAML file, or the folder of those of FLAIR-HUB's tool.
    weights
        What the training gave, in any form that is loaded. Their checksum goes into the card.

    Returns
    -------
    dict
        For `landweave.models.cards.card_file.write_card`; it names the weights by their absolute path.

    Raises
    ------
    CardError
        When the configuration is neither tool's, or says something that no network of ours is.
    WeightsError
        When the weights do not fit the network that it describes; all that differs is listed.
    """
    config = _read(file)
    if isinstance(config.get("modalities"), Mapping) and "inputs" in config["modalities"]:
        content = flair_hub_content(config)
    elif {"encoder_name", "channels", "classes"} <= set(config):
        content = flair1_content(config)
    else:
        raise CardError(
            f"Configuration {file} is not one of a training with FLAIR-HUB's tool (modalities: inputs: …) or with "
            f"FLAIR-1's (encoder_name, channels, classes). It has: {', '.join(map(str, config)) or 'nothing'}."
        )
    named: dict[str, Any] = {
        "name": weights.stem,
        "title": f"{weights.stem}, from the training configuration {file.name}",
        **content,
        "weights": {"file": str(weights.absolute()), "sha256": file_sha256(weights)},
    }
    card = _checked(named, file, weights)
    window = named["window"]
    if not getattr(card.architecture, "metadata", False) and (others := _others_from(card)) is not None:
        window = window | {"min_untrained_size": others}
    return named | {"window": window}


def _read(file: Path) -> dict[str, Any]:
    """All keys of a YAML file, or of every YAML file of a folder."""
    parts = sorted(file.glob("*.y*ml")) if file.is_dir() else [file]
    config: dict[str, Any] = {}
    for part in parts:
        try:
            content = yaml.safe_load(part.read_text(encoding="utf-8"))
        except OSError as error:
            raise CardError(f"Configuration {part} cannot be read: {error.strerror or error}.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise CardError(f"Configuration {part} is not YAML: {error}") from error
        if not isinstance(content, Mapping):
            raise CardError(f"Configuration {part} holds {type(content).__name__}, not keys and values.")
        config |= content
    return config


def _checked(content: Mapping[str, Any], file: Path, weights: Path) -> ModelCard:
    """The card: it can be built, and the weights fill its network to the last tensor."""
    try:
        card = ModelCard.model_validate(content)
    except ValidationError as error:
        wrong = [f"  - {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise CardError(f"Configuration {file} makes no card:\n" + "\n".join(wrong)) from error
    load_weights(core(build(card, card.window.size)), weights)
    return card


def _others_from(card: ModelCard) -> int | None:
    """The smallest window that the weights fit too, and every larger one with it; None when only their own does."""
    if changed_tensors(card, _LARGE):
        return None
    sizes = (size for size in _SMALLER if size % card.unit_px == 0)
    return next((size for size in sizes if not changed_tensors(card, size)), card.window.size)
