"""From a stored map, and what was counted and read beside it, to its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import geopandas
import numpy as np

from landweave.core.pyramid import level_extent, level_grid
from landweave.formats.images import Stretch, jpeg_bytes
from landweave.jobs.ledger import Ledger
from landweave.reporting.facts import (
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
from landweave.store.common import library_versions
from landweave.store.maps.store import MapStore
from landweave.store.run_record import last_run

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
    sources, days
        Imagery by modality, its first and last day.
    """

    store: MapStore
    aerial: Quicklook | None = None
    aerial_note: str = ""
    areas: geopandas.GeoDataFrame | None = None
    areas_note: str = ""
    zones: geopandas.GeoDataFrame | None = None
    sources: Mapping[str, Any]
    days: str = ""


def report_page(inputs: ReportInputs) -> Page:
    """The page of a map; its layers are read, and of the aerial picture as many pixels.

    Raises
    ------
    ReadError
        When the map or the aerial picture cannot be read.
    """
    store, legend = inputs.store, inputs.store.legend
    ledger = Ledger.load(store.ledger, store.arrays) if store.ledger.attributes else None
    complete = ledger is not None and not ledger.todo()
    level = shown_level(store)
    layers = list(map_layers(store, level, complete=complete))
    pixel_m = float(level_grid(store.grid, level).resolution)
    whole = zone_areas(inputs.areas, legend, pixel_m)[0] if inputs.areas is not None else None
    if ledger:  # blocks at the edge of the grid are whole
        states, blocks = ledger.fields["state"].astype(np.uint8), store.grid.coarsen(store.block_size)
        layers.append(Layer(name="progress", codes=states, bounds=blocks.bounds))
    software = {**store.attrs.get("libraries", {}), "landweave": library_versions()["landweave"]}
    return Page(
        title=str(store.attrs.get("title", "Land cover")),
        grid=store.grid,
        classes=shown_classes(legend, layers[0].codes, whole),
        layers=tuple(layers),
        shown_m=pixel_m,
        days=inputs.days,
        aerial=_aerial(inputs, level),
        aerial_note=inputs.aerial_note,
        areas=whole,
        areas_note=inputs.areas_note,
        zones=() if inputs.zones is None else zone_areas(inputs.zones, legend, pixel_m),
        progress=tuple(progress_facts(ledger)) if ledger else (),
        cost=tuple(cost_facts(ledger, store.block_size**2)) if ledger else (),
        planned=tuple(planned_rows(last_run(store.target))),
        provenance=tuple(provenance_facts(store.attrs, software)),
        sources=tuple(source_facts(inputs.sources)),
        complete=complete,
    )


def _aerial(inputs: ReportInputs, level: int) -> bytes:
    """The aerial picture on the pixels of the classes, as a JPEG."""
    if inputs.aerial is None:
        return b""
    grid = level_grid(inputs.store.grid, level)
    ground = grid.with_extent(level_extent(inputs.store.grid, inputs.store.mapped_extent, level))
    found = inputs.aerial.read(ground.crs, ground.bounds, ground.shape)
    shown = Stretch.of(found.values, found.valid).apply(found.values)
    return jpeg_bytes(np.where(found.valid, shown, np.uint8(_EMPTY_GROUND)))
