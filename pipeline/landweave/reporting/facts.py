"""What a page says beside the map: areas by class and zone, how far the run is and what it took, provenance.

Values are parts, which are numbers, words of `landweave.formats.web_words` or text: a page shows them in either
language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import geopandas
import numpy as np
import shapely
from pyproj import CRS

from landweave.core.grid import Bounds, Grid
from landweave.core.legend import LandClass, Legend
from landweave.core.protocols import BlockState
from landweave.formats.hectares import column_names
from landweave.jobs.ledger import Ledger

MAX_OUTLINE_POINTS = 200_000
"""Points of all outlines in a page, about 2 MB; zones with more are not outlined."""

_NAMES = ("nom", "name", "libelle", "label", "nom_com", "nom_commune", "insee_com", "code")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of a value: a number with its unit, the key of a word, or text as it is."""

    number: float | None = None
    digits: int = 0
    unit: str = ""
    word: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A line of a table: the key of its name, or its name as it is, and its value."""

    word: str = ""
    name: str = ""
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class ZoneAreas:
    """Hectares and mean confidence (0 to 1) of each class in a zone, by code; its ground and its outline.

    Attributes
    ----------
    name
        Of the zone; empty for the whole map.
    hectares, confidence
        By code, of the classes that it has.
    not_mapped
        Share of it, 0 to 1; NaN for the whole map.
    bounds
        In the CRS of the map.
    rings
        Its outline, simplified: coordinates ``(x, y)`` of each ring.
    """

    name: str
    hectares: Mapping[int, float]
    confidence: Mapping[int, float]
    not_mapped: float
    bounds: Bounds
    rings: tuple[tuple[tuple[float, float], ...], ...] = ()

    @property
    def total(self) -> float:
        """Hectares that are mapped."""
        return sum(self.hectares.values())


def zone_areas(table: geopandas.GeoDataFrame, legend: Legend, pixel_m: float) -> list[ZoneAreas]:
    """The rows of a table of hectares.

    Parameters
    ----------
    table
        From `landweave.formats.hectares.hectares_table`.
    legend
        Of the map.
    pixel_m
        Side of a pixel as the page shows it, which outlines are simplified to.
    """
    outlines = [_rings(geometry, pixel_m) for geometry in table.geometry]
    if sum(len(ring) for rings in outlines for ring in rings) > MAX_OUTLINE_POINTS:
        outlines = [()] * len(table)
    columns, name = column_names(legend), _name_column(table)
    found = []
    for (_, row), rings in zip(table.iterrows(), outlines, strict=True):
        known = {code: column for code, column in columns.items() if row.get(f"{column}_ha", 0) > 0}
        found.append(
            ZoneAreas(
                name=str(row[name]),
                hectares={code: float(row[f"{column}_ha"]) for code, column in known.items()},
                confidence={code: float(row[f"{column}_confidence"]) for code, column in known.items()},
                not_mapped=float(row["not_mapped"]),
                bounds=tuple(row.geometry.bounds),
                rings=rings,
            )
        )
    return found


def _name_column(table: geopandas.GeoDataFrame) -> str:
    """The column of a table that names its zones best; their numbers where none does."""
    own = [str(column) for column in table.columns[1 : list(table.columns).index("area_ha")]]
    for wanted in _NAMES:
        if found := [column for column in own if column.lower() == wanted]:
            return found[0]
    texts = [column for column in own if table[column].map(type).eq(str).all()]
    return texts[0] if texts else "zone"


def _rings(geometry: shapely.Geometry, pixel_m: float) -> tuple[tuple[tuple[float, float], ...], ...]:
    simple = shapely.get_parts(shapely.simplify(geometry, pixel_m))
    lines = (ring for part in simple if part.geom_type == "Polygon" for ring in (part.exterior, *part.interiors))
    return tuple(tuple((round(x, 1), round(y, 1)) for x, y, *_ in ring.coords) for ring in lines)


def shown_classes(legend: Legend, codes: np.ndarray[Any, Any], areas: ZoneAreas | None) -> tuple[LandClass, ...]:
    """Classes that occur in a map, on the page or in its areas.

    Parameters
    ----------
    legend
        Of the map.
    codes
        As they are shown.
    areas
        Of the whole map.
    """
    found = {*np.unique(codes).tolist(), *(areas.hectares if areas else ())}
    return tuple(each for each in legend.classes if each.code in found)


def crs_name(grid: Grid) -> str:
    """Name and code of the CRS of a grid, as maps state it."""
    crs = CRS(grid.crs)
    code = crs.to_authority()
    return f"{crs.name} ({':'.join(code)})" if code else crs.name


def progress_facts(ledger: Ledger) -> Iterator[Fact]:
    """Blocks by state, and what failed first."""
    counts = [(state, count) for state, count in ledger.counts().items() if count]
    for state, count in counts:
        yield Fact(word=state.name.lower(), parts=(Part(number=count),))


def cost_facts(ledger: Ledger, pixels: int) -> Iterator[Fact]:
    """What the run took, summed over its blocks, those that were run again counted with their last attempt.

    Parameters
    ----------
    ledger
        Of the map.
    pixels
        Of a block.
    """
    seconds = ledger.fields["seconds"][ledger.fields["state"] == BlockState.DONE].astype(float)
    yield Fact(word="blocks", parts=(Part(number=int(seconds.size)), Part(word="done")))
    if seconds.size:
        yield Fact(word="computed", parts=(_duration(seconds.sum()),))
        speed = Part(number=pixels / 1e6 / max(float(np.median(seconds)), 1e-9), digits=2, unit="Mpx/s")
        yield Fact(word="per_block", parts=(_duration(float(np.median(seconds))), Part(text="·"), speed))
    yield Fact(word="windows", parts=(Part(number=int(ledger.fields["windows"].sum(dtype=np.int64))),))
    yield Fact(word="output_size", parts=(_size(int(ledger.fields["object_bytes"].sum(dtype=np.int64))),))


def planned_rows(run: Mapping[str, Any]) -> Iterator[tuple[str, Part | None, Part | None]]:
    """Lines of a table, of what the last run of a map took beside what its plan said: word, plan, measure.

    What is not known is None. Cost and energy are those of the hours that it took, at the rate of the plan.

    Parameters
    ----------
    run
        Figures of the run, as they are stored beside the map; empty where there are none.
    """
    plan, seconds = run.get("planned", {}), run.get("seconds", 0)
    if not plan or not seconds:
        return
    hours, windows = plan.get("hours"), run.get("sums", {}).get("windows")
    yield "elapsed", _duration(hours * 3600) if hours else None, _duration(seconds)
    yield "memory", _size(plan["memory_bytes"]), _size(run["peak_bytes"]) if run.get("peak_bytes") else None
    yield "windows", Part(number=plan["windows"]), Part(number=windows) if windows is not None else None
    for word, name, unit in (("price", "cost", ""), ("energy", "energy_kwh", "kWh")):
        if name in plan:
            measured = plan[name] * seconds / 3600 / hours if hours else None
            yield word, _amount(plan[name], unit), None if measured is None else _amount(measured, unit)


def _amount(value: float, unit: str) -> Part:
    return Part(number=value, digits=2 if value < 100 else 0, unit=unit)


def _duration(seconds: float) -> Part:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return Part(number=seconds / length, digits=1, unit=unit)
    return Part(number=seconds, digits=1, unit="s")


def _size(count: int) -> Part:
    return (
        Part(number=count / 1e9, digits=1, unit="GB") if count >= 1e9 else Part(number=count / 1e6, digits=1, unit="MB")
    )


def provenance_facts(provenance: Mapping[str, Any], software: Mapping[str, str]) -> Iterator[Fact]:
    """Model, weights, licence and software of a map.

    Parameters
    ----------
    provenance
        Of the map, plain JSON values.
    software
        Versions of what made it and of what made the page, by name.
    """
    model = provenance.get("model", {})
    stated = {
        "model": model.get("card"),
        "weights": model.get("weights"),
        "card_sha256": model.get("card_sha256"),
        "fingerprint": provenance.get("fingerprint"),
        "source": provenance.get("source"),
        "license": provenance.get("license"),
        "software": ", ".join(f"{name} {version}" for name, version in software.items()),
    }
    for word, value in stated.items():
        if value:
            yield Fact(word=word, parts=(Part(text=str(value)),))


def source_facts(sources: Mapping[str, Any]) -> Iterator[Fact]:
    """The imagery of a map: files or dates of each modality, with its first and last day as far as they are known.

    Parameters
    ----------
    sources
        By modality: ``bands``, ``files`` or ``observations``, ``first_day`` and ``last_day``.
    """
    for name, source in sources.items():
        stated = []
        if source.get("bands"):
            stated.append([Part(text=", ".join(map(str, source["bands"])))])
        if "files" in source:
            stated.append([Part(number=len(source["files"])), Part(word="files")])
        if "observations" in source:
            stated.append([Part(number=source["observations"]), Part(word="observations")])
        if "first_day" in source:
            stated.append([Part(text=f"{source['first_day']} \u2013 {source['last_day']}")])
        dotted = [part for parts in stated for part in (Part(text="·"), *parts)][1:]
        yield Fact(name=name, parts=tuple(dotted))
