"""The command ``landweave evaluate``: how right a map is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import landweave

if TYPE_CHECKING:
    from landweave.config.schema import EngineSection

Workers = Annotated[int | None, typer.Option("--workers", help="Local worker processes; this process by default.")]
Scheduler = Annotated[str | None, typer.Option("--scheduler", help="Address of a running Dask scheduler.")]
LeaveOut = Annotated[
    list[str] | None, typer.Option("--leave-out", help="Code or name of a class that is not scored; may be repeated.")
]
StorageOptions = Annotated[
    list[str] | None, typer.Option("--storage-option", help="Of the object store.", metavar="KEY=VALUE")
]


def engine_section(workers: int | None, scheduler: str | None) -> EngineSection | None:
    """The engine that the options name; None where they name none.

    Parameters
    ----------
    workers
        Local worker processes.
    scheduler
        Address of a running scheduler.
    """
    from landweave.config.schema import EngineSection

    return EngineSection(kind="dask", workers=workers, address=scheduler) if workers or scheduler else None


def evaluate(  # noqa: PLR0913  options of a command
    map_path: Annotated[str, typer.Argument(metavar="MAP", help="Path or URL of a map.", show_default=False)],
    labels: Annotated[
        list[str], typer.Argument(help="Label rasters, folders or globs; or a vector file.", show_default=False)
    ],
    *,
    leave_out: LeaveOut = None,
    column: Annotated[str | None, typer.Option("--column", help="Column of the polygons' classes.")] = None,
    layer: Annotated[str | None, typer.Option("--layer", help="Layer of the vector file.")] = None,
    band: Annotated[int, typer.Option("--band", help="Band of the label rasters, from 1.")] = 1,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for numbers (JSON, CSV), charts and a page.")
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    storage_options: StorageOptions = None,
) -> None:
    """Compare a map with labels: scores of its classes, calibration, seams."""
    from landweave.cli.main import err, parse_overrides, show  # which has registered this verb
    from landweave.jobs.progress import progress_on

    result = landweave.evaluate(
        map_path,
        landweave.Labels(files=labels, band=band, column=column, layer=layer),
        leave_out=leave_out or None,
        folder=folder,
        engine=engine_section(workers, scheduler),
        storage_options=parse_overrides(storage_options),
        progress=progress_on(err),
    )
    show(result)
