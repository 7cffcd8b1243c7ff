"""A run's configuration from that of a detection by FLAIR-HUB's or FLAIR-1's tool.

Both tools walk over an image from its south-west corner, a margin outside of it, in steps of a window less its two
margins, and write the middle of each window. On a lattice of that step, anchored there, ``blend: crop`` does the same::

            step
      |<----------->|
      [ m |  written | m ]           the first window begins a margin west of the image
               [ m |  written | m ]
          ^ west edge of the image

Where the last column in the east or row in the north is no whole step, the tools shift it inwards; here it is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from landweave.config.schema import Config
from landweave.core.errors import CardError, LandweaveError
from landweave.core.grid import Grid, exact
from landweave.core.lattice import Lattice
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
from landweave.models.flair_import.card_from_config import untrained_sizes
from landweave.models.flair_import.flair1_detection import read_detection
from landweave.models.flair_import.schema import card_content_of
from landweave.models.flair_import.zonal_config import Detection, ZonalInput
from landweave.setup.context import native_pixels

_DATASET_CRS = "EPSG:2154"


def import_zonal(config: str | Path, path: str | Path | None = None) -> list[Path]:
    """Write the run of a detection, and a card where no published one says the same, and return their paths.

    Parameters
    ----------
    config
        The YAML file of FLAIR-HUB's zonal detection, or of FLAIR-1's zone detection.
    path
        Of the new configuration; beside the old one, by the name of its output, by default.

    Raises
    ------
    CardError
        When the file is no detection, needs what no run here has, or a file exists already.
    """
    file = Path(config)
    detection = read_detection(read_yaml(file, "Configuration"), f"Configuration {file}")
    written = Path(path) if path else file.with_name(f"{detection.output_name}.yaml")
    content = {
        "name": f"{written.stem}-card",
        "title": f"{Path(detection.model_weights).stem}, from the detection {file.name}",
        **card_content_of(detection.card_schema, detection.training),
    }
    card = parse_card(content, f"The card of configuration {file}")
    published = next((name for name in list_cards() if find_card(name).sha256 == card.sha256), None)
    if published:
        card = find_card(published)
    else:
        content["window"] = content["window"] | untrained_sizes(card)
        card = parse_card(content, f"The card of configuration {file}")
    own = written.with_name(f"{card.name}.yaml")
    run = _run(detection, card, published or own.name)
    grid, why_not = _anchored(detection, card, Config(**run, root=written.absolute().parent))
    run["grid"] = grid or run["grid"]
    notes = [
        f"The run of the detection {file.name} ({detection.tool}); what differs from it:",
        *_differences(detection, card, published),
        *_of_windows(detection, card, why_not),
    ]
    if not published:
        write_card(content, own, f"Written from the detection {file.name}: check it once.")
    write_new(written, card_text(run, "\n".join(notes)))
    return [written] if published else [own, written]


def _run(detection: Detection, card: ModelCard, name: str) -> dict[str, Any]:
    """Return the sections of the run; its grid is that of the reference image, without the detection's anchor."""
    store = f"{detection.output_path.rstrip('/')}/{detection.output_name}.zarr"
    pixels = _output_pixels(detection, card)
    height = card.inputs.get("DEM_ELEV")
    reference = _reference(detection, card)
    return {
        "grid": {"own": reference} if reference else {"crs": _DATASET_CRS},
        "inputs": {modality: _input(modality, each, card) for modality, each in detection.images.items()},
        "model": {
            "card": name,
            "weights": detection.model_weights,
            **({"output": detection.label_names[0]} if len(card.outputs) > 1 else {}),
            **({"coding": "delivered"} if height and height.names == ("NDSM",) and height.bands["NDSM"].coding else {}),
            "device": "auto" if detection.use_gpu else "cpu",
            **({"batch_size": detection.batch_size} if detection.batch_size else {}),
        },
        "windows": _windows(detection, card),
        "output": {
            "store": store,
            "cog": store.removesuffix(".zarr") + ".tif",
            **({"resolution": detection.output_px_meters} if pixels and pixels > 1 else {}),
            **({"probability": True} if detection.output_type == "class_prob" else {}),
        },
    }


def _reference(detection: Detection, card: ModelCard) -> str | None:
    """Return the mosaic whose pixels and corner the detection takes; None where it is none of the map's pixels."""
    mosaics = [name for name in detection.images if name != "DEM_ELEV" and card.inputs[name].pixel == card.base_pixel]
    named = detection.reference_modality_for_slicing
    return named if named in mosaics else next(iter(mosaics), None)


def _input(modality: str, section: ZonalInput, card: ModelCard) -> dict[str, Any]:
    files = section.input_img_path or ""  # checked when it was read
    bands = card.inputs[modality].names
    numbers = section.channels or range(1, len(bands) + 1)
    if modality == "DEM_ELEV" and len(numbers) > 1:
        return {"kind": "elevation", "dsm": {"files": files, "band": 1}, "dtm": {"files": files, "band": 2}}
    named = zip(bands, numbers, strict=True)
    return {"kind": "mosaic", "bands": {band: {"files": files, "band": number} for band, number in named}}


def _windows(detection: Detection, card: ModelCard) -> dict[str, Any]:
    """Return the detection's windows, margins and all, where the card allows them; the size alone, or the card's."""
    size, overlap = detection.img_pixels_detection, 2 * detection.margin
    try:
        card.check_window(size)
    except CardError:
        return {"size": card.window.size}
    try:
        Lattice(window=size, stride=size - overlap, unit=card.unit_px)
    except LandweaveError:
        return {"size": size}
    return {"size": size, "overlap": overlap, "blend": "crop"}


def _anchored(detection: Detection, card: ModelCard, config: Config) -> tuple[dict[str, Any] | None, str]:
    """Return the grid whose lattice is the detection's, or None and why there is none."""
    if config.grid.own is None or config.windows.blend is None:
        return None, "its windows are not the detection's"
    try:
        pixels = native_pixels(config, config.grid.own, card)
    except LandweaveError as error:
        return None, str(error).splitlines()[0]
    return _grid_of(pixels, detection.margin), ""


def _grid_of(pixels: Grid, margin: int) -> dict[str, Any]:
    """Return the anchor a margin west of the image; in the south, where windows are cut from the north, one inside.

    A window that ends a margin south of the image begins a step less a margin north of its edge, so a multiple of
    the step away from the row ``margin`` pixels inside.
    """
    x, y = pixels.corner(pixels.extent.y.stop - margin, pixels.extent.x.start - margin)
    return {"crs": pixels.crs, "resolution": _written(pixels.resolution), "anchor": [_written(x), _written(y)]}


def _written(value: Fraction) -> float | str:
    """Return a decimal number where it is the exact value, a fraction as text elsewhere."""
    return float(value) if exact(float(value)) == value else str(value)


def _output_pixels(detection: Detection, card: ModelCard) -> int | None:
    """Return base pixels a side of an output pixel; None where they are no whole number."""
    factor = exact(detection.output_px_meters or float(card.base_pixel)) / card.base_pixel
    return int(factor) if factor.denominator == 1 else None


def _of_windows(detection: Detection, card: ModelCard, why_not_anchored: str) -> Iterator[str]:
    """Yield how the windows of the run are the detection's, or why they are not."""
    windows = _windows(detection, card)
    size, step = detection.img_pixels_detection, detection.img_pixels_detection - 2 * detection.margin
    if windows["size"] != size:
        yield f"- windows of {windows['size']} px: the card allows none of img_pixels_detection: {size}"
    if "blend" not in windows:
        yield f"- windows overlap and are blended: no margin: {detection.margin} is cropped from them"
        return
    work = f"{(size / step) ** 2:.2g} times the work"
    yield f"- margin: {detection.margin} is cropped from windows {step} px apart, {work};"
    yield "  without `anchor`, and with windows: {overlap: 128, blend: cosine}, they are blended instead"
    if why_not_anchored:
        yield "- windows are counted from the origin of the CRS, as the image could not be opened here:"
        yield f"  {why_not_anchored} Import again where it can, for the tool's own windows."
    else:
        yield "- windows are counted from the image's south-west corner, as the tool's; the last row in the north and"
        yield "  the last column in the east, which the tool shifts inwards, are a whole step from those before"


def _differences(detection: Detection, card: ModelCard, published: str | None) -> Iterator[str]:
    """Yield what the run does otherwise than the detection, a line each."""
    yield "- what is not measured is 255, not class 0; damaged files fail by name; an interrupted run goes on"
    yield "- relative paths count from this file's folder, not from where the tool was started"
    label = detection.label_names[0]
    if untrained := [each.name for each in card.legend(label).classes if not each.trained]:
        yield f"- never mapped, as never trained: {', '.join(untrained)} (model.keep_untrained: true maps them)"
    if detection.output_type == "class_prob":
        yield "- probabilities are stored beside the classes, times 250; 255 is nodata"
    if "DEM_ELEV" in detection.images and card.inputs["DEM_ELEV"].names != ("NDSM",):
        yield "- heights come as in training: surface, and surface minus terrain, of bands 1 and 2 of the file"
    if others := ", ".join(detection.label_names[1:]):
        yield f"- one label a run: for {others} set model.output and another output.store"
    if (_output_pixels(detection, card) or 0) < 1:
        base = float(card.base_pixel)
        yield f"- pixels of {base:g} m: output_px_meters {detection.output_px_meters:g} is no multiple"
    if _reference(detection, card) is None:
        yield f"- {_DATASET_CRS}, the dataset's CRS, counted from its origin: the detection takes its reference image's"
    yield from (f"- {note}" for note in detection.notes())
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
