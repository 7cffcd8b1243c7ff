"""Processes by machine and number: who they are, and whether they have ended without tidying up."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil


def machine() -> str:
    """The running kernel and process namespace: containers of one host have its boot id but their own processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} {psutil.boot_time():.0f}"


def has_ended(pid: int) -> bool:
    """Return whether no living process of this machine has a number; a zombie is none."""
    try:
        os.kill(pid, 0)  # asked first: /proc may hide the processes of others
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
