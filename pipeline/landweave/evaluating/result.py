"""The result of an evaluation: scores of the whole and of each domain, calibration and seams, as values and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from landweave.core.legend import LandClass, Legend
from landweave.core.metrics import Scores
from landweave.core.tables import Rows, as_html, as_text, columns
from landweave.core.words import counted
from landweave.evaluating.counts import Counts

_NAMED = 8
"""Codes without a class that are named; the others are counted."""

CLASS_COLUMNS = ("class", "IoU", "F1", "precision", "recall", "reference px", "map px")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well a map or a model agrees with a reference; shown as tables.

    Attributes
    ----------
    legend
        Of the classes that are compared.
    codes
        Classes that are scored; the others are left out, rows and columns of the matrix alike.
    domains
        Sums by domain; one without a name where there are no domains.
    facts
        What was compared, plain values.
    notes
        What a person should know.
    """

    legend: Legend
    codes: tuple[int, ...]
    domains: Mapping[str, Counts]
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def counts(self) -> Counts:
        """Sums over all domains."""
        first, *rest = self.domains.values()
        return sum(rest, first)

    @cached_property
    def scores(self) -> Scores:
        """Scores of the classes that are not left out, from one confusion matrix over all pixels."""
        return self.counts.matrix(self.codes)

    @cached_property
    def scores_of_all(self) -> Scores:
        """Scores of all classes of the legend, those that are left out too."""
        return self.counts.matrix(self.legend.codes)

    @property
    def left_out(self) -> tuple[LandClass, ...]:
        """Classes that are not scored."""
        return tuple(each for each in self.legend.classes if each.code not in self.codes)

    @property
    def calibration_error(self) -> float | None:
        """Expected calibration error, 0 to 1; None where the map has no confidence."""
        reliability = self.counts.reliability
        return None if reliability is None else reliability.expected_error()

    @property
    def temperature(self) -> float | None:
        """The temperature for the card's output; None where the map has no probabilities."""
        likelihood = self.counts.likelihood
        return None if likelihood is None else likelihood.temperature

    @property
    def seam_score(self) -> float | None:
        """Class changes at borders of windows and blocks over those expected; None where there are no windows."""
        found = self.counts.seams
        return None if found is None else found.score

    @property
    def rows(self) -> Rows:
        """The result as rows of a name and a value."""
        scores, every = self.scores, self.scores_of_all
        rows = [
            *self.facts.items(),
            ("pixels", f"{self.counts.pixels:,} with a reference, {scores.confusion.sum():,} scored"),
            ("classes", f"{len(self.codes)} scored, {len(self.left_out)} left out{_names(self.left_out)}"),
            ("overall accuracy", _both(scores.accuracy, every.accuracy, self)),
            ("mean IoU", _both(scores.mean_iou, every.mean_iou, self)),
        ]
        optional = {
            "calibration error": self.calibration_error,
            "temperature": self.temperature,
            "seam score": self.seam_score,
        }
        rows += [(name, f"{value:.4f}") for name, value in optional.items() if value is not None]
        rows += [(f"domain {name}", each) for name, each in self._domain_lines()]
        return [*rows, *(("note", note) for note in (*self.notes, *self._count_notes()))]

    def _domain_lines(self) -> Iterator[tuple[str, str]]:
        for name, counts in self.domains.items():
            if name:
                scores = counts.matrix(self.codes)
                yield (
                    name,
                    f"accuracy {scores.accuracy:.4f}, mean IoU {scores.mean_iou:.4f}, {scores.confusion.sum():,} px",
                )

    @property
    def foreign(self) -> dict[int, int]:
        """Pixels by codes of the reference that the legend lacks."""
        known = {*self.legend.codes}
        return {code: pixels for code, pixels in self.counts.by_reference().items() if code not in known}

    def _count_notes(self) -> Iterator[str]:
        counts = self.counts
        if self.foreign:
            yield (
                f"codes of the reference that the legend {self.legend.name!r} lacks are not scored: "
                f"{foreign_text(self.foreign)}"
            )
        same, lower, higher = (counts.agreeing(step) for step in (0, 1, -1))
        for shift, pixels in (("lower", lower), ("higher", higher)):
            if pixels > counts.pixels / 2 > 2 * same:
                yield (
                    f"codes of the reference agree with the map on {same:,} pixels, and one {shift} on {pixels:,}: do "
                    "both count from the same number? A crosswalk brings them to the codes of the legend"
                )
        if counts.unmapped:
            yield f"{counted(counts.unmapped, 'pixel')} with a reference and no class in the map: not scored"

    @property
    def class_rows(self) -> list[tuple[str, ...]]:
        """A row for each class that is scored, in the columns `CLASS_COLUMNS`."""
        scores, names = self.scores, self.legend.names
        values = zip(scores.iou, scores.f1, scores.precision, scores.recall, strict=True)
        sums = zip(scores.confusion.sum(1), scores.confusion.sum(0), strict=True)
        return [
            (f"{code} {names[code]}", *(f"{value:.4f}" for value in row), *(f"{pixels:,}" for pixels in both))
            for code, row, both in zip(scores.codes, values, sums, strict=True)
        ]

    @property
    def plain(self) -> dict[str, Any]:
        """Every number as plain JSON values."""
        counts = self.counts
        return {
            "facts": dict(self.facts),
            "legend": self.legend.name,
            "left_out": [each.code for each in self.left_out],
            "pixels": counts.pixels,
            **_score_fields(self.scores, self.legend),
            "with_left_out": {"accuracy": self.scores_of_all.accuracy, "mean_iou": self.scores_of_all.mean_iou},
            "calibration_error": self.calibration_error,
            "reliability": _curve_fields(counts),
            "temperature": self.temperature,
            "seam_score": self.seam_score,
            "domains": {
                name: _score_fields(each.matrix(self.codes), self.legend) for name, each in self.domains.items() if name
            },
            "notes": [*self.notes, *self._count_notes()],
        }

    def __str__(self) -> str:
        return f"{as_text(self.rows)}\n\n{columns((CLASS_COLUMNS, *self.class_rows))}"

    def _repr_html_(self) -> str:
        return as_html(self.rows) + as_html((CLASS_COLUMNS, *self.class_rows))


def foreign_text(foreign: Mapping[int, int]) -> str:
    """Codes and their pixels in words, the first of them."""
    listed = [f"{code} ({pixels:,} px)" for code, pixels in foreign.items()]
    return ", ".join([*listed[:_NAMED], *([f"{len(listed) - _NAMED} more"] if len(listed) > _NAMED else [])])


def _names(classes: Sequence[LandClass]) -> str:
    return f" ({', '.join(each.name for each in classes)})" if classes else ""


def _both(scored: float, every: float, result: Evaluation) -> str:
    """A score without the classes that are left out, and with them."""
    text = f"{scored:.4f} over {len(result.codes)} classes"
    return f"{text}, {every:.4f} over all {len(result.legend)}" if result.left_out else text


def _curve_fields(counts: Counts) -> dict[str, Any] | None:
    """The reliability curve as plain JSON values."""
    if counts.reliability is None:
        return None
    curve = (each.tolist() for each in counts.reliability.curve())
    return dict(zip(("confidence", "accuracy", "pixels"), curve, strict=True))


def _score_fields(scores: Scores, legend: Legend) -> dict[str, Any]:
    """Scores as plain JSON values."""
    by_class = zip(scores.codes, scores.iou, scores.f1, scores.precision, scores.recall, strict=True)
    return {
        "scored_pixels": int(scores.confusion.sum()),
        "accuracy": scores.accuracy,
        "mean_iou": scores.mean_iou,
        "classes": {
            str(code): dict(
                zip(("name", "iou", "f1", "precision", "recall"), (legend.names[code], *map(float, each)), strict=True)
            )
            for code, *each in by_class
        },
        "confusion": {"codes": list(scores.codes), "reference_by_map": scores.confusion.tolist()},
    }
