"""A map that can be run: every setting resolved, every input checked, and how that is shown in one screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from landweave.core.budget import BlockMemory
from landweave.core.tables import Rows, Table, fact_rows
from landweave.engine.settings import EngineSettings
from landweave.jobs.fingerprint import Fingerprint
from landweave.jobs.ledger import Ledger
from landweave.jobs.plan import BlockActionGrid, plan_block_actions
from landweave.mapping.job import MapJob
from landweave.mapping.value_sample import ValueReport, check_values
from landweave.models.cards.card import ModelCard
from landweave.sources.stac.series import StacSeries
from landweave.store.maps.store import MapStore
from landweave.store.maps.template import MapTemplate
from landweave.store.objects import Target

DIRECT_OPENS = 2000
"""Files that a run may open straight from a catalog; beyond it the dates are aligned first, each file read once."""

LONG_FACT = 60
"""Characters beyond which a fact of an input has a row of its own."""


@dataclass(frozen=True, kw_only=True)
class MapSetup(Table):
    """A map that can be run, every setting resolved and every input checked; shows its inputs as a table.

    Attributes
    ----------
    card
        The model's contract.
    card_place
        Its name, or the path of its file.
    job
        What every worker needs.
    template
        What the output will hold.
    fingerprint
        The settings that decide the map's values.
    memory
        Of a worker with one block in computation.
    engine
        Which engine runs the blocks.
    notes
        What a person should know before running it.
    direct_opens_allowed
        Files that may be opened straight from catalogs; 0 where a cube is named, which is to hold the series.
    values
        Sampled values of every input beside those of the training; empty until they are sampled.
    """

    card: ModelCard
    card_place: str
    job: MapJob
    template: MapTemplate
    fingerprint: Fingerprint
    memory: BlockMemory
    engine: EngineSettings
    notes: tuple[str, ...]
    direct_opens_allowed: int = DIRECT_OPENS
    values: ValueReport = field(default_factory=ValueReport)

    @property
    def store(self) -> MapStore:
        """Where the map is written."""
        assert isinstance(self.job.store, MapStore)
        return self.job.store

    @property
    def target(self) -> Target:
        """Path or URL of the map."""
        return self.store.target

    @property
    def rows(self) -> Rows:
        """The resolved settings as rows of a table."""
        grid, lattice, blocks = self.template.grid, self.job.blending.lattice, self.template.blocks
        return [
            ("model", f"{self.card.name}: {self.card.title}"),
            ("weights", str(self.job.model.fingerprint_fields["weights"])),
            ("grid", f"{grid.crs}, {float(grid.resolution):g} m, {grid.shape[0]:,} x {grid.shape[1]:,} px"),
            ("windows", f"{lattice.window} px, overlap {lattice.overlap}, {self.job.blending.blend}"),
            ("blocks", f"{len(blocks):,} of {blocks.height:,} x {blocks.width:,} px"),
            *(row for name, item in self.job.inputs.items() for row in input_rows(name, item.source.describe())),
            *self.values.rows,
            *(("note", note) for note in self.notes),
        ]

    @property
    def plain(self) -> dict[str, Any]:
        """The resolved settings as plain values, for JSON."""
        grid, blocks = self.template.grid, self.template.blocks
        return {
            "output": str(self.target),
            "model": self.card.name,
            "fingerprint": self.fingerprint.sha256,
            "settings": self.fingerprint.parts,
            "grid": {"crs": grid.crs, "resolution": grid.resolution, "shape": grid.shape, "bounds": grid.bounds},
            "blocks": {"count": len(self.job.blocks), "size": (blocks.height, blocks.width)},
            "memory": self.memory,
            "inputs": {name: item.source.describe() for name, item in self.job.inputs.items()},
            "samples": self.values.samples,
            "notes": self.notes,
        }

    def with_values(self) -> MapSetup:
        """The setup with samples of its inputs; refused where they are not of the kind that the model knows."""
        report = check_values(self.job)
        return replace(self, values=report, notes=(*self.notes, *report.notes))

    def direct_opens(self) -> dict[str, int]:
        """How often files are opened straight from a catalog, by series; each block opens its own."""
        series = {
            name: (item, item.source) for name, item in self.job.inputs.items() if isinstance(item.source, StacSeries)
        }
        outside = self.job.outside if series else None
        blocks = [self.job.blocks[index] for index in self.job.blocks if outside is None or not outside[index]]
        return {
            name: sum(source.opens(self.job.read_grid(item, extent)) for extent in blocks)
            for name, (item, source) in series.items()
        }

    def actions(self, ledger: Ledger, *, stale: bool) -> BlockActionGrid:
        """The action of every block.

        Parameters
        ----------
        ledger
            The states of all blocks.
        stale
            Whether blocks whose files changed since they were done are run again.
        """
        job = self.job
        return plan_block_actions(ledger, outside=job.outside, input_version=job.input_version, recompute_stale=stale)


def input_rows(name: str, facts: Mapping[str, Any]) -> Rows:
    """How an input is read: its short facts in one row, each long one in its own, bands that are read alike in one.

    Parameters
    ----------
    name
        Of the input.
    facts
        That its source describes itself by: the modality is the input's name, the notes are shown with the map's.
    """
    told = {key: value for key, value in facts.items() if key not in ("modality", "notes")}
    nested = {key: value for key, value in told.items() if isinstance(value, Mapping)}
    flat = fact_rows({key: value for key, value in told.items() if key not in nested})
    short = "; ".join(f"{key}: {value}" for key, value in flat if len(value) <= LONG_FACT)
    rows = [(name, short)] if short else []
    rows += [(f"{name}.{key}", value) for key, value in flat if len(value) > LONG_FACT]
    for key, inner in nested.items():
        rows += _band_rows(f"{name}.{key}", inner) if key == "pixels" else input_rows(f"{name}.{key}", inner)
    return rows


def _band_rows(name: str, readings: Mapping[str, str]) -> Rows:
    bands: dict[str, list[str]] = {}
    for band, reading in readings.items():
        bands.setdefault(reading, []).append(band)
    return [(f"{name}.{', '.join(alike)}", reading) for reading, alike in bands.items()]
