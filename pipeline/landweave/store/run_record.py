"""The figures of the last run of a map, a cube or a publication, as JSON beside it: ``landcover.zarr.run.json``."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from landweave.core.errors import LandweaveError, OutputError
from landweave.core.plain import as_plain, json_text
from landweave.store.objects import Target

RUN_RECORD = ".run.json"
"""Appended to the name of a map or cube."""


@dataclass(kw_only=True)
class RunRecord:
    """What is stored of a run.

    Attributes
    ----------
    command
        ``run``, ``align`` or ``publish``.
    result
        What it did, any record with plain fields; None until it has ended.
    """

    command: str
    result: Any = None


@contextmanager
def recorded_run(target: Target, command: str) -> Iterator[RunRecord]:
    """Store the figures of a run when it ends, with the error that ended it; a run with nothing to do leaves the last.

    Parameters
    ----------
    target
        Path or URL of the map or cube.
    command
        ``run``, ``align`` or ``publish``.
    """
    record, started = RunRecord(command=command), datetime.now(UTC)
    try:
        yield record
    except (LandweaveError, KeyboardInterrupt) as error:
        if getattr(error, "exit_code", None) != LandweaveError.exit_code:  # otherwise nothing was written
            _store(target, record, started, error)
        raise
    if record.result.ran:
        _store(target, record, started, None)


def last_run(target: Target) -> dict[str, Any]:
    """The figures of the last run of a map or cube; empty where there are none, or none that can be read."""
    folder, name = target.beside(RUN_RECORD)
    try:
        found = json.loads(folder.get(name) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _store(target: Target, record: RunRecord, started: datetime, error: BaseException | None) -> None:
    facts = {
        "command": record.command,
        "output": str(target),
        "host": platform.node(),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "error": f"{type(error).__name__}: {error}" if error else None,
        **(as_plain(record.result) or {}),
    }
    folder, name = target.beside(RUN_RECORD)
    try:
        folder.put(name, json_text(facts).encode())
    except OutputError as problem:  # the map is what counts
        logging.getLogger("landweave").warning("%s of %s cannot be stored: %s", name, folder, problem)
