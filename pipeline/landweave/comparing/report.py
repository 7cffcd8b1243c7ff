"""What a comparison of two maps leaves on disk: numbers, hectares by zone, COGs, polygons, and one page of it all."""

from __future__ import annotations

import csv
import os
from io import StringIO
from pathlib import Path

import geopandas
import numpy as np

from landweave.comparing.gate import Gate
from landweave.comparing.result import Change
from landweave.comparing.run import ChangeMap
from landweave.core.errors import OutputError
from landweave.core.plain import json_text
from landweave.core.whole_files import write_whole
from landweave.formats.charts import confusion_chart
from landweave.formats.cog import write_cog
from landweave.formats.hectares import csv_bytes
from landweave.formats.hectares import parquet_bytes as table_bytes
from landweave.formats.page import PageSection, make_page
from landweave.formats.polygons import geopackage_bytes, parquet_bytes
from landweave.formats.products import mark_of, refuse_foreign
from landweave.jobs.fingerprint import Fingerprint

JSON, TABLE, PAGE, BEFORE, AFTER = "changes.json", "changes.csv", "changes.html", "before.tif", "after.tif"
POLYGONS = "changes"
"""Name without ending of the polygons of changes, GeoPackage and GeoParquet, and of the layer."""
ZONES = "zones"
"""Name without ending of the hectares by zone, CSV and GeoParquet."""


def change_maps(result: Change, gate: Gate) -> tuple[ChangeMap, ChangeMap]:
    """Classes before and after where a change is kept, as maps; for COGs, hectares by zone and polygons.

    Parameters
    ----------
    result, gate
        From `landweave.comparing.run.run_change`.
    """
    mark = Fingerprint(dict(result.facts)).sha256
    attrs = {"title": f"Changes from {result.facts['before']} to {result.facts['after']}", "fingerprint": mark}
    before = ChangeMap(gate=gate, legend=result.legend, attrs=attrs, before=True)
    return before, ChangeMap(gate=gate, legend=result.legend, attrs=attrs)


def write_change(
    result: Change, gate: Gate, folder: str | os.PathLike[str], polygons: geopandas.GeoDataFrame | None = None
) -> Path:
    """Write `JSON`, `TABLE`, `PAGE`, `BEFORE` and `AFTER` into a folder, which is made where it is missing; its path.

    The COGs have the classes before and after where a change is kept, 255 elsewhere. Hectares by zone (`ZONES`) and
    `POLYGONS` are written beside them where there are any.

    Parameters
    ----------
    result, gate
        From `landweave.comparing.run.run_change`.
    folder
        Earlier files of these names are replaced; a COG of other maps is not.
    polygons
        From `landweave.comparing.polygons.trace_changes`; None for none.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    target = Path(folder)
    shown = dict(zip((BEFORE, AFTER), change_maps(result, gate), strict=True))
    for name, each in shown.items():  # both, before anything is written
        refuse_foreign(target / name, mark_of(each))
    for name, each in shown.items():
        write_cog(each, target / name)
    try:
        texts = {JSON: json_text(result), TABLE: _table(result), PAGE: _page(result)}
        write_whole(target, _vectors(result, polygons) | {name: text.encode() for name, text in texts.items()})
    except OSError as error:
        raise OutputError(f"Cannot write the changes to {target}: {error}.") from error
    return target


def _table(result: Change) -> str:
    table, names = StringIO(newline=""), result.legend.names
    rows = csv.writer(table)
    rows.writerow(("from", "to", "pixels", "hectares"))
    for pair, pixels in result.counts.kept.most_common():
        rows.writerow((names[pair >> 8], names[pair & 255], pixels, pixels * result.pixel_ha))
    return table.getvalue()


def _vectors(result: Change, polygons: geopandas.GeoDataFrame | None) -> dict[str, bytes]:
    """Contents of the files of zones and polygons, by name."""
    found: dict[str, bytes] = {}
    if result.by_zone is not None:
        found |= {f"{ZONES}.csv": csv_bytes(result.by_zone), f"{ZONES}.parquet": table_bytes(result.by_zone)}
    if polygons is not None:
        found[f"{POLYGONS}.gpkg"] = geopackage_bytes(polygons, POLYGONS)
        found[f"{POLYGONS}.parquet"] = parquet_bytes(polygons)
    return found


def _page(result: Change) -> str:
    matrix, names = result.matrix(), np.array(list(result.legend.names.values()))
    there = (matrix.sum(0) + matrix.sum(1)) > 0
    text = "Pixels where both maps are as sure, before patches that are too small are dropped."
    chart = confusion_chart(
        matrix[there][:, there], names[there].tolist(), axes_names=("after", "before, percent of each row")
    )
    sections = [
        PageSection(title="Result", rows=result.rows),
        PageSection(title="Changes that are kept", table=result.class_rows),
        PageSection(title="By confidence", text=text, table=result.confidence_rows),
        PageSection(
            title="Transitions",
            text="Rows before, columns after; what is not kept stays what it was.",
            chart=chart,
        ),
    ]
    return make_page("Changes", f"{result.facts['before']} to {result.facts['after']}", sections)
