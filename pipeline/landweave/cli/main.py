"""The ``landweave`` command: each verb loads a configuration, calls one public function and prints its result.

What takes seconds to import is imported when a verb is called, not to print a line of help.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import yaml
from rich.console import Console

import landweave
from landweave.cli import models
from landweave.core.errors import INTERRUPTED, TERMINATED, ConfigError, LandweaveError, Terminated
from landweave.core.yaml_text import load_yaml
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

ConfigPath = Annotated[Path, typer.Argument(help="A configuration file (YAML).", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Replace a value: --set output.store=out.zarr", metavar="KEY=VALUE")
]
Stale = Annotated[bool, typer.Option("--stale", help="Run blocks again whose files changed since.")]
KeepStale = Annotated[bool, typer.Option("--keep-stale", help="Keep such blocks, and call the output complete.")]
StorageOptions = Annotated[
    list[str] | None,
    typer.Option("--storage-option", help="Of the object store: endpoint=http://host:9000", metavar="KEY=VALUE"),
]


@app.command()
def check(config: ConfigPath, overrides: Overrides = None) -> None:
    """Show what a configuration comes to: its model, its grid, and how each input is read."""
    show(landweave.check(load(config, overrides)))


@app.command()
def plan(config: ConfigPath, overrides: Overrides = None, *, stale: Stale = False) -> None:
    """Show what a run would do, and its cost."""
    show(landweave.plan_map(load(config, overrides), stale=stale))


@app.command()
def run(
    config: ConfigPath, overrides: Overrides = None, *, stale: Stale = False, keep_stale: KeepStale = False
) -> None:
    """Make the map; run again to finish what failed or was interrupted."""
    loaded = load(config, overrides)
    finish(lambda: landweave.run(loaded, stale=stale, keep_stale=keep_stale, progress=progress_on(err)))


@app.command()
def align(
    config: ConfigPath,
    overrides: Overrides = None,
    *,
    stale: Stale = False,
    keep_stale: KeepStale = False,
    accept_missing: Annotated[
        bool, typer.Option("--accept-missing", help="Mark dates whose files are gone (404) as not acquired.")
    ] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Only show what would be done, and its cost.")] = False,
) -> None:
    """Bring satellite series onto the grid, into the cube; run again for new dates and what failed."""
    loaded = landweave.load_cube_config(config, overrides=parse_overrides(overrides))
    if plan_only:
        show(landweave.plan_align(loaded, stale=stale))
    else:
        work = partial(landweave.align, loaded, stale=stale, keep_stale=keep_stale, accept_missing=accept_missing)
        finish(lambda: work(progress=progress_on(err)))


Stored = Annotated[
    str, typer.Argument(help="Path or URL of a map or cube, or the configuration of a map.", show_default=False)
]


@app.command()
def status(store: Stored, storage_options: StorageOptions = None) -> None:
    """Show how far a map or a cube is, which blocks failed and why; of a configuration also which are stale."""
    show(landweave.status(found(store), parse_overrides(storage_options)))


@app.command()
def verify(store: Stored, storage_options: StorageOptions = None) -> None:
    """Reread every object of a map or a cube and compare it with the ledger; a run then repairs what is damaged."""
    finish(lambda: landweave.verify(found(store), parse_overrides(storage_options)))


@app.command()
def hectares(
    store: Annotated[
        str, typer.Argument(help="Path or URL of a map, or its configuration.", show_default=False, metavar="MAP")
    ],
    zones: Annotated[str, typer.Argument(help="Vector file of polygons, in any CRS.", show_default=False)],
    to: Annotated[list[Path], typer.Option(help="New file, .csv or .parquet; several may be named.")],
    layer: Annotated[str | None, typer.Option(help="Layer of the vector file, where it has several.")] = None,
    where: Annotated[str | None, typer.Option(help="SQL filter on its columns: --where \"code = '31'\".")] = None,
    storage_options: StorageOptions = None,
) -> None:
    """Count the hectares of each class in the zones of a vector file: communes, parcels, a basin."""
    options = parse_overrides(storage_options)
    areas = landweave.area_by_class(found(store), zones, to=to, layer=layer, where=where, storage_options=options)
    show("\n".join([*areas.attrs["notes"], *(f"wrote {path}: {len(areas):,} zones" for path in to)]))


def found(store: str) -> str | Config:
    """What was named: the place of a store, or a configuration."""
    return landweave.load_config(store) if store.endswith((".yaml", ".yml")) else store


from landweave.cli.publish import publish  # noqa: E402  they take options and helpers of this module
from landweave.cli.report import report  # noqa: E402
from landweave.cli.view import view  # noqa: E402

app.command()(publish)
app.command()(report)
app.command()(view)


@app.command()
def reference() -> None:
    """Print every key of a configuration, in Markdown: its values, its default, its meaning."""
    from landweave.config.reference import configuration_reference

    show(configuration_reference())


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where data and map go; an earlier demo is replaced.")] = Path(
        "out/demo"
    ),
) -> None:
    """Make a synthetic landscape, map it, and compare the map with the truth."""
    from landweave_demo import run_demo  # here alone: nothing else needs the demo

    report = run_demo(folder, progress=progress_on(err))
    show(report)
    raise typer.Exit(report.exit_code)


def load(path: Path, overrides: list[str] | None) -> Config:
    """The configuration with its replaced values."""
    return landweave.load_config(path, overrides=parse_overrides(overrides))


def parse_overrides(overrides: list[str] | None) -> dict[str, Any]:
    """The values of ``KEY=VALUE`` by key, each read as YAML."""
    return dict(_parse_override(text) for text in overrides or [])


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    advice = f"--set {text}: write it as KEY=VALUE, the value in YAML, such as output.store=out.zarr"
    if not key or not equals:
        raise ConfigError(f"{advice}.")
    try:
        return key, load_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"{advice}; {value!r} is not: {str(error).splitlines()[0]}.") from error


def finish(work: Callable[[], Any]) -> NoReturn:
    """Do ``work``, show its result and end the command with the result's exit code, or with that of an interrupt."""
    from landweave.jobs.runner import terminable  # takes a second, which the line of help need not wait for

    try:
        with terminable():
            result = work()
    except KeyboardInterrupt as stop:  # here, not in main: typer would end the program first, without a message
        err.print("landweave: interrupted; what is done is kept, run again to go on.")
        raise typer.Exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED) from None
    show(result)
    raise typer.Exit(result.exit_code)


def show(result: Any) -> None:
    """Print a result as it describes itself, unwrapped, so that it can be searched and compared."""
    out.print(str(result), markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    """The command: an error is one message, and each kind of end has an exit code."""
    # Where there is no terminal, progress goes to a log. Only to ours: Dask adds all its messages to a root logger
    # that is set up.
    log, handler = logging.getLogger("landweave"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    try:
        app()
    except LandweaveError as error:
        err.print(f"landweave: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(error.exit_code) from None
