"""Scenes as one lazy array on a grid, through stackstac: nothing is read until it is computed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import stackstac
import xarray as xr
from rasterio.windows import Window

from landweave.core.errors import ConfigError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.sources.resampling.kernels import Plane
from landweave.sources.stac.records import Scene
from landweave.sources.stac.scene_reader import SceneReading, read_scene

_NO_CODE = 0
"""Stands for a CRS without a code: stackstac only ever compares it with itself here."""


@dataclass(frozen=True, kw_only=True)
class SceneStack:
    """Scenes to stack on a grid, and how they are read. Picklable: dask tasks carry it."""

    grid: Grid
    scenes: tuple[Scene, ...] = field(repr=False)
    reading: SceneReading

    def open_band(self, *, url: str, spec: Any, **_: Any) -> BandReader:
        """The reader of one band of one scene, as stackstac makes them.

        Parameters
        ----------
        url
            The place of the scene and the name of the band, such as ``3/B2``: what `stack_scenes` gives as address.
        spec
            Stackstac's raster specification, which has to be that of the grid.

        Raises
        ------
        ConfigError
            When it is of another grid.
        """
        shape, bounds = tuple(spec.shape), tuple(spec.bounds)
        if (shape, bounds) != (self.grid.shape, self.grid.bounds):
            raise ConfigError(
                f"A stack of {shape} pixels over {bounds} needs a reader for them, this one is for {self.grid.shape} "
                f"over {self.grid.bounds}: open another one."
            )
        place, band = url.split("/")
        return BandReader(stack=self, scene=self.scenes[int(place)], band=band)


@dataclass(frozen=True, kw_only=True)
class BandReader:
    """One band of one scene on the grid: stackstac's reader protocol. Holds no file; for any thread."""

    stack: SceneStack
    scene: Scene
    band: str

    def read(self, window: Window, **_: Any) -> Plane:
        """The band ``(y, x)`` over ``window``, counted from the first pixel of the grid.

        Raises
        ------
        ReadError
            When a file cannot be read.
        """
        grid = self.stack.grid
        top, left = grid.extent.y.start + int(window.row_off), grid.extent.x.start + int(window.col_off)
        extent = Extent.of((top, top + int(window.height)), (left, left + int(window.width)))
        return _LAST.take(self.band, (self.scene, grid.with_extent(extent), self.stack.reading))

    def close(self) -> None:
        """Does nothing: no file is kept open here."""


class _LastScene(threading.local):
    """Bands of the scene that this thread read last: stackstac reads band by band, a scene is read all at once."""

    request: tuple[Scene, Grid, SceneReading] | None = None
    planes: dict[str, Plane]

    def take(self, band: str, request: tuple[Scene, Grid, SceneReading]) -> Plane:
        if self.request != request or band not in self.planes:
            planes = read_scene(*request)
            self.request, self.planes = request, dict(zip(request[2].bands, planes, strict=True))
        return self.planes.pop(band)


_LAST = _LastScene()


def stack_scenes(stack: SceneStack, *, chunk: int | None = None) -> xr.DataArray:
    """A lazy array ``(time, band, y, x)`` of scenes in their order.

    Values are reflectance x 10000 or linear power in `SceneReading.dtype`, 0 where nothing is measured. Coordinates
    are the grid's own pixel centres; ``id`` is the scene of each time.

    Parameters
    ----------
    stack
        At least one scene, and every one of them may touch the grid.
    chunk
        Pixels a side of what is read at once; the whole grid when not given. Bands of a scene are read together.
    """
    grid, reading = stack.grid, stack.reading
    array: xr.DataArray = stackstac.stack(
        [_stackstac_item(place, stack) for place in range(len(stack.scenes))],
        assets=list(reading.bands),
        epsg=_epsg(grid),
        resolution=float(grid.resolution),
        bounds=grid.bounds,
        snap_bounds=False,
        dtype=reading.dtype,
        fill_value=reading.dtype.type(0),
        rescale=False,
        sortby_date=False,
        xy_coords="center",
        properties=False,
        band_coords=False,
        errors_as_nodata=(),
        reader=stack.open_band,
        chunksize=(1, len(reading.bands), chunk or -1, chunk or -1),
    )
    # The exact coordinates of the grid, in place of sums of floats.
    exact = array.drop_vars("epsg").assign_coords(x=grid.x, y=grid.y)
    exact.attrs = {"crs": grid.crs, "transform": tuple(grid.transform)[:6], "nodata": 0}
    return exact


def _stackstac_item(place: int, stack: SceneStack) -> dict[str, Any]:
    """A scene as an item for stackstac, placed on the grid: our reader knows its real georeference."""
    scene = stack.scenes[place]
    georef = {"proj:epsg": _epsg(stack.grid), "proj:bbox": stack.grid.bounds}
    return {
        "id": scene.id,
        "properties": {"datetime": f"{scene.time}Z", **georef},
        "assets": {band: {"href": f"{place}/{band}"} for band in stack.reading.bands},
    }


def _epsg(grid: Grid) -> int:
    authority, _, code = grid.crs.partition(":")
    return int(code) if authority == "EPSG" and code.isdigit() else _NO_CODE
