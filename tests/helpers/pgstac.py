"""A STAC API as catalogs run it, on this machine: pgstac in a database of its own, stac-fastapi in front of it.

Both have dependencies that clash with the project's, so they live in an environment of their own, made at need.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PINS = Path(__file__).with_name("pgstac.txt")
_POSTGRES = Path("/usr/lib/postgresql")
_STARTING_S = 60


@dataclass(frozen=True, kw_only=True)
class Api:
    """A running API: its address, and the log of what it was asked."""

    address: str
    log: Path

    def asked(self, path: str) -> int:
        """How often ``path`` was asked for."""
        return self.log.read_text().count(f" {path}")


@contextmanager
def stac_api(
    folder: Path, collections: Iterable[Mapping[str, Any]], items: Iterable[Mapping[str, Any]]
) -> Iterator[Api]:
    """An API that serves ``items``; everything it started has ended after the block."""
    binaries, environment = _database_binaries(), _make_environment(folder / "environment")
    with _database(binaries) as dsn:
        for kind, documents in (("collections", collections), ("items", items)):
            (folder / kind).write_text("\n".join(map(json.dumps, documents)))
        pypgstac = [str(environment / "python"), "-m", "pypgstac.pypgstac"]
        _run(*pypgstac, "migrate", "--dsn", dsn)
        for kind in ("collections", "items"):
            _run(*pypgstac, "load", kind, str(folder / kind), "--dsn", dsn)
        with _server(environment, dsn, folder / "log") as api:
            yield api


def _give_up(reason: str) -> None:
    """A skip; where CI is set a failure, for there it must run."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no STAC API on this machine: {reason}")


def _database_binaries() -> Path:
    """Folder of the programs of a PostgreSQL with PostGIS; where CI is set they are installed."""
    if not _found_postgis() and os.environ.get("CI") and os.geteuid() == 0:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        packages = ("postgresql", "postgresql-postgis")
        _run("apt-get", "update", "-qq", env=quiet)
        _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, env=quiet)
    found = _found_postgis()
    if not found:
        _give_up("install Debian's postgresql and postgresql-postgis")
    return found[-1]


def _found_postgis() -> list[Path]:
    control = Path("/usr/share/postgresql")
    versions = sorted((path for path in _POSTGRES.glob("*/bin/initdb")), key=lambda path: float(path.parts[-3]))
    return [path.parent for path in versions if (control / path.parts[-3] / "extension/postgis.control").exists()]


def _make_environment(folder: Path) -> Path:
    """Folder of the programs of an environment with what is pinned."""
    _run(sys.executable, "-m", "venv", str(folder))
    try:
        _run(str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(PINS))
    except subprocess.CalledProcessError as error:
        _give_up(f"the package index does not give what {PINS.name} pins: {error.stderr[-300:]}")
    return folder / "bin"


@contextmanager
def _database(binaries: Path) -> Iterator[str]:
    """Where to reach an empty database whose files are gone after the block."""
    # Not below pytest's folder: root's own, which PostgreSQL, never run by root, could not enter.
    home = Path(tempfile.mkdtemp(prefix="landweave-pgstac-"))
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
        account = {"user": "postgres", "group": "postgres", "extra_groups": []}
    data, port, log = str(home / "data"), _free_port(), home / "log"
    options = ("-p", str(port), "-k", str(home), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
    try:
        _run(str(binaries / "initdb"), "-D", data, "-U", "stac", "-A", "trust", "-E", "UTF8", **account)
        with _running([str(binaries / "postgres"), "-D", data, *options], log, stop=signal.SIGINT, **account):
            _wait_until(lambda: _answers(binaries, port), log)
            yield f"postgresql://stac@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(home)


@contextmanager
def _server(environment: Path, dsn: str, log: Path) -> Iterator[Api]:
    port, database_port = _free_port(), dsn.rpartition(":")[2].partition("/")[0]
    database = {"HOST": "127.0.0.1", "PORT": database_port, "USER": "stac", "PASSWORD": "none", "DATABASE": "postgres"}
    settings = {f"PG{name}": value for name, value in database.items()}
    command = [str(environment / "python"), "-m", "uvicorn", "stac_fastapi.pgstac.app:create_app", "--factory"]
    address = f"http://127.0.0.1:{port}"
    with _running([*command, "--port", str(port)], log, stop=signal.SIGTERM, env={**os.environ, **settings}):
        _wait_until(lambda: _pings(f"{address}/_mgmt/ping"), log)
        yield Api(address=address, log=log)


@contextmanager
def _running(command: Sequence[str], log: Path, *, stop: signal.Signals, **settings: Any) -> Iterator[None]:
    """A child that is told to ``stop`` at the end, and killed when it does not."""
    with log.open("w") as output:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", **settings)
        try:
            yield
        finally:
            child.send_signal(stop)
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _wait_until(up: Callable[[], bool], log: Path) -> None:
    until = time.monotonic() + _STARTING_S
    while not up():
        if time.monotonic() > until:
            pytest.fail(f"it did not come up within {_STARTING_S} s: {log.read_text()[-2000:]}")
        time.sleep(0.2)


def _answers(binaries: Path, port: int) -> bool:
    command = [str(binaries / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(command, capture_output=True).returncode == 0


def _pings(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def _run(*command: str, **settings: Any) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/", **settings)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
