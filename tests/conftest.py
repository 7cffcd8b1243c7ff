"""Fixtures of all tests: the real data beside the project, a free port, the command, and a small area with series."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:  # torch comes along: tests that need none of it do not wait for it
    from tests.helpers.commands import Command
    from tests.helpers.small import Small
    from tests.helpers.small_series import SmallSeries

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

# Before torch is imported. Its threads wait for each other in a busy loop: with one thread instead of two, the tests of
# small networks take a sixth of the time on two cores that others use too. Runs set their own `torch_threads`.
os.environ["OMP_NUM_THREADS"] = "1"

# What is known of files from one call to the next is kept for this session alone.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="landweave-cache-")

# How long an example takes says more of the machine than of the code.
settings.register_profile("landweave", deadline=None)
settings.load_profile("landweave")


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


@pytest.fixture
def landweave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, in this process."""
    from tests.helpers.commands import Command

    return Command(monkeypatch, capsys)


@pytest.fixture
def refused(tmp_path: Path, landweave: Command) -> Callable[..., str]:
    """Runs the command, which must refuse with exit code 2 and write nothing; gives its message."""

    def run(path: Path, *arguments: Any, verb: str = "run") -> str:
        before = sorted(tmp_path.rglob("*"))
        ended = landweave(verb, path, *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("landweave: ")
        assert "Traceback" not in ended.err
        assert sorted(tmp_path.rglob("*")) == before
        return ended.err

    return run


@pytest.fixture(scope="session")
def valley(tmp_path_factory: pytest.TempPathFactory) -> SmallSeries:
    """Scenes of both satellites, their catalogs and a card; nothing else is ever written there."""
    from tests.helpers.small_series import SmallSeries

    return SmallSeries.make(tmp_path_factory.mktemp("valley"))


@pytest.fixture(scope="session")
def mapped_once(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The small scene and its map, and a copy of the folder beside it."""
    from landweave import api
    from tests.helpers.small import Small

    small = Small.make(tmp_path_factory.mktemp("mapped") / "small")
    assert api.run(small.loaded(), progress=False).exit_code == 0
    shutil.copytree(small.folder, small.folder.with_name("kept"))
    return small


@pytest.fixture
def mapped(mapped_once: Small) -> Iterator[Small]:
    """The small scene with its complete map, for this test to do with as it likes."""
    from tests.helpers.small import put_back

    with put_back(mapped_once.folder, mapped_once.folder.with_name("kept")):
        yield mapped_once
