"""What jobs have in common of `landweave.core.protocols.WorkerNeeds`: files that are read, an output that is shared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from landweave.core.errors import LandweaveError
from landweave.core.protocols import SourceFile
from landweave.jobs.lease import LEASE


def output_facts(target: Any) -> dict[str, str]:
    """Whether the lease of a run lies beside its output: a folder of that name on another machine has none.

    Parameters
    ----------
    target
        A `landweave.store.objects.Target`.
    """
    place, name = target.beside(LEASE)
    return {f"output {target}": "being written" if place.get(name) else "not being written"}


def output_problems(target: Any) -> Iterator[str]:
    """Why nothing can be written to an output; a small object is written and removed.

    Parameters
    ----------
    target
        A `landweave.store.objects.Target`.
    """
    try:
        target.check_writable()
    except LandweaveError as error:
        yield str(error)


def file_problems(files: Iterable[tuple[str, SourceFile]]) -> Iterator[str]:
    """Files that cannot be read here, each once; those on the web are asked for their version alone."""
    seen = set[str]()
    try:
        for modality, file in files:
            if file.location not in seen and "://" not in file.location and not file.location.startswith("/vsi"):
                seen.add(file.location)
                yield from _unreadable(modality, file.location)
    except LandweaveError as error:
        yield str(error)


def _unreadable(modality: str, location: str) -> Iterator[str]:
    path = Path(location)
    try:
        if path.is_dir():  # of a cube, whose objects are not files of their own
            next(path.iterdir(), None)
            return
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        yield f"{modality}: {location} cannot be read: {error.strerror or error}"
