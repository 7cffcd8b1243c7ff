"""Small inputs for a configuration that comes with the project, wherever it looks for them: no tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
import torch
import yaml
from safetensors.torch import save_file

from landweave.config.load import load_cube_config
from landweave.config.schema import CubeConfig, ElevationInput, MosaicInput, StacInput
from landweave.models.cards.registry import find_card
from landweave.models.factory import build, core
from tests.helpers.networks import unet, write_card
from tests.helpers.stac_items import optical, radar, with_properties, write_items
from tests.helpers.tiles import write_tile

CORNER = (769638.4, 6280012.8)
"""North-west corner of the imagery: a multiple of 10.24 m and of 1.6 m from the anchor, on the ground of the items."""

SIDE_M = 204.8
PIXELS = {"SPOT_RGBI": 1.6}
"""Pixels of a modality in metres where they are not those of the configuration's model."""


def write_inputs(path: Path) -> None:
    """Write every file that the configuration at ``path`` names: tiles, area, catalog, card and weights."""
    config = load_cube_config(path)
    for name, section in config.inputs.items():
        pixel = PIXELS.get(name, float((config.model and config.model.pixel) or 0.2))
        for pattern, bands in _files(section):
            dtype = "float32" if section.kind == "elevation" else "uint16" if name.startswith("SPOT") else "uint8"
            _write_tile(config.path(pattern), bands, pixel, dtype)
        if isinstance(section, StacInput):
            _write_catalog(Path(config.path(section.catalog)), config)
    _write_area(config)
    _write_model(config)


def _files(section: Any) -> Iterator[tuple[str, int]]:
    """Each pattern of files, and how many bands they need."""
    if isinstance(section, ElevationInput):
        yield from ((model.files, model.band) for model in (section.dsm, section.dtm))
    elif isinstance(section, MosaicInput):
        patterns = {band.files for band in section.bands.values()}
        for pattern in patterns:
            yield pattern, max(band.band for band in section.bands.values() if band.files == pattern)


def _write_tile(pattern: str, bands: int, pixel: float, dtype: str) -> None:
    path = Path(pattern.replace("*", "tile"))
    path = path if path.suffix else path / "tile.tif"
    side = round(SIDE_M / pixel)
    values = np.random.default_rng(3).integers(1, 255, (bands, side, side)).astype(dtype)
    values = values * 8 if dtype == "uint16" else values  # of SPOT, in whose numbers it was trained
    jpeg = {"driver": "JP2OpenJPEG", "tiled": None, "compress": None, "quality": 100, "reversible": True}
    write_tile(path, values, corner_xy=CORNER, pixel=pixel, **(jpeg if path.suffix == ".jp2" else {}))


def _write_area(config: CubeConfig) -> None:
    if config.area and config.area.file:
        x, y = CORNER
        column, _, value = (config.area.where or "code = '1'").partition(" = ")
        frame = geopandas.GeoDataFrame(
            {column: [value.strip("'")]}, geometry=[shapely.box(x + 20, y - 180, x + 180, y - 20)], crs="EPSG:2154"
        )
        frame.to_file(config.path(config.area.file), layer=config.area.layer)


def _write_catalog(path: Path, config: CubeConfig) -> None:
    """Scenes of every series of the configuration; their files are not read by a check."""
    path.parent.mkdir(parents=True, exist_ok=True)
    items = []
    for name, section in config.inputs.items():
        if isinstance(section, StacInput):
            for number, month in enumerate(("06", "07")):
                day = f"{section.dates[:4]}{month}14"
                if name.startswith("SENTINEL2"):
                    items.append(optical(day))
                else:
                    item = radar(day, collection=section.collections[0], text="sigma0, orthorectified and calibrated")
                    item["id"] += f"_{name}_{number}"
                    items.append(with_properties(item, sat__orbit_state=section.orbit))
    write_items(path, *items)


def _write_model(config: CubeConfig) -> None:
    """A small card where the configuration names a user's own, and weights of zeros where it names a file."""
    assert config.model is not None
    card = config.model.card
    if card.endswith(".yaml") and not Path(config.path(card)).exists():
        inputs = {
            name: {"pixel": 0.2, "bands": {band: {} for band in section.own_bands}}
            for name, section in config.inputs.items()
        }
        write_card(Path(config.path(card)), unet(), window=512, overlap=128, inputs=inputs)
    if config.model.weights:
        found = find_card(config.path(card) if card.endswith(".yaml") else card)
        with torch.device("meta"):
            tensors = core(build(found, found.window.size)).state_dict()
        zeros = {key: torch.zeros(each.shape, dtype=each.dtype) for key, each in tensors.items()}
        path = Path(config.path(config.model.weights))
        path.parent.mkdir(exist_ok=True)
        save_file(zeros, path) if path.suffix == ".safetensors" else torch.save(zeros, path)


def override(path: Path, **sections: dict[str, Any]) -> None:
    """Replace keys of the sections of a configuration; a section that is None is left out."""
    content = yaml.safe_load(path.read_text())
    for name, keys in sections.items():
        content[name] = {key: value for key, value in {**content[name], **keys}.items() if value is not None}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
