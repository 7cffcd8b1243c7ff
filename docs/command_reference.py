"""The reference of commands in Markdown, read off the application: what each does, its arguments and options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer.main

from landweave.cli.main import app

_OF_ALL = {"--json", "-q, --quiet", "--quiet, -q", "--log-file", "--help"}
"""Options that every command has: the text above the reference says what they do."""


def command_reference() -> str:
    """Return a section for each command, in the order in which ``landweave --help`` lists them."""
    return "\n".join(_sections("landweave", typer.main.get_command(app)))


def _sections(name: str, command: Any) -> Iterator[str]:
    below = {key: each for key, each in getattr(command, "commands", {}).items() if not each.hidden}
    for key, each in below.items():
        yield from _sections(f"{name} {key}", each)
    if below:
        return
    context = command.context_class(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield from (f"## {name}", "", inspect.cleandoc(command.help or ""), "", "```text", usage, "```", "")
    records = [each.get_help_record(context) for each in command.params]
    rows = [(left, text) for left, text in filter(None, records) if not left.startswith(tuple(_OF_ALL))]
    if rows:
        yield from ("| argument or option | meaning |", "|---|---|")
        yield from (f"| `{left}` | {_cell(text)} |" for left, text in rows)
        yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
