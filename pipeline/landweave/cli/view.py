"""``landweave view``: a map at any zoom in a browser on this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import landweave
from landweave.cli.options import StorageOptions, parse_storage_options, parse_store
from landweave.cli.output import prints, show

What = Annotated[
    str,
    typer.Argument(
        help="A configuration, path or URL of a map, or a published folder.", show_default=False, metavar="MAP"
    ),
]


@prints
def view(what: What, storage_options: StorageOptions = None) -> Any:
    """Show a map in a browser at any zoom, a run in progress too; Ctrl-C ends it."""
    landweave.view(
        parse_store(what),
        storage_options=parse_storage_options(storage_options) or None,
        ready=lambda url: show(f"open {url} in a browser on this machine; Ctrl-C ends it"),
    )
    return "ended"
