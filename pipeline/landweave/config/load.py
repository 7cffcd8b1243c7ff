"""Configurations from YAML files: read, values replaced, paths counted from the file's own folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from landweave.config.problems import problem_lines
from landweave.config.schema import Config, CubeConfig, EngineSection, known_keys
from landweave.core.errors import ConfigError
from landweave.core.secrets import without_secrets
from landweave.core.words import bullets, content_kind
from landweave.core.yaml_text import load_yaml_file

C = TypeVar("C", bound=CubeConfig)


def load_config(
    path: str | Path, *, overrides: Mapping[str, Any] | None = None, cluster: str | Path | None = None
) -> Config:
    """The configuration in a YAML file.

    Parameters
    ----------
    path
        The file; relative paths in it count from its folder.
    cluster
        What runs it, in place of its own engine: ``local``, ``slurm``, … (files in ``configs/clusters/``), a file like
        these, the address of a scheduler, or a number of worker processes on this machine.
    overrides
        Values by dotted key, such as ``{"output.store": "out.zarr"}``, that replace those of the file.

    Raises
    ------
    ConfigError
        With every problem, each with its key and what is allowed.

    Examples
    --------
    >>> from pathlib import Path
    >>> images = {"AERIAL_RGBI": {"kind": "mosaic", "bands": {"R": {"files": "rvb"}}}}
    >>> content = {"grid": {"crs": "EPSG:2154"}, "inputs": images, "model": {"card": "LC-A"}}
    >>> _ = Path("mine.yaml").write_text(str(content))  # YAML takes it as it is
    >>> load_config("mine.yaml", overrides={"output.store": "out.zarr"}).model.card
    'LC-A'
    """
    return _loaded(Config, Path(path), _cluster_overrides(path, cluster) | dict(overrides or {}))


def load_cube_config(
    path: str | Path, *, overrides: Mapping[str, Any] | None = None, cluster: str | Path | None = None
) -> CubeConfig:
    """What `landweave.align` needs of the configuration in a YAML file: it may have no model and no output.

    Parameters
    ----------
    path, overrides, cluster
        As for `load_config`.

    Raises
    ------
    ConfigError
        As `load_config`.

    Examples
    --------
    >>> load_cube_config("valley.yaml").cube.store
    'cube.zarr'
    """
    return _loaded(CubeConfig, Path(path), _cluster_overrides(path, cluster) | dict(overrides or {}))


_PLACE_OF_WORKERS = ("kind", "workers", "address", "cluster", "memory_gib")
"""Keys of an engine that go together."""


def _cluster_overrides(path: str | Path, cluster: str | Path | None) -> dict[str, Any]:
    """The engine that a cluster names, by dotted key; what it leaves out of `_PLACE_OF_WORKERS` is reset."""
    if cluster is None:
        return {}
    own = _content(Path(path)).get("engine")
    kept = own if isinstance(own, dict) else {}
    return {"engine": {key: value for key, value in kept.items() if key not in _PLACE_OF_WORKERS} | _engine(cluster)}


def load_engine(cluster: str | Path) -> EngineSection:
    """What runs the blocks of a command that has no configuration.

    Parameters
    ----------
    cluster
        ``local``, ``slurm``, ... (files in ``configs/clusters/``), a file like these, the address of a scheduler
        (``tcp://host:8786``), or a number of worker processes on this machine.

    Raises
    ------
    ConfigError
        When it is none of these, or the file is wrong.
    """
    try:
        return EngineSection(**_engine(cluster))
    except ValidationError as error:
        problems = problem_lines(error, known_keys(EngineSection))
        raise ConfigError(f"--cluster {cluster}:{bullets(problems)}") from None


def _engine(cluster: str | Path) -> dict[str, Any]:
    text = str(cluster)
    if text.isdecimal():
        return {"workers": int(text)}
    if "://" in text:
        return {"address": text}
    files = {file.stem: file for file in (_configs_folder() / "clusters").glob("*.yaml")}
    if text not in files and Path(text).suffix not in (".yaml", ".yml"):
        raise ConfigError(
            f"--cluster {text} is none of {', '.join(sorted(files))}: name one, a file (.yaml), the address of a "
            "scheduler (tcp://host:8786), or a number of workers on this machine."
        )
    return _content(files.get(text, Path(text)))


def load_any_config(path: str | Path) -> CubeConfig:
    """The configuration in a YAML file: a `Config` where it has an output, of a cube alone otherwise.

    Raises
    ------
    ConfigError
        As `load_config`.
    """
    return _loaded(Config if "output" in _content(Path(path)) else CubeConfig, Path(path), {})


def example_config(name: str) -> Config:
    """A configuration that comes with the package; its paths count from the working directory.

    Parameters
    ----------
    name
        Of a file in ``configs/`` or ``configs/examples/``, without ``.yaml``: ``demo``, ``bd-ortho``, …

    Raises
    ------
    ConfigError
        When there is no such example; those there are are named.

    Examples
    --------
    >>> list(example_config("bd-ortho").inputs["AERIAL_RGBI"].bands)
    ['R', 'G', 'B', 'NIR']
    """
    files = {path.stem: path for folder in (".", "examples") for path in (_configs_folder() / folder).glob("*.yaml")}
    if name not in files:
        raise ConfigError(f"There is no example configuration {name!r}: choose one of {', '.join(sorted(files))}.")
    return Config(**_content(files[name]))


def _configs_folder() -> Path:
    """``configs/`` of a checkout, or the copy inside an installed package."""
    package = Path(__file__).parents[1]
    checkout = package.parents[1] / "configs"
    return checkout if checkout.is_dir() else package / "configs"


def _loaded(kind: type[C], path: Path, overrides: Mapping[str, Any]) -> C:
    content = _overridden(_content(path), overrides)
    if "root" in content:
        raise ConfigError(f"{path}: root: unknown key; paths count from the folder of the file.")
    try:
        return kind(**content, root=path.parent.absolute())
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _content(path: Path) -> dict[str, Any]:
    try:
        content = load_yaml_file(path)
    except OSError as error:
        raise ConfigError(f"Configuration {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"Configuration {path} is not UTF-8 text: byte {error.object[error.start]:#x} at position {error.start}. "
            "Save it as UTF-8."
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"Configuration {path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"Configuration {path} holds {content_kind(content)}, not keys and values.")
    return {str(key): section for key, section in content.items()}


def _overridden(content: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    for dotted, value in overrides.items():
        *parents, last = dotted.split(".")
        section = content
        for parent in parents:
            inner = section.get(parent) or {}
            if not isinstance(inner, Mapping):
                is_shown = "storage_options" not in dotted and "settings" not in dotted  # those hold passwords
                what = without_secrets(repr(inner)) if is_shown else f"a {type(inner).__name__}"
                raise ConfigError(f"{dotted} cannot be set: {parent} is {what}, which has no keys of its own.")
            section[parent] = section = dict(inner)
        section[last] = value
    return content
