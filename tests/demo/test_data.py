"""Data of the demo: a configuration that fits the files beside it, and the same bytes on every CPU."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import landweave as lw
from landweave_demo import DemoData, make_demo_data

_cpu: Any = np._core._multiarray_umath  # type: ignore[attr-defined]


def make(folder: Path) -> DemoData:
    return make_demo_data(folder, seed=5, shape=(512, 640))


def digests(folder: Path, data: DemoData) -> dict[str, str]:
    """SHA-256 of every file, and of the layers before they are rounded for their files."""
    contents = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    layers = {name: getattr(data.landscape, name).tobytes() for name in ("rgbi", "dsm", "dtm", "truth", "parcel")}
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted({**contents, **layers}.items())}


def dispatched_features() -> list[str]:
    return [feature for feature in _cpu.__cpu_dispatch__ if _cpu.__cpu_features__[feature]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def data(folder: Path) -> DemoData:
    return make(folder)


@pytest.mark.slow
def test_the_configuration_finds_its_files(data: DemoData) -> None:
    assert data.landscape.truth.shape == (512, 640)
    config = lw.load_config(data.config, overrides={"engine.kind": "inline", "output.block": 1024})
    assert {path.parent.name for path in (*data.files.rvb, *data.files.dtm)} == {"RVB", "DTM"}
    assert "demo-fusion" in str(lw.check(config))
    assert data.catalog.is_relative_to(data.config.parent)


@pytest.mark.slow
def test_the_files_have_the_same_bytes_on_a_cpu_without_vector_extensions(
    data: DemoData, folder: Path, tmp_path: Path
) -> None:
    """In another process, in which NumPy, BLAS, the C library and JPEG do not use what this CPU has."""
    features = dispatched_features()
    if not features:
        pytest.skip("NumPy has one code path only on this CPU.")
    older = {
        "NPY_DISABLE_CPU_FEATURES": " ".join(features),
        "OPENBLAS_CORETYPE": "Nehalem",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4",
        "JSIMD_FORCENONE": "1",
    }
    run = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        env={**os.environ, **older}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    expected, got = digests(folder, data), json.loads(run.stdout)
    assert got.keys() == expected.keys()
    assert [name for name in got if got[name] != expected[name]] == []


if __name__ == "__main__":
    assert not dispatched_features()
    sys.stdout.write(json.dumps(digests(Path(sys.argv[1]), make(Path(sys.argv[1])))))
