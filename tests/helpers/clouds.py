"""Azure's and Google's object stores on this machine, as their emulators know them; no tests here.

Azurite is installed by npm into a cache outside of the project. The emulator of Google's store knows the JSON API,
obstore the XML API: a front here translates, and keeps the precondition that an object is new.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, quote, unquote, urlsplit
from urllib.request import Request, urlopen
from xml.sax.saxutils import escape

import pytest

PLACE = "maps"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of every Azurite: they are in its documentation, and no secret."""

AZURITE = "azurite@3.35.0"

Place = tuple[str, dict[str, Any]]
"""URL of a container or bucket, and the options of its store."""


def missing(reason: str) -> None:
    """Skip a test where something is not installed; where CI is set it is promised."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def free_port() -> int:
    """A TCP port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def azurite_command() -> list[str]:
    """The command that starts Azurite; installed where it is not yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "landweave-tests" / AZURITE
    command = cache / "node_modules/.bin/azurite-blob"
    if not command.exists():
        if (npm := shutil.which("npm")) is None:
            missing("npm is not installed, which Azurite comes by")
        cache.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(
            [str(npm), "install", "--no-audit", "--no-fund", "--prefix", str(cache), AZURITE],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            missing(f"npm cannot install {AZURITE}: {made.stderr[-200:]}")
    return [str(command)]


@contextmanager
def azure() -> Iterator[Place]:
    """A container in Azurite, up within the block."""
    port = free_port()
    arguments = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--blobPort", str(port)]
    with subprocess.Popen(
        [*azurite_command(), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(port)
            _make_container(port)
            endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
            yield f"az://{PLACE}", {"account_name": ACCOUNT, "account_key": ACCOUNT_KEY, "endpoint": endpoint}
        finally:
            process.kill()


def _wait_for(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"Nobody listens at {port}.")


def _make_container(port: int) -> None:
    path, date = f"/{ACCOUNT}/{PLACE}", formatdate(usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": "2021-08-06", "Content-Length": "0"}
    signed = "\n".join(f"{name}:{headers[name]}" for name in ("x-ms-date", "x-ms-version"))
    text = f"PUT{chr(10) * 12}{signed}\n/{ACCOUNT}{path}\nrestype:container"
    mac = base64.b64encode(hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{mac}"
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("PUT", f"{path}?restype=container", headers=headers)
    response = connection.getresponse()
    assert response.status == 201, response.read()


@contextmanager
def google() -> Iterator[Place]:
    """A bucket in the emulator of Google's store, behind the XML API, up within the block."""
    server = pytest.importorskip("gcp_storage_emulator.server")
    port = free_port()
    emulator = server.create_server("127.0.0.1", port, in_memory=True, default_bucket=PLACE)
    emulator.start()
    handler = type("Front", (_Front,), {"emulator": f"http://127.0.0.1:{port}", "lock": threading.Lock()})
    front = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{front.server_port}"
    account = {"gcs_base_url": base, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    try:
        yield f"gs://{PLACE}", {"service_account_key": json.dumps(account)}
    finally:
        front.shutdown()
        front.server_close()
        emulator.stop()


class _Front(BaseHTTPRequestHandler):
    """The XML API of objects, by the JSON API."""

    protocol_version = "HTTP/1.1"
    emulator: str
    lock: threading.Lock

    def log_message(self, *_: Any) -> None:
        """Nothing: a test's output is its own."""

    def do_PUT(self) -> None:
        """Write an object; only a new one where that is asked for."""
        bucket, name = self._named()
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.lock:
            if self.headers.get("x-goog-if-generation-match") == "0" and self._about(bucket, name):
                return self._end(412)
            meta = {k.lower()[12:]: v for k, v in self.headers.items() if k.lower().startswith("x-goog-meta-")}
            upload = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
            made = self._ask("POST", upload, content, "application/octet-stream")
            if meta:
                self._ask(
                    "PATCH", self._path(bucket, name), json.dumps({"metadata": meta}).encode(), "application/json"
                )
        return self._end(200, headers=_headers(json.loads(made or b"{}")))

    def do_GET(self) -> None:
        """An object, a part of it, or a listing."""
        bucket, name = self._named()
        query = parse_qs(urlsplit(self.path).query)
        if not name:
            return self._end(200, _listing(self._list(bucket, query), query))
        about = self._about(bucket, name)
        if about is None:
            return self._end(404)
        content = self._ask("GET", f"{self._path(bucket, name)}?alt=media") or b""
        headers = _headers(about)
        wanted = self.headers.get("Range", "").removeprefix("bytes=")
        if not wanted:
            return self._end(200, content, headers)
        first, _, last = wanted.partition("-")
        start = int(first) if first else len(content) - int(last)
        part = content[start : int(last) + 1 if first and last else None]
        headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
        return self._end(206, part, headers)

    def do_HEAD(self) -> None:
        """What an object is."""
        about = self._about(*self._named())
        if about is None:
            return self._end(404)
        return self._end(200, b"", {**_headers(about), "Content-Length": str(about["size"])})

    def do_DELETE(self) -> None:
        """Remove an object."""
        bucket, name = self._named()
        if self._about(bucket, name) is None:
            return self._end(404)
        self._ask("DELETE", self._path(bucket, name))
        return self._end(204)

    def _named(self) -> tuple[str, str]:
        bucket, _, name = urlsplit(self.path).path.lstrip("/").partition("/")
        return bucket, unquote(name)

    def _path(self, bucket: str, name: str) -> str:
        return f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"

    def _about(self, bucket: str, name: str) -> dict[str, Any] | None:
        found = self._ask("GET", self._path(bucket, name))
        return None if found is None else json.loads(found)

    def _list(self, bucket: str, query: dict[str, list[str]]) -> dict[str, Any]:
        wanted = "&".join(f"{key}={quote(query[key][0], safe='')}" for key in ("prefix", "delimiter") if key in query)
        return dict(json.loads(self._ask("GET", f"/storage/v1/b/{bucket}/o?{wanted}") or b"{}"))

    def _ask(self, method: str, path: str, content: bytes | None = None, kind: str = "") -> bytes | None:
        headers = {"Content-Type": kind} if kind else {}
        try:
            with urlopen(Request(self.emulator + path, data=content, method=method, headers=headers)) as response:
                found: HTTPResponse = response
                return found.read()
        except HTTPError as error:
            if error.code != 404:
                raise
            return None

    def _end(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _headers(about: dict[str, Any]) -> dict[str, str]:
    meta = {f"x-goog-meta-{name}": value for name, value in (about.get("metadata") or {}).items()}
    stamp = time.strptime(about["updated"][:19], "%Y-%m-%dT%H:%M:%S")
    moment = formatdate(time.mktime(stamp) - time.timezone, usegmt=True)
    return {"ETag": f'"{about["etag"]}"', "Last-Modified": moment, "x-goog-generation": about["generation"], **meta}


def _listing(found: dict[str, Any], query: dict[str, list[str]]) -> bytes:
    items = "".join(
        f"<Contents><Key>{escape(each['name'])}</Key><Size>{each['size']}</Size><ETag>{each['etag']}</ETag>"
        f"<LastModified>{each['updated'].replace('+00:00', 'Z')}</LastModified></Contents>"
        for each in found.get("items", [])
    )
    prefixes = "".join(
        f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in found.get("prefixes", [])
    )
    prefix = escape(query.get("prefix", [""])[0])
    return f"<ListBucketResult><Prefix>{prefix}</Prefix>{items}{prefixes}</ListBucketResult>".encode()
