"""From a configuration to a map that can be run: every setting resolved, every input checked; no pixel read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil

from landweave.config.schema import Config, CubeConfig, CubeSection, EngineSection, OutputSection, SecuritySection
from landweave.core import budget
from landweave.core.errors import ConfigError
from landweave.core.grid import Grid, exact
from landweave.core.lattice import Blocks
from landweave.core.protocols import source_notes
from landweave.engine.settings import TERMINATE_SHARE, ClusterSettings, EngineSettings, walltime_seconds
from landweave.formats.area import PolygonArea
from landweave.jobs.fingerprint import Fingerprint
from landweave.mapping.inputs import MapInput, filtered_series
from landweave.mapping.setup import DIRECT_OPENS, MapSetup
from landweave.models.cards.card import ModelCard
from landweave.models.networks.position_tables import changed_tensors
from landweave.models.predictor import TorchModel
from landweave.setup.context import card_place, resolve_card, resolve_context
from landweave.setup.map_blocks import MemoryRule, resolve_blocks
from landweave.setup.map_inputs import open_inputs
from landweave.setup.map_job import Inputs, MapRules, map_job, map_model, resolve_blending, window_fields
from landweave.setup.outputs import check_places
from landweave.setup.weights import local_weights
from landweave.sources.files import KEPT_BYTES
from landweave.store.cubes.sources import CubeRaster
from landweave.store.objects import Target

LARGE_EXTENT_PX = 10**11
SPARSE_FRACTION = 0.01
"""Of a larger map, the least that imagery covers without a note."""

MEMORY_SHARE = 0.8
"""Of the memory that is free, for all local workers together."""


def set_up_map(config: Config, *, only_planned: bool = False) -> MapSetup:
    """A map that can be run, resolved and checked: no pixel is read and nothing is written.

    Parameters
    ----------
    config
        The configuration.
    only_planned
        Whether nothing will be predicted: the weights may be missing.

    Raises
    ------
    LandweaveError
        With the reason: a `ConfigError`, `CardError`, `WeightsError`, `InputError` or `BudgetError`.
    """
    check_places(config)
    target = map_target(config)
    card = resolve_card(config, config.model)
    blending = resolve_blending(card, config.windows)
    context = resolve_context(config, card)
    rules = MapRules(
        card=card,
        model=config.model,
        output=config.output,
        blending=blending,
        pixels=context.pixels,
        target=target,
        legend=card.legend(config.model.output),
        area=context.area,
        factor=_output_factor(config.output, context.pixels),
    )
    grid, inputs, ground = open_inputs(context, card)
    rules = replace(rules, imagery=ground)
    named = config.path(config.model.weights) if config.model.weights else None
    weights = named if only_planned else local_weights(config)  # a plan fetches nothing
    model = map_model(rules, inputs, weights, elsewhere=runs_elsewhere(config.engine), only_planned=only_planned)
    engine = engine_settings(config.engine, config.model.torch_threads)
    memory = _memory_rule(rules, inputs, model)
    blocks = resolve_blocks(rules, grid, memory, engine, model.batch_size).of_a_job()
    fingerprint = _fingerprint(rules, inputs, model, blocks)
    job, template = map_job(rules, inputs, blocks, model, mapped=grid.extent, fingerprint=fingerprint)
    return MapSetup(
        card=card,
        card_place=card_place(config, config.model),
        job=job,
        template=template,
        fingerprint=fingerprint,
        memory=memory(blocks.height, blocks.width),
        engine=engine,
        notes=(
            *_grid_notes(config, rules),
            *_extent_notes(rules, grid),
            *_area_notes(rules.area),
            *_model_notes(rules),
            *_weights_notes(model),
            *_input_notes(card, inputs),
            *_series_notes(rules, inputs, config.cube),
        ),
        direct_opens_allowed=0 if config.cube else DIRECT_OPENS,
    )


def map_target(where: Config | str | Path, storage_options: Mapping[str, Any] | None = None) -> Target:
    """Where a map is stored.

    Parameters
    ----------
    where
        Its path or URL, or the configuration that made it.
    storage_options
        Of its object store; a configuration has its own.
    """
    if isinstance(where, Config):
        return Target.parse(where.path(where.output.store), where.output.storage_options)
    return Target.parse(where, storage_options)


def runs_elsewhere(section: EngineSection) -> bool:
    """Whether blocks run on other machines than this."""
    return section.address is not None or (section.cluster is not None and not section.cluster.kind.startswith("local"))


def engine_settings(section: EngineSection, threads: int) -> EngineSettings:
    """What runs the blocks: its kind, its workers and their memory.

    Parameters
    ----------
    section
        Engine of a configuration.
    threads
        Cores that the computing of one worker takes.
    """
    cores = len(os.sched_getaffinity(0))
    workers = 1 if section.kind == "inline" else section.workers or max(1, cores // threads)
    if section.cluster is not None:
        workers = section.cluster.max_workers
    share = int(psutil.virtual_memory().available * MEMORY_SHARE) // workers
    worker_bytes = int(section.memory_gib * budget.GIB) if section.memory_gib else share
    return EngineSettings(
        kind=section.kind,
        workers=workers,
        address=section.address,
        worker_bytes=worker_bytes,
        patience=section.patience,
        mixed_workers=section.mixed_workers,
        security=security(section),
        cluster=_cluster_settings(section, threads, worker_bytes),
        cost_per_hour=section.cost_per_hour,
        power_watts=section.power_watts,
    )


def _cluster_settings(section: EngineSection, threads: int, worker_bytes: int) -> ClusterSettings | None:
    cluster = section.cluster
    if cluster is None:
        return None
    if walltime := cluster.settings.get("walltime"):
        walltime_seconds(str(walltime))  # refused here, before anything is read
    return ClusterSettings(
        kind=cluster.kind,
        min_workers=cluster.min_workers,
        max_workers=cluster.max_workers,
        memory_limit=int(worker_bytes / TERMINATE_SHARE),
        cores=cluster.cores or threads,
        torch_threads=threads,
        security=security(section),
        settings=cluster.settings,
    )


def engine_section(config: CubeConfig) -> EngineSection:
    """The engine of a configuration, the files of its certificates where they count from.

    Raises
    ------
    ConfigError
        When it is the path of one.
    """
    if not isinstance(config, CubeConfig):
        raise ConfigError(f"{config!r} is no configuration: give landweave.load_config({config!r}).")
    section = config.engine
    if section.security is None:
        return section
    files = {key: config.path(path) for key, path in section.security.model_dump().items()}
    return section.model_copy(update={"security": SecuritySection(**files)})


def security(section: EngineSection) -> tuple[str, str, str] | None:
    """Files of the authority, of the certificate and of its key; None for those of Dask's configuration."""
    found = section.security
    return (found.ca, found.cert, found.key) if found else None


def _output_factor(output: OutputSection, pixels: Grid) -> int:
    stated, base = output.resolution, pixels.resolution
    factor = exact(stated) / base if stated is not None else Fraction(1)
    if factor.denominator != 1:
        raise ConfigError(
            f"output.resolution {stated} m is {float(factor):g} pixels of {float(base):g} m: "
            "use a whole number of them."
        )
    return int(factor)


def _memory_rule(rules: MapRules, inputs: Inputs, model: TorchModel) -> MemoryRule:
    """The memory of a worker by height and width of its blocks in base pixels."""
    window, output = rules.blending.lattice.window, rules.output
    layers = 1 + output.confidence + bool(filtered_series(inputs)) + output.probability * len(rules.legend)
    input_memory = [_input_memory(item, window) for item in inputs.values()]
    model_memory = budget.ModelMemory(
        bytes=model.memory_bytes(),  # once: it takes a pass of the network without values, a second or two
        window=window,
        classes=len(rules.legend),
        batch=model.batch_size,
        loading=model.loading_bytes,
        on_gpu=model.settings.on_gpu,
    )

    def memory(height: int, width: int) -> budget.BlockMemory:
        found = budget.block_memory(
            height, width, inputs=input_memory, model=model_memory, output_bytes=layers / rules.factor**2
        )
        return replace(found, files=KEPT_BYTES)

    return memory


def _input_memory(item: MapInput, window: int) -> budget.InputMemory:
    return budget.InputMemory(
        factor=item.factor,
        bands=len(item.bands),
        itemsize=item.source.dtype.itemsize,
        dates=len(item.indices) if item.series else 1,
        around=item.footprint.halo(window),
    )


def _fingerprint(rules: MapRules, inputs: Inputs, model: TorchModel, blocks: Blocks) -> Fingerprint:
    """Everything that decides the values of the map."""
    pixels, output = rules.pixels, rules.output
    return Fingerprint(
        {
            "grid": {
                "crs": pixels.crs,
                "resolution": str(pixels.resolution),
                "anchor": [str(value) for value in pixels.anchor_xy],
            },
            "windows": window_fields(rules.blending),
            "area": rules.area.fingerprint_fields if rules.area else "imagery",
            "output": {
                "pixels": [blocks.extent.y.start, blocks.extent.x.start, *blocks.extent.shape],
                "block": [blocks.height, blocks.width],
                "factor": rules.factor,
                **output.model_dump(include={"chunk", "shards", "confidence", "probability"}),
            },
            "model": {**model.fingerprint_fields, "keep_untrained": rules.model.keep_untrained},
            "legend": {"codes": list(rules.legend.codes), "trained": list(rules.legend.trained)},
            "inputs": {name: _input_fields(item) for name, item in inputs.items()},
        }
    )


def _input_fields(item: MapInput) -> dict[str, Any]:
    factor = Fraction(item.factor)
    fields = {
        "bands": list(item.bands),
        "factor": int(factor) if factor.denominator == 1 else str(factor),
        **item.source.fingerprint_fields,
    }
    if item.series:
        year = item.year
        fields["year"] = year if year is None or isinstance(year, int) else year.fingerprint_fields
    return fields


def _grid_notes(config: Config, rules: MapRules) -> Iterator[str]:
    """Where the CRS of the map has another name than the configuration gives it."""
    stated = config.grid.crs
    if stated and stated.upper() != rules.pixels.crs.upper():
        yield f"grid.crs {stated[:60]} is {rules.pixels.crs[:60]}: one CRS under two names"


def _extent_notes(rules: MapRules, grid: Grid) -> Iterator[str]:
    """Where the map is an empty frame around little imagery."""
    if rules.imagery is None or grid.extent.size < LARGE_EXTENT_PX:
        return
    covered = rules.imagery.geometry.area / float(grid.pixel_m2) / grid.extent.size
    if covered < SPARSE_FRACTION:
        height, width = grid.shape
        yield (
            f"the imagery covers {covered:.2g} of the {height:,} x {width:,} pixels around it: only its blocks are "
            "mapped, yet the map has that shape. State an area, or map its parts one by one"
        )


def _area_notes(area: PolygonArea | None) -> Iterator[str]:
    """What of the area's file was left out or mended."""
    yield from (f"area: {note}" for note in (area.notes if area else ()))


def _model_notes(rules: MapRules) -> Iterator[str]:
    """Where the model is not used as it was trained."""
    card, size, pixel = rules.card, rules.blending.lattice.window, rules.pixels.resolution
    yield from (f"unverified in the card: {text}" for text in card.unverified)
    if size not in card.window.trained_sizes:
        trained = ", ".join(map(str, card.window.trained_sizes))
        yield f"windows of {size} px; the model was trained on {trained}"
    if rules.model.resize_tables and (changed := changed_tensors(card, size)):
        yield f"{len(changed)} position tables are resized for windows of {size} px: not the published model"
    if pixel != card.base_pixel:
        yield f"the model is fed pixels of {float(pixel):g} m, it was trained on {float(card.base_pixel):g} m"


def _weights_notes(model: TorchModel) -> Iterator[str]:
    """Where the weights are not here, for a plan."""
    if not model.weights.is_file():
        unknown = "" if model.weights_sha256 else ", and their checksum is not known"
        yield f"the weights are not here{unknown}: a run needs {model.weights}"


def _input_notes(card: ModelCard, inputs: Inputs) -> Iterator[str]:
    """What the sources noted, and inputs that are left out."""
    for name, item in inputs.items():
        yield from source_notes(name, item.source.describe())
        unread = [band for band in item.source.bands if band not in item.bands]
        if isinstance(item.source, CubeRaster) and unread:
            listed = ", ".join(unread)
            yield f"{name} is data where all bands of its cube are, also {listed}, which the model leaves out"
    for name in card.inputs:
        if name not in inputs:
            yield f"{name} is not among the inputs: fed as absent, which the card allows"


def _series_notes(rules: MapRules, inputs: Inputs, cube: CubeSection | None) -> Iterator[str]:
    """Where the dates are not what the model or the windows want."""
    for name, item in inputs.items():
        trained = rules.card.inputs[name].quantity
        if item.series and trained not in (None, item.series.quantity):
            yield f"{name} holds {item.series.quantity}, the model was trained on {trained}"
        if years := item.years_without_dates:
            listed = ", ".join(map(str, years))
            yield f"{name} has no date of {listed}: absent where the aerial images are of these years"
    reach = rules.blending.lattice.window * float(rules.pixels.resolution)
    if cube and any(item.series for item in inputs.values()) and cube.margin_m < reach:
        yield (
            f"windows reach up to {reach:g} m beyond the area and the cube keeps {cube.margin_m:g} m: beyond them "
            f"nothing is acquired (cube.margin_m)"
        )
