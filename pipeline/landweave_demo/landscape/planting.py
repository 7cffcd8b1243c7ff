"""Positions of trees: in woods and hedges, on banks, in gardens, alone in meadows."""

from __future__ import annotations

import numpy as np

from landweave_demo.landscape import materials as m
from landweave_demo.landscape.arithmetic import direction
from landweave_demo.landscape.grid import PIXEL_M, Floats, LandscapeGrid
from landweave_demo.landscape.land_use import WOODS, LandUse
from landweave_demo.landscape.noise import spline_noise
from landweave_demo.landscape.parcels import Border, ParcelRaster
from landweave_demo.landscape.site import Site
from landweave_demo.landscape.trees import Trees, broadleaves, conifers, draw_trees, join, make_foliage, scatter


def plant_trees(site: Site, water_m: Floats) -> None:
    """Draw all trees of a landscape; those below a roof are not seen.

    Parameters
    ----------
    site
        Its layers are changed in place.
    water_m
        Distance to the edge of the water in metres, (y, x), negative in the water.
    """
    rng, layers = site.random(16), site.layers
    groups = [
        _wood_trees(site, rng),
        _hedge_trees(site.grid, site.raster, rng),
        _bank_trees(site.grid, water_m, rng),
        _garden_trees(site, rng),
        _lone_trees(site, rng),
    ]
    trees = _clear_of_built(site, join(groups), water_m)
    leaves = layers.palette.variants(m.LEAVES, rng, count=14, amount=0.10)
    needles = layers.palette.variants(m.NEEDLES, rng, count=8, amount=0.09)
    draw_trees(layers, trees, make_foliage(leaves, needles, site.random(17)), site.random(18))
    hidden = layers.canopy_m <= layers.height_m
    layers.crown_material[hidden] = 0
    layers.canopy_m[hidden] = 0


def _clear_of_built(site: Site, trees: Trees, water_m: Floats) -> Trees:
    """Return the trees that do not stand in water and whose crowns keep clear of buildings and roads."""
    grid = site.grid
    codes = site.layers.palette.codes()[site.layers.material]
    built = np.isin(codes, (m.BUILDING, m.GREENHOUSE, m.POOL))
    water = (water_m < 0.6) | (codes == m.WATER)
    road = (site.raster.border >= Border.TRACK) | (codes == m.IMPERVIOUS)
    keep = np.ones(len(trees), np.bool_)
    for turn in range(9):
        share = 0.85 if turn < 8 else 0.0
        dx, dy = (share * trees.radius_m * part for part in direction(turn * np.pi / 4))
        keep &= ~built[grid.pixel(trees.x + dx, trees.y + dy)]
        keep &= ~road[grid.pixel(trees.x + 0.5 * dx, trees.y + 0.5 * dy)]
    return trees.where(keep & ~water[grid.pixel(trees.x, trees.y)])


def _wood_trees(site: Site, rng: np.random.Generator) -> Trees:
    clumps = spline_noise(rng, site.grid.shape, 26 / PIXEL_M)
    wood = site.has_use(*WOODS)
    needles = site.has_use(LandUse.CONIFEROUS) | site.has_use(LandUse.MIXED) & (clumps > 0)
    x, y = scatter(site.grid, 4.3, rng)
    spot = site.grid.pixel(x, y)
    keep = wood[spot] & ~needles[spot] & (site.raster.edge_m[spot] > 1.0)
    leafy = broadleaves(x[keep], y[keep], rng, radius_m=(2.3, 4.6), slender=2.0)
    x, y = scatter(site.grid, 3.3, rng, jitter=0.25)
    spot = site.grid.pixel(x, y)
    keep = needles[spot] & (site.raster.edge_m[spot] > 0.8)
    return join([leafy, conifers(x[keep], y[keep], rng, radius_m=(1.7, 2.7))])


def _hedge_trees(grid: LandscapeGrid, raster: ParcelRaster, rng: np.random.Generator) -> Trees:
    x, y = scatter(grid, 3.0, rng)
    spot = grid.pixel(x, y)
    grown = spline_noise(rng, grid.shape, 24 / PIXEL_M)[spot] > -0.75
    keep = (raster.border[spot] == Border.HEDGE) & (raster.border_m[spot] < 1.0) & grown & (rng.random(len(x)) < 0.8)
    return broadleaves(x[keep], y[keep], rng, radius_m=(1.8, 4.2))


def _bank_trees(grid: LandscapeGrid, water_m: Floats, rng: np.random.Generator) -> Trees:
    x, y = scatter(grid, 4.0, rng)
    spot = grid.pixel(x, y)
    grown = spline_noise(rng, grid.shape, 30 / PIXEL_M)[spot] > -0.35
    keep = (water_m[spot] > 1.0) & (water_m[spot] < 6.5) & grown
    return broadleaves(x[keep], y[keep], rng, radius_m=(2.2, 4.8), slender=1.8)


def _garden_trees(site: Site, rng: np.random.Generator) -> Trees:
    x, y = scatter(site.grid, 6.5, rng)
    spot = site.grid.pixel(x, y)
    edge_m = site.raster.edge_m[spot]
    yard = site.has_use(LandUse.FARM)[spot] & (edge_m < 8)
    keep = (yard | site.has_use(LandUse.RESIDENTIAL)[spot]) & (edge_m > 1.2)
    keep &= rng.random(len(x)) < 0.5
    x, y = x[keep], y[keep]
    leafy = rng.random(len(x)) < 0.8
    return join(
        [
            broadleaves(x[leafy], y[leafy], rng, radius_m=(1.3, 3.6), slender=1.15),
            conifers(x[~leafy], y[~leafy], rng, radius_m=(1.2, 2.2)),
        ]
    )


def _lone_trees(site: Site, rng: np.random.Generator) -> Trees:
    x, y = scatter(site.grid, 22, rng)
    spot = site.grid.pixel(x, y)
    meadow = site.has_use(LandUse.MEADOW, LandUse.BRUSH)[spot] & (site.raster.edge_m[spot] > 3)
    verge = (site.raster.border[spot] == Border.MARGIN) | (site.raster.verge[spot] >= Border.TRACK)
    keep = meadow & (rng.random(len(x)) < 0.3) | verge & (rng.random(len(x)) < 0.6)
    return broadleaves(x[keep], y[keep], rng, radius_m=(2.4, 5.4), slender=1.0)
