"""The command ``landweave change``: what changed between two maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import landweave
from landweave.cli.options import Cluster, StorageOptions, given_engine, parse_storage_options, parse_store
from landweave.cli.output import prints, progress
from landweave.core.errors import ConfigError


@prints
def change(  # noqa: PLR0913  options of a command
    before: Annotated[str, typer.Argument(help="Path or URL of a map, or its configuration.", show_default=False)],
    after: Annotated[str, typer.Argument(help="The same of a later map, or of another model's.", show_default=False)],
    *,
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", help="Least confidence of both maps, 0 to 1.")
    ] = 0.0,
    min_area: Annotated[float, typer.Option("--min-area", help="Least area of a patch, in m2.")] = 0.0,
    crosswalks: Annotated[
        tuple[str, str] | None, typer.Option("--crosswalks", help="To a common legend: of the first, of the second.")
    ] = None,
    same_ground: Annotated[
        tuple[str, str] | None,
        typer.Option("--same-ground", help="Two maps of the same ground, for the false change rate."),
    ] = None,
    zones: Annotated[
        str | None, typer.Option("--zones", help="Vector file: hectares of each transition in each of its polygons.")
    ] = None,
    layer: Annotated[str | None, typer.Option("--layer", help="Layer of the zones' file.")] = None,
    where: Annotated[str | None, typer.Option("--where", help="SQL filter on the columns of the zones.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for numbers, zones, COGs, polygons and a page.")
    ] = None,
    cluster: Cluster = None,
    storage_options: StorageOptions = None,
) -> Any:
    """Compare two maps on one lattice: transitions, kept by confidence and area."""
    if zones and folder is None:
        raise ConfigError("Hectares by zone are written as files: name a folder for them (--out).")
    rule = landweave.ChangeRule(
        min_confidence=min_confidence, min_area_m2=min_area, crosswalks=crosswalks or (None, None)
    )
    return landweave.change(
        parse_store(before),
        parse_store(after),
        rule=rule,
        same_ground=same_ground and (parse_store(same_ground[0]), parse_store(same_ground[1])),
        zones=zones,
        layer=layer,
        where=where,
        folder=folder,
        storage_options=parse_storage_options(storage_options),
        engine=given_engine(cluster),
        progress=progress(),
    )
