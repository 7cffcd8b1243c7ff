"""A synthetic square kilometre: aerial image, heights, land cover and parcels that agree with each other.

::

    grid ── parcels ── land use ── fields, roads ── water ── terrain ── buildings ── trees ── cars
                                                                  │                     │
                                              land cover (truth) ─┴── surface ── aerial image
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave_demo.landscape import materials as m
from landweave_demo.landscape.aerial_image import render_aerial_image
from landweave_demo.landscape.arithmetic import blurred
from landweave_demo.landscape.buildings import build_farm, build_tunnels, build_village, park_cars, scatter_bales
from landweave_demo.landscape.fields import draw_field
from landweave_demo.landscape.grid import Floats, LandscapeGrid
from landweave_demo.landscape.land_cover import land_cover
from landweave_demo.landscape.land_use import LandUse, Parcel, assign_land_uses
from landweave_demo.landscape.layers import empty_layers
from landweave_demo.landscape.noise import generator, spline_noise
from landweave_demo.landscape.parcels import Border, divide_land, rasterize_parcels
from landweave_demo.landscape.planting import plant_trees
from landweave_demo.landscape.roads_and_water import draw_borders, draw_pond, draw_river, pond_distance
from landweave_demo.landscape.site import Site
from landweave_demo.landscape.terrain import River, dig_bed, make_river, shape_terrain

DEMO_SEED = 34
"""The landscape of the demo: several fields of every crop, and not among those of training."""

DEMO_SHAPE = (4300, 4500)
"""Height and width of the demo's landscape, in pixels of 0.2 m."""

MIN_SIZE = 512
"""Smallest height and width of a landscape, in pixels."""

_DSM_NOISE_M = 0.05


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """A synthetic landscape on pixels of 0.2 m, all layers (y, x).

    Attributes
    ----------
    seed
        That it is made from.
    rgbi
        uint8 (band, y, x), bands R, G, B, NIR, never 0.
    dsm, dtm
        Surface and terrain, float32, metres.
    truth
        uint8 codes of `land_cover.CLASS_CODES`, 255 = unknown.
    parcel
        int32 id of the parcel; 0 on borders and water.
    parcels
        Use and crop by id, from 1.
    """

    seed: int
    rgbi: NDArray[np.uint8]
    dsm: Floats
    dtm: Floats
    truth: NDArray[np.uint8]
    parcel: NDArray[np.int32]
    parcels: tuple[Parcel, ...]


def make_landscape(seed: int, *, height: int, width: int) -> Landscape:
    """Return the landscape of a seed; the same seed and size give the same bits, on any x86-64 CPU.

    Parameters
    ----------
    seed
        Any whole number.
    height, width
        In pixels of 0.2 m.

    Raises
    ------
    ValueError
        When a side is shorter than `MIN_SIZE`.
    """
    if min(height, width) < MIN_SIZE:
        raise ValueError(f"A landscape of {height} x {width} pixels is too small: it takes {MIN_SIZE} on each side.")
    grid = LandscapeGrid(height=height, width=width)
    layout = divide_land(grid, generator(seed, 1))
    raster = rasterize_parcels(grid, layout, generator(seed, 2))
    river = make_river(grid, generator(seed, 3), village_xy=layout.village_xy, road_angle=layout.road_angle)
    parcels = assign_land_uses(layout, raster, river, generator(seed, 5))
    site = Site(seed=seed, layout=layout, raster=raster, parcels=parcels, layers=empty_layers(grid, m.Palette()))
    _draw_parcels(site)
    dtm, water_m = _add_pond(site, *_add_river(site, river))
    _build(site)
    np.copyto(site.layers.truth_material, site.layers.material)
    plant_trees(site, water_m)
    _add_cars_and_bales(site)
    return _observed(site, dtm)


def _draw_parcels(site: Site) -> None:
    site.layers.palette.add(m.VERGE)
    for index, parcel in enumerate(site.parcels):
        patch = site.raster.patch(site.layout, index)
        if patch is not None:
            draw_field(site.layers, patch, parcel, site.random(7, index))
    draw_borders(site.layers, site.raster, site.layout, site.random(8))


def _add_river(site: Site, river: River) -> tuple[Floats, Floats]:
    """Return the terrain with the river's bed, and the distance to its water; roads cross on bridges."""
    y, x = site.grid.axes()
    water_m = river.distance_to_water(x, y)
    draw_river(site.layers, site.raster, water_m, site.random(6))
    undug = shape_terrain(site.grid, river, site.random(4))
    dtm = dig_bed(undug, water_m, river.water_level(x, y))
    deck = ((site.raster.border >= Border.TRACK) | (site.raster.verge >= Border.TRACK)) & (water_m < 3)
    site.layers.height_m[deck] += (undug - dtm)[deck]
    return dtm, water_m


def _add_pond(site: Site, dtm: Floats, water_m: Floats) -> tuple[Floats, Floats]:
    """Return terrain and distance to water with a pond in the first meadow that has room for one."""
    for index, parcel in enumerate(site.parcels):
        if parcel.use is not LandUse.MEADOW:
            continue
        pond_m = pond_distance(site.layers, site.raster, index, site.random(9, index))
        if pond_m is None or bool((water_m[pond_m < 4] < 8).any()):
            continue
        draw_pond(site.layers, pond_m, site.random(10))
        level = float(dtm[pond_m < 0].min()) - 0.4
        return dig_bed(dtm, pond_m, level), np.minimum(water_m, pond_m)
    return dtm, water_m


def _build(site: Site) -> None:
    build_village(site.layers, site.raster, site.layout, site.random(11))
    for parcel, polygon in zip(site.parcels, site.layout.polygons, strict=True):
        if parcel.use is LandUse.FARM:
            build_farm(site.layers, site.raster, polygon, site.random(12, parcel.id))
        elif parcel.use is LandUse.GARDENS:
            build_tunnels(site.layers, site.raster, polygon, site.random(13, parcel.id))


def _add_cars_and_bales(site: Site) -> None:
    park_cars(site.layers, site.raster, site.layout, site.random(14))
    mown = site.has_use(LandUse.MOWN) & (site.raster.edge_m > 4) & (site.raster.parcel_index % 2 == 0)
    scatter_bales(site.layers, mown & (site.layers.height_m < 0.3), site.random(15))


def _observed(site: Site, dtm: Floats) -> Landscape:
    """Return what an aerial survey and a photo-interpreter make of a site."""
    layers = site.layers
    surface = dtm + np.maximum(layers.height_m, layers.canopy_m)
    truth = land_cover(site)
    own = (site.raster.edge_m > 0) & (layers.palette.codes()[layers.truth_material] != m.WATER)
    return Landscape(
        seed=site.seed,
        rgbi=render_aerial_image(layers, surface, site.random(20)),
        dsm=_matched_surface(surface, truth == m.WATER, site.random(21)),
        dtm=dtm,
        truth=truth,
        parcel=np.where(own, site.raster.parcel_index + 1, 0).astype(np.int32),
        parcels=site.parcels,
    )


def _matched_surface(surface: Floats, water: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Return the surface as image matching measures it: soft edges, some noise, level water."""
    soft = blurred(surface, 0.9)
    soft += np.float32(_DSM_NOISE_M) * spline_noise(rng, surface.shape, 3)
    return np.asarray(np.where(water, surface, soft), np.float32)
