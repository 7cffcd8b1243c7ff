"""What is stored of a map or a cube: how far it is, and whether it is as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from landweave.aligning import run as aligning
from landweave.aligning.verify import verify_cube
from landweave.config.schema import Config, CubeConfig
from landweave.core.errors import InputError
from landweave.core.retry import take_retries
from landweave.jobs.audit import Verification
from landweave.jobs.result import Status
from landweave.mapping import run as mapping
from landweave.mapping.verify import verify_map
from landweave.setup.cube_setup import stored_cube
from landweave.setup.map_setup import engine_section, map_target, set_up_map
from landweave.store.common import read_attributes
from landweave.store.cubes.store import open_cube_store
from landweave.store.cubes.template import FORMAT as CUBE_FORMAT
from landweave.store.maps.template import FORMAT as MAP_FORMAT
from landweave.store.objects import Target
from landweave.surface.engines import AnyEngine, reading_engine


def status(where: str | Path | CubeConfig, storage_options: Mapping[str, Any] | None = None) -> Status:
    """How far a map or cube is, and which blocks failed and why.

    Parameters
    ----------
    where
        Path or URL of the store, or a configuration: of a map, whose blocks are then named, too, where their files
        changed since; of a cube where it has no output.
    storage_options
        Of the object store.

    Raises
    ------
    InputError
        When there is no map or cube.

    Examples
    --------
    >>> status("landcover.zarr").complete
    True
    """
    if isinstance(where, Config):
        return mapping.setup_status(set_up_map(where, only_planned=True))
    target = stored_cube(where) if isinstance(where, CubeConfig) else Target.parse(where, storage_options)
    attributes = read_attributes(target)
    if attributes is None or attributes.get("format") not in (CUBE_FORMAT, MAP_FORMAT):
        raise InputError(f"There is no map at {target}, nor a cube: give the path of an output.store or cube.store.")
    if attributes["format"] == CUBE_FORMAT:
        return aligning.cube_status(open_cube_store(target, attributes))
    return mapping.map_status(target, attributes)


def draw_status(status: Status, path: str | Path) -> Path:
    """Write a picture of a map's or a cube's blocks, each in the colour of its state, and return its path.

    Parameters
    ----------
    status
        From `status`.
    path
        PNG file to write; an earlier one is replaced.

    Raises
    ------
    OutputError
        When it cannot be written.

    Examples
    --------
    >>> draw_status(status("landcover.zarr"), "status.png").name
    'status.png'
    """
    from landweave.formats.status_picture import write_status_picture  # matplotlib takes a while to import

    return write_status_picture(status.grids, path)


def verify(
    where: str | Path | CubeConfig,
    storage_options: Mapping[str, Any] | None = None,
    *,
    client: Any = None,
    engine: AnyEngine = None,
) -> Verification:
    """Reread every object of a map or cube and hold it against the ledger; what is damaged is marked, and run again.

    Where the place cannot be written, what is wrong is named alone. Many objects are reread on the workers of
    ``client`` or ``engine``, of the active Dask client, or of the configuration.

    Parameters
    ----------
    where
        Path or URL of the store, or the configuration of a map, or of a cube alone.
    storage_options
        Of the object store.
    client, engine
        As of `run`; or an `EngineSection`.

    Returns
    -------
    Verification
        Its ``exit_code`` is 0 when everything is as it was written, 3 otherwise.

    Raises
    ------
    InputError
        When there is no map or cube.
    OutputError
        When another driver writes it.

    Examples
    --------
    >>> from landweave import load_config
    >>> found = verify(load_config("nimes.yaml"))
    >>> len(found.damaged), found.exit_code
    (0, 0)
    """
    take_retries()
    if isinstance(where, CubeConfig):
        target = map_target(where) if isinstance(where, Config) else stored_cube(where)
    else:
        target = Target.parse(where, storage_options)
    attributes = read_attributes(target)
    stated = engine_section(where) if isinstance(where, CubeConfig) else None
    rereading = partial(reading_engine, engine, client, stated)
    if attributes and attributes.get("format") == CUBE_FORMAT:
        found = verify_cube(target, attributes, rereading)
    else:
        found = verify_map(target, attributes, rereading)
    return replace(found, retries=take_retries())
