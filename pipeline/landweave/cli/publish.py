"""``landweave publish``: a map as files for each dalle, with a catalog over them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

import landweave
from landweave.cli import main
from landweave.jobs.progress import progress_on

What = Annotated[
    str, typer.Argument(help="A configuration with a publish section, or path or URL of a map.", show_default=False)
]


def publish(  # noqa: PLR0913  an option each
    what: What,
    to: Annotated[str | None, typer.Option("--to", help="Folder or URL to publish to.", metavar="FOLDER")] = None,
    overrides: main.Overrides = None,
    storage_options: main.StorageOptions = None,
    *,
    is_partial: Annotated[bool, typer.Option("--partial", help="Publish a map that is not complete.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Make dalles again where the map was computed anew.")] = False,
    keep_stale: main.KeepStale = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Only show what would be done, and its cost.")] = False,
) -> None:
    """Publish a map dalle by dalle, COGs and a STAC catalog; run again to finish what failed or was interrupted."""
    settings: dict[str, Any] = {"to": to, "stale": stale, "partial": is_partial}
    given = main.parse_overrides(overrides)
    if what.endswith((".yaml", ".yml")):
        source: Any = landweave.load_config(what, overrides=given)
    else:
        source = what
        settings |= {key.removeprefix("publish."): value for key, value in given.items()}
    settings["storage_options"] = main.parse_overrides(storage_options) or None
    if plan_only:
        main.show(landweave.plan_publish(source, **settings))
    else:
        work = partial(landweave.publish, source, keep_stale=keep_stale, **settings)
        main.finish(lambda: work(progress=progress_on(main.err)))
