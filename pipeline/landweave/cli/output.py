"""What every command does with its result: printed as text or JSON, its exit code, and what is said meanwhile."""

from __future__ import annotations

import errno
import functools
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.console import Console

from landweave.cli.options import shown_arguments
from landweave.core.consoles import error_console
from landweave.core.errors import (
    EXIT_FAILED_BLOCKS,
    INTERRUPTED,
    ConfigError,
    InputError,
    LandweaveError,
    OutputError,
    Terminated,
)
from landweave.core.plain import json_text

if TYPE_CHECKING:
    from landweave.jobs.progress import Progress

out, err = Console(), error_console()

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, an error too.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors; with --json, only the result.")]
LogFile = Annotated[
    Path | None, typer.Option("--log-file", help="Append what is said, with the time, to a file as well.")
]

_LOG = logging.getLogger("landweave")
_FILE_ONLY = "landweave.command"
"""Logger of what the terminal shows anyway: the command, its result, its error."""


class Written:
    """The files that a command wrote, and what a person should know of them."""

    def __init__(self, *paths: Path, notes: Sequence[str] = ()) -> None:
        self.plain: dict[str, Sequence[object]] = {"written": paths, "notes": notes}

    def __str__(self) -> str:
        return "\n".join([*map(str, self.plain["notes"]), *(f"wrote {path}" for path in self.plain["written"])])


def prints(function: Callable[..., Any]) -> Callable[..., None]:
    """A command that prints what ``function`` returns and ends with the exit code of it.

    It has the options ``--json``, ``--quiet`` and ``--log-file`` beside those of ``function``. Ctrl-C, SIGTERM and
    SIGHUP end it with one line.
    """

    @functools.wraps(function)
    def command(
        *args: Any, as_json: bool = False, quiet: bool = False, log_file: Path | None = None, **kw: Any
    ) -> None:
        with _errors_as_json(as_json), _said(quiet, log_file):
            result = _result(functools.partial(function, *args, **kw))
            logging.getLogger(_FILE_ONLY).info("%s", result)
        if as_json or not quiet:
            show(_as_json(result) if as_json else result)
        if code := getattr(result, "exit_code", 0):
            raise typer.Exit(code)

    own = inspect.signature(function)
    hints = get_type_hints(function, include_extras=True)
    added = {"as_json": (AsJson, False), "quiet": (Quiet, False), "log_file": (LogFile, None)}
    parameters = [each.replace(annotation=hints[each.name]) for each in own.parameters.values()]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in added.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def progress() -> Progress:
    """The progress of the command that runs: a bar on a terminal, lines in a log elsewhere; nothing where quiet."""
    from landweave.jobs.progress import LogProgress, SilentProgress, progress_on  # and numbers with it: half a second

    if any(isinstance(handler, logging.FileHandler) for handler in _LOG.handlers):
        return LogProgress()
    return SilentProgress() if err.quiet else progress_on(err)


def show(result: Any) -> None:
    """Print a result as it describes itself, unwrapped, so that it can be searched and compared."""
    try:
        out.print(str(result), markup=False, highlight=False, soft_wrap=True)
        out.file.flush()
    except BrokenPipeError:  # who reads it has enough
        raise
    except OSError as error:
        raise unprintable(error) from error


def unprintable(error: OSError) -> OutputError:
    """The error of a command whose output takes no more, as a file on a full disk; what waits to be printed is dropped.

    Parameters
    ----------
    error
        Of the write.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.file.fileno())  # else the rest is tried again at the end
    problem = OutputError(f"The command has ended, and its result cannot be printed: {error.strerror}.")
    problem.exit_code = EXIT_FAILED_BLOCKS
    return problem


def _as_json(value: Any) -> str:
    """JSON whose signs are those of a person, or escaped where the output has no such signs."""
    text = json_text(value)
    try:
        text.encode(getattr(out.file, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), indent=2)
    return text


def show_error(error: LandweaveError) -> None:
    """Print an error, on the error stream."""
    err.print(f"landweave: {error}", style="red", markup=False, highlight=False, soft_wrap=True)


def log_to_terminal() -> None:
    """Let the log of the package go to the error stream, but for what is printed there anyway.

    Only ours: Dask adds all its messages to a root logger that is set up.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    handler.addFilter(lambda record: record.name != _FILE_ONLY)
    _LOG.handlers = [handler]
    _LOG.setLevel(logging.INFO)


@contextmanager
def _errors_as_json(as_json: bool) -> Iterator[None]:
    """Print what ends a command early as JSON, too, before it does: the output of ``--json`` is always one document."""
    try:
        yield
    except typer.Exit as end:
        show_json_error(as_json, "Interrupted", "interrupted; what is done is kept, run again to go on", end.exit_code)
        raise
    except Exception as error:
        show_json_error(as_json, type(error).__name__, str(error), getattr(error, "exit_code", 1))
        raise


def show_json_error(as_json: bool, kind: str, message: str, exit_code: int) -> None:
    """Print an error as JSON where the result would be.

    Parameters
    ----------
    as_json
        Whether JSON is wanted.
    kind, message, exit_code
        Of the error.
    """
    if as_json:
        with suppress(OutputError):  # the first error is the one that counts
            show(_as_json({"error": {"type": kind, "message": message, "exit_code": exit_code}}))


def _result(function: Callable[[], Any]) -> Any:
    from landweave.jobs.runner import terminable  # takes a second, which the line of help need not wait for

    try:
        with terminable():
            return function()
    except KeyboardInterrupt as stop:  # here, not in main: typer would end the program first, without a message
        _show_plainly("landweave: interrupted; what is done is kept, run again to go on.")
        raise typer.Exit(stop.exit_code if isinstance(stop, Terminated) else INTERRUPTED) from None
    except LandweaveError as error:
        logging.getLogger(_FILE_ONLY).error("%s: %s", type(error).__name__, error)
        raise
    except PermissionError as error:  # of any file or folder: whether it is there is not known either
        if error.filename is None:
            raise
        problem = InputError(f"{error.filename} cannot be read or entered by this user: {error.strerror}.")
        logging.getLogger(_FILE_ONLY).error("InputError: %s", problem)
        raise problem from error
    except OSError as error:  # of a library that writes a file of its own
        if error.errno != errno.ENOSPC:
            raise
        raise OutputError(f"The command ended early: {error.filename or 'a disk'} is full.") from error


def _show_plainly(line: str) -> None:
    logging.getLogger(_FILE_ONLY).error("%s", line)
    quiet, err.quiet = err.quiet, False
    err.print(line)
    err.quiet = quiet


@contextmanager
def _said(quiet: bool, log_file: Path | None) -> Iterator[None]:
    """Set what is said while a command runs, and where."""
    handlers, err.quiet = list(_LOG.handlers), quiet
    for handler in handlers:
        handler.setLevel(logging.ERROR if quiet else logging.NOTSET)
    try:
        if log_file is not None:
            _LOG.addHandler(_file_handler(log_file))
            logging.getLogger(_FILE_ONLY).info("landweave %s", shown_arguments(sys.argv[1:]))
        yield
    finally:
        for handler in set(_LOG.handlers) - set(handlers):
            _LOG.removeHandler(handler)
            handler.close()
        err.quiet = False


class _LogFile(logging.FileHandler):
    """A log whose disk may become full: that is said once, and the command goes on without it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  as the library calls it
        """See `logging.Handler`."""
        _LOG.removeHandler(self)
        err.print(f"--log-file {self.baseFilename} ends early: {sys.exc_info()[1]}", markup=False, soft_wrap=True)
        self.close()

    def close(self) -> None:
        """See `logging.Handler`."""
        with suppress(OSError):
            super().close()


def _file_handler(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"--log-file {path} cannot be written: {error.strerror}.") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler
