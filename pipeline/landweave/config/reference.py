"""Every key of a configuration in Markdown, read off the schema: its section, values, default and meaning."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from landweave.config.schema import Config, Section

_HEAD = """\
# Configuration

Every key of a configuration (YAML), as `landweave reference` prints them. Relative paths count from the folder of the
file; `--set KEY=VALUE` replaces a value, as in `--set output.store=out.zarr`. Unknown keys are refused. NAME is a name
that you give: of a modality below `inputs`, of a band below `bands`. `area`, `cube`, `windows` and `engine` may be left
out; `landweave align` needs neither `model` nor `output`.
"""

_WORDS = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`", NoneType: ""}
_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most"}


def configuration_reference() -> str:
    """The reference of all keys, in Markdown; ``docs/configuration.md`` holds it."""
    sections = dict.fromkeys(_sections("", Config))  # a section below several kinds of input is shown once
    return "\n".join([_HEAD, *sections]).rstrip("\n")


def _sections(path: str, section: type[Section]) -> Iterator[str]:
    """A heading and a table for a section, and for each of those in it."""
    fields = {name: field for name, field in section.model_fields.items() if not field.exclude}
    if path:
        (kind,) = get_args(fields["kind"].annotation) if path == "inputs.NAME" else ("",)
        heading = f"## {path}{f', kind: {kind}' if kind else ''}"
        table = ["| key | values | default | meaning |", "|---|---|---|---|", *map(_row, fields, fields.values())]
        yield "\n".join([heading, "", str(inspect.getdoc(section)).splitlines()[0], "", *table, ""])
    for name, field in fields.items():
        for below, inner in _sections_in(field.annotation):
            yield from _sections(f"{path}.{name}{below}".lstrip("."), inner)


def _sections_in(annotation: Any) -> Iterator[tuple[str, type[Section]]]:
    """The sections that a value may be, each with what stands between its key and theirs."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield "", annotation
    name = ".NAME" if get_origin(annotation) is dict else ""
    for argument in get_args(annotation):
        yield from ((f"{name}{below}", inner) for below, inner in _sections_in(argument))


def _row(name: str, field: FieldInfo) -> str:
    limits = [
        f"{words} {getattr(each, limit):g}"
        for each in field.metadata
        for limit, words in _LIMITS.items()
        if hasattr(each, limit)
    ]
    values = ", ".join(filter(None, [_values(field.annotation), *limits]))
    meaning = " ".join(str(field.description).split()).replace("|", "\\|")  # a row is one line
    return f"| `{name}` | {values} | {_default(field)} | {meaning} |"


def _values(annotation: Any) -> str:
    """The values that a key takes, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "keys of its own (below)"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{each.value}`" for each in annotation)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if origin is Annotated:
        return _values(arguments[0])
    if set(arguments) == {float, str}:
        return 'number, or a fraction such as `"1/3"`'
    if origin is dict:
        return "sections by name (below)" if any(_sections_in(annotation)) else "values by name"
    if origin is tuple:
        several = Ellipsis in arguments
        return f"list of {_values(arguments[0])}" if several else f"{len(arguments)} times: {_values(arguments[0])}"
    return " or ".join(dict.fromkeys(filter(None, map(_values, arguments))))


def _default(field: FieldInfo) -> str:
    default = field.default
    if field.is_required():
        return "required"
    if isinstance(default, Enum):
        default = default.value
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return ", ".join(f"`{each}`" for each in default)
    return f"`{default}`" if isinstance(default, str | int | float) else ""
