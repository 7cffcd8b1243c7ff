"""Datasets of patches in their published layouts, written from arrays: no tests here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

from tests.helpers.tiles import write_tile

CORNER_XY = (548793.4, 6289214.8)
"""Of the first patch: on no multiple of a patch, nor of 10.24 m."""


@dataclass(frozen=True, kw_only=True)
class MadeRegion:
    """Arrays of one region that are cut into patches of ``side`` pixels of ``pixel`` metres, but for the ``missing``.

    ``arrays`` has rasters ``(band, y, x)`` by modality, each with its own pixel size; ``series`` has values
    ``(time, band, y, x)``, ``masks`` snow and cloud ``(time, 2, y, x)``, ``days`` their dates.
    """

    domain: str
    name: str
    arrays: Mapping[str, NDArray[Any]]
    side: int = 512
    pixel: float = 0.2
    corner_xy: tuple[float, float] = CORNER_XY
    missing: tuple[tuple[int, int], ...] = ()
    series: Mapping[str, NDArray[Any]] = ()  # type: ignore[assignment]
    masks: NDArray[np.uint8] | None = None
    days: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Patches down and across."""
        height, width = next(iter(self.arrays.values())).shape[-2:]
        return height // self.side, width // self.side

    def patches(self) -> Iterator[tuple[int, int]]:
        """Row and column of each patch that is written."""
        down, across = self.shape
        every = ((row, column) for row in range(down) for column in range(across))
        return (place for place in every if place not in self.missing)

    def cut(self, values: NDArray[Any], place: tuple[int, int]) -> tuple[NDArray[Any], dict[str, Any]]:
        """The patch of an array, and where it lies."""
        down, across = self.shape
        height, width = values.shape[-2] // down, values.shape[-1] // across
        metres = self.side * self.pixel
        x, y = self.corner_xy[0] + place[1] * metres, self.corner_xy[1] - place[0] * metres
        part = values[..., place[0] * height : (place[0] + 1) * height, place[1] * width : (place[1] + 1) * width]
        profile = {"tiled": False, "blockxsize": None, "blockysize": None}
        return part, {"corner_xy": (round(x, 4), round(y, 4)), "pixel": metres / height, **profile}


def write_flair_hub(folder: Path, *regions: MadeRegion) -> Path:
    """The regions as FLAIR-HUB has them."""
    dates: dict[str, dict[str, str]] = {}
    for region in regions:
        stacked = {name: values.reshape(-1, *values.shape[-2:]) for name, values in dict(region.series).items()}
        if region.masks is not None:
            stacked["SENTINEL2_MSK-SC"] = region.masks.reshape(-1, *region.masks.shape[-2:])
        for modality, values in {**region.arrays, **stacked}.items():
            year = "195X" if modality == "AERIAL-RLT_PAN" else region.domain[5:]
            domain = f"{region.domain[:4]}-{year}"
            for row, column in region.patches():
                part, where = region.cut(values, (row, column))
                file = f"{domain}_{modality}_{region.name}_{row}-{column}.tif"
                write_tile(folder / f"{domain}_{modality}" / region.name / file, part, **_plain(where))
        days = json.dumps({str(number): day for number, day in enumerate(region.days)})
        for modality in dict(region.series):
            names = [f"{region.domain}_{region.name}_{row}-{column}" for row, column in region.patches()]
            dates.setdefault(modality.removesuffix("_TS"), {}).update(dict.fromkeys(names, days))
    for sensor, listed in dates.items():
        where = folder / "GLOBAL_ALL_MTD" / f"GLOBAL_{sensor}_MTD_DATES.gpkg"
        where.parent.mkdir(exist_ok=True)
        columns = {"patch_id": list(listed), "acquisition_dates": list(listed.values())}
        points = [shapely.Point(*CORNER_XY)] * len(listed)
        geopandas.GeoDataFrame(columns, geometry=points, crs="EPSG:2154").to_file(where)
    return folder


def write_flair_1(folder: Path, *regions: MadeRegion, prefix: str = "flair_1") -> Path:
    """The regions as FLAIR#1 has them: aerial bands with heights, and labels."""
    number = 0
    for region in regions:
        domain = region.domain.replace("-", "_")
        for place in region.patches():
            number += 1
            image, where = region.cut(region.arrays["AERIAL_RGBI"], place)
            labels, _ = region.cut(region.arrays["AERIAL_LABEL-COSIA"], place)
            images, masks = folder / f"{prefix}_aerial_test", folder / f"{prefix}_labels_test"
            write_tile(images / domain / region.name / "img" / f"IMG_{number:06d}.tif", image, **_plain(where))
            write_tile(masks / domain / region.name / "msk" / f"MSK_{number:06d}.tif", labels, **_plain(where))
    return folder


@dataclass(frozen=True, kw_only=True)
class Superarea:
    """The series of FLAIR#2 over a region.

    ``values`` ``(time, 10, y, x)`` and ``masks`` ``(time, 2, y, x)`` in pixels of ``pixel`` metres, whose north-west
    corner lies ``before_xy`` metres west and north of that of the patches.
    """

    values: NDArray[Any]
    masks: NDArray[np.uint8]
    products: tuple[str, ...]
    before_xy: tuple[float, float]
    pixel: float = 10

    def centroid(self, region: MadeRegion, place: tuple[int, int]) -> list[int]:
        """Row and column that hold the centre of a patch."""
        metres = region.side * region.pixel
        x, y = (metres * (number + 0.5) for number in reversed(place))
        return [int((y + self.before_xy[1]) // self.pixel), int((x + self.before_xy[0]) // self.pixel)]


def write_flair_2(folder: Path, *regions: tuple[MadeRegion, Superarea]) -> Path:
    """Regions as FLAIR#2 has them: those of FLAIR#1, and a series over each."""
    write_flair_1(folder, *(region for region, _ in regions), prefix="flair_2")
    names = iter(range(1, 10**6))
    centroids = {}
    for region, area in regions:
        domain = region.domain.replace("-", "_")
        where = folder / "flair_2_sen_test" / domain / region.name / "sen"
        where.mkdir(parents=True)
        stem = f"SEN2_sp_{domain}-{region.name}"
        np.save(where / f"{stem}_data.npy", area.values)
        np.save(where / f"{stem}_masks.npy", area.masks)
        (where / f"{stem}_products.txt").write_text("\n".join(area.products) + "\n")
        for place in region.patches():
            centroids[f"IMG_{next(names):06d}.tif"] = area.centroid(region, place)
    (folder / "flair-2_centroids_sp_to_patch.json").write_text(json.dumps(centroids))
    return folder


def _plain(where: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in where.items() if value is not None}
