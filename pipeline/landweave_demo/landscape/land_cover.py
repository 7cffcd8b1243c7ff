"""Land cover of a landscape: the truth that maps are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from landweave_demo.landscape import materials as m
from landweave_demo.landscape.grid import Floats
from landweave_demo.landscape.land_use import CROP_CODES
from landweave_demo.landscape.layers import LandscapeLayers
from landweave_demo.landscape.site import Site

_SURFACE_CODES = (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14)

CLASS_CODES = (*_SURFACE_CODES, *CROP_CODES.values())
"""Class codes of landscapes, ascending: those of CoSIA (IGN's land-cover nomenclature), then the crops."""

UNKNOWN = 255
"""Value of a truth pixel without a class."""

_PLANTS = (m.HERBACEOUS, m.BRUSHWOOD, m.DECIDUOUS, m.CONIFEROUS)
_CROWN_PX = 9
_STAND_PX = 31
_SLIVER_PX = 13
_SLIVER_SHARE = 0.35


def land_cover(site: Site) -> NDArray[np.uint8]:
    """Return the land-cover codes, uint8 (y, x), as a photo-interpreter draws them.

    Tree crowns have smooth outlines, slivers belong to their surroundings, agricultural land has the code of its crop.
    """
    truth = _without_slivers(_with_trees(site.layers))
    crops = np.array([CROP_CODES.get(parcel.crop, m.CROPLAND) for parcel in site.parcels], np.uint8)
    return np.where(truth == m.CROPLAND, crops[site.raster.parcel_index], truth)


def _with_trees(layers: LandscapeLayers) -> NDArray[np.uint8]:
    codes = layers.palette.codes()
    below = codes[layers.truth_material]
    wood = np.isin(below, (m.DECIDUOUS, m.CONIFEROUS))
    crown = layers.crown_material > 0
    needle = crown & (codes[layers.crown_material] == m.CONIFEROUS)
    cover = _smooth(crown, _CROWN_PX) > 0.5
    lone = _smooth(needle, _CROWN_PX) > 0.5 * _smooth(crown, _CROWN_PX)
    stand = _smooth(needle, _STAND_PX) > 0.5 * _smooth(crown, _STAND_PX)
    built = np.isin(below, (m.BUILDING, m.GREENHOUSE)) & ~crown
    kind = np.where(np.where(wood, stand, lone), m.CONIFEROUS, m.DECIDUOUS)
    return np.where((cover | wood) & ~built, kind, below).astype(np.uint8)


def _smooth(mask: NDArray[np.bool_], size: int) -> Floats:
    once = ndimage.uniform_filter(mask.astype(np.float32), size)
    return np.asarray(ndimage.uniform_filter(once, size // 2), np.float32)


def _without_slivers(truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the classes where plants too thin for a map have the class of their surroundings.

    Shares of classes are counted on every second pixel, in a square of 2.6 m.
    """
    coarse = truth[::2, ::2]
    best, winner = np.zeros(coarse.shape, np.float32), coarse.copy()
    own = np.zeros(coarse.shape, np.float32)
    for code in _SURFACE_CODES:
        here = coarse == code
        share = ndimage.uniform_filter(here.astype(np.float32), _SLIVER_PX // 2)
        own[here] = share[here]
        more = share > best
        best[more], winner[more] = share[more], code
    thin = (own < _SLIVER_SHARE) & np.isin(coarse, _PLANTS)
    replaced = _doubled(thin, truth.shape) & np.isin(truth, _PLANTS)
    return np.where(replaced, _doubled(winner, truth.shape), truth)


def _doubled(coarse: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    return coarse.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]
