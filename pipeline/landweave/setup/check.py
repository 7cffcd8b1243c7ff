"""What a configuration comes to, as a table: model, grid, windows, blocks, and how each input is read."""

from __future__ import annotations

from dataclasses import dataclass

from landweave.core.tables import as_html, as_text, fact_rows
from landweave.mapping.run import MapSetup


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a configuration comes to, before any cost; printable, and shown as a table in a notebook.

    Attributes
    ----------
    setup
        The map that can be run.
    """

    setup: MapSetup

    @property
    def rows(self) -> list[tuple[str, str]]:
        """One row for each fact; those of an input begin with its name."""
        setup, job = self.setup, self.setup.job
        grid, lattice = setup.template.grid, job.blending.lattice
        facts = (
            row
            for name, item in job.inputs.items()
            for row in fact_rows(item.source.describe(), f"{name}.")
            if not row[0].endswith((".modality", ".notes"))  # notes are among those of the setup
        )
        return [
            ("model", f"{setup.card.name}: {setup.card.title}"),
            ("weights", str(job.model.fingerprint_fields["weights"])),
            ("grid", f"{grid.crs}, {float(grid.resolution):g} m, {grid.shape[0]:,} x {grid.shape[1]:,} px"),
            ("windows", f"{lattice.window} px, overlap {lattice.overlap}, {job.blending.blend}"),
            ("blocks", f"{len(job.blocks):,} of {setup.template.blocks.size:,} px"),
            *facts,
            *(("note", note) for note in setup.notes),
        ]

    def __str__(self) -> str:
        return as_text(self.rows)

    def _repr_html_(self) -> str:
        return as_html(self.rows)
