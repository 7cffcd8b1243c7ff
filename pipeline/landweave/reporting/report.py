"""From a stored map, and what was counted and read beside it, to its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import geopandas
import numpy as np

from landweave.core.pyramid import level_extent, level_grid
from landweave.formats.images import Stretch, jpeg_bytes
from landweave.jobs.ledger import Ledger
from landweave.reporting.facts import (
    ZoneAreas,
    cost_facts,
    planned_rows,
    progress_facts,
    provenance_facts,
    shown_classes,
    source_facts,
    zone_areas,
)
from landweave.reporting.layers import Layer, map_layers, shown_level
from landweave.reporting.page import Page
from landweave.sources.mosaic.quicklook import Quicklook
from landweave.store.maps.store import MapStore

_EMPTY_GROUND = 233
"""Grey of ground without a picture."""


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """What a page is made of.

    Attributes
    ----------
    store
        The map.
    aerial, aerial_note
        The aerial picture, or why there is none.
    areas, areas_note
        Hectares of the whole map in one row, or why there are none, or what is to be known of them.
    zones
        Hectares of zones; None where none were given.
    run
        Figures of the last run, as they are stored beside the map; empty where there are none.
    sources, days, software
        Imagery by modality, its first and last day, versions by name.
    """

    store: MapStore
    aerial: Quicklook | None = None
    aerial_note: str = ""
    areas: geopandas.GeoDataFrame | None = None
    areas_note: str = ""
    zones: geopandas.GeoDataFrame | None = None
    run: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Any]
    days: str = ""
    software: Mapping[str, str]


def report_page(inputs: ReportInputs) -> Page:
    """The page of a map; its layers are read, and of the aerial picture as many pixels.

    Raises
    ------
    ReadError
        When the map or the aerial picture cannot be read.
    """
    store = inputs.store
    ledger = Ledger.load(store.ledger, store.arrays) if store.ledger.attributes else None
    complete = ledger is not None and not ledger.todo()
    level = shown_level(store)
    layers = list(map_layers(store, level, complete=complete))
    shown = level_grid(store.grid, level)
    pixel_m = float(shown.resolution)
    whole = zone_areas(inputs.areas, store.legend, pixel_m)[0] if inputs.areas is not None else None
    if ledger:
        layers.append(_progress(store, ledger))
    return Page(
        title=str(store.attrs.get("title", "Land cover")),
        grid=store.grid,
        classes=shown_classes(store.legend, layers[0].codes, whole),
        layers=tuple(layers),
        shown_m=pixel_m,
        days=inputs.days,
        aerial=_aerial(inputs, level),
        aerial_note=inputs.aerial_note,
        areas=whole,
        areas_note=inputs.areas_note,
        zones=_zones(inputs, pixel_m),
        progress=tuple(progress_facts(ledger)) if ledger else (),
        cost=tuple(cost_facts(ledger, store.block_size**2)) if ledger else (),
        planned=tuple(planned_rows(inputs.run)),
        provenance=tuple(provenance_facts(store.attrs, inputs.software)),
        sources=tuple(source_facts(inputs.sources)),
        complete=complete,
    )


def _zones(inputs: ReportInputs, pixel_m: float) -> Sequence[ZoneAreas]:
    return () if inputs.zones is None else zone_areas(inputs.zones, inputs.store.legend, pixel_m)


def _progress(store: MapStore, ledger: Ledger) -> Layer:
    """States of blocks; those at the edge of the grid are whole."""
    states = ledger.fields["state"].astype(np.uint8)
    blocks = store.grid.coarsen(store.block_size)
    return Layer(name="progress", codes=states, bounds=blocks.bounds)


def _aerial(inputs: ReportInputs, level: int) -> bytes:
    """The aerial picture on the pixels of the classes, as a JPEG."""
    if inputs.aerial is None:
        return b""
    grid = level_grid(inputs.store.grid, level)
    ground = grid.with_extent(level_extent(inputs.store.grid, inputs.store.mapped_extent, level))
    found = inputs.aerial.read(ground.crs, ground.bounds, ground.shape)
    shown = Stretch.of(found.values, found.valid).apply(found.values)
    return jpeg_bytes(np.where(found.valid, shown, np.uint8(_EMPTY_GROUND)))
