"""Inspection of a model over the imagery of a run's configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from landweave.config.load import load_config
from landweave.core.lattice import Extent
from landweave.mapping.setup import MapSetup
from landweave.models.cards.registry import find_card
from landweave.setup.map_setup import set_up_map


def inspect_model(
    name: str,
    *,
    window: int | None = None,
    weights: str | Path | None = None,
    imagery: str | Path | None = None,
) -> Any:
    """Return parameters, operations, memory, strides and receptive field of a model.

    Parameters
    ----------
    name
        Of a card, or the path of one.
    window
        Base pixels a side; the card's by default.
    weights
        Their file; the card's by default.
    imagery
        A run's configuration: the agreement of two placements of a window is measured over its inputs, area and grid,
        with the model ``name`` in place of its own.

    Returns
    -------
    landweave.models.inspection.inspect.Inspection

    Raises
    ------
    LandweaveError
        When the model cannot be built, the weights do not fit, or the imagery cannot be read.
    """
    from landweave.models.inspection.inspect import inspect  # torch takes seconds to import
    from landweave.models.inspection.placement_consistency import compare_placements

    inspection = inspect(find_card(name), window, weights=None if weights is None else Path(weights))
    if imagery is None:
        return inspection
    setup = _set_up_imagery(name, inspection.window, weights, imagery)
    job = setup.job
    consistency = compare_placements(
        job.model.open(),
        job.window,
        _required_extent(setup),
        lattice=job.blending.lattice,
        argmax=lambda probabilities: job.classify(probabilities)[1],
        batch_size=job.model.batch_size,
    )
    return replace(inspection, placement_consistency=consistency)


def bench_model(name: str, *, windows: int = 32, size: int | None = None, **compute: Any) -> Any:
    """Measure how fast a model predicts windows here, and keep it for plans.

    Parameters
    ----------
    name
        Of a card, or the path of one.
    windows
        To predict, after one batch that is not counted.
    size
        Of a window in base pixels; the card's by default.
    compute
        ``device``, ``batch_size``, ``torch_threads``, ``bfloat16``, ``engine``: those of the plans that take it.

    Returns
    -------
    landweave.models.pace.Pace

    Raises
    ------
    LandweaveError
        When the device is not there, the network cannot be built, or the pace cannot be kept.
    """
    from landweave.models.pace import measure_pace  # torch takes seconds to import
    from landweave.models.settings import Compute

    given = {key: value for key, value in compute.items() if value is not None}
    return measure_pace(find_card(name), windows=windows, size=size, compute=Compute(**given))


def _set_up_imagery(name: str, window: int, weights: str | Path | None, imagery: str | Path) -> MapSetup:
    """Return the setup of a run that maps the imagery with that model."""
    overrides = {
        "model.card": str(Path(name).absolute()) if Path(name).suffix in (".yaml", ".yml") else name,
        "model.weights": str(Path(weights).absolute()) if weights else None,
        "model.sha256": None,
        "windows.size": window,
        "windows.overlap": None,
    }
    return set_up_map(load_config(imagery, overrides=overrides))


def _required_extent(setup: MapSetup) -> Extent:
    """Return the base pixels inside the bounds of every required input, and of the area."""
    grid = setup.job.grid
    extent = grid.extent if setup.job.area is None else setup.template.grid.refine(setup.job.factor).extent
    for item in setup.job.inputs.values():
        bounds = item.source.bounds(grid) if item.required else None
        if bounds is not None:
            extent = extent.intersect(grid.covering(bounds))
    return extent
