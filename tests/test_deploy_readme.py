"""The commands of deploy/README.md, literally: this machine, Slurm, and a scheduler of one's own with TLS."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from landweave import api
from tests.helpers.commands import ROOT, shards
from tests.helpers.slurm import Slurm, running_slurm, slurm_is_here
from tests.helpers.small import Small

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


README = (ROOT / "deploy/README.md").read_text()

NOT_HERE = {
    "Compose": "needs a container engine: tests/test_deploy.py holds its files against their definitions",
    "Kubernetes": "needs a cluster: tests/test_deploy.py holds its manifests against their schemas",
}


def commands(heading: str) -> str:
    """The shell blocks of a section of deploy/README.md, below its heading."""
    (section,) = re.findall(rf"^## {heading}$(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    return "\n".join(re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    small = Small.make(tmp_path_factory.mktemp("inline"))
    assert api.run(small.loaded()).exit_code == 0
    return shards(small.store)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """A folder with ``gard.yaml``, and with the files of a checkout that the commands name."""
    made = Small.make(tmp_path)
    made.config(engine={}).rename(tmp_path / "gard.yaml")
    for name in ("configs", "deploy", "constraints.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    return made


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with running_slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def follow(small: Small, script: str, **environment: str) -> str:
    """What the commands print, run one after the other as they stand; each has to end well."""
    program = shutil.which("landweave", path=str(Path(sys.executable).parent))
    assert program, "the package is not installed"
    variables = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT / 'pipeline'}:{ROOT}",
        "XDG_CACHE_HOME": str(small.folder / "cache"),
        **environment,
    }
    command = ["bash", "-euo", "pipefail", "-c", script]
    ended = subprocess.run(command, cwd=small.folder, env=variables, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_every_section_with_commands_is_followed_here() -> None:
    sections = re.split(r"^## ", README, flags=re.MULTILINE)
    headings = {section.partition("\n")[0] for section in sections if "```bash" in section}
    assert headings == {"Before the first run", "This machine", "Slurm", "A scheduler of your own", *NOT_HERE}


def test_before_the_first_run(small: Small) -> None:
    install, *script = commands("Before the first run").splitlines()
    assert install.startswith("pip install")
    printed = follow(small, "\n".join(script).replace("LC-A", "small.yaml"))
    assert "12 of 12, 128 x 128 px" in printed
    assert "windows" in printed


def test_this_machine(small: Small, inline: dict[str, bytes]) -> None:
    printed = follow(small, commands("This machine"))
    assert "12 done" in printed
    assert "████" in printed
    assert shards(small.store) == inline


@pytest.mark.skipif(not slurm_is_here() and not os.environ.get("CI"), reason="no slurmctld here, or not root")
def test_slurm(small: Small, slurm: Slurm, inline: dict[str, bytes]) -> None:
    copied, first, job = filter(None, commands("Slurm").splitlines())
    assert "12 done" in follow(small, f"{copied}\n{first}", **slurm.environment)
    assert shards(small.store) == inline
    assert slurm("squeue", "--noheader") == ""  # its jobs end with it
    shutil.rmtree(small.store)
    follow(small, job, **slurm.environment)
    assert shards(small.store) == inline


def test_a_scheduler_of_ones_own(small: Small, inline: dict[str, bytes], free_port: int) -> None:
    script = commands("A scheduler of your own").replace("8786", str(free_port))
    assert script.count(str(free_port)) == 3
    assert "12 done" in follow(small, script)
    assert shards(small.store) == inline
    logged = (small.folder / "out.zarr.run.json").read_text()
    assert f"tls://127.0.0.1:{free_port}" in logged
