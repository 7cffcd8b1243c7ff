"""``landweave report``: a map as one page that opens from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

import landweave
from landweave.cli.options import Cluster, StorageOptions, given_engine, parse_storage_options, parse_store
from landweave.cli.output import Written, prints, progress

What = Annotated[
    str,
    typer.Argument(help="A configuration, whose aerial picture is shown too, or path or URL of a map.", metavar="MAP"),
]


@prints
def report(  # noqa: PLR0913  options of a command
    what: What,
    to: Annotated[Path, typer.Option(help="The page, ending in .html; an earlier one is replaced.")],
    zones: Annotated[str | None, typer.Option(help="Vector file of zones whose areas are listed.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the vector file, where it has several.")] = None,
    where: Annotated[str | None, typer.Option(help="SQL filter on its columns: --where \"code = '31'\".")] = None,
    language: Annotated[str, typer.Option(help="Language that the page opens in: en or fr.")] = "en",
    cluster: Cluster = None,
    storage_options: StorageOptions = None,
) -> Any:
    """Write a map as one page that opens from disk, with no network: map, legend, areas, cost, provenance."""
    path = landweave.report(
        parse_store(what),
        to,
        zones=zones,
        layer=layer,
        where=where,
        language=cast(Any, language),
        storage_options=parse_storage_options(storage_options) or None,
        engine=given_engine(cluster),
        progress=progress(),
    )
    return Written(path, notes=(f"{path.stat().st_size / 1e6:.1f} MB",))
