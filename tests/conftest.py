"""What every test may ask for: the real data beside the project, and a free port."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path of a real file or folder, ``shared("data/bd_ortho/rgb")``; skips the test where it is absent."""

    def find(path: str) -> Path:
        found = SHARED / path
        if not found.exists():
            reason = f"{path} is not in the folder of real data beside the project"
            # Where CI is set the data is promised: a silent skip would hide that nothing real was tested.
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
        return found

    return find


@pytest.fixture
def free_port() -> int:
    """A TCP port of this machine that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
