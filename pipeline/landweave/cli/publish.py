"""``landweave publish`` and ``landweave hectares``: what is taken home of a map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import landweave
from landweave.cli.options import (
    Cluster,
    KeepStale,
    Overrides,
    StorageOptions,
    given_engine,
    parse_overrides,
    parse_storage_options,
    parse_store,
)
from landweave.cli.output import Written, prints, progress

What = Annotated[
    str, typer.Argument(help="A configuration with a publish section, or path or URL of a map.", show_default=False)
]


@prints
def publish(  # noqa: PLR0913  an option each
    what: What,
    to: Annotated[str | None, typer.Option("--to", help="Folder or URL to publish to.", metavar="FOLDER")] = None,
    overrides: Overrides = None,
    storage_options: StorageOptions = None,
    cluster: Cluster = None,
    *,
    is_partial: Annotated[bool, typer.Option("--partial", help="Publish a map that is not complete.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Make dalles again where the map was computed anew.")] = False,
    keep_stale: KeepStale = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Only show what would be done, and its cost.")] = False,
) -> Any:
    """Publish a map dalle by dalle, COGs and a STAC catalog; run again to finish what failed or was interrupted."""
    from landweave.setup.publish_setup import publish_keys

    settings: dict[str, Any] = {"to": to, "stale": stale, "partial": is_partial}
    given = parse_overrides(overrides)
    if what.endswith((".yaml", ".yml")):
        source: Any = landweave.load_config(what, overrides=given, cluster=cluster)
    else:
        source = what
        settings |= publish_keys(given)
    settings["storage_options"] = parse_storage_options(storage_options) or None
    if plan_only:
        return landweave.plan_publish(source, **settings)
    engine = given_engine(cluster) if source is what else None  # a configuration has it
    return landweave.publish(source, engine=engine, keep_stale=keep_stale, progress=progress(), **settings)


@prints
def hectares(
    store: Annotated[
        str, typer.Argument(help="Path or URL of a map, or its configuration.", show_default=False, metavar="MAP")
    ],
    zones: Annotated[str, typer.Argument(help="Vector file of polygons, in any CRS.", show_default=False)],
    to: Annotated[list[Path], typer.Option(help="New file, .csv or .parquet; several may be named.")],
    layer: Annotated[str | None, typer.Option(help="Layer of the vector file, where it has several.")] = None,
    where: Annotated[str | None, typer.Option(help="SQL filter on its columns: --where \"code = '31'\".")] = None,
    cluster: Cluster = None,
    storage_options: StorageOptions = None,
) -> Any:
    """Count the hectares of each class in the zones of a vector file: communes, parcels, a basin."""
    areas = landweave.area_by_class(
        parse_store(store),
        zones,
        to=to,
        layer=layer,
        where=where,
        storage_options=parse_storage_options(storage_options),
        engine=given_engine(cluster),
        progress=progress(),
    )
    return Written(*to, notes=(*areas.attrs["notes"], f"{len(areas):,} zones"))
