"""Layers served as tiles to browsers on this machine, and to them alone.

The server listens on the loopback interface. Pages of other sites that a person has open could ask it, too, by a host
name of their own that leads to this machine: a request has to name ``127.0.0.1`` or ``localhost`` as its host, and its
path begins with a token that only the printed address has.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Path, Query
from fastapi.responses import HTMLResponse, Response
from morecantile import Tile, TileMatrixSet
from rio_tiler.constants import WEB_MERCATOR_TMS
from rio_tiler.errors import TileOutsideBounds
from rio_tiler.models import ImageData
from starlette.middleware.trustedhost import TrustedHostMiddleware
from titiler.core.factory import TilerFactory

from landweave.core.errors import LandweaveError, OutputError
from landweave.core.legend import CONFIDENCE_SCALE, LandClass
from landweave.formats.web_assets import CONFIDENCE_RAMP
from landweave.viewing.layers import ViewLayer
from landweave.viewing.page import render_page

HOST = "127.0.0.1"
_START_S = 20

Colormap = dict[int, tuple[int, int, int, int]]


@dataclass(frozen=True, kw_only=True)
class View:
    """What is shown.

    Attributes
    ----------
    title
        Of the map.
    classes
        Of its legend.
    layers
        ``landcover``; then ``confidence`` and ``aerial``, where there are any.
    status
        How many blocks are done and how many there are now; None for what is not being made.
    note
        Why there is no aerial picture; empty where there is one.
    """

    title: str
    classes: tuple[LandClass, ...]
    layers: Mapping[str, ViewLayer]
    status: Callable[[], tuple[int, int]] | None = None
    note: str = ""


class _LayerReader:
    """A layer as titiler opens it."""

    def __init__(self, layer: ViewLayer, tms: TileMatrixSet = WEB_MERCATOR_TMS) -> None:
        self._layer, self._tms = layer, tms

    def __enter__(self) -> _LayerReader:
        return self

    def __exit__(self, *error: object) -> None: ...

    def tile(self, x: int, y: int, z: int, **_: Any) -> ImageData:
        return self._layer.tile(Tile(x, y, z), self._tms)


class _Tiles(TilerFactory):  # type: ignore[misc]  # published without types
    """Tiles alone of all that titiler serves."""

    def register_routes(self) -> None:
        self.tile()


def class_colors(classes: tuple[LandClass, ...], hidden: frozenset[int]) -> Colormap:
    """The colours of classes but for hidden ones, which are transparent.

    Parameters
    ----------
    classes
        Of a legend.
    hidden
        Codes.
    """
    return {each.code: (*each.rgb, 0 if each.code in hidden else 255) for each in classes}


def confidence_colors() -> Colormap:
    """The colours of stored confidences, by tenths."""
    step = CONFIDENCE_SCALE // len(CONFIDENCE_RAMP)
    colors = [LandClass(code=0, name="", color=color).rgb for color in CONFIDENCE_RAMP]
    return {code: (*colors[min(code // step, len(CONFIDENCE_RAMP) - 1)], 255) for code in range(CONFIDENCE_SCALE + 1)}


def make_app(view: View, token: str) -> FastAPI:
    """The pages and tiles of a view.

    Parameters
    ----------
    view
        What is shown.
    token
        First part of every path.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])

    def layer_of(layer: Annotated[str, Path()]) -> ViewLayer:
        if layer not in view.layers:
            raise HTTPException(404, "There is no such layer.")
        return view.layers[layer]

    def colors_of(layer: Annotated[str, Path()], hide: Annotated[str, Query(pattern=r"^[\d,]*$")] = "") -> Any:
        hidden = frozenset(int(code) for code in hide.split(",") if code)
        found = {"landcover": class_colors(view.classes, hidden), "confidence": confidence_colors()}
        return found.get(layer)

    reading = Depends(layer_of)
    tiles = _Tiles(reader=_LayerReader, path_dependency=layer_of, colormap_dependency=colors_of)
    app.include_router(tiles.router, prefix=f"/{token}/{{layer}}")

    @app.get(f"/{token}/", response_class=HTMLResponse)
    def page() -> HTMLResponse:
        content, policy = render_page(
            view.title, view.classes, {k: v.bounds for k, v in view.layers.items()}, view.note
        )
        headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
        return HTMLResponse(content, headers=headers)

    @app.get(f"/{token}/status")
    def status() -> dict[str, int | None]:
        done, total = view.status() if view.status else (None, None)
        return {"done": done, "total": total}

    @app.get(f"/{token}/{{layer}}/value/{{z}}/{{x}}/{{y}}/{{row}}/{{column}}")
    def value(z: int, x: int, y: int, row: int, column: int, layer: ViewLayer = reading) -> dict[str, int | None]:
        image = layer.tile(Tile(x, y, z), WEB_MERCATOR_TMS).array
        inside = 0 <= row < image.shape[1] and 0 <= column < image.shape[2]
        shown = image[0, row, column] if inside else None
        return {"value": None if shown is None or shown is np.ma.masked else int(shown)}

    @app.exception_handler(TileOutsideBounds)
    def nothing_there(request: Any, error: TileOutsideBounds) -> Response:
        return Response(status_code=204)

    @app.exception_handler(LandweaveError)
    def refused(request: Any, error: LandweaveError) -> Response:
        return Response(str(error), status_code=500, media_type="text/plain")

    return app


@dataclass
class ViewServer:
    """A server of one view, on a free port of the loopback interface.

    Attributes
    ----------
    view
        What it shows.
    """

    view: View
    _socket: socket.socket = field(init=False, repr=False)
    _server: uvicorn.Server = field(init=False, repr=False)
    _token: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._token = secrets.token_urlsafe(16)
        self._socket = socket.socket()
        self._socket.bind((HOST, 0))  # a port that is free
        self._socket.listen()  # whoever opens the address before the server answers waits, and is not refused
        config = uvicorn.Config(make_app(self.view, self._token), log_level="error", access_log=False)
        self._server = uvicorn.Server(config)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self._socket.getsockname()[1]}/{self._token}/"

    def tile_url(self, layer: str) -> str:
        """Address of the tiles of a layer, as web maps take it."""
        return f"{self.url}{layer}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png"

    def serve(self) -> None:
        """Serve until the process is interrupted."""
        with contextlib.suppress(KeyboardInterrupt):
            self._server.run(sockets=[self._socket])

    def start(self) -> None:
        """Serve beside this thread, until `stop` or the end of the process.

        Raises
        ------
        OutputError
            When it does not start in 20 s.
        """
        threading.Thread(target=self._server.run, args=([self._socket],), daemon=True).start()
        until = time.monotonic() + _START_S
        while not self._server.started:
            if time.monotonic() > until:
                raise OutputError(f"The viewer did not start in {_START_S} s at {self.url}.")
            time.sleep(0.01)

    def stop(self) -> None:
        """End the server."""
        self._server.should_exit = True
