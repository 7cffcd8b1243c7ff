"""A Slurm of this machine alone, with its own munge, for the length of a ``with`` block; root alone can start it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
PARTITION = "short"

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={daemon_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=500000
KillWait=5
MpiDefault=none
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=60000 State=UNKNOWN
PartitionName={partition} Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """A running Slurm: ``environment`` lets its commands find it."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *command: str) -> str:
        """What one of its commands prints."""
        ended = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True, timeout=30)
        if ended.returncode:
            raise RuntimeError(f"{command}: {ended.stdout}{ended.stderr}")
        return ended.stdout

    def jobs(self, state: str) -> list[str]:
        """Ids of the jobs in a state: PENDING, RUNNING, TIMEOUT, …"""
        return self("squeue", "--noheader", "--states", state, "--format", "%i").split()

    def set_partition(self, state: str) -> None:
        """Let jobs start (UP), or keep them in the queue (DOWN)."""
        self("scontrol", "update", f"PartitionName={PARTITION}", f"State={state}")


def slurm_is_here() -> bool:
    """Whether its programs are installed, and may be started."""
    return os.geteuid() == 0 and all(shutil.which(name) for name in PROGRAMS)


@contextmanager
def running_slurm(folder: Path) -> Iterator[Slurm]:
    """A Slurm with one node and one partition, whose files are in ``folder``."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    host = socket.gethostname().split(".")[0]
    ports = {"controller_port": _free_port(), "daemon_port": _free_port()}
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(host=host, folder=folder, partition=PARTITION, **ports))
    slurm = Slurm(folder=folder, environment={"SLURM_CONF": str(configuration)})
    with ExitStack() as ending:
        ending.enter_context(_started("munged", *_munge(folder)))
        _wait(lambda: (folder / "munge.socket").exists(), "munged")
        ending.enter_context(_started("slurmctld", "-D", "-f", str(configuration)))
        ending.enter_context(_started("slurmd", "-D", "-f", str(configuration)))
        _wait(lambda: "idle" in _said(slurm), "slurmctld and slurmd")
        ending.callback(_cancel_all, slurm)
        yield slurm


def _munge(folder: Path) -> list[str]:
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    files = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munge.pid"}
    files |= {"log-file": folder / "munge.log", "seed-file": folder / "munge.seed"}
    return ["--foreground", "--force", *(f"--{name}={path}" for name, path in files.items())]


@contextmanager
def _started(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _cancel_all(slurm: Slurm) -> None:
    slurm("scancel", f"--partition={PARTITION}")
    time.sleep(1)


def _said(slurm: Slurm) -> str:
    try:
        return slurm("sinfo", "--noheader", "--format", "%T")
    except RuntimeError:
        return ""


def _wait(ready: object, what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start in {seconds:g} s.")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
