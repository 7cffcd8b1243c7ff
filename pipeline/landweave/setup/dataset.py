"""From a dataset of patches to regions that a model maps and counts: each on a grid anchored at its own corner."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landweave.config.schema import Config, ModelSection, WindowsSection
from landweave.core.blending import Array
from landweave.core.errors import CardError, ConfigError, InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.legend import Legend
from landweave.core.protocols import InputBatch, Predictor
from landweave.core.stopwatch import Stopwatch
from landweave.core.words import bullets, counted, first_lines
from landweave.evaluating.counts import Codes, CountRule
from landweave.evaluating.job import ModelJob
from landweave.evaluating.reference import RasterReference
from landweave.evaluating.run import EvaluationSetup
from landweave.jobs.fingerprint import Fingerprint
from landweave.mapping.job import MapFunction, MapJob
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import InputSpec
from landweave.setup.evaluation import SAME_CODES, code_mosaic, map_evaluation, scored_codes
from landweave.setup.map_setup import set_up_map
from landweave.sources.mosaic.alignment import native_grid
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import MosaicSpec
from landweave.sources.mosaic.tile_index import index_tiles
from landweave.sources.patches.layout import LABELS, PatchDataset, PatchRegion
from landweave.store.maps.store import open_store
from landweave.store.objects import Target

IMAGE_BANDS = {
    "AERIAL_RGBI": ("R", "G", "B", "NIR"),
    "AERIAL-RLT_PAN": ("PAN",),
    "SPOT_RGBI": ("R", "G", "B", "NIR"),
}
"""Bands of the images of FLAIR-HUB, in the order of its files; FLAIR#1 has the first's, and heights in a fifth."""

MASKS, PRODUCTS = "SENTINEL2_MSK-SC", "SENTINEL2_PRODUCTS"

_OTHER = 13
"""Class ``other`` of the baselines of FLAIR#1 and FLAIR#2 with 13 classes: their labels 13 to 19."""


def label_spec(region: PatchRegion, modality: str) -> MosaicSpec:
    """The labels of a region as a mosaic; refused where the region has none.

    Parameters
    ----------
    region
        Of the dataset.
    modality
        One of `LABELS`.
    """
    files = region.files.get(modality)
    if not files:
        raise InputError(f"Region {region.id} has no labels {modality}: it has {', '.join(region.files)}.")
    return code_mosaic(files, modality=modality)


def label_modality(dataset: PatchDataset, legend: Legend) -> str:
    """The labels that a model with this legend is compared with.

    Parameters
    ----------
    dataset
        Whose labels.
    legend
        Of the model's output.

    Raises
    ------
    ConfigError
        When the dataset numbers its classes otherwise.
    """
    old = legend.name.startswith("flair1")
    if old != (dataset.layout != "flair-hub") and legend.name in ("cosia", "lpis", *_OLD_LEGENDS):
        raise ConfigError(
            f"Legend {legend.name!r} numbers its classes otherwise than {dataset.layout}: take a model of that dataset."
        )
    return LABELS[1] if legend.name == "lpis" else LABELS[0]


_OLD_LEGENDS = tuple(f"flair1-{count}" for count in ("12", "13", "15", "19", "19-trained-12", "19-trained-15"))


def label_table(legend: Legend) -> Codes:
    """The class that each code of the labels is for a model; 13 to 19 are one in the baselines of 13 classes."""
    table = SAME_CODES.copy()
    if legend.name == "flair1-13":
        table[_OTHER:20] = _OTHER
    return table


def region_grid(region: PatchRegion, modality: str) -> Grid:
    """Pixels of the labels of a region, anchored at its north-west corner, as its patches were made.

    Parameters
    ----------
    region
        Of the dataset.
    modality
        Of the labels.
    """
    index = index_tiles(label_spec(region, modality))
    sizes = {tuple(shape): tile.id for shape, tile in zip(index.shapes.tolist(), index.tiles, strict=True)}
    if len(sizes) > 1:
        listed = ", ".join(f"{height} x {width} ({name})" for (height, width), name in sizes.items())
        raise InputError(f"The labels of region {region.id} are patches of several sizes: {listed}. Fetch them again.")
    native = native_grid(index)
    if native.grid is None:
        raise InputError(f"The labels of region {region.id} are no mosaic: {native.reason}.")
    grid, (height, width) = native.grid, native.grid.shape
    corner = grid.corner(grid.extent.y.start, grid.extent.x.start)
    return Grid(crs=grid.crs, resolution=grid.resolution, extent=Extent.of((0, height), (0, width)), anchor_xy=corner)


def region_inputs(card: ModelCard, dataset: PatchDataset, region: PatchRegion) -> dict[str, Any]:
    """Sections of a configuration for the inputs of a card that a region has.

    Parameters
    ----------
    card
        Of the model.
    dataset, region
        Where they lie.
    """
    old = dataset.layout != "flair-hub"
    inputs: dict[str, Any] = {}
    for name, spec in card.inputs.items():
        files = _files_of(dataset, region, name, spec)
        if not files:  # what the card requires is named when the inputs are compared with it
            continue
        if spec.dates is not None and old:
            inputs[name] = _superarea(dataset, region, spec.dates.filter)
        elif spec.dates is not None:
            masks = region.files.get(MASKS, ()) if name == "SENTINEL2_TS" else ()
            inputs[name] = {
                "kind": "patches",
                "files": files,
                "masks": masks,
                "dates_file": str(dataset.dates_file(name)),
            }
            if masks and spec.dates.filter is not None:
                inputs[name]["cloud_mask"] = _thresholds(spec.dates.filter)
        elif name == "DEM_ELEV":
            both = {"dsm": {"files": files, "band": 1}, "dtm": {"files": files, "band": 2}}
            heights = {"kind": "mosaic", "bands": {"NDSM": {"files": files, "band": 5}}}
            inputs[name] = heights if old else {"kind": "elevation", **both}
        else:
            bands = {band: {"files": files, "band": number} for number, band in enumerate(IMAGE_BANDS[name], 1)}
            inputs[name] = {"kind": "mosaic", "bands": bands}
    return inputs


def _files_of(dataset: PatchDataset, region: PatchRegion, name: str, spec: InputSpec) -> tuple[str, ...]:
    """Files of an input of a card; heights of FLAIR#1 are a band of its images."""
    in_images = dataset.layout != "flair-hub" and spec.dates is None
    return region.files.get("AERIAL_RGBI" if in_images else name, ())


def check_regions(card: ModelCard, dataset: PatchDataset, modality: str) -> None:
    """Refuse a dataset before it is mapped where a region lacks labels or what the model requires; opens no file.

    Parameters
    ----------
    card
        Of the model.
    dataset
        Regions that were chosen.
    modality
        Of the labels.
    """
    problems = []
    for region in dataset.regions.values():
        label_spec(region, modality)
        required = [name for name, spec in card.inputs.items() if spec.required]
        absent = [name for name in required if not _files_of(dataset, region, name, card.inputs[name])]
        problems += [f"{region.id}: {name} is missing; it has {', '.join(region.files)}" for name in absent]
    if problems:
        raise CardError(
            f"Regions of {dataset.folder} lack what {card.name} reads: fetch it, or name other domains:"
            + bullets(first_lines(problems, LISTED))
        )


LISTED = 10
"""Problems that are listed."""


def _unpaired(card: ModelCard, dataset: PatchDataset, modality: str) -> Iterator[str]:
    """Patches that have only one of images and labels: they do not count."""
    for name in (each for each in card.inputs if not each.endswith("_TS")):
        regions = [region for region in dataset.regions.values() if name in region.files]
        for there, absent in ((name, modality), (modality, name)):
            apart = [f"{region.id} {patch}" for region in regions for patch in region.patches(there, without=absent)]
            if apart:
                yield f"patches with {there} and without {absent}, not scored: {len(apart):,}, {apart[0]} the first"


def _superarea(dataset: PatchDataset, region: PatchRegion, rule: Any) -> dict[str, Any]:
    """The series of FLAIR#2 over a region."""
    parts = {"values": "SENTINEL2_TS", "masks": MASKS, "products": PRODUCTS}
    if absent := [modality for modality in parts.values() if not region.files.get(modality)]:
        raise InputError(f"Region {region.id} has a series without {' and '.join(absent)}: fetch the files beside it.")
    section = {
        "kind": "superarea",
        **{key: region.files[modality][0] for key, modality in parts.items()},
        "centroids": str(dataset.centroids_file()),
        "images": region.files["AERIAL_RGBI"],
    }
    return section | ({"cloud_mask": _thresholds(rule)} if rule is not None else {})


def _thresholds(rule: Any) -> dict[str, Any]:
    """Largest probabilities of a clear pixel, by the filter of a card."""
    return {"source": "probability", **rule.clear_thresholds}


@dataclass(frozen=True, kw_only=True)
class ModelUse:
    """A model and how it is used: the sections of a configuration, and the folder that its paths count from."""

    model: ModelSection
    windows: WindowsSection = field(default_factory=WindowsSection)
    root: Path = field(default_factory=Path.cwd)


def region_config(use: ModelUse, card: ModelCard, dataset: PatchDataset, region: PatchRegion) -> Config:
    """The configuration that maps a region, on the pixels of its labels.

    Parameters
    ----------
    use, card
        The model.
    dataset, region
        What is mapped.
    """
    grid = region_grid(region, label_modality(dataset, card.legend(use.model.output)))
    return Config(
        area={"bounds": grid.bounds},
        grid={"crs": grid.crs, "resolution": str(grid.resolution), "anchor": tuple(map(str, grid.anchor_xy))},
        inputs=region_inputs(card, dataset, region),
        model=use.model,
        windows=use.windows,
        output={"store": "not-written.zarr", "probability": True},
        engine={"kind": "inline"},
        root=use.root,
    )


@dataclass(frozen=True, kw_only=True)
class RegionOpener:
    """Opens regions where they are mapped, with one loaded model. Picklable."""

    use: ModelUse
    card: ModelCard
    dataset: PatchDataset
    codes: tuple[int, ...]

    def __call__(self) -> Callable[[str], MappedRegion]:
        """What opens a region by its id; safe in two threads."""
        lock, opened = threading.Lock(), list[Predictor]()

        def open_region(name: str) -> MappedRegion:
            region = self.dataset.regions[name]
            job = self.job(region)
            with lock:
                if not opened:  # one model for all regions, which differ in their files alone
                    opened.append(_OneAtATime(job.model.open()))
            return MappedRegion(
                domain=region.domain,
                job=job,
                predictor=opened[0],
                reference=self._reference(region, job),
                rule=self._rule(job),
            )

        return open_region

    def job(self, region: PatchRegion) -> MapJob:
        """The map of a region."""
        return set_up_map(region_config(self.use, self.card, self.dataset, region)).job

    def _reference(self, region: PatchRegion, job: MapJob) -> RasterReference:
        spec = label_spec(region, label_modality(self.dataset, job.legend))
        source = MosaicSource.open(spec, job.output_grid(job.grid.extent))
        return RasterReference(source=source, table=label_table(job.legend))

    def _rule(self, job: MapJob) -> CountRule:
        lattice = job.blending.lattice if job.factor == 1 else None
        return CountRule(legend=job.legend, codes=self.codes, lattice=lattice, blocks=job.blocks)


class _OneAtATime:
    """A predictor that two regions of one worker share."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor, self._lock = predictor, threading.Lock()

    def predict(self, batch: Mapping[str, InputBatch]) -> Array:
        """See `landweave.core.protocols.Predictor`."""
        with self._lock:
            return self._predictor.predict(batch)


@dataclass(frozen=True, kw_only=True)
class MappedRegion:
    """A region ready to be mapped: `landweave.evaluating.job.Region`."""

    domain: str
    job: MapJob
    predictor: Predictor
    reference: RasterReference
    rule: CountRule

    @property
    def grid(self) -> Grid:
        """Pixels of its map: those of its labels, not the whole blocks around them."""
        template: Any = self.job.store
        return self.job.output_grid(self.job.grid.extent).with_extent(template.template.mapped_extent)

    def predict(self) -> Mapping[str, Codes] | None:
        """See `landweave.evaluating.job.Region`."""
        return MapFunction(self.job, self.predictor).predict(self.grid.extent.refine(self.job.factor), Stopwatch())[0]


def set_up_model_evaluation(
    use: ModelUse, card: ModelCard, dataset: PatchDataset, leave_out: Any = None
) -> EvaluationSetup:
    """The evaluation of a model over the regions of a dataset; the first region is set up to find what is wrong.

    Parameters
    ----------
    use, card
        The model.
    dataset
        Regions that were chosen.
    leave_out
        As of `landweave.setup.evaluation.scored_codes`.
    """
    legend = card.legend(use.model.output)
    codes = scored_codes(legend, leave_out)
    check_regions(card, dataset, label_modality(dataset, legend))
    opener = RegionOpener(use=use, card=card, dataset=dataset, codes=codes)
    first = opener.job(next(iter(dataset.regions.values())))
    first.model.verify()
    regions = tuple(dataset.regions)
    identity = {"model": dict(first.model.fingerprint_fields), "regions": list(regions), "dataset": str(dataset.folder)}
    size, overlap = first.blending.lattice.window, first.blending.lattice.overlap
    facts = {
        "compared": f"{card.name} (card {card.sha256[:12]}, weights {first.model.fingerprint_fields['weights'][:12]})",
        "reference": f"{dataset.folder}, {dataset.layout}",
        "regions": f"{len(regions):,} of {counted(len(dataset.domains), 'domain')}",
        "windows": f"{size} px, overlap {overlap}, {first.blending.blend}",
    }
    job = ModelJob(key=Fingerprint(identity).sha256, regions=regions, opener=opener)
    notes = tuple(_unpaired(card, dataset, label_modality(dataset, legend)))
    return EvaluationSetup(job=job, legend=legend, codes=codes, facts=facts, notes=notes)


def dataset_references(dataset: PatchDataset, grid: Grid, legend: Legend) -> dict[str, RasterReference]:
    """The labels of a dataset on the pixels of a map, by domain.

    Parameters
    ----------
    dataset
        Regions that were chosen.
    grid, legend
        Of the map.
    """
    modality, files = label_modality(dataset, legend), dict[str, tuple[str, ...]]()
    for region in dataset.regions.values():
        files[region.domain] = (*files.get(region.domain, ()), *label_spec(region, modality).bands["LABEL"].files)
    found = {}
    for domain, paths in files.items():
        source = MosaicSource.open(code_mosaic(paths, modality=modality), grid)
        found[domain] = RasterReference(source=source, table=label_table(legend))
    return found


def set_up_dataset_evaluation(where: Target, dataset: PatchDataset, *, leave_out: Any = None) -> EvaluationSetup:
    """The evaluation of a stored map against the labels of a dataset, by domain.

    Parameters
    ----------
    where
        The map.
    dataset
        Regions that were chosen.
    leave_out
        As of `landweave.setup.evaluation.scored_codes`.
    """
    store = open_store(where)
    codes = scored_codes(store.legend, leave_out)
    references = dataset_references(dataset, store.grid, store.legend)
    return map_evaluation(store, references, store.legend, codes, name=f"{dataset.folder}, {dataset.layout}")
