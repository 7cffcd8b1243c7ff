"""Configurations in files, the real command on them, and what it leaves behind: no tests here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from landweave.cli.main import main
from landweave.core.lattice import Extent
from tests.block_jobs import hear_interrupts
from tests.helpers.stored import stored_map

ROOT = Path(__file__).parents[2]
ARRAYS = ("landcover", "confidence", "probability")


def mosaic(**files: tuple[str, int]) -> dict[str, Any]:
    """A mosaic section: ``mosaic(R=("rgb/*.tif", 1))``."""
    return {"kind": "mosaic", "bands": {name: {"files": path, "band": band} for name, (path, band) in files.items()}}


RGBI_FILES = mosaic(R=("rgb/*.tif", 1), G=("rgb/*.tif", 2), B=("rgb/*.tif", 3), NIR=("irc/*.tif", 1))


def write_config(folder: Path, card: Path, weights: Path, **sections: Any) -> Path:
    """A configuration over ``rgb/`` and ``irc/`` in its own folder; ``sections`` are laid over the defaults."""
    content: dict[str, Any] = {
        "grid": {"crs": "EPSG:2154"},
        "inputs": {"AERIAL_RGBI": RGBI_FILES},
        "model": {"card": str(card), "weights": str(weights)},
        "output": {"store": "out.zarr", "chunk": 64, "block": 128, "probability": True},
        "engine": {"kind": "inline"},
    }
    for name, section in sections.items():
        content[name] = {**content.get(name, {}), **section} if isinstance(section, Mapping) else section
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Command:
    """The command in this process, through its own entry point."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: Any) -> Ended:
        self.capsys.readouterr()
        with self.monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["landweave", *map(str, arguments)])
            with pytest.raises(SystemExit) as end:
                _run_to_the_end()
        said = self.capsys.readouterr()
        code = end.value.code
        return Ended(code=code if isinstance(code, int) else int(bool(code)), out=said.out, err=said.err)


def done(ended: Ended) -> str:
    """What it said, once it is sure to have ended well."""
    assert ended.code == 0, ended.err + ended.out
    return ended.out


def _run_to_the_end() -> None:
    main()
    raise SystemExit(0)


def start(*arguments: Any, module: str = "", **environment: str) -> subprocess.Popen[str]:
    """The command as a process in a group of its own, as a shell starts it; ``module`` stands in for it."""
    program = ["-m", module or "landweave"]
    path = os.pathsep.join([str(ROOT / "pipeline"), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=hear_interrupts,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def shards(store: Path) -> dict[str, bytes]:
    """Every object of the map's pixels, by name."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.glob("map/*/*/c/**/*"))
        if path.is_file()
    }


def pixels(store: Path, extent: Extent, arrays: tuple[str, ...] = ARRAYS) -> dict[str, NDArray[np.uint8]]:
    """Arrays of a map over ``extent``, counted from the anchor."""
    found = stored_map(store)
    return {name: found.read(name, extent) for name in arrays}
