"""Options that several commands have, and what their texts come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from landweave.core.errors import ConfigError
from landweave.core.secrets import without_secrets
from landweave.core.yaml_text import load_yaml

if TYPE_CHECKING:
    from landweave.config.schema import EngineSection

Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Replace a value: --set output.store=out.zarr", metavar="KEY=VALUE")
]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="What runs it: local, local-gpus, slurm, kubernetes, gateway, address, a file like theirs, a scheduler "
        "(tcp://host:8786), or a number of workers on this machine."
    ),
]
Stale = Annotated[bool, typer.Option("--stale", help="Run blocks again whose files changed since.")]
KeepStale = Annotated[bool, typer.Option("--keep-stale", help="Keep such blocks, and call the output complete.")]
StorageOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option",
        help="Option of the object store: endpoint=http://host:9000; may be repeated.",
        metavar="KEY=VALUE",
    ),
]


def given_engine(cluster: str | None) -> EngineSection | None:
    """The engine of a command without a configuration; None where none is named."""
    from landweave.config.load import load_engine

    return load_engine(cluster) if cluster else None


def parse_store(store: str) -> Any:
    """What was named: the place of a store, or a configuration."""
    from landweave.config.load import load_any_config

    return load_any_config(store) if store.endswith((".yaml", ".yml")) else store


def parse_overrides(overrides: list[str] | None) -> dict[str, Any]:
    """The values of ``KEY=VALUE`` by key, each read as YAML."""
    return dict(_parse_override(text) for text in overrides or [])


def parse_storage_options(options: list[str] | None) -> dict[str, str | bool]:
    """The values of ``KEY=VALUE`` by key: text as it stands, whatever YAML would take a key or a token for, or a truth.

    >>> parse_storage_options(["account_key=0x1F==", "anonymous=true"])
    {'account_key': '0x1F==', 'anonymous': True}
    """
    given = {}
    for text in options or []:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ConfigError("--storage-option is written as KEY=VALUE, such as endpoint=http://host:9000.")
        given[key] = {"true": True, "false": False}.get(value.lower(), value)
    return given


def shown_arguments(arguments: Sequence[str]) -> str:
    """A command line as it may be kept: options of stores, settings of clusters and signatures of addresses left out.

    >>> shown_arguments(["status", "s3://b/m.zarr", "--storage-option", "token=8F3"])
    'status s3://b/m.zarr --storage-option token=…'
    """
    options = ("", *arguments)
    return without_secrets(" ".join(map(_shown_argument, options, arguments)))


def _shown_argument(option: str, argument: str) -> str:
    own, equals, rest = argument.partition("=")
    if equals and own in ("--storage-option", "--set"):
        return f"{own}={_shown_argument(own, rest)}"
    is_secret = option == "--storage-option" or not own or "storage_options" in argument or "settings" in argument
    if option == "--storage-option" and not equals:  # which is refused
        return "…"
    return f"{own}=…" if equals and is_secret else argument


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    advice = f"{key or 'A value to set'}: write it as KEY=VALUE, the value in YAML, such as output.store=out.zarr"
    if not key or not equals:
        raise ConfigError(f"{advice}.")
    try:
        return key, load_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"{advice}; its value is not: {str(error).splitlines()[0]}.") from error
