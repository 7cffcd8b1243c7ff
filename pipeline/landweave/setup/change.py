"""From two maps and a rule to a comparison that can be run; no pixel is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path

from landweave.comparing.gate import Codes, Gate, MapPair
from landweave.comparing.run import ChangeSetup
from landweave.core.crosswalk import Crosswalk
from landweave.core.errors import ConfigError, InputError
from landweave.core.lattice import Blocks
from landweave.core.legend import CONFIDENCE_SCALE, Legend
from landweave.formats.hectares import check_areas
from landweave.jobs.fingerprint import Fingerprint
from landweave.publishing.catalog import known_days
from landweave.publishing.map_state import find_holes
from landweave.setup.evaluation import target_of
from landweave.store.maps.store import MapStore

_LARGEST_BLOCK = 4096
"""Pixels a side that are compared at once, a whole number of chunks; blocks of a map may be strips of any length."""

AnyCrosswalk = Crosswalk | str | Path | None


@dataclass(frozen=True, kw_only=True)
class ChangeRule:
    """Which changes between two maps are kept, and in which legend they are compared.

    Attributes
    ----------
    min_confidence
        Least confidence of both maps, 0 to 1.
    min_area_m2
        Least area of a patch: what changed without a break, by pixels that share an edge.
    crosswalks
        To a common legend, of the map before and the map after; None for its own classes.

    Examples
    --------
    >>> ChangeRule(min_confidence=60)
    Traceback (most recent call last):
        ...
    landweave.core.errors.ConfigError: Changes of a confidence of 60 and more, of 0 m² and more, ...
    """

    min_confidence: float = 0.0
    min_area_m2: float = 0.0
    crosswalks: tuple[AnyCrosswalk, AnyCrosswalk] = (None, None)

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1 or not 0 <= self.min_area_m2 < inf:
            raise ConfigError(
                f"Changes of a confidence of {self.min_confidence:g} and more, of {self.min_area_m2:g} m² and more, "
                "were asked for: a confidence is from 0 to 1, an area is a number from 0."
            )


def set_up_change(before: MapStore, after: MapStore, rule: ChangeRule) -> ChangeSetup:
    """The comparison of two maps.

    Parameters
    ----------
    before, after
        The maps.
    rule
        Which changes are kept.

    Raises
    ------
    InputError
        When their pixels are not the same ones, they cover no common ground, or their CRS does not keep areas.
    ConfigError
        When their classes are not the same and no crosswalk is named, or a map lacks the confidence that is asked.
    """
    blocks = _shared_blocks(before, after)
    notes = (*check_areas(before.grid), *_pair_notes(before, after))
    legend, tables = _common_legend(before, after, rule)
    if rule.min_confidence:
        for store in (before, after):
            if "confidence" not in store.arrays:
                raise ConfigError(f"{store.target} has no confidence: leave out min_confidence.")
    pixel_m2 = float(before.grid.pixel_m2)
    gate = Gate(
        pair=MapPair(before=before, after=after, tables=tables, blocks=blocks),
        min_stored=ceil(rule.min_confidence * CONFIDENCE_SCALE - 1e-9),
        min_pixels=max(1, ceil(rule.min_area_m2 / pixel_m2 - 1e-9)),
    )
    facts = {
        "before": str(before.target),
        "after": str(after.target),
        "kept": f"confidence {rule.min_confidence:g} and more, {rule.min_area_m2:g} m² and more",
    }
    return ChangeSetup(key=Fingerprint(dict(facts)).sha256, gate=gate, legend=legend, facts=facts, notes=notes)


def _shared_blocks(before: MapStore, after: MapStore) -> Blocks:
    one, other = before.grid, after.grid
    for name in ("crs", "resolution", "anchor_xy"):
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine != theirs:
            raise InputError(
                f"{before.target} and {after.target} are not on one lattice of pixels: {name} {mine} and {theirs}. Map "
                "both with the same grid; other rasters are compared by landweave.compare."
            )
    shared = before.mapped_extent.intersect(after.mapped_extent)
    if not shared.size:
        raise InputError(f"{before.target} lies in {one.bounds}, {after.target} in {other.bounds}: no common ground.")
    return Blocks.covering(shared, min(before.block_size, _LARGEST_BLOCK))


def _pair_notes(before: MapStore, after: MapStore) -> Iterator[str]:
    """What is compared of neither map, and days that say the maps are in the wrong order."""
    shared, pixel_ha = before.mapped_extent.intersect(after.mapped_extent), float(before.grid.resolution) ** 2 / 10_000
    for name, store in (("before", before), ("after", after)):
        yield from (f"{name}: {hole}" for hole in find_holes(store))
        if beyond := store.mapped_extent.size - shared.size:
            yield f"{name}: {beyond * pixel_ha:,.4f} ha of its bounds lie beyond the other map and are not compared"
    one, other = known_days(before.attrs), known_days(after.attrs)
    if one and other and one[0] > other[1]:
        yield f"the imagery before is of {one[0]} and later, that after of {other[1]} and earlier: is the order right?"


def _common_legend(before: MapStore, after: MapStore, rule: ChangeRule) -> tuple[Legend, tuple[Codes, Codes]]:
    one, other = (target_of(store, each) for store, each in zip((before, after), rule.crosswalks, strict=True))
    mine, theirs = ({each.code: each.name for each in legend.classes} for legend in (one[0], other[0]))
    if mine != theirs:
        odd = sorted(set(mine.items()) ^ set(theirs.items()))[0]
        raise ConfigError(
            f"{before.target} has the classes of {one[0].name!r}, {after.target} those of {other[0].name!r}, which "
            f"differ ({odd[0]} {odd[1]}): name crosswalks to a common legend."
        )
    return one[0], (one[1], other[1])
