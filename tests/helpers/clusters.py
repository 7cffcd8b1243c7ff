"""Schedulers and workers as an operator starts them, each a process: no tests here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client

from tests.block_jobs import wait_until
from tests.helpers.commands import ROOT

SAME_CODE = os.pathsep.join([str(ROOT / "pipeline"), str(ROOT)])
"""Import path of a worker that has the driver's code."""


def unused_port() -> int:
    """A TCP port of this machine that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def edited_code(folder: Path, module: str = "core/blending.py", old: str = "", new: str = "") -> str:
    """Import path of a worker whose landweave is a copy with one module edited."""
    shutil.copytree(ROOT / "pipeline/landweave", folder / "landweave", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "landweave" / module
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new) if old else f"{text}\n# edited\n")
    return os.pathsep.join([str(folder), str(ROOT)])


@dataclass
class Processes:
    """A scheduler, and the workers that were started for it.

    Attributes
    ----------
    address
        Of the scheduler.
    prefix
        What a process is started by: to enter a network namespace.
    options
        Of every process: certificates.
    """

    address: str
    stack: ExitStack
    logs: Path
    options: Sequence[str] = ()
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def worker(
        self,
        *arguments: str,
        code: str = SAME_CODE,
        prefix: Sequence[str] = (),
        flags: Sequence[str] = (),
        **environment: str,
    ) -> subprocess.Popen[bytes]:
        """Start a worker of two threads without a nanny, unless the arguments say otherwise."""
        module = ["-m", "distributed.cli.dask_worker", self.address, "--nthreads", "2", "--no-dashboard", *self.options]
        nanny = () if "--nanny" in arguments else ("--no-nanny",)
        command = [*prefix, sys.executable, *flags, *module, *nanny, *arguments]
        return self._start(command, code, environment)

    def worker_without_landweave(self) -> subprocess.Popen[bytes]:
        """Start one that has all libraries and not this package."""
        return self.worker(code=sysconfig.get_path("purelib"), flags=["-S"])

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start Python with the driver's code; an empty variable is not set."""
        return self._start([sys.executable, *arguments], SAME_CODE, environment)

    def _start(self, command: Sequence[str], code: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        log = self.stack.enter_context((self.logs / f"{len(self.started)}.log").open("wb"))
        variables = {**os.environ, "PYTHONPATH": code, "OMP_NUM_THREADS": "1", **environment}
        variables = {name: value for name, value in variables.items() if value}
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log, cwd=self.logs)
        self.started.append(process)
        return process

    def wait_for(self, client: Client, count: int) -> None:
        """Until the scheduler has so many workers."""
        wait_until(lambda: len(client.nthreads()) == count)

    def log(self) -> str:
        """What all of them wrote."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.logs.glob("*.log")))


@contextmanager
def scheduler(
    folder: Path,
    port: int,
    *,
    protocol: str = "tcp",
    host: str = "127.0.0.1",
    options: Sequence[str] = (),
    prefix: Sequence[str] = (),
) -> Iterator[Processes]:
    """A scheduler of its own process; it and its workers end with the ``with`` block."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        found = Processes(address=f"{protocol}://{host}:{port}", stack=stack, logs=folder, options=options)
        module = ["-m", "distributed.cli.dask_scheduler", "--host", f"{protocol}://{host}", "--port", str(port)]
        found._start([*prefix, sys.executable, *module, "--no-dashboard", *options], SAME_CODE, {})
        try:
            yield found
        finally:
            for process in reversed(found.started):
                process.kill()
                process.wait()
