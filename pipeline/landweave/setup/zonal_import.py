"""A run's configuration from that of FLAIR-HUB's zonal detection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from landweave.config.schema import Config
from landweave.core.errors import CardError
from landweave.core.grid import exact
from landweave.models.cards.card import ModelCard
from landweave.models.cards.registry import (
    card_text,
    find_card,
    list_cards,
    parse_card,
    read_yaml,
    write_card,
    write_new,
)
from landweave.models.flair_import.flair_hub_config import FlairHubConfig
from landweave.models.flair_import.schema import card_content_of
from landweave.models.flair_import.zonal_config import ZonalConfig, ZonalInput, read_zonal

_DATASET_CRS = "EPSG:2154"


def import_zonal(config: str | Path, path: str | Path | None = None) -> list[Path]:
    """Write the run of a zonal detection, and a card where no published one says the same, and return their paths.

    Parameters
    ----------
    config
        The YAML file of FLAIR-HUB's zonal detection.
    path
        Of the new configuration; beside the old one, by the name of its output, by default.

    Raises
    ------
    CardError
        When the file is no zonal detection, needs what no run here has, or a file exists already.
    """
    file = Path(config)
    zonal = read_zonal(read_yaml(file, "Configuration"), f"Configuration {file}")
    written = Path(path) if path else file.with_name(f"{zonal.output_name}.yaml")
    content = {
        "name": f"{written.stem}-card",
        "title": f"{Path(zonal.model_weights).stem}, from the zonal detection {file.name}",
        **card_content_of(FlairHubConfig, zonal.training),
    }
    card = parse_card(content, f"The card of configuration {file}")
    published = next((name for name in list_cards() if find_card(name).sha256 == card.sha256), None)
    card = find_card(published) if published else card
    own = written.with_name(f"{card.name}.yaml")
    run = _run(zonal, card, published or own.name)
    Config(**run)
    notes = [
        f"The run of the zonal detection {file.name}; what differs from it:",
        *_differences(zonal, card, published),
    ]
    if not published:
        write_card(content, own, f"Written from the zonal detection {file.name}: check it once.")
    write_new(written, card_text(run, "\n".join(notes)))
    return [written] if published else [own, written]


def _run(zonal: ZonalConfig, card: ModelCard, name: str) -> dict[str, Any]:
    """Return the sections of the run."""
    device, batch = {"device": "auto" if zonal.use_gpu else "cpu"}, zonal.batch_size
    label = zonal.active_tasks[0].name
    output: dict[str, Any] = {"store": f"{zonal.output_path.rstrip('/')}/{zonal.output_name}.zarr"}
    output["cog"] = output["store"].removesuffix(".zarr") + ".tif"
    pixels = _output_pixels(zonal, card)
    return {
        "grid": _grid(zonal, card),
        "inputs": {modality: _input(modality, each, card) for modality, each in zonal.images.items()},
        "model": {
            "card": name,
            "weights": zonal.model_weights,
            **({"output": label} if len(card.outputs) > 1 else {}),
            **device,
            **({"batch_size": batch} if batch else {}),
        },
        "windows": {"size": _window(zonal, card)},
        "output": {
            **output,
            **({"resolution": zonal.output_px_meters} if pixels and pixels > 1 else {}),
            **({"probability": True} if zonal.output_type == "class_prob" else {}),
        },
    }


def _grid(zonal: ZonalConfig, card: ModelCard) -> dict[str, str]:
    """Return the grid of the finest mosaic, as the detection takes that of its reference image."""
    mosaics = [name for name in zonal.images if name != "DEM_ELEV" and card.inputs[name].pixel == card.base_pixel]
    return {"own": mosaics[0]} if mosaics else {"crs": _DATASET_CRS}


def _input(modality: str, section: ZonalInput, card: ModelCard) -> dict[str, Any]:
    files = section.input_img_path or ""  # checked when it was read
    if modality == "DEM_ELEV":
        return {"kind": "elevation", "dsm": {"files": files, "band": 1}, "dtm": {"files": files, "band": 2}}
    bands = card.inputs[modality].names
    numbers = section.channels or range(1, len(bands) + 1)
    named = zip(bands, numbers, strict=True)
    return {"kind": "mosaic", "bands": {band: {"files": files, "band": number} for band, number in named}}


def _window(zonal: ZonalConfig, card: ModelCard) -> int:
    """Return the detection's window where the card allows it, that of the card elsewhere."""
    try:
        card.check_window(zonal.img_pixels_detection)
    except CardError:
        return card.window.size
    return zonal.img_pixels_detection


def _output_pixels(zonal: ZonalConfig, card: ModelCard) -> int | None:
    """Return base pixels a side of an output pixel; None where they are no whole number."""
    factor = exact(zonal.output_px_meters or float(card.base_pixel)) / card.base_pixel
    return int(factor) if factor.denominator == 1 else None


def _differences(zonal: ZonalConfig, card: ModelCard, published: str | None) -> Iterator[str]:
    """Yield what the run does otherwise than the detection, a line each."""
    window = _window(zonal, card)
    if window != zonal.img_pixels_detection:
        yield f"- windows of {window} px: the card allows none of img_pixels_detection: {zonal.img_pixels_detection}"
    yield f"- windows overlap and are blended; margin: {zonal.margin} was cropped from each, at a multiple of the work"
    yield "- what is not measured is 255, not class 0; damaged files fail by name; an interrupted run goes on"
    yield "- relative paths count from this file's folder, not from where the tool was started"
    if untrained := [each.name for each in card.legend(zonal.active_tasks[0].name).classes if not each.trained]:
        yield f"- never mapped, as never trained: {', '.join(untrained)} (model.keep_untrained: true maps them)"
    if zonal.output_type == "class_prob":
        yield "- probabilities are stored beside the classes, times 250; 255 is nodata"
    if "DEM_ELEV" in zonal.images:
        yield "- heights come as in training: surface, and surface minus terrain, of bands 1 and 2 of the file"
    if len(zonal.active_tasks) > 1:
        others = ", ".join(task.name for task in zonal.active_tasks[1:])
        yield f"- one label a run: for {others} set model.output and another output.store"
    if _output_pixels(zonal, card) is None or (_output_pixels(zonal, card) or 0) < 1:
        yield f"- pixels of {float(card.base_pixel):g} m: output_px_meters {zonal.output_px_meters:g} is no multiple"
    if "crs" in _grid(zonal, card):
        yield f"- {_DATASET_CRS}, the dataset's CRS, counted from its origin: the detection takes its reference image's"
    if not published:
        yield from _own_card(card)


def _own_card(card: ModelCard) -> Iterator[str]:
    """Yield why the card is no published one, and which is near."""
    yield f"- the card {card.name} is written beside: no published one has these bands, statistics and classes"
    for name in list_cards():
        other = find_card(name)
        same_bands = {key: each.names for key, each in other.inputs.items()} == {
            key: each.names for key, each in card.inputs.items()
        }
        if same_bands and set(other.outputs) == set(card.outputs):
            yield f"  {name} has these bands, and other statistics or classes: for its published weights, card: {name}"
