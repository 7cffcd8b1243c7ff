"""Runs an evaluation: blocks on any engine, their sums in the driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from landweave.core.errors import InputError
from landweave.core.legend import Legend
from landweave.core.protocols import Engine
from landweave.evaluating.counts import Counts
from landweave.evaluating.job import ModelJob, StoredMapJob
from landweave.evaluating.own_grid import OwnGridJob
from landweave.evaluating.result import Evaluation, foreign_text
from landweave.jobs.gather import gather
from landweave.jobs.progress import Progress


@dataclass(frozen=True, kw_only=True)
class EvaluationSetup:
    """An evaluation that can be run, every setting resolved.

    Attributes
    ----------
    job
        What every worker needs.
    legend
        Of the classes that are compared.
    codes
        Classes that are scored.
    facts
        What is compared, plain values.
    notes
        What a person should know.
    """

    job: StoredMapJob | ModelJob | OwnGridJob
    legend: Legend
    codes: tuple[int, ...]
    facts: Mapping[str, str]
    notes: tuple[str, ...] = ()


def run_evaluation(setup: EvaluationSetup, engine: Engine, progress: Progress) -> Evaluation:
    """Count every block and add them up; the sums are the same whatever the blocks and the engine are.

    Parameters
    ----------
    setup
        What is compared.
    engine
        Runs the blocks.
    progress
        Advanced with every block.

    Raises
    ------
    InputError
        When no pixel has both a reference and a class in the map that are scored, or most have codes that the legend
        lacks.
    ReadError
        When a block fails.
    """
    domains: dict[str, Counts] = {}
    for _, found in gather(setup.job, engine, setup.job.blocks(), progress=progress):
        for domain, counts in found.items():
            domains[domain] = domains[domain] + counts if domain in domains else counts
    if not any(counts.pixels for counts in domains.values()):
        raise InputError(
            f"No pixel of {setup.facts['reference']} with a code lies on {setup.facts['compared']}: are both of one "
            "place, or are the labels all nodata there?"
        )
    found = Evaluation(
        legend=setup.legend,
        codes=setup.codes,
        domains=dict(sorted(domains.items())),
        facts=setup.facts,
        notes=setup.notes,
    )
    if 2 * sum(found.foreign.values()) > found.counts.pixels:
        raise InputError(
            f"{setup.facts['reference']} is of another legend, or a picture: of {found.counts.pixels:,} pixels on "
            f"the map most have codes that are no class of {setup.legend.name!r}: {foreign_text(found.foreign)}. A "
            "crosswalk brings its codes to that legend."
        )
    if not found.scores.confusion.any():
        listed = ", ".join(f"{code} {setup.legend.names[code]}" for code in setup.codes)
        raise InputError(
            f"Nothing is scored: of {found.counts.pixels:,} pixels of {setup.facts['reference']} none has both a "
            f"reference and a place in {setup.facts['compared']} of a class that is scored ({listed}), and the map has "
            f"no class on {found.counts.unmapped:,} of them."
        )
    return found
