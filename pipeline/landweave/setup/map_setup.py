"""From a configuration to a job: every setting resolved once, every input checked; no pixel read, nothing written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from importlib import metadata
from typing import Any

import psutil

from landweave.config.schema import Config, EngineSection
from landweave.core import budget
from landweave.core.blending import Blending
from landweave.core.errors import ConfigError
from landweave.core.grid import exact
from landweave.core.lattice import Blocks, Lattice
from landweave.core.timeseries import padded_length
from landweave.engine.settings import EngineSettings
from landweave.jobs.fingerprint import Fingerprint
from landweave.mapping.inputs import MapInput, filtered_series
from landweave.mapping.job import MapJob
from landweave.mapping.run import DIRECT_OPENS, MapSetup
from landweave.models.networks.position_tables import changed_tensors, check_window
from landweave.models.predictor import Compute, TorchModel, resolve_model
from landweave.setup.context import SetupContext
from landweave.sources.dataset_pool import KEPT_BYTES
from landweave.store.maps.store import MapStore
from landweave.store.maps.template import MapTemplate
from landweave.store.objects import Target

LARGEST_BLOCK = 8192
"""Base pixels a side: beyond it the halo costs little and a lost block costs much."""

MEMORY_SHARE = 0.8
"""Of the memory that is free, for all local workers together."""

LIBRARIES = ("torch", "numpy", "rasterio", "zarr", "xarray", "distributed")


def set_up_map(config: Config) -> MapSetup:
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
        self.ground = SetupContext(config, config.model)

    def run(self) -> MapSetup:
        """The whole."""
        store = MapStore(target=self.target, template=self.template)
        job = MapJob(
            key=self.fingerprint.sha256,
            grid=self.ground.grid.with_extent(self.blocks.extent),
            blocks=self.blocks,
            factor=self.factor,
            blending=self.blending,
            model=self.model,
            inputs=self.ground.inputs,
            legend=self.ground.card.legend(self.config.model.output),
            area=self.ground.area,
            store=store,
            arrays=self.template.arrays,
            keep_untrained=self.config.model.keep_untrained,
        )
        return MapSetup(
            card=self.ground.card,
            job=job,
            template=self.template,
            fingerprint=self.fingerprint,
            memory=self.memory(self.blocks.size),
            engine=self.engine,
            notes=self.notes,
            direct_opens_allowed=0 if self.config.cube else DIRECT_OPENS,
        )

    @cached_property
    def blending(self) -> Blending:
        """How windows lie and blend."""
        rule, asked = self.ground.card.window, self.config.windows
        size = asked.size or rule.size
        check_window(self.ground.card, size)
        overlap = asked.overlap if asked.overlap is not None else rule.overlap * size // rule.size
        lattice = Lattice(window=size, stride=size - overlap, unit=self.ground.card.unit_px)
        return Blending(lattice, asked.blend or rule.blend)

    @cached_property
    def model(self) -> TorchModel:
        """The model, its weights named and summed but not loaded."""
        section = self.config.model
        return resolve_model(
            self.ground.card,
            weights=self.config.path(section.weights) if section.weights else None,
            sha256=section.sha256,
            output=section.output,
            window=self.blending.lattice.window,
            dates=padded_length(max((len(item.indices) for item in self.ground.series.values()), default=1)),
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
        factor = exact(wanted) / self.ground.pixels.resolution if wanted is not None else Fraction(1)
        if factor.denominator != 1:
            raise ConfigError(
                f"output.resolution {wanted} m is {float(factor):g} pixels of "
                f"{float(self.ground.pixels.resolution):g} m: use a whole number of them."
            )
        return int(factor)

    @cached_property
    def blocks(self) -> Blocks:
        """Blocks over the snapped area."""
        lattice = self.blending.lattice
        step = budget.block_step(unit=lattice.unit, chunk=self.config.output.chunk, factor=self.factor)
        block = self.config.output.block
        if block is None:
            size = max(self.ground.grid.extent.shape)
            largest = max(step, LARGEST_BLOCK // step * step)
            while largest > step and self.memory(largest).worker > self.engine.worker_bytes:
                largest -= step
            chosen = budget.default_block(size, step=step, stride=lattice.stride, largest=largest)
        else:
            chosen = block * self.factor
        budget.check_block(chosen, step)
        budget.check_memory(self.memory(chosen).worker, self.engine.worker_bytes, chosen)
        return Blocks.covering(self.ground.grid.extent, chosen)

    def memory(self, block: int) -> budget.BlockMemory:
        """Memory of blocks of ``block`` base pixels."""
        window, legend = self.blending.lattice.window, self.ground.card.legend(self.config.model.output)
        layers = 1 + self.config.output.confidence + bool(filtered_series(self.ground.inputs))
        bytes_a_pixel = layers + self.config.output.probability * len(legend)
        found = budget.block_memory(
            block=block,
            inputs=[_input_memory(item, window) for item in self.ground.inputs.values()],
            model=budget.ModelMemory(
                bytes=self._model_bytes,
                window=window,
                classes=len(legend),
                batch=self.model.batch_size,
                loading=self.model.loading_bytes,
                on_gpu=self.model.settings.on_gpu,
            ),
            output_bytes=bytes_a_pixel / self.factor**2,
        )
        return replace(found, files=KEPT_BYTES)

    @cached_property
    def _model_bytes(self) -> int:
        # Asked for once: it takes a pass of the network without values, a second or two.
        return self.model.memory_bytes()

    @cached_property
    def engine(self) -> EngineSettings:
        """Who runs the blocks."""
        return engine_settings(self.config.engine, self.config.model.torch_threads)

    @cached_property
    def target(self) -> Target:
        """Where the map goes."""
        return Target.parse(self.config.path(self.config.output.store), self.config.output.storage_options)

    @cached_property
    def template(self) -> MapTemplate:
        """What the output will hold."""
        return MapTemplate(
            grid=self.ground.grid.with_extent(self.blocks.extent).coarsen(self.factor),
            blocks=Blocks(extent=self.blocks.extent.coarsen(self.factor), size=self.blocks.size // self.factor),
            legend=self.ground.card.legend(self.config.model.output),
            confidence=self.config.output.confidence,
            probability=self.config.output.probability,
            date_fallback=bool(filtered_series(self.ground.inputs)),
            chunk=self.config.output.chunk,
            attributes=self._provenance(),
        )

    def _provenance(self) -> dict[str, Any]:
        return {
            "title": f"Land cover by {self.ground.card.title}",
            "license": self.ground.card.licence,
            "source": self.ground.card.source,
            "model": {"card": self.ground.card.name, **self.model.fingerprint_fields},
            "fingerprint": self.fingerprint.sha256,
            "fingerprint_fields": dict(self.fingerprint.parts),
            "libraries": {name: metadata.version(name) for name in LIBRARIES},
        }

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The meaning of the run."""
        lattice, legend = self.blending.lattice, self.ground.card.legend(self.config.model.output)
        grid, output = self.ground.pixels, self.config.output
        return Fingerprint(
            {
                "grid": {
                    "crs": grid.crs,
                    "resolution": str(grid.resolution),
                    "anchor": [str(value) for value in grid.anchor_xy],
                },
                "windows": {"size": lattice.window, "overlap": lattice.overlap, "blend": str(self.blending.blend)},
                "area": self.ground.area.fingerprint_fields if self.ground.area else "imagery",
                "output": {
                    "pixels": [self.blocks.extent.y.start, self.blocks.extent.x.start, *self.blocks.extent.shape],
                    "block": self.blocks.size,
                    "chunk": output.chunk,
                    "factor": self.factor,
                    "confidence": output.confidence,
                    "probability": output.probability,
                },
                "model": {**self.model.fingerprint_fields, "keep_untrained": self.config.model.keep_untrained},
                "legend": {"codes": list(legend.codes), "trained": list(legend.trained)},
                "inputs": {name: _meaning(item) for name, item in self.ground.inputs.items()},
            }
        )

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before running it."""
        return (*self._model_notes(), *self._input_notes(), *self._series_notes())

    def _model_notes(self) -> Iterator[str]:
        """Where the model is not used as it was trained."""
        card, size, pixel = self.ground.card, self.blending.lattice.window, self.ground.pixels.resolution
        yield from (f"unverified in the card: {text}" for text in card.unverified)
        if size not in card.window.trained_sizes:
            trained = ", ".join(map(str, card.window.trained_sizes))
            yield f"windows of {size} px; the model was trained on {trained}"
        if self.config.model.resize_tables and (changed := changed_tensors(card, size)):
            yield f"{len(changed)} position tables are resized for windows of {size} px: not the published model"
        if pixel != card.base_pixel:
            yield f"the model is fed pixels of {float(pixel):g} m, it was trained on {float(card.base_pixel):g} m"

    def _input_notes(self) -> Iterator[str]:
        """What sources tell, and inputs that are left out."""
        for name, item in self.ground.inputs.items():
            yield from (f"{name}: {note}" for note in item.source.describe().get("notes", ()))
        for name in self.ground.card.inputs:
            if name not in self.config.inputs:
                yield f"{name} is not among the inputs: fed as absent, which the card allows"

    def _series_notes(self) -> Iterator[str]:
        """Where dates are others than the model or the windows want."""
        for name, item in self.ground.series.items():
            wanted, there = self.ground.card.inputs[name].quantity, item.series and item.series.quantity
            if wanted not in (None, there):
                yield f"{name} holds {there}, the model was trained on {wanted}"
            if years := item.years_without_dates:
                told = ", ".join(map(str, years))
                yield f"{name} has no date of {told}: absent where the aerial images are of these years"
        cube = self.config.cube
        reach = self.blending.lattice.window * float(self.ground.pixels.resolution)
        if cube and self.ground.series and cube.margin_m < reach:
            yield (
                f"windows reach up to {reach:g} m beyond the area and the cube keeps {cube.margin_m:g} m: beyond them "
                f"nothing is acquired (cube.margin_m)"
            )


def engine_settings(section: EngineSection, threads: int) -> EngineSettings:
    """Who runs the blocks, where a worker's computing takes ``threads`` cores."""
    cores = len(os.sched_getaffinity(0))
    workers = 1 if section.kind == "inline" else section.workers or max(1, cores // threads)
    share = int(psutil.virtual_memory().available * MEMORY_SHARE) // workers
    given = int(section.memory_gib * budget.GIB) if section.memory_gib else share
    return EngineSettings(kind=section.kind, workers=workers, address=section.address, worker_bytes=given)


def _input_memory(item: MapInput, window: int) -> budget.InputMemory:
    return budget.InputMemory(
        factor=item.factor,
        bands=len(item.bands),
        itemsize=item.source.dtype.itemsize,
        dates=len(item.indices) if item.series else 1,
        around=item.footprint.halo(window),
    )


def _meaning(item: MapInput) -> dict[str, Any]:
    factor = Fraction(item.factor)
    told = int(factor) if factor.denominator == 1 else str(factor)
    meaning = {"bands": list(item.bands), "factor": told, **item.source.fingerprint_fields}
    if item.series is None:
        return meaning
    year = item.year if item.year is None or isinstance(item.year, int) else item.year.fingerprint_fields
    return {**meaning, "year": year}
