"""``landweave models``: each verb calls one public function and returns its result.

Functions that need torch are imported inside: it takes seconds to load.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from landweave.cli.output import Written, prints

app = typer.Typer(help="The models: list, show, inspect, export them, or describe your own.", no_args_is_help=True)

CardName = Annotated[str, typer.Argument(help="A card's name, or the path of one (.yaml).", show_default=False)]
WeightsOption = Annotated[Path | None, typer.Option(help="Weights' file; the card's by default.")]


@app.command("list")
@prints
def list_() -> Any:
    """List the cards that come with the package."""
    from landweave.models.catalog import list_models

    return list_models()


@app.command()
@prints
def show(name: CardName) -> Any:
    """Print a card."""
    from landweave.models.catalog import show_model

    return show_model(name)


@app.command()
@prints
def inspect(
    name: CardName,
    window: Annotated[int | None, typer.Option(help="Base pixels a side; the card's by default.")] = None,
    weights: WeightsOption = None,
    imagery: Annotated[
        Path | None, typer.Option(help="A run's configuration: compare two placements of windows over its imagery.")
    ] = None,
) -> Any:
    """Measure a model: parameters, operations, memory, strides, and receptive field."""
    from landweave.setup.model_tools import inspect_model

    return inspect_model(name, window=window, weights=weights, imagery=imagery)


@app.command()
@prints
def export(
    name: CardName,
    stac: Annotated[Path | None, typer.Option(help="Write a STAC item (.json).")] = None,
    program: Annotated[Path | None, typer.Option(help="Write a program of torch.export (.pt2), and its card.")] = None,
    onnx: Annotated[
        Path | None, typer.Option(help="Write an ONNX file (.onnx), for QGIS's plugin Deepness and others.")
    ] = None,
    weights: WeightsOption = None,
    bounds: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(help="West, south, east, north in degrees, for the STAC item.", metavar="W S E N"),
    ] = None,
) -> Any:
    """Write a model for others to find or to run."""
    from landweave.models.export import export_model

    return Written(*export_model(name, stac=stac, program=program, onnx=onnx, weights=weights, bounds=bounds))


@app.command()
@prints
def new(
    weights: Annotated[Path, typer.Argument(help="The trained weights.", show_default=False)],
    from_flair_config: Annotated[
        Path, typer.Option(help="The training's configuration: a YAML file, or a folder of them.", show_default=False)
    ],
    output: Annotated[Path | None, typer.Option(help="The new card; beside the weights by default.")] = None,
) -> Any:
    """Write the card of a model trained with the public FLAIR tools."""
    from landweave.models.flair_import.card_from_config import new_card

    return Written(new_card(from_flair_config, weights, output))


@app.command("import")
@prints
def import_(
    config: Annotated[Path, typer.Argument(help="The YAML file of a detection.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(help="The new configuration; beside the old one by the name of its output.")
    ] = None,
) -> Any:
    """Write the run of a detection of FLAIR-HUB's or FLAIR-1's tool, with what differs in comments."""
    from landweave.setup.zonal_import import import_zonal

    return Written(*import_zonal(config, output))
