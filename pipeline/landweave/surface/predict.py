"""The map of xarray objects by a model, lazily: of the values that they have, edited or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from pathlib import Path
from typing import Any

import xarray as xr

from landweave.config.schema import ModelSection, OutputSection, WindowsSection
from landweave.core.errors import CardError, InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent, Span
from landweave.mapping.inputs import MapInput
from landweave.mapping.lazy import lazy_map
from landweave.models.cards.card import ModelCard, check_inputs
from landweave.models.cards.registry import find_card
from landweave.setup.context import PIXEL_TOLERANCE
from landweave.setup.map_inputs import map_input
from landweave.setup.map_job import MapRules, map_job, map_model, resolve_blending
from landweave.setup.series_inputs import check_series
from landweave.sources.arrays import PIXELS, XarrayRaster, XarraySeries, open_arrays
from landweave.store.objects import Target

AnyArrays = XarrayRaster | XarraySeries

_LARGEST_SHIFT = Fraction(1, 100)
"""Of a pixel, between the inputs."""


def predict_arrays(
    groups: Mapping[str, Any],
    model: str | Path | ModelCard,
    *,
    weights: str | Path | None,
    year: int | None,
    accept_range: bool = False,
) -> xr.Dataset:
    """The map of the pixels in ``groups``: a lazy dataset over the ground of the inputs that the model requires.

    Parameters
    ----------
    groups
        A `xarray.DataTree`, or datasets or arrays by modality; what the model does not read is left out.
    model
        Name or file of a card, or the card.
    weights
        A file, where the card names none.
    year
        Civil year of the dates that the model is given.
    accept_range
        Whether values far from those of the model's training are fed all the same.

    Raises
    ------
    InputError
        When a group lacks a variable, a band, a CRS, a time or pixel classes, or groups do not fit each other.
    CardError
        When groups do not give what the model reads.
    """
    card = model if isinstance(model, ModelCard) else find_card(model)
    card = card.on_input_pixels() if card.input_pixel > card.base_pixel else card
    named = {name: _dataset(group) for name, group in _children(groups).items() if name in card.inputs}
    sources = {name: open_arrays(name, group) for name, group in named.items()}
    check_inputs(card, {name: source.bands for name, source in sources.items()})
    check_series(card, sources, accepted={})
    if not sources:
        raise InputError(f"None of {', '.join(_children(groups)) or 'no group'} is read by {card.name}.")
    sources, base = _on_one_grid(card, sources)
    items = {name: _input(card, name, sources[name], year) for name in card.inputs if name in sources}
    inputs = {name: replace(item, accept_range=accept_range) for name, item in items.items()}
    return _map(card, _covered(card, base, sources), inputs, weights)


def _children(groups: Mapping[str, Any]) -> Mapping[str, Any]:
    return groups.children if isinstance(groups, xr.DataTree) else groups


def _dataset(group: xr.DataTree | xr.Dataset | xr.DataArray) -> xr.Dataset:
    """A group as a dataset with its CRS variable among the coordinates: NetCDF returns it as a data variable."""
    if isinstance(group, xr.DataArray):
        return group.to_dataset(name=PIXELS)
    dataset = group.to_dataset() if isinstance(group, xr.DataTree) else group
    return dataset.set_coords([name for name in dataset.data_vars if name == dataset.rio.grid_mapping])


def _input(card: ModelCard, name: str, source: AnyArrays, year: int | None) -> MapInput:
    item = map_input(card, name, source, year)
    if item.series is None and card.inputs[name].dates is not None:
        raise CardError(f"{name} has no time, and {card.name} reads a series: band_data (time, band, y, x).")
    if item.series and not item.indices:
        times = [str(each.time) for each in item.series.observations]
        raise InputError(f"{name} has no date{f' in {year}' if year else ''}: it has {', '.join(times) or 'none'}.")
    return item


def _map(card: ModelCard, grid: Grid, inputs: Mapping[str, MapInput], weights: str | Path | None) -> xr.Dataset:
    """The lazy map; nothing is computed block by block, so a block is one pixel."""
    rules = MapRules(
        card=card,
        model=ModelSection(card=card.name),
        output=OutputSection(store="nowhere.zarr", chunk=1),
        blending=resolve_blending(card, WindowsSection()),
        pixels=grid,
        target=Target.parse("nowhere.zarr"),
        legend=card.legend(),
    )
    model = map_model(rules, inputs, weights)
    return lazy_map(*map_job(rules, inputs, Blocks.square(grid.extent, 1), model))


def _on_one_grid(card: ModelCard, sources: Mapping[str, AnyArrays]) -> tuple[dict[str, AnyArrays], Grid]:
    """The sources counted from one anchor, that of the coarsest, and the model's base pixels without an extent."""
    finest, coarsest = (pick(sources, key=lambda name: sources[name].grid.resolution) for pick in (min, max))
    base = replace(sources[coarsest].grid, resolution=sources[finest].grid.resolution / _factor(card, finest))
    for name, source in sources.items():
        fed = base.resolution * _factor(card, name)
        if source.grid.resolution != fed or abs(base.resolution / card.base_pixel - 1) > PIXEL_TOLERANCE:
            trained = f"; {card.name} was trained on {float(card.inputs[name].pixel):g} m"
            beside = "" if source.grid.resolution == fed else f" and is to have {float(fed):g} m beside {finest}"
            raise InputError(f"{name} has pixels of {float(source.grid.resolution):g} m{beside}{trained}.")
    return {
        name: replace(source, grid=_recounted(name, source.grid, coarsest, base)) for name, source in sources.items()
    }, base


def _recounted(name: str, grid: Grid, other: str, base: Grid) -> Grid:
    """The same pixels counted from the anchor of ``base``."""
    if grid.crs != base.crs:
        raise InputError(f"{name} is in {grid.crs[:40]}, {other} in {base.crs[:40]}: bring both into one CRS.")
    (x, y), (base_x, base_y) = grid.anchor_xy, base.anchor_xy
    down, across = (base_y - y) / grid.resolution, (x - base_x) / grid.resolution
    if any(abs(shift - round(shift)) > _LARGEST_SHIFT for shift in (down, across)):
        off_yx = tuple(float(abs(shift - round(shift))) for shift in (down, across))
        raise InputError(
            f"{name} is {off_yx[0]:.2f} pixels along y and {off_yx[1]:.2f} along x off the pixels of {other}: "
            f"bring it onto them, as with like= when it is opened."
        )
    rows, columns = grid.extent.y, grid.extent.x
    extent = Extent(_moved(rows, round(down)), _moved(columns, round(across)))
    return replace(grid, anchor_xy=base.anchor_xy, extent=extent)


def _moved(span: Span, pixels: int) -> Span:
    return Span(span.start + pixels, span.stop + pixels)


def _covered(card: ModelCard, base: Grid, sources: Mapping[str, AnyArrays]) -> Grid:
    """Base pixels that touch every required input; the ground of series counts only where there are no images."""
    images = [name for name, source in sources.items() if isinstance(source, XarrayRaster)] or list(sources)
    names = [name for name in images if card.inputs[name].required] or images
    extent = reduce(Extent.intersect, (sources[name].grid.extent.coarsen(1 / _factor(card, name)) for name in names))
    if not extent.size:
        bounds = ", ".join(f"{name} covers {sources[name].grid.bounds}" for name in names)
        raise InputError(f"The inputs share no ground: {bounds}.")
    return base.with_extent(extent)


def _factor(card: ModelCard, name: str) -> Fraction:
    return card.inputs[name].pixel / card.base_pixel
