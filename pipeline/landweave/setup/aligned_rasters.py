"""Rasters of a configuration's own cube beside their settings and files, which may have changed since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from landweave.aligning.groups import AlignGroup
from landweave.aligning.pending import PendingGroup
from landweave.config.schema import InputSection
from landweave.core.errors import InputError
from landweave.core.protocols import source_notes
from landweave.core.words import counted
from landweave.jobs.fingerprint import require_same_settings
from landweave.jobs.plan import BlockAction
from landweave.setup.context import AnySource, SetupContext
from landweave.store.cubes.sources import CubeRaster


def compare_with_files(context: SetupContext, name: str, section: InputSection, aligned: CubeRaster) -> CubeRaster:
    """The raster of a cube with the notes of its files, once it is sure to be what its input would align now.

    Headers alone are read. Files that are gone, or cannot be opened here, are noted: the cube stands for them.

    Parameters
    ----------
    context
        Pixels and area, and what opens sources.
    name
        Modality of the input.
    section
        Its section.
    aligned
        The raster in the cube.

    Raises
    ------
    OutputError
        When the cube was aligned with other settings or from other files: what differs is named.
    """
    pixels = context.input_pixels(name, section)
    grid = pixels.with_extent(pixels.covering(context.area.bounds)) if context.area else pixels
    try:
        source = context.open(name, section, grid, aligned.bands)
    except InputError as error:
        return replace(aligned, notes=(f"the cube cannot be compared with the files it was aligned from: {error}",))
    require_same_settings(
        _in_any_order(aligned.group.template.rules.get("source", {})),
        _in_any_order(source.fingerprint_fields),
        f"{aligned.group.target} holds {name} aligned in another way than its input asks, or from other files",
        "Correct the input, or run `landweave align` into another cube (cube.store).",
    )
    own = (note.removeprefix(name).lstrip(": ") for note in source_notes(name, source.describe()))
    return replace(aligned, notes=(*own, *_stale_notes(aligned, source)))


def _in_any_order(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without the order in which a configuration lists the bands of a file: no pixel depends on it."""
    return {**fields, "products": [sorted(bands) for bands in fields.get("products", ())]}


def _stale_notes(aligned: CubeRaster, source: AnySource) -> Iterator[str]:
    """How many tiles were aligned from files that changed since, and the first of them."""
    group = aligned.group
    spec = AlignGroup(modality=aligned.modality, source=source, grid=group.grid, bands=aligned.bands)
    for shard in PendingGroup(spec=spec, area=None, group=group, declared=True, stale=False).shards:
        if stale := shard.actions.count(BlockAction.STALE):
            yield (
                f"{counted(stale, 'tile')} of the cube, mapped from files as they were: "
                f"{next(shard.stale_lines())}. Run `landweave align --stale`"
            )
