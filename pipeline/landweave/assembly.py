"""From a configuration to a job: every setting resolved once, every input checked; no pixel read, nothing written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from importlib import metadata
from typing import Any

import psutil

from landweave import budget
from landweave.blending import Blending
from landweave.config import Config, MosaicInput
from landweave.deliveries import mosaic_spec, open_source
from landweave.errors import ConfigError, InputError
from landweave.formats.area import PolygonArea
from landweave.formats.vector import read_area
from landweave.grid import Grid, canonical_crs, exact
from landweave.lattice import Blocks, Extent, Lattice
from landweave.models.card import ModelCard, check_inputs
from landweave.models.inputs import HeightCoding
from landweave.models.position_tables import changed_tensors, check_window, with_resized_tables
from landweave.models.predictor import Compute, TorchModel, resolve_model
from landweave.models.registry import find_card
from landweave.ports import Source
from landweave.sources.alignment import native_grid
from landweave.sources.footprints import index_tiles
from landweave.sources.handles import GDAL_CACHE_BYTES
from landweave.steps.map import MapInput, MapJob
from landweave.store.maps import MapStore
from landweave.store.objects import Target
from landweave.store.template import MapTemplate
from landweave.work.fingerprint import Fingerprint

LARGEST_BLOCK = 8192
"""Base pixels a side: beyond it the halo costs little and a lost block costs much."""

MEMORY_SHARE = 0.8
"""Of the memory that is free, for all local workers together."""

PIXEL_TOLERANCE = Fraction(1, 100)
"""How far the pixels fed to a model may be from those of its card without a word from the user."""

LIBRARIES = ("torch", "numpy", "rasterio", "zarr", "xarray", "distributed")


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Who runs the blocks, resolved: ``kind``, local ``workers``, scheduler ``address``, bytes of memory a worker."""

    kind: str
    workers: int
    address: str | None
    worker_bytes: int


@dataclass(frozen=True, kw_only=True)
class MapRun:
    """A map that could be run: its job, and what a person wants to know of it.

    Attributes
    ----------
    config, card
        What was asked for, and the model's contract.
    job
        What every worker needs.
    template
        What the output will hold.
    fingerprint
        The meaning of the run.
    memory
        Of one block at work.
    engine
        Who runs the blocks.
    notes
        What a person should know before running it.
    """

    config: Config
    card: ModelCard
    job: MapJob
    template: MapTemplate
    fingerprint: Fingerprint
    memory: budget.BlockMemory
    engine: EngineSettings
    notes: tuple[str, ...]

    @property
    def target(self) -> Target:
        """Where the map goes."""
        store = self.job.store
        assert isinstance(store, MapStore)
        return store.target


def assemble(config: Config) -> MapRun:
    """Everything resolved and checked.

    Raises
    ------
    LandweaveError
        With the reason, before anything is written: a `ConfigError`, `CardError`, `WeightsError`, `InputError` or
        `BudgetError`.
    """
    return _Assembly(config).run()


class _Assembly:
    """The settings of one configuration, each resolved once, when it is first needed."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self) -> MapRun:
        """The whole."""
        store = MapStore(target=self.target, template=self.template)
        job = MapJob(
            key=self.fingerprint.sha256,
            grid=self.grid.with_extent(self.blocks.extent),
            blocks=self.blocks,
            factor=self.factor,
            blending=self.blending,
            model=self.model,
            inputs=self.inputs,
            legend=self.card.legend(self.config.model.output),
            area=self.area,
            store=store,
            arrays=self.template.arrays,
            keep_untrained=self.config.model.keep_untrained,
        )
        return MapRun(
            config=self.config,
            card=self.card,
            job=job,
            template=self.template,
            fingerprint=self.fingerprint,
            memory=self.memory(self.blocks.size),
            engine=self.engine,
            notes=self.notes,
        )

    @cached_property
    def card(self) -> ModelCard:
        """The model's contract, with the codings the user states and the liberties they take."""
        card = find_card(self._card_name())
        if self.config.model.resize_tables:
            card = with_resized_tables(card)
        coding = self.config.model.coding
        if coding is None:
            return card
        return card.with_coding(coding if coding == "delivered" else HeightCoding(**coding.model_dump()))

    def _card_name(self) -> str:
        name = self.config.model.card
        return self.config.path(name) if name.endswith((".yaml", ".yml")) else name

    @cached_property
    def grid(self) -> Grid:
        """Base pixels; its extent is the imagery's or the area's, not yet snapped to blocks."""
        if self.area is None:
            return self._bare_grid.with_extent(self._imagery)
        grid = self._bare_grid.with_extent(self._bare_grid.covering(self.area.bounds))
        for name, item in self.inputs.items():
            if item.required and not item.source.scenes(grid.coarsen(item.factor)):
                raise InputError(
                    f"No tile of {name} touches the area: the area lies in {_rounded(grid.bounds)}, the tiles in "
                    f"{_rounded(item.source.footprint(grid))}, both in {grid.crs[:40]}. Correct one of them."
                )
        return grid

    @cached_property
    def _bare_grid(self) -> Grid:
        section = self.config.grid
        if section.own:
            grid = self._own_grid(section.own)
        else:
            grid = Grid(
                crs=canonical_crs(section.crs),
                resolution=exact(section.resolution or self.config.model.pixel or self.card.base_pixel),
                extent=Extent.of((0, 1), (0, 1)),
                anchor_xy=(exact(section.anchor[0]), exact(section.anchor[1])),
            )
        wanted = exact(self.config.model.pixel or self.card.base_pixel)
        if abs(grid.resolution / wanted - 1) > PIXEL_TOLERANCE:
            raise ConfigError(
                f"The grid has pixels of {float(grid.resolution):g} m, the model is fed {float(wanted):g} m: leave out "
                f"grid.resolution (output.resolution makes the map coarser), or set model.pixel to "
                f"{float(grid.resolution):g} to feed it such pixels all the same."
            )
        return grid

    def _own_grid(self, modality: str) -> Grid:
        section = self.config.inputs.get(modality)
        if not isinstance(section, MosaicInput):
            raise ConfigError(f"grid.own names {modality!r}, which is no mosaic among the inputs.")
        native = native_grid(index_tiles(mosaic_spec(modality, section, self.config)))
        if native.grid is None:
            raise ConfigError(
                f"{modality} has no grid of its own: {native.reason}. State grid.crs instead of grid.own."
            )
        return native.grid

    @cached_property
    def sources(self) -> Mapping[str, Source]:
        """Every input that the card knows, opened on its own nested grid."""
        unknown = sorted(set(self.config.inputs) - set(self.card.inputs))
        # Products that do not lie on each other are refused where the area needs them.
        ground = (
            self._bare_grid.with_extent(self._bare_grid.covering(self.area.bounds)) if self.area else self._bare_grid
        )
        opened = {
            name: open_source(name, section, self.config, ground.coarsen(self._input_factor(name)))
            for name, section in self.config.inputs.items()
            if name not in unknown
        }
        check_inputs(self.card, {name: source.bands for name, source in opened.items()})
        if unknown:
            raise ConfigError(f"Model {self.card.name} has no use for {', '.join(unknown)}: leave them out.")
        return opened

    def _input_factor(self, modality: str) -> int:
        factor = self.card.inputs[modality].pixel / self.card.base_pixel
        if factor.denominator != 1:
            raise ConfigError(f"Pixels of {modality} are {factor} base pixels, not a whole number.")
        return int(factor)

    @cached_property
    def inputs(self) -> Mapping[str, MapInput]:
        """What a block reads."""
        return {
            name: MapInput(
                source=self.sources[name],
                bands=spec.names,
                factor=self._input_factor(name),
                required=spec.required,
            )
            for name, spec in self.card.inputs.items()
            if name in self.sources
        }

    @cached_property
    def area(self) -> PolygonArea | None:
        """Ground to be written; None for all the imagery."""
        section = self.config.area
        if section is None:
            return None
        crs = self._bare_grid.crs
        if section.bounds is not None:
            return PolygonArea.of_bounds(section.bounds)
        path = self.config.path(str(section.file))
        return PolygonArea(read_area(path, where=section.where, layer=section.layer, crs=crs))

    @cached_property
    def _imagery(self) -> Extent:
        """Pixels inside the bounds of every required input."""
        grid = self._bare_grid
        extent: Extent | None = None
        for name, item in self.inputs.items():
            if item.required:
                bounds = item.source.footprint(grid)
                if bounds is None:
                    raise InputError(f"{name} has no tile.")
                covered = grid.covering(bounds)
                extent = covered if extent is None else extent.intersect(covered)
        if extent is None or not extent.size:
            raise InputError("The required inputs share no ground: " + self._footprints())
        return extent

    def _footprints(self) -> str:
        grid = self._bare_grid
        return "; ".join(f"{name} covers {_rounded(source.footprint(grid))}" for name, source in self.sources.items())

    @cached_property
    def blending(self) -> Blending:
        """How windows lie and blend."""
        rule, asked = self.card.window, self.config.windows
        size = asked.size or rule.size
        check_window(self.card, size)
        overlap = asked.overlap if asked.overlap is not None else rule.overlap * size // rule.size
        lattice = Lattice(window=size, stride=size - overlap, unit=self.card.unit_px)
        return Blending(lattice, asked.blend or rule.blend)

    @cached_property
    def model(self) -> TorchModel:
        """The model, its weights named and summed but not loaded."""
        section = self.config.model
        return resolve_model(
            self.card,
            weights=self.config.path(section.weights) if section.weights else None,
            sha256=section.sha256,
            task=section.output,
            window=self.blending.lattice.window,
            compute=Compute(
                batch_size=section.batch_size,
                torch_threads=section.torch_threads,
                device=section.device,
                bfloat16=section.bfloat16,
                elsewhere=self.config.engine.address is not None,
            ),
        )

    @cached_property
    def factor(self) -> int:
        """Base pixels a side of one output pixel."""
        wanted = self.config.output.resolution
        factor = exact(wanted) / self._bare_grid.resolution if wanted is not None else Fraction(1)
        if factor.denominator != 1:
            raise ConfigError(
                f"output.resolution {wanted} m is {float(factor):g} pixels of {float(self._bare_grid.resolution):g} m: "
                f"use a whole number of them."
            )
        return int(factor)

    @cached_property
    def blocks(self) -> Blocks:
        """Blocks over the snapped area."""
        lattice = self.blending.lattice
        step = budget.block_step(unit=lattice.unit, chunk=self.config.output.chunk, factor=self.factor)
        block = self.config.output.block
        if block is None:
            size = max(self.grid.extent.shape)
            largest = max(step, LARGEST_BLOCK // step * step)
            while largest > step and self.memory(largest).worker > self.engine.worker_bytes:
                largest -= step
            chosen = budget.default_block(size, step=step, stride=lattice.stride, largest=largest)
        else:
            chosen = block * self.factor
        budget.check_block(chosen, step)
        budget.check_memory(self.memory(chosen).worker, self.engine.worker_bytes, chosen)
        return Blocks.covering(self.grid.extent, chosen)

    def memory(self, block: int) -> budget.BlockMemory:
        """Memory of blocks of ``block`` base pixels."""
        lattice, legend = self.blending.lattice, self.card.legend(self.config.model.output)
        bytes_a_pixel = 1 + self.config.output.confidence + self.config.output.probability * len(legend)
        return budget.block_memory(
            block=block,
            window=lattice.window,
            stride=lattice.stride,
            inputs=[
                budget.InputMemory(factor=item.factor, bands=len(item.bands), itemsize=item.source.dtype.itemsize)
                for item in self.inputs.values()
            ],
            classes=len(legend),
            output_bytes=bytes_a_pixel / self.factor**2,
            model_bytes=self._model_bytes + GDAL_CACHE_BYTES,
        )

    @cached_property
    def _model_bytes(self) -> int:
        # Asked for once: it takes a pass of the network without values, a second or two.
        return self.model.memory_bytes()

    @cached_property
    def engine(self) -> EngineSettings:
        """Who runs the blocks."""
        section = self.config.engine
        cores = len(os.sched_getaffinity(0))
        workers = 1 if section.kind == "inline" else section.workers or max(1, cores // self.config.model.torch_threads)
        share = int(psutil.virtual_memory().available * MEMORY_SHARE) // workers
        given = int(section.memory_gib * budget.GIB) if section.memory_gib else share
        return EngineSettings(kind=section.kind, workers=workers, address=section.address, worker_bytes=given)

    @cached_property
    def target(self) -> Target:
        """Where the map goes."""
        return Target.parse(self.config.path(self.config.output.store), **self.config.output.options)

    @cached_property
    def template(self) -> MapTemplate:
        """What the output will hold."""
        return MapTemplate(
            grid=self.grid.with_extent(self.blocks.extent).coarsen(self.factor),
            blocks=Blocks(extent=self.blocks.extent.coarsen(self.factor), size=self.blocks.size // self.factor),
            legend=self.card.legend(self.config.model.output),
            confidence=self.config.output.confidence,
            probability=self.config.output.probability,
            chunk=self.config.output.chunk,
            attributes=self._provenance(),
        )

    def _provenance(self) -> dict[str, Any]:
        return {
            "title": f"Land cover by {self.card.title}",
            "license": self.card.licence,
            "source": self.card.source,
            "model": {"card": self.card.name, **self.model.meaning},
            "fingerprint": self.fingerprint.sha256,
            "meaning": dict(self.fingerprint.parts),
            "libraries": {name: metadata.version(name) for name in LIBRARIES},
        }

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The meaning of the run."""
        lattice, legend = self.blending.lattice, self.card.legend(self.config.model.output)
        grid, output = self._bare_grid, self.config.output
        return Fingerprint(
            {
                "grid": {
                    "crs": grid.crs,
                    "resolution": str(grid.resolution),
                    "anchor": [str(value) for value in grid.anchor_xy],
                },
                "windows": {"size": lattice.window, "overlap": lattice.overlap, "blend": str(self.blending.blend)},
                "area": self.area.meaning if self.area else "imagery",
                "output": {
                    "pixels": [self.blocks.extent.y.start, self.blocks.extent.x.start, *self.blocks.extent.shape],
                    "block": self.blocks.size,
                    "chunk": output.chunk,
                    "factor": self.factor,
                    "confidence": output.confidence,
                    "probability": output.probability,
                },
                "model": {**self.model.meaning, "keep_untrained": self.config.model.keep_untrained},
                "legend": {"codes": list(legend.codes), "trained": list(legend.trained)},
                "inputs": {
                    name: {"bands": list(item.bands), "factor": item.factor, **item.source.meaning}
                    for name, item in self.inputs.items()
                },
            }
        )

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before running it."""
        rule, size = self.card.window, self.blending.lattice.window
        notes = [f"unverified in the card: {text}" for text in self.card.unverified]
        if size not in rule.trained_sizes:
            notes.append(f"windows of {size} px; the model was trained on {', '.join(map(str, rule.trained_sizes))}")
        if self.config.model.resize_tables and (changed := changed_tensors(self.card, size)):
            notes.append(
                f"{len(changed)} position tables are resized for windows of {size} px: not the published model"
            )
        if self._bare_grid.resolution != self.card.base_pixel:
            notes.append(
                f"the model is fed pixels of {float(self._bare_grid.resolution):g} m, it was trained on "
                f"{float(self.card.base_pixel):g} m"
            )
        return tuple(notes)


def _rounded(bounds: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Bounds as a person reads them, to the centimetre."""
    return bounds and tuple(round(value, 2) for value in bounds)
