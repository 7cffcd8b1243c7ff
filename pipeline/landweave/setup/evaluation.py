"""From what is named (a map, labels, classes left out) to an evaluation that can be run; no pixel is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from landweave.core.crosswalk import Crosswalk, load_crosswalk
from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Grid
from landweave.core.legend import NODATA, Legend, plain_name
from landweave.core.metrics import stored_lattice
from landweave.evaluating.counts import Codes, CountRule
from landweave.evaluating.job import StoredMapJob
from landweave.evaluating.own_grid import MOST_ACROSS, OwnGridJob
from landweave.evaluating.reference import Labels, RasterReference, Reference, read_polygons
from landweave.evaluating.run import EvaluationSetup
from landweave.jobs.fingerprint import Fingerprint
from landweave.publishing.map_state import find_holes
from landweave.setup.vector_files import on_disk
from landweave.sources.mosaic.alignment import native_grid
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.mosaic.tile_index import TileIndex, index_tiles
from landweave.store.maps.store import MapStore, open_store
from landweave.store.objects import Target

VECTOR_SUFFIXES = (".gpkg", ".shp", ".geojson", ".json", ".fgb", ".parquet", ".zip")

SAME_CODES: Codes = np.arange(NODATA + 1, dtype=np.uint8)
"""The table that leaves codes as they are."""


def open_labels(labels: Labels, grid: Grid, legend: Legend) -> Reference:
    """Label rasters, or polygons where a column is named, on the pixels of ``grid``.

    Parameters
    ----------
    labels
        The files.
    grid
        Pixels of the map, over all of it.
    legend
        Whose names, or their first words, a column of polygons may hold.

    Raises
    ------
    InputError
        When the files cannot be used, or lie elsewhere.
    """
    path = labels.paths[0]
    if labels.column is not None:
        table, known = _table(labels.crosswalk, legend)
        with ExitStack() as stack:
            files = [stack.enter_context(on_disk(path, labels.storage_options)) for path in labels.paths]
            return read_polygons(labels, files, grid.crs, codes=_codes_by_name(legend), table=table, known=known)
    reference = _raster_reference(index_tiles(_label_spec(labels)), grid, labels, legend)
    if not reference.touches(grid):
        raise InputError(
            f"No label of {path} lies on the map: they are in {reference.source.bounds(grid)}, the map in "
            f"{grid.bounds}, both in {grid.crs[:40]}."
        )
    return reference


def _codes_by_name(legend: Legend) -> dict[str, int]:
    """Codes by names in any spelling, and by their first word where it is a code of its own: CS1.1.1.1."""
    first = {each.name.split()[0].lower(): each.code for each in legend.classes if "." in each.name.split()[0]}
    return legend.codes_by_name | {name: code for name, code in first.items() if name not in legend.codes_by_name}


def _label_spec(labels: Labels) -> MosaicSpec:
    if labels.paths[0].lower().endswith(VECTOR_SUFFIXES):
        raise ConfigError(f"{labels.paths[0]} holds polygons: name the column with their classes.")
    return code_mosaic(labels.paths, band=labels.band, root=str(Path.cwd()), storage_options=labels.storage_options)


def code_mosaic(
    files: tuple[str, ...],
    *,
    band: int = 1,
    modality: str = "labels",
    root: str = "",
    storage_options: Mapping[str, Any] | None = None,
) -> MosaicSpec:
    """Rasters of class codes as a mosaic of one band, ``LABEL``.

    Parameters
    ----------
    files
        Paths, folders or patterns.
    band
        Of the files, from 1.
    modality
        What the rasters are called in messages.
    root
        Folder that relative paths count from.
    storage_options
        Of the object store that the files lie in.
    """
    bands = {"LABEL": BandFiles(files=files, band=band)}
    # Not the nodata tag of a file: many tag 0, which is a class.
    return MosaicSpec(
        modality=modality,
        bands=bands,
        root=root,
        nodata=NODATA,
        nodata_rule="any",  # other bands of the files say nothing of the codes
        resampling="nearest",
        palettes=True,
        storage_options=storage_options or {},
    )


def _table(crosswalk: Crosswalk | str | Path | None, legend: Legend) -> tuple[Codes, frozenset[int] | None]:
    """The code that each code of labels becomes, and those that the crosswalk lists; None without one.

    Raises
    ------
    ConfigError
        When the crosswalk leads to other classes than those of ``legend``.
    """
    if crosswalk is None:
        return SAME_CODES, None
    found = crosswalk if isinstance(crosswalk, Crosswalk) else load_crosswalk(crosswalk)
    if other := [each for each in found.legend.classes if legend.names.get(each.code) != each.name]:
        there = legend.names.get(other[0].code)
        raise ConfigError(
            f"The crosswalk of the labels leads to {found.legend.name!r}, where {other[0].code} is {other[0].name!r}; "
            f"they are compared in {legend.name!r}, where it is {repr(there) if there else 'no class'}: "
            "name crosswalks to one legend."
        )
    return found.table, frozenset(code for code, _ in found.codes)


def _raster_reference(index: TileIndex, grid: Grid, labels: Labels, legend: Legend) -> RasterReference:
    """Label rasters; a nodata tag counts where it is no class, as many files tag 0, which is one."""
    table, known = _table(labels.crosswalk, legend)
    (number,) = index.products[0].bands.values()  # that of the files, of which a VRT may make another
    stated = (tile.files[0].nodata[number - 1] for tile in index.tiles)
    tags = {tag for tag in stated if tag is not None}
    classes = legend.codes if known is None else [code for code in known if table[code] != NODATA]
    remarks = tuple(
        f"files tag {tag:g} as nodata, which is a class: its pixels count; a crosswalk leaves it out if it is none"
        for tag in sorted(tags & {*classes})
    )
    # In the reading, so that the gap of a tile leaves the pixel to the tile below.
    spec = replace(index.spec, gaps=tuple(sorted(tags - {*classes})))
    source = MosaicSource.of(replace(index, spec=spec), grid)
    return RasterReference(source=source, table=table, known=known, remarks=remarks)


def set_up_comparison(
    where: Target,
    labels: Labels,
    *,
    crosswalk: Crosswalk | str | Path | None = None,
    leave_out: Sequence[int | str] | None = None,
) -> EvaluationSetup:
    """The comparison of a map with another raster on its own pixels, or with polygons on the map's.

    Parameters
    ----------
    where
        The map.
    labels
        The other raster, or polygons.
    crosswalk
        Of the map's classes to those that are compared; None for its own.
    leave_out
        As of `scored_codes`.
    """
    store = open_store(where)
    legend, table = target_of(store, crosswalk)
    codes = scored_codes(legend, leave_out)
    if labels.column is not None:
        polygons = open_labels(labels, store.grid, legend)
        return map_evaluation(store, {"": polygons}, legend, codes, name=str(labels), table=table)
    spec = _label_spec(labels)
    index = index_tiles(spec)
    native = native_grid(index)
    if native.grid is None:
        raise InputError(f"{labels} has no grid of its own to be compared on: {native.reason}.")
    reference = _raster_reference(index, native.grid, labels, legend)
    job = OwnGridJob(
        key=Fingerprint({"map": str(store.target), "other": str(labels)}).sha256,
        store=store,
        table=table,
        legend=legend,
        reference=reference,
        grid=native.grid,
    )
    if job.parts is None:
        raise InputError(
            f"{labels} lies in {native.grid.bounds} of {native.grid.crs[:40]}, and no map of {where} there."
        )
    if job.across > MOST_ACROSS:
        raise InputError(
            f"A pixel of {labels} has {job.across:,.0f} pixels of the map side by side, and {MOST_ACROSS:,} at most "
            "are compared: bring it to smaller pixels."
        )
    facts = {
        "compared": str(store.target),
        "reference": str(labels),
        "pixels are": f"the reference's own, of {float(native.grid.resolution):.6g} in {native.grid.crs[:40]}; "
        "the map's class is its most frequent one in each",
    }
    notes = (*find_holes(store), *reference.file_notes)
    return EvaluationSetup(job=job, legend=legend, codes=codes, facts=facts, notes=notes)


def target_of(store: MapStore, crosswalk: Crosswalk | str | Path | None) -> tuple[Legend, Codes]:
    """The legend that a map is compared in, and the class that each of its classes becomes.

    Parameters
    ----------
    store
        The map.
    crosswalk
        From its legend; None for its own.

    Raises
    ------
    ConfigError
        When the crosswalk is of another legend.
    """
    if crosswalk is None:
        return store.legend, SAME_CODES
    known = crosswalk if isinstance(crosswalk, Crosswalk) else load_crosswalk(crosswalk)
    known.check(store.legend)
    return known.legend, known.table


def scored_codes(legend: Legend, leave_out: Sequence[int | str] | None) -> tuple[int, ...]:
    """Codes of the classes that are scored.

    Parameters
    ----------
    legend
        Of the map.
    leave_out
        Codes or names of classes that are not; those that the model was never trained on by default.

    Raises
    ------
    ConfigError
        When the legend has no such class, or none is left.
    """
    if leave_out is None:
        return tuple(each.code for each in legend.classes if each.trained)
    codes = legend.codes_by_name | {str(code): code for code in legend.codes}
    if unknown := [each for each in leave_out if plain_name(each) not in codes]:
        listed = ", ".join(f"{each.code} {each.name}" for each in legend.classes)
        raise ConfigError(f"Class {unknown[0]!r} is to be left out, and legend {legend.name!r} has {listed}.")
    dropped = {codes[plain_name(each)] for each in leave_out}
    kept = tuple(code for code in legend.codes if code not in dropped)
    if not kept:
        raise ConfigError(f"All {len(legend)} classes of {legend.name!r} are left out: nothing is scored.")
    return kept


def set_up_map_evaluation(
    where: Target, labels: Labels, *, leave_out: Sequence[int | str] | None = None
) -> EvaluationSetup:
    """The evaluation of a stored map against labels.

    Parameters
    ----------
    where
        The map.
    labels
        What it is compared with.
    leave_out
        As of `scored_codes`.
    """
    store = open_store(where)
    codes = scored_codes(store.legend, leave_out)
    reference = open_labels(labels, store.grid, store.legend)
    return map_evaluation(store, {"": reference}, store.legend, codes, name=str(labels))


def map_evaluation(
    store: MapStore,
    references: Mapping[str, Reference],
    legend: Legend,
    codes: tuple[int, ...],
    *,
    name: str,
    table: Codes | None = None,
) -> EvaluationSetup:
    """The evaluation of a stored map against references by domain.

    Parameters
    ----------
    store
        The map.
    references
        By domain.
    legend, codes
        Of the classes that are compared, and those that are scored.
    name
        Of the reference, for people.
    table
        The class that each class of the map becomes, where they are compared in another legend.
    """
    identity = {"map": str(store.target), "reference": name}
    job = StoredMapJob(
        key=Fingerprint(identity).sha256,
        store=store,
        references=references,
        rule=CountRule(legend=legend, codes=codes, lattice=stored_lattice(store.attrs), blocks=store.template.blocks),
        table=table,
    )
    facts = {"compared": str(store.target), "reference": name}
    if fingerprint := store.attrs.get("fingerprint"):
        facts["fingerprint"] = str(fingerprint)
    stated = dict.fromkeys(note for reference in references.values() for note in reference.notes)
    notes = (*find_holes(store), *stated)
    return EvaluationSetup(job=job, legend=legend, codes=codes, facts=facts, notes=notes)
