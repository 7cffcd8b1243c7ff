"""How right a map is: scores, areas from a sample, changes, other products of the same ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from landweave.comparing.polygons import MOST_POLYGONS, trace_changes
from landweave.comparing.report import write_change
from landweave.comparing.result import Change
from landweave.comparing.run import run_change
from landweave.comparing.zones import count_by_zone
from landweave.config.schema import Config, ModelSection
from landweave.core.crosswalk import Crosswalk
from landweave.core.errors import InputError
from landweave.core.protocols import Engine
from landweave.evaluating import sample as sampling
from landweave.evaluating.reference import Labels as Labels
from landweave.evaluating.report import write_evaluation
from landweave.evaluating.result import Evaluation
from landweave.evaluating.run import EvaluationSetup, run_evaluation
from landweave.evaluating.sample import SampleEstimates
from landweave.evaluating.sample import SamplingRule as SamplingRule
from landweave.jobs.progress import Progress, resolve_progress
from landweave.models.cards.registry import find_card
from landweave.publishing.map_state import find_holes
from landweave.setup.change import ChangeRule as ChangeRule
from landweave.setup.change import set_up_change
from landweave.setup.context import resolve_card
from landweave.setup.dataset import ModelUse, set_up_dataset_evaluation, set_up_model_evaluation
from landweave.setup.evaluation import set_up_comparison, set_up_map_evaluation
from landweave.setup.map_setup import map_target
from landweave.setup.sampling import CHIP_BANDS, sample_place
from landweave.setup.sampling import ChipImages as ChipImages
from landweave.setup.vector_files import on_disk
from landweave.sources.object_files import in_object_store
from landweave.sources.patches.layout import PatchDataset, open_dataset
from landweave.store.maps.store import open_store
from landweave.store.objects import Target
from landweave.surface.engines import AnyEngine, reading_engine
from landweave.surface.hectares import ZoneSource, zone_table

AnyMap = Config | str | Path
"""Path or URL of a map, or its configuration."""


def evaluate(  # noqa: PLR0913  what is compared, with what, and who reads it
    where: AnyMap,
    labels: Labels | PatchDataset | str | Path | Sequence[str | Path],
    *,
    leave_out: Sequence[int | str] | None = None,
    folder: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    client: Any = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
) -> Evaluation:
    """Scores, calibration and seams of a map against label rasters or polygons, from one confusion matrix.

    The matrix is summed block by block; only blocks on which labels lie are read. Labels that are not on the map's
    pixels are read by their nearest pixel, which the notes of the result say.

    Parameters
    ----------
    where
        Path or URL of the map, or its configuration.
    labels
        A raster, folder, glob or list of rasters of the map's codes, 255 = none; or `Labels`, which name a band, or
        the column of a vector file; or a dataset from `open_patches`.
    leave_out
        Codes or names of classes whose rows and columns are removed; those that the model was never trained on by
        default.
    folder
        Where numbers, charts and a page are written; nowhere by default.
    storage_options
        Of the object store that holds the map, the labels or both: whichever is named by a URL.
    client, engine
        Who reads the blocks, as of `landweave.run`; by default the active Dask client where there is one, this process
        otherwise.
    progress
        True for a bar on a terminal or in a notebook, False for none.

    Raises
    ------
    LandweaveError
        When the labels cannot be used or lie elsewhere, or a block cannot be read: there is no result of a part.

    Examples
    --------
    >>> result = evaluate("landcover.zarr", "labels.tif", progress=False)
    >>> round(result.scores.accuracy, 2)
    0.92
    """
    if isinstance(labels, PatchDataset):
        setup = set_up_dataset_evaluation(map_target(where, storage_options), labels, leave_out=leave_out)
    else:
        target, named = _target_and_labels(where, labels, storage_options)
        setup = set_up_map_evaluation(target, named, leave_out=leave_out)
    return _evaluate(setup, reading_engine(engine, client), progress, folder)


def open_patches(
    folder: str | Path, *, split: str = "test", domains: Sequence[str] = (), training_domains: bool = False
) -> PatchDataset:
    """The regions of a dataset of patches (FLAIR-HUB, FLAIR#1, FLAIR#2) as it is published; no file is opened.

    Parameters
    ----------
    folder
        Of the dataset.
    split
        ``test``, ``train`` (training and validation) or ``all``, by the official lists of domains.
    domains
        Domains or departments, as ``D012-2019`` or ``D012``, instead of a split.
    training_domains
        Whether domains that the dataset's models were trained on may be among them; they are refused otherwise.

    Raises
    ------
    InputError
        When the folder holds no such dataset.
    ConfigError
        When a split or a domain is not there, or one is of training.

    Examples
    --------
    >>> print(open_patches("FLAIR-HUB"))
    dataset     FLAIR-HUB, flair-hub
    regions     1
    domains     D012-2019
    modalities  AERIAL_LABEL-COSIA (4 files), AERIAL_RGBI (4 files)
    """
    return open_dataset(folder).select(split, domains, training=training_domains)


def evaluate_model(  # noqa: PLR0913  what is compared, with what, and who reads it
    model: Config | str | Path,
    patches: PatchDataset,
    *,
    weights: str | Path | None = None,
    leave_out: Sequence[int | str] | None = None,
    folder: str | Path | None = None,
    client: Any = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
) -> Evaluation:
    """Scores, calibration and seams of a model over a dataset of patches, of the whole and of each domain.

    Each region is mapped on a grid anchored at its own corner, as its patches were made, blended as a map is, and
    compared with its labels. Nothing is written.

    Parameters
    ----------
    model
        Name or file of a card, or a configuration whose model and windows are used.
    patches
        From `open_patches`.
    weights
        Of a card that does not name them.
    leave_out, folder, client, engine, progress
        As of `evaluate`.

    Raises
    ------
    LandweaveError
        As `evaluate` does, and when the dataset lacks what the model reads.

    Examples
    --------
    >>> patches = open_patches("FLAIR-HUB")
    >>> result = evaluate_model("small.yaml", patches, weights="small.safetensors", progress=False)
    >>> f"{result.scores.accuracy:.2f} over {len(result.domains)} domain"
    '0.12 over 1 domain'
    """
    if isinstance(model, Config):
        use = ModelUse(model=model.model, windows=model.windows, root=model.root)
        card = resolve_card(model, model.model)
    else:
        use = ModelUse(model=ModelSection(card=str(model), weights=None if weights is None else str(weights)))
        card = find_card(model)
    setup = set_up_model_evaluation(use, card, patches, leave_out)
    return _evaluate(setup, reading_engine(engine, client), progress, folder)


def draw_sample(  # noqa: PLR0913  what is drawn, from where, and who reads it
    where: AnyMap,
    path: str | Path,
    *,
    rule: SamplingRule | None = None,
    images: ChipImages | str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    client: Any = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
) -> Path | str:
    """Draw a stratified random sample of a map for photo-interpreters, and write it as a GeoPackage; its path or URL.

    Its layer ``sample`` has the points in random order, without the class of the map, and a column ``reference`` to be
    filled with codes or names of the legend (255: cannot tell); `estimate_areas` reads it back.

    Parameters
    ----------
    where
        Path or URL of the map, or its configuration; its classes are the strata.
    path
        Of the GeoPackage, or its URL in an object store; none may be there.
    rule
        Points in all, the least of each class, and the seed; 1000, 50 and 0 by default.
    images
        Files, or `ChipImages`, that a picture of 51 m around each point is cut from; none by default.
    storage_options
        Of the object store that holds the map, the sample or the images: whichever is named by a URL.
    client, engine, progress
        As of `evaluate`.

    Raises
    ------
    LandweaveError
        When the map has no class or is not complete, a file is there already, or a block cannot be read.

    Examples
    --------
    >>> draw_sample("landcover.zarr", "sample.gpkg", rule=SamplingRule(size=100, minimum=10), progress=False)
    PosixPath('sample.gpkg')
    """
    named = images if isinstance(images, str | Path) else ""
    of_map, *_ = _options_of(storage_options, where, path, images.files if isinstance(images, ChipImages) else named)
    store = open_store(map_target(where, of_map))
    if holes := find_holes(store):
        raise InputError(
            f"{store.target}: {holes[0]}. Hectares of a sample would be those of what is there: run the map again to "
            "finish them, then draw."
        )
    chips = images if isinstance(images, ChipImages) or images is None else ChipImages(files=images)
    imagery = None if chips is None else chips.open(store.grid, storage_options)
    with sample_place(path, storage_options) as place:
        with reading_engine(engine, client) as opened:
            sample = sampling.draw_sample(store, rule or SamplingRule(), opened, resolve_progress(progress))
        sampling.write_with_chips(sample, place, store.grid, imagery, CHIP_BANDS)
    return str(path) if in_object_store(str(path)) else Path(path)


def estimate_areas(
    path: str | Path, *, accept_missing: bool = False, storage_options: Mapping[str, Any] | None = None
) -> SampleEstimates:
    """Hectares of each class with their 95 % intervals, from a sample that was interpreted (Olofsson et al. 2014).

    Parameters
    ----------
    path
        The GeoPackage of `draw_sample`, with its references.
    accept_missing
        Whether points without a reference are left out.
    storage_options
        Of the object store that holds it.

    Raises
    ------
    InputError
        When points have no reference, a reference is no class, or a stratum has fewer than two points.

    Examples
    --------
    >>> found = estimate_areas("interpreted.gpkg")
    >>> print(f"{found.estimates.estimated[0]:.3f} ± {found.estimates.margins[0]:.3f} ha of {found.legend.names[0]}")
    0.063 ± 0.006 ha of building
    """
    with on_disk(path, storage_options) as file:
        return sampling.estimate_areas(file, accept_missing=accept_missing)


def change(  # noqa: PLR0913  what is compared, where it is counted, what is written
    before: AnyMap,
    after: AnyMap,
    *,
    rule: ChangeRule | None = None,
    same_ground: tuple[AnyMap, AnyMap] | None = None,
    zones: ZoneSource | None = None,
    layer: str | None = None,
    where: str | None = None,
    folder: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    client: Any = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
) -> Change:
    """What changed between two maps on one lattice: of two years, or by two models.

    Parameters
    ----------
    before, after
        Paths or URLs of the maps, or their configurations; of the same pixels.
    rule
        Which changes are kept (least confidence of both maps, least area of a patch), and crosswalks to a common
        legend; all changes, in their own legend, by default.
    same_ground
        Two maps of the same ground, none of whose differences is a change (two flights of one season): they are
        compared by the same rule, and their false change rate stands beside the result.
    zones
        A vector file of polygons in any CRS, or a GeoDataFrame: hectares of each transition in each of them are
        `Change.by_zone`.
    layer, where
        Of a file of zones: its layer where it has several, and an SQL filter on its columns.
    folder
        Where numbers, hectares by zone, COGs of the classes before and after, polygons of the changes and a page are
        written; nowhere by default.
    storage_options
        Of the object store that holds the maps and the zones, or those of them that are named by a URL.
    client, engine, progress
        As of `evaluate`.

    Raises
    ------
    LandweaveError
        When the maps are not on one lattice, or have other classes; when their CRS does not keep areas to 1 %; when
        zones cannot be used; when a block cannot be read.

    Examples
    --------
    >>> result = change("landcover.zarr", "2024.zarr", rule=ChangeRule(min_area_m2=5), progress=False)
    >>> f"{result.rate:.1%} of the pixels changed"
    '28.9% of the pixels changed'
    """
    rule = rule or ChangeRule()
    maps = (before, after, *(same_ground or ()))
    *options, of_zones = _options_of(storage_options, *maps, zones if isinstance(zones, str | Path) else "")
    stores = [open_store(map_target(*each)) for each in zip(maps, options, strict=True)]
    setups = [set_up_change(*pair, rule) for pair in zip(stores[::2], stores[1::2], strict=True)]
    first, shown = setups[0], resolve_progress(progress)
    grid = first.gate.pair.before.grid.with_extent(first.gate.pair.blocks.extent)
    table = None if zones is None else zone_table(zones, grid, layer=layer, where=where, storage_options=of_zones)
    with reading_engine(engine, client) as opened:
        results = [run_change(setup, opened, shown) for setup in setups]
        result, gate = results[0]
        result = replace(result, same_ground=results[1][0]) if same_ground else result
        if table is not None:
            by_zone = count_by_zone(first.key, gate, result.legend, table, opened, shown)
            result = replace(result, by_zone=by_zone, notes=(*result.notes, *table.notes))
        if folder is None:
            return result
        polygons = None
        if result.counts.patches > MOST_POLYGONS:
            note = f"no polygons are written: {result.counts.patches:,} patches are too many, raise the least area"
            result = replace(result, notes=(*result.notes, note))
        else:
            polygons = trace_changes(first.key, gate, result.legend, opened, shown)
    write_change(result, gate, folder, polygons)
    return result


def compare(  # noqa: PLR0913  what is compared, in which classes, what is written
    where: AnyMap,
    other: Labels | str | Path,
    *,
    crosswalk: Crosswalk | str | Path | None = None,
    leave_out: Sequence[int | str] | None = None,
    folder: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    client: Any = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
) -> Evaluation:
    """How a map agrees with another product of the same ground (OSO, WorldCover, OCS GE, CoSIA), in a common legend.

    A raster is compared on its own pixels, in its own CRS: each is given the class that most of the map's pixels in it
    have, and is compared where the map has classes on half of it. Polygons are compared on the map's pixels.

    Parameters
    ----------
    where
        Path or URL of the map, or its configuration.
    other
        The raster; or `Labels`, which name its crosswalk to the common legend, or the column of polygons.
    crosswalk
        Of the map's classes to the common legend; the map's own by default.
    leave_out, folder, storage_options, client, engine, progress
        As of `evaluate`.

    Raises
    ------
    LandweaveError
        As `evaluate` does.

    Examples
    --------
    >>> result = compare("landcover.zarr", "labels.tif", progress=False)
    >>> round(result.scores.accuracy, 2)
    0.92
    """
    target, named = _target_and_labels(where, other, storage_options)
    setup = set_up_comparison(target, named, crosswalk=crosswalk, leave_out=leave_out)
    return _evaluate(setup, reading_engine(engine, client), progress, folder)


def _options_of(storage_options: Mapping[str, Any] | None, *places: object) -> list[Mapping[str, Any] | None]:
    """The options for each of several places: for those in object stores, or for all where none is, to be refused."""
    remote = [not isinstance(place, Config) and "://" in str(place) for place in places]
    return [storage_options if is_remote or not any(remote) else None for is_remote in remote]


def _target_and_labels(
    where: AnyMap,
    labels: Labels | str | Path | Sequence[str | Path],
    storage_options: Mapping[str, Any] | None,
) -> tuple[Target, Labels]:
    """A map and what it is compared with, each with the options of its object store."""
    named = labels if isinstance(labels, Labels) else Labels(files=labels)
    of_map, of_labels = _options_of(storage_options, where, named)
    if of_labels and not named.storage_options:
        named = replace(named, storage_options=of_labels)
    return map_target(where, of_map), named


def _evaluate(
    setup: EvaluationSetup,
    engine: AbstractContextManager[Engine],
    progress: Progress | bool,
    folder: str | Path | None,
) -> Evaluation:
    with engine as opened:
        result = run_evaluation(setup, opened, resolve_progress(progress))
    if folder is not None:
        write_evaluation(result, folder)
    return result
