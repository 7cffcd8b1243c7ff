"""``landweave models``: each verb calls one public function and prints its answer.

What works with models is imported inside: it takes seconds to load.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The models: list, show, inspect, export them, or describe your own.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A card's name, or the path of one (.yaml).", show_default=False)]
Weights = Annotated[Path | None, typer.Option(help="Weights' file; the card's by default.")]


@app.command("list")
def list_() -> None:
    """List the cards that come with the package."""
    from landweave.setup import model_tools

    typer.echo(str(model_tools.list_models()))


@app.command()
def show(name: Name) -> None:
    """Print a card."""
    from landweave.setup import model_tools

    typer.echo(model_tools.show_model(name))


@app.command()
def inspect(
    name: Name,
    window: Annotated[int | None, typer.Option(help="Base pixels a side; the card's by default.")] = None,
    weights: Weights = None,
    imagery: Annotated[
        Path | None, typer.Option(help="A run's configuration: compare windows laid twice over its imagery.")
    ] = None,
) -> None:
    """Measure a model: parameters, operations, memory, strides, and how far it looks."""
    from landweave.setup import model_tools

    typer.echo(str(model_tools.inspect_model(name, window=window, weights=weights, imagery=imagery)))


@app.command()
def export(
    name: Name,
    stac: Annotated[Path | None, typer.Option(help="Write a STAC item (.json).")] = None,
    program: Annotated[Path | None, typer.Option(help="Write a program of torch.export (.pt2), and its card.")] = None,
    weights: Weights = None,
    bounds: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(help="West, south, east, north in degrees, for the STAC item.", metavar="W S E N"),
    ] = None,
) -> None:
    """Write a model for others to find or to run."""
    from landweave.setup import model_tools

    for path in model_tools.export_model(name, stac=stac, program=program, weights=weights, bounds=bounds):
        typer.echo(f"wrote {path}")


@app.command()
def new(
    weights: Annotated[Path, typer.Argument(help="What the training gave.", show_default=False)],
    from_flair_config: Annotated[
        Path, typer.Option(help="The training's configuration: a YAML file, or a folder of them.", show_default=False)
    ],
    output: Annotated[Path | None, typer.Option(help="The new card; beside the weights by default.")] = None,
) -> None:
    """Write the card of a model trained with the public FLAIR tools."""
    from landweave.setup import model_tools

    typer.echo(f"wrote {model_tools.new_card(from_flair_config, weights, output)}")
