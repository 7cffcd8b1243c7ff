"""The result of a comparison of two maps: transitions, changes by confidence, and what maps of the same ground show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.comparing.gate import TransitionCounts
from landweave.core.legend import CONFIDENCE_SCALE, Legend
from landweave.core.tables import Rows, as_html, as_text, columns

SHOWN_CONFIDENCES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Least confidences whose changes are shown."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What changed between two maps; shown as tables.

    Attributes
    ----------
    legend
        Of the classes of both.
    counts
        Sums over all blocks.
    pixel_ha
        Hectares of a pixel.
    facts
        What was compared and how, plain values.
    notes
        What a person should know.
    by_zone
        A GeoDataFrame of the hectares of each transition in zones (`landweave.comparing.zones.count_by_zone`); None
        where no zones were named.
    same_ground
        What two maps of the same ground show by the same rule, none of which is a change; None where none were named.
    """

    legend: Legend
    counts: TransitionCounts
    pixel_ha: float
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    by_zone: Any = field(default=None, compare=False)
    same_ground: Change | None = None

    @property
    def compared(self) -> int:
        """Pixels that both maps have."""
        return sum(self.counts.every.values())

    @property
    def rate(self) -> float:
        """Share of the compared pixels whose change is kept, 0 to 1."""
        return sum(self.counts.kept.values()) / max(self.compared, 1)

    @property
    def false_change_rate(self) -> float | None:
        """The same of two maps of the same ground: as much of `rate` may be no change; None where none were named."""
        return None if self.same_ground is None else self.same_ground.rate

    def matrix(self, *, kept: bool = True) -> NDArray[np.float64]:
        """Hectares by class before (rows) and after (columns), in the order of the legend.

        Parameters
        ----------
        kept
            Whether only changes that are kept count, pixels without one staying what they were; all otherwise.
        """
        place = {code: position for position, code in enumerate(self.legend.codes)}
        found = np.zeros((len(place), len(place)))
        for pair, pixels in self.transitions(kept=kept).items():
            found[place[pair >> 8], place[pair & 255]] += pixels * self.pixel_ha
        return found

    def transitions(self, *, kept: bool = True) -> Counter[int]:
        """Pixels by ``256 * before + after``; see `matrix`."""
        if not kept:
            return self.counts.every
        found = Counter(self.counts.kept)
        for pair, pixels in self.counts.every.items():
            found[(pair >> 8) * 257] += pixels - self.counts.kept[pair]
        return +found

    def rate_by_confidence(self, least: float) -> tuple[float, float]:
        """Share of the compared pixels where both maps are as sure, and of these that differ; patches of any size.

        Parameters
        ----------
        least
            Confidence of both, 0 to 1.
        """
        start = int(np.ceil(least * CONFIDENCE_SCALE - 1e-9))
        compared, changed = self.counts.compared[start:].sum(), self.counts.changed[start:].sum()
        return float(compared / max(self.compared, 1)), float(changed / max(compared, 1))

    @property
    def rows(self) -> Rows:
        """The result as rows of a name and a value."""
        kept, every = sum(self.counts.kept.values()), self.counts.changed.sum()
        rows = [
            *self.facts.items(),
            ("compared", f"{self.compared:,} px, {self.compared * self.pixel_ha:,.4f} ha"),
            ("differ", f"{every:,} px, {every * self.pixel_ha:,.4f} ha"),
            ("changed", f"{kept:,} px, {kept * self.pixel_ha:,.4f} ha, {self.rate:.3%} of what is compared"),
        ]
        if self.same_ground is not None:
            rows.append(("false change rate", f"{self.same_ground.rate:.3%}, by two maps of the same ground"))
        return [*rows, *(("note", note) for note in self.notes)]

    @property
    def class_rows(self) -> list[tuple[str, ...]]:
        """A row for each change that is kept, the largest first, the first row with the names of the columns."""
        names, listed = self.legend.names, self.counts.kept.most_common()
        rows = [
            (f"{names[pair >> 8]} > {names[pair & 255]}", f"{pixels:,}", f"{pixels * self.pixel_ha:,.4f}")
            for pair, pixels in listed
        ]
        return [("change", "px", "hectares"), *rows]

    @property
    def confidence_rows(self) -> list[tuple[str, ...]]:
        """A row for each of `SHOWN_CONFIDENCES`, the first with the names of the columns."""
        same = self.same_ground
        head = (
            "confidence of both",
            "of what is compared",
            "differ",
            *(("differ on the same ground",) if same else ()),
        )
        rows = []
        for least in SHOWN_CONFIDENCES:
            share, rate = self.rate_by_confidence(least)
            beside = (f"{same.rate_by_confidence(least)[1]:.3%}",) if same else ()
            rows.append((f"{least:.2f} and more", f"{share:.1%}", f"{rate:.3%}", *beside))
        return [head, *rows]

    @property
    def plain(self) -> dict[str, Any]:
        """Every number as plain JSON values."""
        names = self.legend.names
        return {
            "facts": dict(self.facts),
            "compared_px": self.compared,
            "pixel_ha": self.pixel_ha,
            "rate": self.rate,
            "false_change_rate": self.false_change_rate,
            "changes": [
                {"from": names[pair >> 8], "to": names[pair & 255], "px": px, "ha": px * self.pixel_ha}
                for pair, px in self.counts.kept.most_common()
            ],
            "codes": list(self.legend.codes),
            "matrix_ha": self.matrix().tolist(),
            "ungated_matrix_ha": self.matrix(kept=False).tolist(),
            "by_confidence": [
                dict(zip(("least", "compared", "differ"), (least, *self.rate_by_confidence(least)), strict=True))
                for least in SHOWN_CONFIDENCES
            ],
            "same_ground": self.same_ground and self.same_ground.plain,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return "\n\n".join([as_text(self.rows), columns(self.class_rows), columns(self.confidence_rows)])

    def _repr_html_(self) -> str:
        return as_html(self.rows) + as_html(self.class_rows) + as_html(self.confidence_rows)
