"""Scenes to observations: all scenes of one datatake are one observation, each tile once.

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
    """Observations ascending in (time, id), and the scenes that a newer version replaces.

    The result depends on the scenes alone, not on their order. A scene given twice counts once.
    """
    once = {(scene.id, scene.collection): scene for scene in scenes}
    datatakes: dict[str, list[Scene]] = {}
    for name in sorted(once):
        datatakes.setdefault(datatake_id(once[name]), []).append(once[name])
    observations, dropped = [], []
    for key, members in datatakes.items():
        kept, older = keep_newest(members)
        ordered = tuple(sorted(kept, key=_reading_order))
        time = min(scene.time for scene in ordered)
        observation = Observation(datatake_id=key, time=time, provenance=provenance_of(ordered))
        observations.append(ObservationScenes(observation=observation, scenes=ordered))
        dropped += older
    observations.sort(key=lambda each: (each.observation.time, each.observation.datatake_id))
    return tuple(observations), tuple(dropped)


def datatake_id(scene: Scene) -> str:
    """Id of the observation that ``scene`` belongs to: the same in every search, and for every version of it.

    A start or an absolute orbit is unique, on both sides of the 180th meridian, where the solar day changes in the
    middle of a datatake; a relative orbit comes again and needs the day. The ascending and the descending half of one
    orbit are two datatakes.
    """
    halves = {"ascending": "_ASC", "descending": "_DES"}
    half = "" if scene.quantity == "reflectance" else halves.get(scene.orbit_state, "")
    day = f"_{str(scene.solar_day).replace('-', '')}" if _RELATIVE.search(scene.datatake) else ""
    return f"{scene.datatake}{half}{day}"


def keep_newest(scenes: Sequence[Scene]) -> tuple[list[Scene], list[DroppedItem]]:
    """Scenes of one datatake without the older versions of any tile; and those, with the reason.

    Two parts of a datatake that were received apart may share a tile: both are kept when they are of one baseline.
    """
    best: dict[str, str] = {}
    latest: dict[tuple[str, str], Scene] = {}
    for scene in scenes:
        best[_frame_key(scene)] = max(best.get(_frame_key(scene), ""), scene.baseline)
    for scene in scenes:
        part = (_frame_key(scene), scene.datastrip)
        if scene.baseline == best[part[0]] and _processed(scene) >= _processed(latest.get(part, scene)):
            latest[part] = scene
    kept = list(latest.values())
    older = [scene for scene in scenes if scene not in kept]
    return kept, [DroppedItem(id=scene.id, reason=_why_older(scene, best[_frame_key(scene)])) for scene in older]


def provenance_of(scenes: Sequence[Scene]) -> dict[str, Any]:
    """Origin of an observation as plain JSON values: scenes in reading order, versions, offsets, orbit, quantity."""
    first = scenes[0]
    return {
        "scenes": [scene.id for scene in scenes],
        "collections": _distinct(scene.collection for scene in scenes),
        "solar_day": str(first.solar_day),
        "baselines": _distinct(scene.baseline for scene in scenes),
        "offsets": _distinct(scene.offset_decision for scene in scenes),
        "orbit_state": first.orbit_state,
        "relative_orbit": first.relative_orbit,
        "quantity": first.quantity,
    }


def _distinct(values: Iterable[str]) -> list[str]:
    return sorted({value for value in values if value})


def _reading_order(scene: Scene) -> tuple[Any, ...]:
    """Newest baseline first, then by tile, then by id."""
    return (tuple(-ord(letter) for letter in scene.baseline), scene.tile, scene.id)


def _frame_key(scene: Scene) -> str:
    """What versions of one scene share: their tile, or without tiles their time and bounds."""
    return scene.tile or f"{scene.time} {scene.bounds}"


def _processed(scene: Scene) -> tuple[int, str]:
    return (-1 if np.isnat(scene.processed) else int(scene.processed.astype(np.int64)), scene.id)


def _why_older(scene: Scene, best: str) -> str:
    if scene.baseline != best:
        return f"an older version: baseline {scene.baseline or 'unknown'}, and {best} is there"
    return "an older version: the same baseline was processed again later"
