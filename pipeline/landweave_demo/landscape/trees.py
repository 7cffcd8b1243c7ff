"""Trees: positions, shapes of crowns seen from above, and their drawing onto the layers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave_demo.landscape.arithmetic import direction
from landweave_demo.landscape.grid import PIXEL_M, Floats, LandscapeGrid
from landweave_demo.landscape.layers import LandscapeLayers
from landweave_demo.landscape.noise import spline_noise

_SHAPES = 12
_RADII_PX = range(4, 34)


@dataclass(frozen=True, kw_only=True)
class Trees:
    """Trees as arrays of one length.

    Attributes
    ----------
    x, y
        Positions in metres, float32.
    radius_m, height_m
        Radius of the crown and height of the tree in metres, float32.
    needles
        bool, True for needle-leaved trees.
    """

    x: Floats
    y: Floats
    radius_m: Floats
    height_m: Floats
    needles: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)

    def where(self, keep: NDArray[np.bool_]) -> Trees:
        """Return the trees where ``keep`` (tree,) is True."""
        return Trees(**{name: values[keep] for name, values in vars(self).items()})


def join(groups: list[Trees]) -> Trees:
    """Return several groups of trees as one."""
    return Trees(**{name: np.concatenate([vars(group)[name] for group in groups]) for name in vars(groups[0])})


def scatter(
    grid: LandscapeGrid, spacing_m: float, rng: np.random.Generator, *, jitter: float = 0.42
) -> tuple[Floats, Floats]:
    """Return positions on a jittered, turned lattice over the whole grid: x and y in metres, float32 (n,) each.

    Parameters
    ----------
    grid
        Pixels of the landscape.
    spacing_m
        Spacing of the lattice in metres.
    rng
        Random stream.
    jitter
        Largest displacement along each axis of the lattice, as a share of the spacing.
    """
    width, height = grid.size_m
    cos, sin = direction(rng.uniform(0.1, 1.4))
    half_m = math.sqrt(width * width + height * height) / 2 + spacing_m
    ticks = np.arange(-half_m, half_m, spacing_m, dtype=np.float32)
    a, b = np.meshgrid(ticks, ticks)
    u = (a + spacing_m * jitter * rng.uniform(-1, 1, a.shape)).ravel()
    v = (b + spacing_m * jitter * rng.uniform(-1, 1, b.shape)).ravel()
    x = u * cos - v * sin + width / 2
    y = u * sin + v * cos + height / 2
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    return x[inside].astype(np.float32), y[inside].astype(np.float32)


def broadleaves(
    x: Floats, y: Floats, rng: np.random.Generator, *, radius_m: tuple[float, float], slender: float = 1.6
) -> Trees:
    """Return broad-leaved trees.

    Parameters
    ----------
    x, y
        Positions in metres.
    rng
        Random stream.
    radius_m
        Smallest and largest radius of a crown in metres.
    slender
        Typical ratio of height and width.
    """
    radius = rng.uniform(*radius_m, len(x)).astype(np.float32)
    height = (2 * radius * slender * rng.uniform(0.8, 1.15, len(x)) + 2).astype(np.float32)
    return Trees(x=x, y=y, radius_m=radius, height_m=height, needles=np.zeros(len(x), np.bool_))


def conifers(x: Floats, y: Floats, rng: np.random.Generator, *, radius_m: tuple[float, float]) -> Trees:
    """Return needle-leaved trees.

    Parameters
    ----------
    x, y
        Positions in metres.
    rng
        Random stream.
    radius_m
        Smallest and largest radius of a crown in metres.
    """
    radius = rng.uniform(*radius_m, len(x)).astype(np.float32)
    height = (radius * rng.uniform(5.0, 6.4, len(x)) + 4).astype(np.float32)
    return Trees(x=x, y=y, radius_m=radius, height_m=height, needles=np.ones(len(x), np.bool_))


@dataclass(frozen=True, kw_only=True)
class Foliage:
    """Crowns to draw trees with.

    Attributes
    ----------
    crowns
        Depth below the top of the tree, float32 (h, w), in radii, infinite outside the crown; by needles or not, number
        of the shape, and radius in pixels.
    leaves, needles
        Indices of the materials of broad-leaved and needle-leaved crowns.
    """

    crowns: dict[tuple[bool, int, int], Floats]
    leaves: list[int]
    needles: list[int]


def make_foliage(leaves: list[int], needles: list[int], rng: np.random.Generator) -> Foliage:
    """Return crowns of random shapes.

    Parameters
    ----------
    leaves, needles
        Indices of the materials of broad-leaved and needle-leaved crowns.
    rng
        Random stream.
    """
    crowns: dict[tuple[bool, int, int], Floats] = {}
    for shape in range(_SHAPES):
        lumps = 0.5 * spline_noise(rng, (96, 96), 6.0) + 0.35 * spline_noise(rng, (96, 96), 2.6)
        waves = [(k, rng.uniform(0, 6.28), rng.uniform(0.02, 0.16 / math.sqrt(k))) for k in (2, 3, 5, 8)]
        for radius in _RADII_PX:
            crowns[False, shape, radius] = _broad_crown(radius, waves, lumps)
            crowns[True, shape, radius] = _pointed_crown(radius, waves, lumps)
    return Foliage(crowns=crowns, leaves=leaves, needles=needles)


def _broad_crown(radius: int, waves: list[tuple[int, float, float]], lumps: Floats) -> Floats:
    distance = _outline(radius, waves)
    drop = 0.72 * distance**2 * np.sqrt(distance) - 0.13 * _middle(lumps, distance.shape[0])
    return np.where(distance < 1, drop, np.inf).astype(np.float32)


def _pointed_crown(radius: int, waves: list[tuple[int, float, float]], lumps: Floats) -> Floats:
    distance = _outline(radius, waves)
    whorls = 0.10 * _wave_around(_ticks(radius), 7, waves[0][1]) * distance - 0.08 * _middle(lumps, distance.shape[0])
    return np.where(distance < 1, 1.35 * distance + whorls, np.inf).astype(np.float32)


def _ticks(radius: int) -> Floats:
    """Return rows, or columns, from the stem in radii."""
    return np.asarray((np.arange(2 * radius + 3) - radius - 1) / radius, np.float32)


def _outline(radius: int, waves: list[tuple[int, float, float]]) -> Floats:
    """Return the distance from the stem, 1 on the uneven outline of the crown."""
    ticks = _ticks(radius)
    outline = 0.9 + sum(share * _wave_around(ticks, count, phase) for count, phase, share in waves)
    return np.asarray(_distance(ticks) / outline, np.float32)


def _distance(ticks: Floats) -> Floats:
    return np.asarray(np.sqrt(ticks[:, None] * ticks[:, None] + ticks * ticks))


def _wave_around(ticks: Floats, count: int, phase: float) -> Floats:
    """Return ``sin(count * angle + phase)`` of the angle of each pixel seen from the stem."""
    distance = np.maximum(_distance(ticks), np.float32(1e-6))
    cos, sin = ticks / distance, ticks[:, None] / distance
    x, y = (np.full_like(cos, part) for part in direction(phase))
    for _ in range(count):
        x, y = x * cos - y * sin, x * sin + y * cos
    return np.asarray(y, np.float32)


def _middle(lumps: Floats, size: int) -> Floats:
    """Return the middle of a noise field: its grain has one size in metres, whatever the size of the crown."""
    start = (lumps.shape[0] - size) // 2
    return lumps[start : start + size, start : start + size]


def draw_trees(layers: LandscapeLayers, trees: Trees, foliage: Foliage, rng: np.random.Generator) -> None:
    """Draw trees onto the layers; where two crowns overlap the higher one is seen.

    Parameters
    ----------
    layers
        Changed in place.
    trees
        To draw.
    foliage
        Crowns they are drawn with.
    rng
        Random stream.
    """
    shapes = rng.integers(0, _SHAPES, len(trees))
    hues = rng.integers(0, 1 << 16, len(trees))
    radii = np.clip(np.round(trees.radius_m / PIXEL_M), _RADII_PX[0], _RADII_PX[-1]).astype(int)
    rows, cols = layers.grid.pixel(trees.x, trees.y)
    for i in range(len(trees)):
        needles = bool(trees.needles[i])
        crown = foliage.crowns[needles, int(shapes[i]), int(radii[i])]
        materials = foliage.needles if needles else foliage.leaves
        top = (int(rows[i]) - radii[i] - 1, int(cols[i]) - radii[i] - 1)
        top_m = trees.height_m[i]
        tall = np.where(np.isfinite(crown), np.maximum(top_m - trees.radius_m[i] * crown, 0.3 * top_m), 0)
        _stamp(layers, tall, materials[int(hues[i]) % len(materials)], top)


def _stamp(layers: LandscapeLayers, crown: Floats, material: int, top: tuple[int, int]) -> None:
    size = crown.shape[0]
    first_y, first_x = max(0, -top[0]), max(0, -top[1])
    last_y, last_x = min(size, layers.grid.height - top[0]), min(size, layers.grid.width - top[1])
    window = slice(top[0] + first_y, top[0] + last_y), slice(top[1] + first_x, top[1] + last_x)
    part = crown[first_y:last_y, first_x:last_x]
    canopy_m = layers.canopy_m[window]
    higher = part > canopy_m
    canopy_m[higher] = part[higher]
    layers.crown_material[window][higher] = material
