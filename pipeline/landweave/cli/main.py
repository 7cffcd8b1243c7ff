"""The ``landweave`` command: each verb loads a configuration, calls one public function and prints its answer.

What takes seconds to load is loaded when a verb is called, not to print a line of help.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
import yaml
from rich.console import Console

import landweave
from landweave.cli import models
from landweave.core.errors import INTERRUPTED, ConfigError, LandweaveError
from landweave.jobs.progress import progress_on

if TYPE_CHECKING:
    from landweave.config.schema import Config

app = typer.Typer(
    name="landweave",
    help="Land cover of whole regions from aerial and satellite imagery.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(models.app, name="models")
out, err = Console(), Console(stderr=True)

T = TypeVar("T")
ConfigPath = Annotated[Path, typer.Argument(help="A configuration file (YAML).", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Replace a value: --set output.store=out.zarr", metavar="KEY=VALUE")
]
Stale = Annotated[bool, typer.Option("--stale", help="Run blocks again whose scenes changed since.")]


@app.command()
def check(config: ConfigPath, overrides: Overrides = None) -> None:
    """Say whether a configuration can be carried out, and how its inputs lie on the grid."""
    say(landweave.check(load(config, overrides)))


@app.command()
def plan(config: ConfigPath, overrides: Overrides = None, *, stale: Stale = False) -> None:
    """Say what a run would do, and its price."""
    say(landweave.plan_map(load(config, overrides), stale=stale))


@app.command()
def run(config: ConfigPath, overrides: Overrides = None, *, stale: Stale = False) -> None:
    """Make the map; run again to finish what failed or was interrupted."""
    asked = load(config, overrides)
    summary = until_interrupted(lambda: landweave.run(asked, stale=stale, progress=progress_on(err)))
    say(summary)
    raise typer.Exit(summary.exit_code)


@app.command()
def align(
    config: ConfigPath,
    overrides: Overrides = None,
    *,
    stale: Stale = False,
    dry: Annotated[bool, typer.Option("--plan", help="Only say what it would do, and its price.")] = False,
) -> None:
    """Bring satellite series onto the grid, into the cube; run again for new dates and what failed."""
    asked = landweave.load_cube_config(config, overrides=replaced(overrides))
    if dry:
        return say(landweave.plan_align(asked, stale=stale))
    done = until_interrupted(lambda: landweave.align(asked, stale=stale, progress=progress_on(err)))
    say(done)
    raise typer.Exit(done.exit_code)


@app.command()
def status(store: Annotated[str, typer.Argument(help="A map's or cube's path or URL.", show_default=False)]) -> None:
    """Say how far a map or a cube is, and which blocks failed and why."""
    say(landweave.status(store))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the scene and its map go; replaced if an earlier demo.")] = Path(
        "out/demo"
    ),
) -> None:
    """Make a scene, map it, and compare the map with the truth."""
    from landweave_demo.show import run_demo  # only here is a scene made

    report = run_demo(folder, progress=progress_on(err))
    say(report)
    raise typer.Exit(report.summary.exit_code)


def load(path: Path, overrides: list[str] | None) -> Config:
    """The configuration with its replaced values."""
    return landweave.load_config(path, overrides=replaced(overrides))


def replaced(overrides: list[str] | None) -> dict[str, Any]:
    """Values of ``KEY=VALUE`` by key, each read as YAML."""
    return dict(_replaced(text) for text in overrides or [])


def _replaced(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    wanted = f"--set {text}: write it as KEY=VALUE, the value in YAML, such as output.store=out.zarr"
    if not key or not equals:
        raise ConfigError(f"{wanted}.")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"{wanted}; {value!r} is not: {str(error).splitlines()[0]}.") from error


def until_interrupted(work: Callable[[], T]) -> T:
    """What ``work`` answers; an interrupted one ends the command with its own exit code."""
    try:
        return work()
    except KeyboardInterrupt:  # here, not in main: typer would end the program first, in silence
        err.print("landweave: interrupted; what is done is kept, run again to go on.")
        raise typer.Exit(INTERRUPTED) from None


def say(answer: Any) -> None:
    """Print an answer as it describes itself, unwrapped, so that it can be searched and compared."""
    out.print(str(answer), markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    """The command, with errors told in one message and an exit code for each kind of end."""
    # What a progress bar tells on a terminal goes to a log elsewhere. Ours alone: on a root logger that is set up,
    # Dask hangs all it has to say.
    log, handler = logging.getLogger("landweave"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    try:
        app()
    except LandweaveError as error:
        err.print(f"landweave: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(error.exit_code) from None
