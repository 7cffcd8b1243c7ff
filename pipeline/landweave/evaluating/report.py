"""What an evaluation leaves on disk: numbers as JSON and CSV, charts as PNG, and one page of it all."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from landweave.core.errors import OutputError
from landweave.core.plain import json_text
from landweave.core.whole_files import write_whole
from landweave.evaluating.result import CLASS_COLUMNS, Evaluation
from landweave.formats.charts import class_chart, confusion_chart, reliability_chart
from landweave.formats.page import PageSection, make_page

JSON, TABLE, PAGE = "scores.json", "scores.csv", "scores.html"


def write_evaluation(result: Evaluation, folder: str | os.PathLike[str]) -> Path:
    """Write `JSON`, `TABLE`, `PAGE` and the charts into a folder, which is made where it is missing; its path.

    Parameters
    ----------
    result
        What is written.
    folder
        Earlier files of these names are replaced.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    target, charts = Path(folder), dict(_charts(result))
    try:
        table = StringIO(newline="")
        csv.writer(table).writerows(_table(result))
        texts = {JSON: json_text(result), TABLE: table.getvalue(), PAGE: _page(result, charts)}
        pictures = {f"{name}.png": chart for name, chart in charts.items()}
        write_whole(target, {**{name: text.encode() for name, text in texts.items()}, **pictures})
    except OSError as error:
        raise OutputError(f"Cannot write the evaluation to {target}: {error}.") from error
    return target


def _table(result: Evaluation) -> Iterator[tuple[object, ...]]:
    """A row for each class, numbers as they are."""
    scores, names = result.scores, result.legend.names
    yield ("code", *CLASS_COLUMNS)
    columns = (scores.iou, scores.f1, scores.precision, scores.recall, scores.confusion.sum(1), scores.confusion.sum(0))
    for code, *row in zip(scores.codes, *(each.tolist() for each in columns), strict=True):
        yield (code, names[code], *row)


def _charts(result: Evaluation) -> Iterator[tuple[str, bytes]]:
    scores, names = result.scores, [result.legend.names[code] for code in result.codes]
    colors = [each.color for each in result.legend.classes if each.code in result.codes]
    yield "classes", class_chart(scores.iou, names, colors, scores.mean_iou)
    yield "confusion", confusion_chart(scores.confusion, names)
    if reliability := result.counts.reliability:
        yield "reliability", reliability_chart(reliability.curve(), reliability.expected_error())


def _page(result: Evaluation, charts: dict[str, bytes]) -> str:
    colors = {f"{each.code} {each.name}": each.color for each in result.legend.classes}
    sections = [
        PageSection(title="Result", rows=result.rows),
        PageSection(
            title="Classes",
            text="From one confusion matrix over all pixels; rows and columns of classes that are left out are "
            "removed, a class absent from reference and map counts 0 in the mean.",
            table=(CLASS_COLUMNS, *result.class_rows),
            colors=colors,
        ),
        PageSection(title="IoU by class", chart=charts["classes"]),
        PageSection(title="Confusion", chart=charts["confusion"]),
    ]
    if "reliability" in charts:
        text = "How often the class shown is right, by the confidence that the map gives it."
        sections.append(PageSection(title="Calibration", text=text, chart=charts["reliability"]))
    lead = f"{result.facts.get('compared', '')} against {result.facts.get('reference', '')}"
    return make_page("Evaluation", lead, sections)
