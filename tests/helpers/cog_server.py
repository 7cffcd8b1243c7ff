"""A web server of Cloud-optimised GeoTIFFs in a process of its own, run as ``python -m tests.helpers.cog_server DIR``.

It must not share a process with its reader: GDAL may wait for an answer while it holds the interpreter. It answers by
ranges, writes down what it is asked, refuses ``?signature=expired``, and fails as often as a file beside tells it to.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FAILURES, HANG_UPS, STALLS, CUTS = COUNTS = ("failures.txt", "hang-ups.txt", "stalls.txt", "cuts.txt")
ASKED, ETAG = "asked.txt", "etag.txt"
STALL_S = 8


@dataclass(frozen=True, kw_only=True)
class CogServer:
    """A running server: its address, and the folder it serves."""

    address: str
    folder: Path

    def fail(self, times: int) -> None:
        """Answer the next ``times`` requests for a TIFF with 503."""
        (self.folder / FAILURES).write_text(str(times))

    def hang_up(self, times: int) -> None:
        """End the next ``times`` connections that ask for a TIFF without a word."""
        (self.folder / HANG_UPS).write_text(str(times))

    def stall(self, times: int) -> None:
        """Say nothing for `STALL_S` to the next ``times`` requests for a TIFF."""
        (self.folder / STALLS).write_text(str(times))

    def cut(self, times: int) -> None:
        """Send half of what is asked in the next ``times`` answers with a part of a TIFF."""
        (self.folder / CUTS).write_text(str(times))

    def relabel(self, etag: str) -> None:
        """The ETag of every file from now on."""
        (self.folder / ETAG).write_text(etag)

    @property
    def failures_left(self) -> int:
        """How many of them are still to come."""
        return int((self.folder / FAILURES).read_text())

    @property
    def asked(self) -> list[str]:
        """What was asked until now: ``GET /B2.tif``."""
        return (self.folder / ASKED).read_text().splitlines()


@contextmanager
def serving(folder: Path) -> Iterator[CogServer]:
    """A server of ``folder``, up within the block."""
    for name in COUNTS:
        (folder / name).write_text("0")
    (folder / ETAG).write_text('"made-1"')
    (folder / ASKED).write_text("")
    command = [sys.executable, "-m", __name__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        try:
            yield CogServer(address=f"http://127.0.0.1:{int(process.stdout.readline())}", folder=folder)
        finally:
            process.terminate()


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        """A file, or a part of it."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """What a file is."""
        self._answer(body=False)

    def log_message(self, *_: Any) -> None:
        """Nothing: a test's output is its own."""

    def _answer(self, *, body: bool) -> None:
        path, _, query = self.path.partition("?")
        folder = Path(self.directory)
        with (folder / ASKED).open("a") as asked:
            asked.write(f"{self.command} {self.path}\n")
        failures, hang_ups, stalls, _ = (int((folder / name).read_text()) for name in COUNTS)
        file = folder / path.lstrip("/")
        if query == "head=refused" and self.command == "HEAD":
            self._end(405)
        elif query == "signature=expired":
            self._end(403)
        elif hang_ups and path.endswith(".tif"):
            (folder / HANG_UPS).write_text(str(hang_ups - 1))
            self.close_connection = True
        elif stalls and path.endswith(".tif"):
            (folder / STALLS).write_text(str(stalls - 1))
            time.sleep(STALL_S)
            self.close_connection = True
        elif failures and path.endswith(".tif"):
            (folder / FAILURES).write_text(str(failures - 1))
            self._end(503)
        elif not file.is_file():
            self._end(404)
        else:
            self._part(file.read_bytes(), body=body)

    def _part(self, content: bytes, *, body: bool) -> None:
        wanted = self.headers.get("Range", "")
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start = int(first or 0)
        part = content[start : int(last or len(content)) + 1]
        place = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(content)}"} if wanted else {}
        headers = {"Content-Length": str(len(part)), **place}
        cuts = Path(self.directory) / CUTS
        if body and int(cuts.read_text()):
            cuts.write_text(str(int(cuts.read_text()) - 1))
            part, self.close_connection = part[: len(part) // 2], True
        self._end(206 if wanted else 200, part if body else b"", headers)

    def _end(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Length": "0",
            "Accept-Ranges": "bytes",
            "ETag": (Path(self.directory) / ETAG).read_text(),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def main(folder: str) -> None:
    """Serve ``folder`` until the process is ended; the port is told first."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=folder))
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
