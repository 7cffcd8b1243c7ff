"""The ``landweave`` command: each verb loads a configuration, calls one public function and returns its result.

What takes seconds to import is imported when a verb is called, not to print a line of help.
"""

from __future__ import annotations

import errno
import sys
from dataclasses import replace
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args

import typer

import landweave
from landweave.cli import change, evaluate, models, publish, report, view, worker
from landweave.cli.options import (
    Cluster,
    KeepStale,
    Overrides,
    Stale,
    StorageOptions,
    given_engine,
    parse_overrides,
    parse_storage_options,
    parse_store,
)
from landweave.cli.output import log_to_terminal, prints, progress, show_error, show_json_error, unprintable
from landweave.core.errors import ConfigError, LandweaveError
from landweave.models.engine_names import Engine

app = typer.Typer(
    name="landweave",
    help="Land cover of whole regions from aerial and satellite imagery.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"landweave {landweave.__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Land cover of whole regions from aerial and satellite imagery."""


ConfigPath = Annotated[Path, typer.Argument(help="A configuration file (YAML).", show_default=False)]


@app.command()
@prints
def check(config: ConfigPath, overrides: Overrides = None, cluster: Cluster = None) -> Any:
    """Show what a configuration comes to: its model, its grid, and how each input is read."""
    return landweave.check(load(config, overrides, cluster))


@app.command()
@prints
def plan(config: ConfigPath, overrides: Overrides = None, cluster: Cluster = None, *, stale: Stale = False) -> Any:
    """Show what a run would do, and its cost."""
    return landweave.plan_map(load(config, overrides, cluster), stale=stale)


@app.command()
@prints
def run(
    config: ConfigPath,
    overrides: Overrides = None,
    cluster: Cluster = None,
    *,
    stale: Stale = False,
    keep_stale: KeepStale = False,
) -> Any:
    """Make the map; run again to finish what failed or was interrupted."""
    return landweave.run(load(config, overrides, cluster), stale=stale, keep_stale=keep_stale, progress=progress())


@app.command()
@prints
def align(
    config: ConfigPath,
    overrides: Overrides = None,
    cluster: Cluster = None,
    *,
    stale: Stale = False,
    keep_stale: KeepStale = False,
    accept_missing: Annotated[
        bool, typer.Option("--accept-missing", help="Mark dates whose files are gone (404) as not acquired.")
    ] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Only show what would be done, and its cost.")] = False,
) -> Any:
    """Bring satellite series onto the grid, into the cube; run again for new dates and what failed."""
    loaded = landweave.load_cube_config(config, overrides=parse_overrides(overrides), cluster=cluster)
    if plan_only:
        return landweave.plan_align(loaded, stale=stale)
    return landweave.align(
        loaded, stale=stale, keep_stale=keep_stale, accept_missing=accept_missing, progress=progress()
    )


Stored = Annotated[
    str, typer.Argument(help="Path or URL of a map or cube, or the configuration of one.", show_default=False)
]


@app.command()
@prints
def status(
    store: Stored,
    storage_options: StorageOptions = None,
    *,
    picture: Annotated[Path | None, typer.Option(help="Draw the states of all blocks into a PNG file.")] = None,
    blocks: Annotated[bool, typer.Option("--blocks", help="Show every block as a character.")] = False,
) -> Any:
    """Show how far a map or a cube is, which blocks failed and why; of a configuration also which are stale."""
    found = landweave.status(parse_store(store), parse_storage_options(storage_options))
    if picture is not None:
        landweave.draw_status(found, picture)
    return replace(found, drawn=blocks)


@app.command()
@prints
def verify(store: Stored, storage_options: StorageOptions = None, cluster: Cluster = None) -> Any:
    """Reread every object of a map or a cube and compare it with the ledger; a run then repairs what is damaged."""
    return landweave.verify(parse_store(store), parse_storage_options(storage_options), engine=given_engine(cluster))


EngineName = StrEnum("EngineName", {name: name for name in get_args(Engine)})  # type: ignore[misc]
# Help lists commands in this order: a map, what is taken home of it, how right it is, then tools.
for after_the_map in (
    *(publish.publish, publish.hectares, report.report, view.view),
    *(evaluate.evaluate, evaluate.compare, change.change, evaluate.evaluate_model),
):
    app.command()(after_the_map)


@app.command()
@prints
def bench(  # noqa: PLR0913  options of a command
    card: models.CardName,
    *,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N; a GPU where there is one.")] = None,
    windows: Annotated[int, typer.Option(help="Windows to predict, after a first batch.", min=1)] = 32,
    size: Annotated[int | None, typer.Option(help="Base pixels a side of a window; the card's by default.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Windows in a batch; the card's by default.")] = None,
    torch_threads: Annotated[int | None, typer.Option(help="Threads of torch; 2 by default.")] = None,
    engine: Annotated[
        EngineName | None, typer.Option(help="What runs the network, as model.engine; eager by default.")
    ] = None,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Compute in bfloat16, where the device does.")] = False,
) -> Any:
    """Measure how many windows a second a model predicts here; plans give hours from it."""
    from landweave.setup.model_tools import bench_model

    given = {"device": device, "batch_size": batch_size, "torch_threads": torch_threads, "engine": engine}
    return bench_model(card, windows=windows, size=size, bfloat16=bfloat16, **given)


@app.command()
@prints
def reference() -> Any:
    """Print every key of a configuration, in Markdown: its values, its default, its meaning."""
    from landweave.config.reference import configuration_reference

    return configuration_reference()


@app.command()
@prints
def demo(
    folder: Annotated[Path, typer.Argument(help="Where data and map go; an earlier demo is replaced.")] = Path(
        "out/demo"
    ),
) -> Any:
    """Make a synthetic landscape, map it, and compare the map with the truth."""
    from landweave_demo import run_demo  # here alone: nothing else needs the demo

    return run_demo(folder, progress=progress())


app.command("worker", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(worker.worker)
app.add_typer(models.app, name="models")
app.add_typer(evaluate.app, name="sample")


def load(path: Path, overrides: list[str] | None, cluster: str | None) -> Any:
    """The configuration with its replaced values."""
    return landweave.load_config(path, overrides=parse_overrides(overrides), cluster=cluster)


def _check_process() -> None:
    """Refuse what libraries do not bear: zarr's assertions do work, and torch ends in a folder that was removed."""
    if sys.flags.optimize:
        raise ConfigError("Python runs with -O or PYTHONOPTIMIZE, and zarr then reads no store: leave it out.")
    try:
        Path.cwd()
    except OSError as error:
        raise ConfigError(f"The current folder is not there any more ({error.strerror}): change to another.") from error


def main() -> None:
    """The command: an error is one message, and each kind of end has an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name or a sign that the terminal cannot show is no error
            stream.reconfigure(errors="replace")
    log_to_terminal()
    try:
        _check_process()
        app()
    except SystemExit as end:
        if usage := getattr(end.__context__, "format_message", None):  # wrong arguments: no command began
            show_json_error("--json" in sys.argv, "UsageError", usage(), 2)
        raise
    except LandweaveError as error:
        _end(error)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _end(unprintable(error))  # a help or the version: commands have errors of their own


def _end(error: LandweaveError) -> NoReturn:
    show_error(error)
    raise SystemExit(error.exit_code) from None
