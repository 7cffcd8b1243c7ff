"""Acquisitions to dates: the scenes of one pass over a strip of ground are one date, each tile once.

::

    tile 31TCJ  05.00 ─┐                    ┌─> scene 1   first valid pixel is kept
    tile 31TCJ  02.08 ─┼─ one datatake ─────┤   (02.08 dropped: 05.00 is newer)
    tile 31TDJ  05.00 ─┘                    └─> scene 2
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from landweave.core.timeseries import Observation
from landweave.sources.stac.records import DroppedItem, ObservationScenes, Scene

_RELATIVE = re.compile(r"_R\d{3}$")


def group_observations(scenes: Iterable[Scene]) -> tuple[tuple[ObservationScenes, ...], tuple[DroppedItem, ...]]:
    """Dates ascending in (time, key), and the scenes that a newer version replaces.

    The answer depends on the scenes alone, not on their order. A scene given twice counts once.
    """
    once = {(scene.id, scene.collection): scene for scene in scenes}
    passes: dict[str, list[Scene]] = {}
    for name in sorted(once):
        passes.setdefault(datatake_id(once[name]), []).append(once[name])
    strips, dropped = [], []
    for key, scenes in passes.items():
        kept, older = keep_newest(scenes)
        ordered = tuple(sorted(kept, key=_reading_order))
        observation = Observation(
            datatake_id=key, time=min(scene.time for scene in ordered), provenance=provenance_of(ordered)
        )
        strips.append(ObservationScenes(observation=observation, scenes=ordered))
        dropped += older
    return tuple(sorted(strips, key=lambda strip: (strip.observation.time, strip.observation.datatake_id))), tuple(
        dropped
    )


def datatake_id(scene: Scene) -> str:
    """Name of the date that ``scene`` belongs to: the same in every search, and for every version of it.

    A start or an absolute orbit names one pass for good, on both sides of the 180th meridian, where the solar day
    changes in the middle of a strip; a relative orbit comes again and needs the day. The ascending and the descending
    half of one orbit are two passes.
    """
    halves = {"ascending": "_ASC", "descending": "_DES"}
    half = "" if scene.quantity == "reflectance" else halves.get(scene.orbit_state, "")
    day = f"_{str(scene.solar_day).replace('-', '')}" if _RELATIVE.search(scene.datatake) else ""
    return f"{scene.datatake}{half}{day}"


def keep_newest(scenes: Sequence[Scene]) -> tuple[list[Scene], list[DroppedItem]]:
    """Scenes of one pass without the older versions of any tile; those, with the reason.

    Two parts of a pass that were received apart may share a tile: both are kept when they are of one baseline.
    """
    best: dict[str, str] = {}
    latest: dict[tuple[str, str], Scene] = {}
    for scene in scenes:
        best[_place(scene)] = max(best.get(_place(scene), ""), scene.baseline)
    for scene in scenes:
        part = (_place(scene), scene.datastrip)
        if scene.baseline == best[_place(scene)] and _made(scene) >= _made(latest.get(part, scene)):
            latest[part] = scene
    kept = list(latest.values())
    older = [scene for scene in scenes if scene not in kept]
    return kept, [DroppedItem(id=scene.id, reason=_why_older(scene, best[_place(scene)])) for scene in older]


def provenance_of(scenes: Sequence[Scene]) -> dict[str, Any]:
    """Plain JSON values that say where a date comes from: scenes in reading order, versions, offsets, orbit, kind."""
    first = scenes[0]
    return {
        "scenes": [scene.id for scene in scenes],
        "collections": _each(scene.collection for scene in scenes),
        "solar_day": str(first.solar_day),
        "baselines": _each(scene.baseline for scene in scenes),
        "offsets": _each(scene.offset_decision for scene in scenes),
        "orbit_state": first.orbit_state,
        "relative_orbit": first.relative_orbit,
        "quantity": first.quantity,
    }


def _each(values: Iterable[str]) -> list[str]:
    return sorted({value for value in values if value})


def _reading_order(scene: Scene) -> tuple[Any, ...]:
    """Newest baseline first, then by tile, then by id."""
    return (tuple(-ord(letter) for letter in scene.baseline), scene.tile, scene.id)


def _place(scene: Scene) -> str:
    """What two versions of one scene share; frames without a tile share their time and bounds."""
    return scene.tile or f"{scene.time} {scene.bounds}"


def _made(scene: Scene) -> tuple[int, str]:
    return (-1 if np.isnat(scene.processed) else int(scene.processed.astype(np.int64)), scene.id)


def _why_older(scene: Scene, best: str) -> str:
    if scene.baseline != best:
        return f"an older version: baseline {scene.baseline or 'untold'}, and {best} is there"
    return "an older version: the same baseline was processed again later"
