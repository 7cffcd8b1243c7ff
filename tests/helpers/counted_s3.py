"""An S3 on this machine that counts the requests for every object: no tests here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "counted"


@dataclass(kw_only=True)
class CountedS3:
    """Where it is, as storage options, the requests so far by method and key, and how some of them fail.

    ``fault`` is asked for every request: an HTTP status such as ``"503 Slow Down"`` instead of a response, with
    ``"late "`` before it one that comes after the request was carried out; None to respond.
    """

    storage_options: dict[str, Any]
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    fault: Callable[[], str | None] = lambda: None
    failed: int = 0

    def reads(self, prefix: str, *methods: str) -> Counter[str]:
        """GET (or other) requests for every object below ``prefix``, by its name there."""
        found: Counter[str] = Counter()
        for (method, key), count in self.requests.items():
            if method in (methods or ("GET",)) and key.startswith(f"{prefix}/"):
                found[key.removeprefix(f"{prefix}/")] += count
        return found


def connect(options: dict[str, Any]) -> Any:
    """A client of boto3."""
    return boto3.client(
        "s3",
        endpoint_url=options["endpoint"],
        region_name=options["region"],
        aws_access_key_id=options["access_key_id"],
        aws_secret_access_key=options["secret_access_key"],
    )


@contextmanager
def counted_s3() -> Iterator[CountedS3]:
    """The server for the length of a ``with`` block, with a bucket `BUCKET`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {
        "endpoint": f"http://{host}:{port}",
        "region": "us-east-1",
        "access_key_id": "testing",
        "secret_access_key": "testing",
    }
    connect(options).create_bucket(Bucket=BUCKET)
    counted = CountedS3(storage_options=options)
    answer = server._server.app

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        key = unquote(environ["PATH_INFO"]).removeprefix(f"/{BUCKET}/")
        counted.requests[environ["REQUEST_METHOD"], key] += 1
        if (status := counted.fault()) is None:
            return answer(environ, start_response)
        counted.failed += 1
        if status.startswith("late "):
            list(answer(environ, lambda *_: lambda _: None))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(status.removeprefix("late "), [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return []

    server._server.app = app
    try:
        yield counted
    finally:
        server.stop()
