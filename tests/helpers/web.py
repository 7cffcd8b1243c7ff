"""Files of a folder on a web server of this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: a test's output is its own."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Address of ``folder``, up within the block."""
    with responding(partial(_Quiet, directory=str(folder))) as address:
        yield address


@contextmanager
def responding(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Address of a server of ``handler``, up within the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
