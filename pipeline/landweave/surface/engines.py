"""Who runs the blocks: an open engine, a Dask client, a scheduler's address, workers of one's own, or this process.

Dask is imported where one of these is: a plan does without.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from landweave.config.schema import Config, CubeConfig, EngineSection
from landweave.core.budget import GIB
from landweave.core.errors import ConfigError
from landweave.core.protocols import Engine
from landweave.jobs.result import RunResult
from landweave.setup.map_setup import engine_section, engine_settings, security

if TYPE_CHECKING:
    from landweave.engine.dask import DaskEngine

AnyConfig = TypeVar("AnyConfig", bound=CubeConfig)

AnyEngine = Engine | EngineSection | None
"""Who runs the blocks, where no client is given: an open engine, or a section in place of the configuration's. None for
the active Dask client where there is one; else the configuration's workers or, where there is none, this process."""

READING_THREADS = 1
"""Cores that a worker which only reads is counted for."""


def open_engine(config: Config) -> AbstractContextManager[Engine]:
    """The engine of a configuration, for the length of a ``with`` block.

    `align` and `run` start workers of their own, which import every library anew; several calls may share these, given
    as ``engine``. In a script it belongs under ``if __name__ == "__main__":``, as workers import the script.

    Raises
    ------
    EngineError
        When the workers do not start, or no scheduler answers.

    Examples
    --------
    >>> from landweave import load_config, run
    >>> config = load_config("nimes.yaml")
    >>> with open_engine(config) as engine:
    ...     result = run(config, engine=engine, progress=False)
    >>> result.complete
    True
    """
    from landweave.engine import clusters

    threads = config.model.torch_threads
    return clusters.open_engine(engine_settings(engine_section(config), threads), threads)


def found_engine(section: EngineSection, client: Any) -> AbstractContextManager[DaskEngine | None]:
    """The engine of a client, of a scheduler's address or of the active client; None where there is none of them.

    Parameters
    ----------
    section
        Of a configuration.
    client
        A Dask client or cluster object.
    """
    own = section.kind == "inline" or section.workers or section.address or section.cluster
    is_behind_address = bool(section.address) and section.kind == "dask"
    if client is None and (own or not _dask_is_loaded()) and not is_behind_address:
        return nullcontext()
    from landweave.engine import clusters

    if client is None and not own:
        client = clusters.active_client()
    if client is not None:
        return clusters.engine_on(client, patience=section.patience)
    if section.address and is_behind_address:
        return clusters.connected_engine(section.address, patience=section.patience, security=security(section))
    return nullcontext()


@contextmanager
def with_engine(
    config: AnyConfig, engine: AnyEngine = None, client: Any = None
) -> Iterator[tuple[AnyConfig, Engine | None]]:
    """The engine that is open already, and the configuration with the place and the memory of its workers.

    Parameters
    ----------
    config
        Its ``engine`` section says what is used where neither of the others is given.
    engine, client
        An open engine, or a section in place of the configuration's; a Dask client or cluster object.

    Raises
    ------
    ConfigError
        When both are given.
    """
    with resolved_engine(engine_section(config), engine, client) as (section, opened):
        yield config.model_copy(update={"engine": section}), opened


@contextmanager
def resolved_engine(
    section: EngineSection, engine: AnyEngine = None, client: Any = None
) -> Iterator[tuple[EngineSection, Engine | None]]:
    """The engine that is open already, and the section with the place and the memory of its workers.

    Of the memory that is free now they may have taken their part themselves.

    Parameters
    ----------
    section, engine, client
        As of `with_engine`.
    """
    if engine is not None and client is not None:
        raise ConfigError("client and engine are both given: leave one out.")
    if isinstance(engine, EngineSection):
        section, engine = engine, None
    with ExitStack() as stack:
        opened = engine if engine is not None else stack.enter_context(found_engine(section, client))
        if workers := as_dask(opened):
            if engine is None:
                section = section.model_copy(update={"kind": "dask", "address": workers.address})
            if section.memory_gib is None and (limit := workers.worker_bytes):
                section = section.model_copy(update={"memory_gib": limit / GIB})
        yield section, opened


@contextmanager
def reading_engine(engine: AnyEngine, client: Any = None, stated: EngineSection | None = None) -> Iterator[Engine]:
    """The engine of what writes no blocks: found as that of `with_engine`, else this process.

    Parameters
    ----------
    engine, client
        As of `with_engine`.
    stated
        The section of a configuration, whose workers are used where there are no others.
    """
    named = isinstance(engine, EngineSection) or stated is not None
    with resolved_engine(stated or EngineSection(), engine, client) as (section, opened):
        if opened is None and not named:
            section = EngineSection(kind="inline")
        from landweave.engine import clusters

        settings = engine_settings(section, READING_THREADS)
        with clusters.open_engine(settings, READING_THREADS, opened) as found:
            yield found


def with_place(result: RunResult, engine: Engine | None) -> RunResult:
    """The result, with a note where its blocks ran that were not run by workers of its own.

    Parameters
    ----------
    result
        Of a run.
    engine
        The one that was open already.
    """
    workers = as_dask(engine)
    if workers is None or not result.ran:
        return result
    return replace(result, notes=(*result.notes, f"the blocks ran on {workers.label}"))


def as_dask(engine: Engine | None) -> DaskEngine | None:
    """The engine where it has Dask workers; there is none where Dask was never imported."""
    if engine is None or not _dask_is_loaded():
        return None
    from landweave.engine.dask import DaskEngine

    return engine if isinstance(engine, DaskEngine) else None


def _dask_is_loaded() -> bool:
    return "distributed" in sys.modules
