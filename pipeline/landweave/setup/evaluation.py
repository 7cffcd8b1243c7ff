"""From what is named (a map, labels, classes left out) to an evaluation that can be run; no pixel is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Lattice
from landweave.core.legend import NODATA, Legend
from landweave.evaluating.counts import Codes, CountRule
from landweave.evaluating.job import StoredMapJob
from landweave.evaluating.reference import Labels, RasterReference, Reference, read_polygons
from landweave.evaluating.run import EvaluationSetup
from landweave.jobs.fingerprint import Fingerprint
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.store.maps.store import MapStore, open_store
from landweave.store.objects import Target

VECTOR_SUFFIXES = (".gpkg", ".shp", ".geojson", ".json", ".fgb", ".parquet", ".zip")

SAME_CODES: Codes = np.arange(NODATA + 1, dtype=np.uint8)
"""The table that leaves codes as they are."""


def open_labels(labels: Labels, grid: Grid, legend: Legend, table: Codes = SAME_CODES) -> Reference:
    """Label rasters, or polygons where a column is named, on the pixels of ``grid``.

    Parameters
    ----------
    labels
        The files.
    grid
        Pixels of the map, over all of it.
    legend
        Whose names a column of polygons may hold.
    table
        uint8 ``(256,)``: the code that each code of the labels becomes, 255 for none.

    Raises
    ------
    InputError
        When the files cannot be used, or lie elsewhere.
    """
    path = labels.paths[0]
    if labels.column is not None:
        codes = {each.name.lower(): each.code for each in legend.classes}
        return read_polygons(labels, grid.crs, codes=codes, table=table)
    if path.lower().endswith(VECTOR_SUFFIXES):
        raise ConfigError(f"{path} holds polygons: name the column with their classes.")
    bands = {"LABEL": BandFiles(files=labels.paths, band=labels.band)}
    # Not the nodata tag of a file: many tag 0, which is a class.
    spec = MosaicSpec(
        modality="labels", bands=bands, root=str(Path.cwd()), nodata=NODATA, resampling="nearest", palettes=True
    )
    source = MosaicSource.open(spec, grid)
    if source.dtype.kind not in "iu":
        raise InputError(f"{path} holds {source.dtype} values: labels are whole numbers, codes of classes.")
    reference = RasterReference(source=source, table=table)
    if not reference.touches(grid):
        raise InputError(
            f"No label of {path} lies on the map: they are in {source.bounds(grid)}, the map in {grid.bounds}, "
            f"both in {grid.crs[:40]}."
        )
    return reference


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
    codes = {each.name.lower(): each.code for each in legend.classes} | {str(code): code for code in legend.codes}
    if unknown := [each for each in leave_out if str(each).lower() not in codes]:
        listed = ", ".join(f"{each.code} {each.name}" for each in legend.classes)
        raise ConfigError(f"Class {unknown[0]!r} is to be left out, and legend {legend.name!r} has {listed}.")
    dropped = {codes[str(each).lower()] for each in leave_out}
    kept = tuple(code for code in legend.codes if code not in dropped)
    if not kept:
        raise ConfigError(f"All {len(legend)} classes of {legend.name!r} are left out: nothing is scored.")
    return kept


def count_rule(store: MapStore, legend: Legend, codes: tuple[int, ...]) -> CountRule:
    """What is counted of a stored map: its seams too, where windows are a whole number of its pixels.

    Parameters
    ----------
    store
        The map.
    legend, codes
        Of the classes that are compared, and those that are scored.
    """
    fields = store.attrs.get("fingerprint_fields", {})
    windows, factor = fields.get("windows"), fields.get("output", {}).get("factor", 1)
    if not windows or factor != 1:
        return CountRule(legend=legend, codes=codes)
    lattice = Lattice(window=windows["size"], stride=windows["size"] - windows["overlap"])
    return CountRule(legend=legend, codes=codes, lattice=lattice, blocks=store.template.blocks)


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
        rule=count_rule(store, legend, codes),
        table=table,
    )
    facts = {"compared": str(store.target), "reference": name}
    if fingerprint := store.attrs.get("fingerprint"):
        facts["fingerprint"] = str(fingerprint)
    notes = tuple(dict.fromkeys(note for reference in references.values() for note in reference.notes))
    return EvaluationSetup(job=job, legend=legend, codes=codes, facts=facts, notes=notes)
