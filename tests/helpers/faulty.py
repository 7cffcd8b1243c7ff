"""An S3 behind a proxy that fails as told, in a process of its own, run as ``python -m tests.helpers.faulty``.

::

    client ──> proxy: draws a fault for each request ──> moto
                 └── told over a port of its own: which faults, how often, gone or there

It must not share a process with its reader: GDAL may wait for a response while it holds the interpreter. Objects may be
read by ``http://`` too, unsigned: tiles on a web server.
"""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3

from tests.helpers.tls import Certificates

BUCKET = "faulty"
KINDS = ("500", "503", "late 500", "reset", "late reset", "stall", "truncated")
STALL_S = 3.0
"""Silence of a stalled response; then its connection is reset."""

ALLOWED = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True, kw_only=True)
class FaultyStore:
    """A running store: its endpoint, its keys, and how it is told to fail."""

    port: int
    secure_port: int
    control: int
    key: str
    secret: str
    ca: str

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def secure_endpoint(self) -> str:
        """The same by ``https://``, with a certificate of the authority in the file ``ca``."""
        return f"https://127.0.0.1:{self.secure_port}"

    @property
    def storage_options(self) -> dict[str, Any]:
        keys = {"access_key_id": self.key, "secret_access_key": self.secret}
        return {"endpoint": self.endpoint, "region": "us-east-1", **keys}

    def tell(self, **settings: Any) -> dict[str, Any]:
        """Change settings (``share``, ``kinds``, ``seed``, ``only``, ``down``, ``auth``); gives the counts so far."""
        request = Request(f"http://127.0.0.1:{self.control}/", data=json.dumps(settings).encode(), method="POST")
        with urlopen(request, timeout=30) as response:
            told: dict[str, Any] = json.loads(response.read())
        return told

    @property
    def client(self) -> Any:
        keys = {"aws_access_key_id": self.key, "aws_secret_access_key": self.secret}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", **keys)

    def uploads(self) -> list[str]:
        """Keys of uploads in parts that are not complete."""
        return [each["Key"] for each in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]

    def put(self, key: str, content: bytes) -> None:
        """Write an object that anybody may read, over ``http://`` too."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content, ACL="public-read")

    def put_folder(self, folder: Path, prefix: str) -> None:
        """Put every file of a folder below a prefix."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())


@contextmanager
def faulty_store() -> Iterator[FaultyStore]:
    """A store that does not fail yet, up within the block."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=root, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            yield FaultyStore(**json.loads(process.stdout.readline()))
        finally:
            process.kill()


class _State:
    """What is to fail, and what did."""

    def __init__(self) -> None:
        self.lock, self.random = threading.Lock(), random.Random(0)
        self.share, self.kinds, self.only = 0.0, list(KINDS), ""
        self.down = False
        self.done: Counter[str] = Counter()

    def draw(self, path: str) -> str:
        with self.lock:
            if self.down:  # over a connection that is still open
                return "reset"
            self.done["requests"] += 1
            if self.only not in path or self.random.random() >= self.share:
                return ""
            fault = self.random.choice(self.kinds)
            self.done[fault] += 1
            return fault


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: _State
    upstream: int

    def log_message(self, *_: Any) -> None:
        """Nothing: a test's output is its own."""

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.state.draw(self.path)
        if fault == "reset":
            return self._reset()
        if fault == "stall":
            time.sleep(STALL_S)
            return self._reset()
        if fault in ("500", "503"):
            return self._send(int(fault), {}, b"")
        connection = HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        connection.request(self.command, self.path, body=body, headers=headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if fault == "late 500":
            return self._send(500, {}, b"")
        if fault == "late reset" or (fault == "truncated" and len(content) < 2):
            return self._reset()
        self._send(response.status, _kept(response), content, cut=fault == "truncated")
        return None

    def do_GET(self) -> None:
        """As every method."""
        self._respond()

    def do_PUT(self) -> None:
        """As every method."""
        self._respond()

    def do_HEAD(self) -> None:
        """As every method."""
        self._respond()

    def do_DELETE(self) -> None:
        """As every method."""
        self._respond()

    def do_POST(self) -> None:
        """As every method."""
        self._respond()

    def _send(self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers or self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = cut or self.close_connection

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.wfile = self.rfile = open(os.devnull, "r+b")  # type: ignore[assignment]  # noqa: SIM115, PTH123


def _kept(response: HTTPResponse) -> dict[str, str]:
    dropped = ("connection", "transfer-encoding", "server", "date", "content-length")
    headers = {name: value for name, value in response.getheaders() if name.lower() not in dropped}
    length = response.getheader("Content-Length")
    return headers | ({"Content-Length": length} if length and response._method == "HEAD" else {})  # type: ignore[attr-defined]


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Connections that are reset raise; that is meant."""


class _Gate:
    """The proxy's port, which can be closed and opened; with TLS where there is a certificate."""

    def __init__(self, handler: type[_Proxy], certificates: Certificates | None = None) -> None:
        self._handler, self._certificates, self.port = handler, certificates, 0
        self._server: _Server | None = None
        self.open()

    def open(self) -> None:
        if self._server is None:
            self._server = _Server(("127.0.0.1", self.port), self._handler)
            self.port = self._server.server_port
            if self._certificates:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self._certificates.cert, self._certificates.key)
                plain = self._server.socket
                self._server.socket = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _control(state: _State, gate: _Gate, set_auth: Callable[[float], None]) -> type[BaseHTTPRequestHandler]:
    class Control(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def do_POST(self) -> None:
            settings = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                if "seed" in settings:
                    state.random, state.done = random.Random(settings["seed"]), Counter()
                for name in ("share", "kinds", "only"):
                    setattr(state, name, settings.get(name, getattr(state, name)))
                content = json.dumps(dict(state.done)).encode()
            if "down" in settings:
                state.down = settings["down"]
                (gate.close if state.down else gate.open)()
            if "auth" in settings:
                set_auth(0 if settings["auth"] else float("inf"))
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Control


def main() -> None:
    """Serve until the process is ended; ports and keys are told first."""
    from moto import settings
    from moto.core.authorization import ActionAuthenticatorMixin
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    given = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    boto3.client("s3", **given, **keys).create_bucket(Bucket=BUCKET)
    iam = boto3.client("iam", **given, **keys)
    iam.create_user(UserName="writer")
    iam.put_user_policy(UserName="writer", PolicyName="all", PolicyDocument=json.dumps(ALLOWED))
    made = iam.create_access_key(UserName="writer")["AccessKey"]

    def set_auth(count: float) -> None:
        ActionAuthenticatorMixin.request_count, settings.INITIAL_NO_AUTH_ACTION_COUNT = 0, count

    state = _State()
    handler = type("Proxy", (_Proxy,), {"state": state, "upstream": port})
    certificates = Certificates.make(Path(tempfile.mkdtemp()))
    gate, secure = _Gate(handler), _Gate(handler, certificates)
    control = ThreadingHTTPServer(("127.0.0.1", 0), _control(state, gate, set_auth))
    told = {"port": gate.port, "secure_port": secure.port, "control": control.server_port, "ca": str(certificates.ca)}
    sys.stdout.write(json.dumps({**told, "key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}) + "\n")
    sys.stdout.flush()
    control.serve_forever()


if __name__ == "__main__":
    main()
