"""Hosts on one network, each a network namespace of this machine: no tests here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Host:
    """A namespace with an address on the bridge."""

    name: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a process is started by to run on it."""
        return ("ip", "netns", "exec", self.name)

    def cut_off(self) -> None:
        """Pull its cable: nothing is said to anybody."""
        _ip("link", "set", f"{self.name}-b", "down")


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """So many hosts that reach each other and this one; skips the test where they may not be made, fails it in CI."""
    bridge = f"lw{os.getpid() % 100000}"
    made = [Host(f"{bridge}{number}", f"10.77.13.{10 + number}") for number in range(count)]
    try:
        try:
            _ip("link", "add", bridge, "type", "bridge")
            _ip("address", "add", "10.77.13.1/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
            for host in made:
                _connect(host, bridge)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = f"network namespaces cannot be made here: {getattr(error, 'stderr', b'') or error}"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
        yield made
    finally:
        if shutil.which("ip"):
            for host in made:
                subprocess.run(["ip", "netns", "del", host.name], stderr=subprocess.DEVNULL)
                subprocess.run(["ip", "link", "del", f"{host.name}-b"], stderr=subprocess.DEVNULL)
            subprocess.run(["ip", "link", "del", bridge], stderr=subprocess.DEVNULL)


def _connect(host: Host, bridge: str) -> None:
    outer, inner = f"{host.name}-b", f"{host.name}-h"
    _ip("netns", "add", host.name)
    _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", host.name)
    _ip("link", "set", outer, "master", bridge, "up")
    _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", inner)
    _ip("-n", host.name, "link", "set", inner, "up")
    _ip("-n", host.name, "link", "set", "lo", "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
