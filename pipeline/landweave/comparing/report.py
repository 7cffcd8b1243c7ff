"""What a comparison of two maps leaves on disk: numbers, COGs of classes before and after, and one page of it all."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from landweave.comparing.gate import Gate
from landweave.comparing.result import Change
from landweave.comparing.run import ChangeMap
from landweave.core.errors import OutputError
from landweave.formats.charts import confusion_chart
from landweave.formats.cog import write_cog
from landweave.formats.page import PageSection, make_page
from landweave.jobs.fingerprint import Fingerprint

JSON, TABLE, PAGE, BEFORE, AFTER = "changes.json", "changes.csv", "changes.html", "before.tif", "after.tif"


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


def write_change(result: Change, gate: Gate, folder: str | os.PathLike[str]) -> Path:
    """Write `JSON`, `TABLE`, `PAGE`, `BEFORE` and `AFTER` into a folder, which is made where it is missing; its path.

    The COGs have the classes before and after where a change is kept, 255 elsewhere.

    Parameters
    ----------
    result, gate
        From `landweave.comparing.run.run_change`.
    folder
        Earlier files of these names are replaced; a COG of other maps is not.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / JSON).write_text(result.to_json(), encoding="utf-8")
        with (target / TABLE).open("w", encoding="utf-8", newline="") as file:
            names = result.legend.names
            csv.writer(file).writerows(
                [("from", "to", "pixels", "hectares")]
                + [
                    (names[pair >> 8], names[pair & 255], pixels, pixels * result.pixel_ha)
                    for pair, pixels in result.counts.kept.most_common()
                ]
            )
        (target / PAGE).write_text(_page(result), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"Cannot write the changes to {target}: {error}.") from error
    for name, shown in zip((BEFORE, AFTER), change_maps(result, gate), strict=True):
        write_cog(shown, target / name)
    return target


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
