"""A configuration cannot be misspelt, and its paths count from its own folder."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from landweave.config.schema import ElevationInput, MosaicInput, load_config, parse_config
from landweave.core.blending import Blend
from landweave.core.errors import ConfigError
from tests.helpers.commands import ROOT

BARE: dict[str, Any] = {
    "grid": {"crs": "EPSG:2154"},
    "inputs": {"AERIAL_RGBI": {"kind": "mosaic", "bands": {"R": {"files": "rvb"}}}},
    "model": {"card": "demo-unet"},
    "output": {"store": "out.zarr"},
}


def problems_of(content: dict[str, Any], **overrides: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(content, root=Path(), overrides=overrides)
    return str(caught.value)


def test_what_is_left_out_has_a_value() -> None:
    config = parse_config(BARE, root=Path("/data"))
    assert config.area is None
    assert (config.engine.kind, config.engine.workers, config.model.torch_threads) == ("dask", None, 2)
    assert (config.output.confidence, config.output.probability, config.output.chunk) == (True, False, 512)
    assert config.windows.size is None
    source = config.inputs["AERIAL_RGBI"]
    assert isinstance(source, MosaicInput)
    assert (source.bands["R"].band, source.resampling, source.order, source.nodata_border) == (
        1,
        "bilinear",
        "name",
        False,
    )


def test_paths_count_from_the_files_folder(tmp_path: Path) -> None:
    file = tmp_path / "here" / "map.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(BARE))
    config = load_config(file)
    assert config.path("a/b.tif") == str(tmp_path / "here" / "a" / "b.tif")
    assert config.path("/a/b.tif") == "/a/b.tif"
    assert config.path("s3://bucket/x.zarr") == "s3://bucket/x.zarr"
    assert config.path("/vsicurl/https://host/x.tif") == "/vsicurl/https://host/x.tif"
    assert config.path("~/x") == str(Path.home() / "x")


def test_values_replace_those_of_the_file_and_nothing_else() -> None:
    overrides = {"engine.workers": 8, "windows.blend": "crop", "inputs.AERIAL_RGBI.bands.NIR": {"files": "irc"}}
    before = yaml.safe_dump(BARE)
    config = parse_config(BARE, root=Path(), overrides=overrides)
    assert config.engine.workers == 8
    assert config.windows.blend is Blend.CROP
    assert set(config.inputs["AERIAL_RGBI"].bands) == {"R", "NIR"}
    assert yaml.safe_dump(BARE) == before


def test_every_problem_is_told_with_its_place() -> None:
    content = {**BARE, "windos": {}, "engine": {"kind": "dusk", "workers": 0}, "model": {"card": "x", "weigths": "y"}}
    message = problems_of(content)
    assert "4 problem(s)" in message
    assert "windos: unknown key; did you mean 'windows'?" in message
    assert "model.weigths: unknown key; did you mean 'weights'?" in message
    assert "engine.kind: " in message
    assert "'dusk'" in message
    assert "engine.workers: " in message


def test_keys_of_an_input_are_known_by_its_kind() -> None:
    message = problems_of(
        {**BARE, "inputs": {"X": {"kind": "mosaic", "bands": {"R": {"file": "a"}}, "nodata_bordr": True}}}
    )
    assert "inputs.X.bands.R.file: unknown key; did you mean 'files'?" in message
    assert "inputs.X.nodata_bordr: unknown key; did you mean 'nodata_border'?" in message
    assert "inputs.X.bands.R.files" in message
    message = problems_of({**BARE, "inputs": {"X": {"kind": "mosaique"}, "Y": {"bands": {}}}})
    assert "inputs.X.kind: 'mosaique' is none of mosaic, elevation, stac, cube; did you mean 'mosaic'?" in message
    assert "inputs.Y.kind: give one of mosaic, elevation, stac, cube." in message
    assert "inputs" in problems_of({**BARE, "inputs": {}})


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"area": {}}, "either bounds or file"),
        ({"area": {"bounds": [0, 0, 1, 1], "file": "a.gpkg"}}, "either bounds or file"),
        ({"area": {"bounds": [0, 0, 1, 1], "where": "x = 1"}}, "go with file"),
        ({"area": {"bounds": [0, 0, 1]}}, "area.bounds"),
        ({"area": {"bounds": [1, 0, 0, 1]}}, "x0 < x1"),
        ({"grid": {}}, "either crs"),
        ({"grid": {"crs": "EPSG:2154", "own": "AERIAL_RGBI"}}, "either crs"),
        ({"grid": {"own": "AERIAL_RGBI", "resolution": 1}}, "leave them out"),
        ({"windows": {"blend": "soft"}}, "windows.blend"),
        ({"output": {"store": None}}, "output.store"),
        ({"model": {"card": "x", "coding": {"offset": 1}}}, "model.coding"),
    ],
)
def test_contradictions(section: dict[str, Any], said: str) -> None:
    assert said in problems_of({**BARE, **section})


def test_elevation_takes_two_models() -> None:
    section = {"kind": "elevation", "dsm": {"files": ["a.tif", "b.tif"], "nodata": -99}, "dtm": {"files": "c"}}
    config = parse_config({**BARE, "inputs": {"DEM_ELEV": section}}, root=Path())
    source = config.inputs["DEM_ELEV"]
    assert isinstance(source, ElevationInput)
    assert source.dsm.files == ("a.tif", "b.tif")
    assert (source.dsm.nodata, source.dtm.nodata, source.dtm.resampling) == (-99, None, "bilinear")
    assert "dtm" in problems_of({**BARE, "inputs": {"DEM_ELEV": {"kind": "elevation", "dsm": {"files": "a"}}}})


def test_a_value_below_something_that_is_no_section() -> None:
    message = problems_of(BARE, **{"model.card.name": "x"})
    assert "model.card.name" in message
    assert "'demo-unet'" in message


def test_a_configuration_never_changes() -> None:
    config = parse_config(BARE, root=Path())
    with pytest.raises(ValueError, match="frozen"):
        config.output.store = "other.zarr"


def test_every_configuration_that_comes_with_the_project_loads() -> None:
    files = [file for file in (ROOT / "configs").rglob("*.yaml") if "grid" in yaml.safe_load(file.read_text())]
    assert len(files) >= 5
    for file in files:
        assert load_config(file).inputs
