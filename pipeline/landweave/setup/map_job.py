"""What a map is made with, wherever its pixels come from: windows, model, job, template and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from landweave.config.schema import ModelSection, OutputSection, WindowsSection
from landweave.core.blending import Blending
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent, Lattice
from landweave.core.legend import Legend
from landweave.core.timeseries import padded_length
from landweave.engine.software import software_facts
from landweave.formats.area import PolygonArea
from landweave.jobs.fingerprint import Fingerprint
from landweave.mapping.inputs import MapInput, filtered_series
from landweave.mapping.job import MapJob
from landweave.models.cards.card import ModelCard
from landweave.models.networks.position_tables import check_window
from landweave.models.predictor import TorchModel, resolve_model
from landweave.models.settings import Compute
from landweave.sources.libraries import library_facts
from landweave.store.maps.store import MapStore
from landweave.store.maps.template import MapTemplate
from landweave.store.objects import Target

LIBRARIES = ("distributed", "xarray")
"""Those that no pixel passes through, and whose version a person may want all the same."""

Inputs = Mapping[str, MapInput]
"""Inputs by modality, in the order of the card."""


@dataclass(frozen=True, kw_only=True)
class MapRules:
    """What is known of a map before any input is opened.

    Attributes
    ----------
    card
        Contract of the model.
    model, output
        Their sections of the configuration.
    blending
        Lattice and profile of the windows, in base pixels.
    pixels
        Base pixels; the extent means nothing.
    target
        Where the map is written.
    legend
        Classes of the output that is mapped.
    area
        Area that is mapped; None for all pixels.
    imagery
        Ground of the required inputs, where there is no area.
    factor
        Base pixels a side of one output pixel.
    """

    card: ModelCard
    model: ModelSection
    output: OutputSection
    blending: Blending
    pixels: Grid
    target: Target
    legend: Legend
    area: PolygonArea | None = None
    imagery: PolygonArea | None = None
    factor: int = 1


def resolve_blending(card: ModelCard, section: WindowsSection) -> Blending:
    """Windows and their profile: as the section states them, those of the card otherwise.

    Parameters
    ----------
    card
        Contract of the model.
    section
        Windows of a configuration.

    Raises
    ------
    CardError
        When the network takes no such window.
    """
    rule = card.window
    size = section.size or rule.size
    check_window(card, size)
    overlap = section.overlap if section.overlap is not None else rule.overlap * size // rule.size
    lattice = Lattice(window=size, stride=size - overlap, unit=card.unit_px)
    return Blending(lattice, section.blend or rule.blend)


def map_model(
    rules: MapRules,
    inputs: Inputs,
    weights: str | Path | None,
    *,
    elsewhere: bool = False,
    only_planned: bool = False,
) -> TorchModel:
    """The model with the checksum of its weights; they are not loaded.

    Parameters
    ----------
    rules, inputs
        What is mapped.
    weights
        Their file; that of the card by default.
    elsewhere
        Whether other machines compute.
    only_planned
        Whether the weights may be missing: nothing is predicted.
    """
    section = rules.model
    return resolve_model(
        rules.card,
        weights=weights,
        sha256=section.sha256,
        output=section.output,
        window=rules.blending.lattice.window,
        dates=padded_length(max([1, *(len(item.indices) for item in inputs.values())])),
        compute=Compute(
            **section.model_dump(include={"batch_size", "torch_threads", "device", "bfloat16", "engine"}),
            elsewhere=elsewhere,
            only_planned=only_planned,
        ),
    )


def map_job(
    rules: MapRules,
    inputs: Inputs,
    blocks: Blocks,
    model: TorchModel,
    *,
    mapped: Extent | None = None,
    fingerprint: Fingerprint | None = None,
) -> tuple[MapJob, MapTemplate]:
    """The job of a map, and what its output holds, in output pixels.

    Parameters
    ----------
    rules, inputs, model
        What is mapped, by what.
    blocks
        In base pixels.
    mapped
        Base pixels inside the bounds of the area, or of the imagery; those of all blocks by default.
    fingerprint
        Settings that decide the values of the map, where it is one of a configuration.
    """
    grid, output, factor = rules.pixels.with_extent(blocks.extent), rules.output, rules.factor
    template = MapTemplate(
        grid=grid.coarsen(factor),
        blocks=blocks.coarsen(factor),
        legend=rules.legend,
        confidence=output.confidence,
        probability=output.probability,
        date_fallback=bool(filtered_series(inputs)),
        chunk=output.chunk,
        shards=output.shards,
        mapped=(mapped or blocks.extent).coarsen(factor),
        attributes=_provenance(rules, model, fingerprint),
    )
    job = MapJob(
        key=fingerprint.sha256 if fingerprint else "",
        grid=grid,
        blocks=blocks,
        bounds=mapped or blocks.extent,
        factor=factor,
        blending=rules.blending,
        model=model,
        inputs=inputs,
        legend=template.legend,
        area=rules.area,
        imagery=rules.imagery and rules.imagery.grown(-float(rules.pixels.resolution) / 4),  # edges touch no block
        store=MapStore(target=rules.target, template=template),
        arrays=template.arrays,
        keep_untrained=rules.model.keep_untrained,
        threshold=model.settings.output_spec.threshold,
    )
    return job, template


def _provenance(rules: MapRules, model: TorchModel, fingerprint: Fingerprint | None) -> dict[str, Any]:
    """Title, licence, source and model of a map; of one without a configuration only the windows beside them."""
    card, fields = rules.card, model.fingerprint_fields
    known = {
        "title": f"Land cover by {card.title}",
        "license": card.licence,
        "source": card.source,
        "model": {**fields, "card": card.name, "card_sha256": fields["card"]},
    }
    if fingerprint is None:
        return {**known, "fingerprint_fields": {"windows": window_fields(rules.blending)}}
    libraries = {name: metadata.version(name) for name in LIBRARIES}
    libraries |= {**software_facts(), **library_facts()}
    settings = {"fingerprint": fingerprint.sha256, "fingerprint_fields": dict(fingerprint.parts)}
    return {**known, **settings, "libraries": libraries}


def window_fields(blending: Blending) -> dict[str, Any]:
    """The windows of a map, as plain JSON values."""
    lattice = blending.lattice
    return {"size": lattice.window, "overlap": lattice.overlap, "blend": str(blending.blend)}
