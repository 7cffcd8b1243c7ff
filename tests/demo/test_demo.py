"""The demo runs from start to end, and leaves what is not its own alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio

import landweave as lw
from landweave_demo import run_demo


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(lw.errors.InputError, match="not a demo"):
        run_demo(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize(
    "names", [["demo.yaml", "bd-ortho.yaml"], ["demo.yaml"], ["demo.yaml", "imagery/RVB/mine.tif"]]
)
def test_a_folder_with_a_configuration_of_that_name_is_no_demo(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    with pytest.raises(lw.errors.InputError, match="not a demo"):
        run_demo(tmp_path)
    assert all((tmp_path / name).read_text() == "mine" for name in names)


@pytest.mark.slow
def test_a_small_demo_runs_from_start_to_end(tmp_path: Path) -> None:
    report = run_demo(tmp_path / "demo", shape=(900, 1000), seed=9)
    assert report.exit_code == 0
    assert report.accuracy > 0.7
    assert report.blended_seams < report.cropped_seams
    assert {"SENTINEL2_TS", "SENTINEL1-ASC_TS", "SENTINEL1-DESC_TS"} == set(lw.open_cube(tmp_path / "demo/cube.zarr"))
    assert {"demo.yaml", "demo.png", "landcover.png"} <= {path.name for path in (tmp_path / "demo").iterdir()}
    with rasterio.open(tmp_path / "demo/landcover.tif") as file:
        assert file.crs.to_epsg() == 2154
    assert "look alike in pairs" in str(report)
