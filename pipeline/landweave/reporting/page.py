"""One page of a map, all in one file: it opens from disk, and asks nothing of any other machine.

::

    MapStore ── layers.py ──> codes of a coarser level, deflated ─┐
    areas, ledger, provenance ── facts.py ──> lines in two languages ─┼─ page.html ──> report.html
    aerial picture ──> JPEG ─┘   formats/web (Leaflet, page.css), report.js ─┘

The page says of itself, in a content security policy, that it loads nothing: a browser refuses any request from it,
and runs no script but the three whose digests it names, whatever the names of classes and zones hold.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np

from landweave.core.crs import areal_scales, keeps_areas
from landweave.core.grid import Bounds, Grid
from landweave.core.legend import NODATA, LandClass
from landweave.core.protocols import BlockState
from landweave.core.pyramid import level_extent, level_grid
from landweave.formats.images import Stretch, jpeg_bytes
from landweave.formats.web_assets import (
    CONFIDENCE_RAMP,
    map_style,
    page_environment,
    page_policy,
    page_scripts,
    script_facts,
)
from landweave.formats.web_words import Language, words
from landweave.jobs.ledger import Ledger
from landweave.reporting.facts import (
    Fact,
    Part,
    ZoneAreas,
    cost_facts,
    crs_name,
    planned_rows,
    progress_facts,
    provenance_facts,
    shown_classes,
    source_facts,
    zone_areas,
)
from landweave.reporting.layers import Layer, map_layers, shown_level
from landweave.sources.mosaic.quicklook import Quicklook
from landweave.store.common import library_versions
from landweave.store.maps.store import MapStore
from landweave.store.run_record import last_run

ASSETS = Path(__file__).parent / "assets"

MARK = '<meta name="generator" content="landweave report">'
"""In the head of every page, and of no other file."""

STATE_COLORS = {
    BlockState.PENDING: "#c9d1d4",
    BlockState.DONE: "#2f7f6f",
    BlockState.OUTSIDE: "#eef0ef",
    BlockState.NO_INPUT: "#b9a77c",
}
FAILED_COLOR = "#c0392b"

_EMPTY_GROUND = 233
"""Grey of ground without a picture."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that a page shows.

    Attributes
    ----------
    title
        Of the map.
    grid
        Pixels of the map at full resolution.
    classes
        Those that occur, in the order of the legend.
    layers
        Classes first; then confidence and the states of blocks, where there are any.
    shown_m
        Side of a pixel of the classes as they are shown, in metres.
    days
        First and last day of the imagery; empty where they are not known.
    aerial
        A JPEG over the ground of the classes; empty without.
    aerial_note
        Why there is none.
    areas
        Of the whole map; None where they cannot be counted, which ``areas_note`` explains.
    zones
        Of the zones that were given.
    progress, cost, provenance, sources
        Lines of tables.
    planned
        What the last run took beside its plan: word, plan, measure.
    complete
        Whether every block is finished.
    """

    title: str
    grid: Grid
    classes: tuple[LandClass, ...]
    layers: tuple[Layer, ...]
    shown_m: float
    days: str = ""
    aerial: bytes = b""
    aerial_note: str = ""
    areas: ZoneAreas | None = None
    areas_note: str = ""
    zones: Sequence[ZoneAreas] = ()
    progress: Sequence[Fact] = ()
    cost: Sequence[Fact] = ()
    planned: Sequence[tuple[str, Part | None, Part | None]] = ()
    provenance: Sequence[Fact] = ()
    sources: Sequence[Fact] = ()
    complete: bool = True

    @property
    def crs(self) -> str:
        """Name and code of the CRS."""
        return crs_name(self.grid)

    @property
    def keeps_areas(self) -> bool:
        """Whether areas, and so lengths, in the CRS are those on the ground."""
        return keeps_areas(self.grid.crs, self.grid.bounds)

    @property
    def areal_scales(self) -> tuple[float, float] | None:
        """What a hectare on the ground measures in the map, at least and at most; None where that is not known."""
        scales = areal_scales(self.grid.crs, self.grid.bounds)
        return None if np.isnan(scales).any() else scales

    @property
    def bounds(self) -> Bounds:
        """Ground of the classes."""
        return self.layers[0].bounds

    @property
    def states(self) -> list[BlockState]:
        """States that blocks have."""
        found = [layer for layer in self.layers if layer.name == "progress"]
        return [state for state in BlockState if found and (found[0].codes == state).any()]


def render(page: Page, language: Language) -> str:
    """The page as HTML.

    Parameters
    ----------
    page
        What it shows.
    language
        It opens in; it has a switch.
    """
    environment = page_environment(ASSETS)
    environment.filters["number"] = partial(format_number, language=language)
    scripts = [*page_scripts(), (ASSETS / "report.js").read_text(encoding="utf-8")]
    return environment.get_template("report.html").render(
        page=page,
        title=page.title,
        language=language,
        mark=MARK,
        word=words(language),
        facts=script_facts(page.classes, _facts(page)),
        state_colors={state: state_color(state) for state in BlockState},
        style=map_style(),
        scripts=scripts,
        policy=page_policy(scripts),
        aerial=base64.b64encode(page.aerial).decode(),
    )


def state_color(state: BlockState) -> str:
    """The colour of blocks with a state."""
    return STATE_COLORS.get(state, FAILED_COLOR)


def format_number(value: float, digits: int = 0, *, language: Language) -> str:
    r"""A number as people write it, thousands apart.

    Parameters
    ----------
    value, digits
        The number, and its decimals.
    language
        English ``1,234.5`` or French ``1 234,5``, with a narrow space.

    >>> format_number(1234.5, 1, language="en"), format_number(1234.5, 1, language="fr")
    ('1,234.5', '1\u202f234,5')
    """
    text = f"{value:,.{digits}f}"
    return text if language == "en" else text.translate({ord(","): "\u202f", ord("."): ","})


def _facts(page: Page) -> dict[str, Any]:
    """What the script reads beside classes; coordinates count from the south-west corner of the classes, in metres."""
    x0, y0, x1, y1 = page.bounds
    return {
        "size": [x1 - x0, y1 - y0],
        "true_scale": page.keeps_areas,
        "nodata": NODATA,
        "ramp": CONFIDENCE_RAMP,
        "states": [
            {"code": int(state), "word": state.name.lower(), "color": state_color(state)} for state in page.states
        ],
        "layers": [
            {
                "name": layer.name,
                "height": layer.codes.shape[0],
                "width": layer.codes.shape[1],
                "bounds": _within(layer.bounds, x0, y0),
            }
            for layer in page.layers
        ],
        "zones": [_zone(each, x0, y0) for each in ((page.areas, *page.zones) if page.areas else page.zones)],
    }


def _within(bounds: Bounds, x0: float, y0: float) -> list[float]:
    return [bounds[0] - x0, bounds[1] - y0, bounds[2] - x0, bounds[3] - y0]


def _zone(zone: ZoneAreas, x0: float, y0: float) -> Mapping[str, Any]:
    return {
        "name": zone.name,
        "hectares": zone.hectares,
        "confidence": {code: value for code, value in zone.confidence.items() if value == value},  # NaN is unknown
        "bounds": _within(zone.bounds, x0, y0),
        "rings": [[[round(y - y0, 1), round(x - x0, 1)] for x, y in ring] for ring in zone.rings],
    }


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
