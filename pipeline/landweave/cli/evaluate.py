"""The command ``landweave evaluate``: how right a map is."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

import landweave
from landweave.cli.options import Cluster, StorageOptions, given_engine, parse_storage_options, parse_store
from landweave.cli.output import prints, progress
from landweave.core.yaml_text import load_yaml_file

MapPath = Annotated[
    str, typer.Argument(help="Path or URL of a map, or its configuration.", show_default=False, metavar="MAP")
]
LeaveOut = Annotated[
    list[str] | None, typer.Option("--leave-out", help="Code or name of a class that is not scored; may be repeated.")
]
Column = Annotated[str | None, typer.Option("--column", help="Column of the polygons' classes.")]
Layer = Annotated[str | None, typer.Option("--layer", help="Layer of the vector file.")]
Folder = Annotated[Path | None, typer.Option("--out", help="Folder for numbers (JSON, CSV), charts and a page.")]


@prints
def evaluate(  # noqa: PLR0913  options of a command
    map_path: MapPath,
    labels: Annotated[
        list[str], typer.Argument(help="Label rasters, folders or globs; or vector files.", show_default=False)
    ],
    *,
    leave_out: LeaveOut = None,
    column: Column = None,
    layer: Layer = None,
    band: Annotated[int, typer.Option("--band", help="Band of the label rasters, from 1.")] = 1,
    folder: Folder = None,
    cluster: Cluster = None,
    storage_options: StorageOptions = None,
) -> Any:
    """Compare a map with labels: scores of its classes, calibration, seams."""
    return landweave.evaluate(
        parse_store(map_path),
        landweave.Labels(files=labels, band=band, column=column, layer=layer),
        leave_out=leave_out or None,
        folder=folder,
        storage_options=parse_storage_options(storage_options),
        engine=given_engine(cluster),
        progress=progress(),
    )


@prints
def evaluate_model(  # noqa: PLR0913  options of a command
    model: Annotated[str, typer.Argument(help="A card's name or path, or a configuration (YAML) whose model is used.")],
    dataset: Annotated[Path, typer.Argument(help="Folder of FLAIR-HUB, FLAIR#1 or FLAIR#2.", show_default=False)],
    *,
    weights: Annotated[Path | None, typer.Option("--weights", help="Weights' file; the card's by default.")] = None,
    split: Annotated[str, typer.Option("--split", help="test, train or all.")] = "test",
    domain: Annotated[
        list[str] | None, typer.Option("--domain", help="A domain instead of a split; may be repeated.")
    ] = None,
    training_domains: Annotated[
        bool, typer.Option("--training-domains", help="Allow domains that models were trained on.")
    ] = False,
    leave_out: LeaveOut = None,
    folder: Folder = None,
    cluster: Cluster = None,
) -> Any:
    """Map a dataset's regions with a model and compare them with its labels: scores of the whole and by domain."""
    # Both are YAML; only a configuration has a section for the model. What is no file is refused as a card.
    path = Path(model)
    is_config = path.is_file() and "model" in _keys(path)
    patches = landweave.open_patches(dataset, split=split, domains=domain or (), training_domains=training_domains)
    return landweave.evaluate_model(
        landweave.load_config(model) if is_config else model,
        patches,
        weights=weights,
        leave_out=leave_out or None,
        folder=folder,
        engine=given_engine(cluster),
        progress=progress(),
    )


def _keys(path: Path) -> Collection[str]:
    """Keys of a YAML file; none where it is something else."""
    try:
        content = load_yaml_file(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ()
    return content if isinstance(content, dict) else ()


@prints
def compare(  # noqa: PLR0913  options of a command
    map_path: MapPath,
    other: Annotated[str, typer.Argument(help="The other product: rasters, or a vector file.", show_default=False)],
    *,
    crosswalk: Annotated[
        str | None, typer.Option("--crosswalk", help="Of the map's classes to the common legend: a name, or a file.")
    ] = None,
    other_crosswalk: Annotated[
        str | None, typer.Option("--other-crosswalk", help="Of the other's codes to the common legend.")
    ] = None,
    column: Column = None,
    layer: Layer = None,
    leave_out: LeaveOut = None,
    folder: Folder = None,
    cluster: Cluster = None,
    storage_options: StorageOptions = None,
) -> Any:
    """Compare a map with another product (OSO, WorldCover, OCS GE), a raster on its own pixels."""
    return landweave.compare(
        parse_store(map_path),
        landweave.Labels(files=other, column=column, layer=layer, crosswalk=other_crosswalk),
        crosswalk=crosswalk,
        leave_out=leave_out or None,
        folder=folder,
        storage_options=parse_storage_options(storage_options),
        engine=given_engine(cluster),
        progress=progress(),
    )


app = typer.Typer(help="Hectares with intervals, from a sample that people interpret.", no_args_is_help=True)


@app.command()
@prints
def draw(  # noqa: PLR0913  options of a command
    map_path: MapPath,
    path: Annotated[str, typer.Argument(help="GeoPackage to write (.gpkg), or its URL.", show_default=False)],
    *,
    size: Annotated[int, typer.Option("--size", help="Points in all.")] = 1000,
    minimum: Annotated[int, typer.Option("--minimum", help="Points of each class at least.")] = 50,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same points.")] = 0,
    images: Annotated[
        list[str] | None, typer.Option("--images", help="Files that pictures around the points are cut from.")
    ] = None,
    bands: Annotated[tuple[int, int, int], typer.Option("--bands", help="Their bands shown as red, green, blue.")] = (
        1,
        2,
        3,
    ),
    cluster: Cluster = None,
    storage_options: StorageOptions = None,
) -> Any:
    """Draw a stratified random sample of a map, for photo-interpreters."""
    written = landweave.draw_sample(
        parse_store(map_path),
        path,
        rule=landweave.SamplingRule(size=size, minimum=minimum, seed=seed),
        images=landweave.ChipImages(files=images, bands=bands) if images else None,
        storage_options=parse_storage_options(storage_options),
        engine=given_engine(cluster),
        progress=progress(),
    )
    return f"{written}: fill the column reference, then: landweave sample areas {written}"


@app.command()
@prints
def areas(
    path: Annotated[str, typer.Argument(help="The GeoPackage with its references, or its URL.", show_default=False)],
    *,
    accept_missing: Annotated[
        bool, typer.Option("--accept-missing", help="Leave out points without a reference.")
    ] = False,
    storage_options: StorageOptions = None,
) -> Any:
    """Show hectares, user's and producer's accuracy with 95 % intervals."""
    return landweave.estimate_areas(
        path, accept_missing=accept_missing, storage_options=parse_storage_options(storage_options)
    )
