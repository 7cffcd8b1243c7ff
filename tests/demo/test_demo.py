"""The demo runs from start to end, and its legends say the same everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio

from landweave.core.errors import InputError
from landweave.models.cards.registry import find_card
from landweave.store.cubes.views import open_cube
from landweave_demo.files.aerial_files import COLORS
from landweave_demo.landscape.landscape import CLASS_CODES
from landweave_demo.demo import CONFIG, PICTURE, run_demo


@pytest.mark.parametrize("name", ["demo-fusion", "demo-unet"])
def test_the_truth_has_the_colours_of_the_map(name: str) -> None:
    legend = find_card(name).legend()
    assert legend.codes == CLASS_CODES
    assert {each.code: each.color.removeprefix("#") for each in legend.classes}.items() <= COLORS.items()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not a demo"):
        run_demo(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.slow
def test_a_small_demo_runs_from_start_to_end(tmp_path: Path) -> None:
    report = run_demo(tmp_path / "demo", shape=(900, 1000), seed=9)
    assert report.summary.exit_code == 0
    assert report.scores.accuracy > 0.7
    assert {"SENTINEL2_TS", "SENTINEL1-ASC_TS", "SENTINEL1-DESC_TS"} == set(open_cube(tmp_path / "demo/cube.zarr"))
    assert {CONFIG, PICTURE, "landcover.png"} <= {path.name for path in (tmp_path / "demo").iterdir()}
    with rasterio.open(tmp_path / "demo/landcover.tif") as file:
        assert file.crs.to_epsg() == 2154
    assert "look alike in pairs" in str(report)
