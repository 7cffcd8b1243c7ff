"""A configuration cannot be misspelt, says what each key means, and shows itself."""

import pickle
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import ValidationError

import landweave
from landweave.config.schema import (
    Config,
    CubeConfig,
    ElevationInput,
    GridSection,
    Input,
    ModelSection,
    MosaicInput,
    OutputSection,
    Section,
)
from landweave.core.errors import ConfigError

BARE: dict[str, Any] = {
    "grid": {"crs": "EPSG:2154"},
    "inputs": {"AERIAL_RGBI": {"kind": "mosaic", "bands": {"R": {"files": "rvb"}}}},
    "model": {"card": "demo-unet"},
    "output": {"store": "out.zarr"},
}

KINDS = ", ".join(get_args(each.model_fields["kind"].annotation)[0] for each in get_args(get_args(Input)[0]))
"""Every kind of input that there is, in their order."""


def problems_of(content: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        Config(**content)
    return str(caught.value)


def test_a_negative_has_a_scale_below_zero_and_none_is_zero():
    given = {"kind": "mosaic", "bands": {"R": {"files": "a/*.tif"}}}
    assert MosaicInput(**given, scale=-1, offset=255).scale == -1
    for scale in (0, float("nan"), float("inf")):
        with pytest.raises(ValidationError, match="scale"):
            MosaicInput(**given, scale=scale)


def test_what_is_left_out_has_a_value() -> None:
    config = Config(**BARE)
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


def test_every_problem_is_told_with_its_place() -> None:
    content = {**BARE, "windos": {}, "engine": {"kind": "dusk", "workers": 0}, "model": {"card": "x", "weigths": "y"}}
    message = problems_of(content)
    assert "4 problems" in message
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
    assert f"inputs.X.kind: 'mosaique' is none of {KINDS}; did you mean 'mosaic'?" in message
    assert f"inputs.Y.kind: give one of {KINDS}." in message
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
        ({"grid": {"crs": "Lambert-ninety"}}, "grid.crs: 'Lambert-ninety' is no CRS that PROJ can read"),
        ({"grid": {"crs": "+proj=utm +zone=31 +ellps=GRS80"}}, "grid.crs: "),
        ({"windows": {"blend": "soft"}}, "windows.blend"),
        ({"output": {"store": None}}, "output.store"),
        ({"model": {"card": "x", "coding": {"offset": 1}}}, "model.coding"),
    ],
)
def test_contradictions(section: dict[str, Any], said: str) -> None:
    assert said in problems_of({**BARE, **section})


def test_nonsense_for_a_crs_is_named_by_its_key() -> None:
    bands = {"R": {"files": "a.tif"}}
    inputs = {
        "X": {"kind": "mosaic", "bands": bands, "crs": "Lambert"},
        "Y": {"kind": "elevation", "dsm": {"files": "a.tif", "crs": "EPSG:99999"}, "dtm": {"files": "b.tif"}},
    }
    message = problems_of({**BARE, "inputs": inputs})
    assert "inputs.X.crs: 'Lambert' is no CRS that PROJ can read" in message
    assert "inputs.Y.dsm.crs: 'EPSG:99999' is no CRS that PROJ can read" in message


def test_elevation_takes_two_models() -> None:
    section = {"kind": "elevation", "dsm": {"files": ["a.tif", "b.tif"], "nodata": -99}, "dtm": {"files": "c"}}
    config = Config(**{**BARE, "inputs": {"DEM_ELEV": section}})
    source = config.inputs["DEM_ELEV"]
    assert isinstance(source, ElevationInput)
    assert source.dsm.files == ("a.tif", "b.tif")
    assert (source.dsm.nodata, source.dtm.nodata, source.dtm.resampling) == (-99, None, "bilinear")
    assert "dtm" in problems_of({**BARE, "inputs": {"DEM_ELEV": {"kind": "elevation", "dsm": {"files": "a"}}}})


def test_a_configuration_never_changes() -> None:
    config = Config(**BARE)
    with pytest.raises(ValueError, match="frozen"):
        config.output.store = "other.zarr"


def fields(section: type[Section] = Section) -> Iterator[tuple[type[Section], str, str | None]]:
    """Every field of every section, with its description."""
    yield from ((section, name, field.description) for name, field in section.model_fields.items())
    for inner in section.__subclasses__():
        yield from fields(inner)


def test_every_field_says_what_it_means() -> None:
    assert len(list(fields())) > 80
    assert [f"{section.__name__}.{name}" for section, name, text in fields() if not text] == []


def test_a_notebook_makes_one_of_plain_mappings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = landweave.Config(**BARE)
    assert config.root == tmp_path
    assert config.path("rvb") == str(tmp_path / "rvb")
    sections = landweave.Config(
        grid=GridSection(crs="EPSG:2154"),
        inputs=BARE["inputs"],
        model=ModelSection(card="demo-unet"),
        output=OutputSection(store="out.zarr"),
    )
    assert sections == config
    assert pickle.loads(pickle.dumps(config)) == config


def test_paths_may_be_path_objects(tmp_path: Path) -> None:
    mosaic = {"kind": "mosaic", "bands": {"R": {"files": [tmp_path / "r.tif"]}, "G": {"files": tmp_path / "g.tif"}}}
    given = BARE | {"inputs": {"AERIAL_RGBI": mosaic}, "output": {"store": tmp_path / "out.zarr"}}
    config = Config(**given)
    assert config.output.store == str(tmp_path / "out.zarr")
    assert config.inputs["AERIAL_RGBI"].bands["R"].files == (str(tmp_path / "r.tif"),)
    assert Config(**yaml.safe_load(str(config))) == config


def test_problems_of_files_name_the_key_alone() -> None:
    inputs = {"AERIAL_RGBI": {"kind": "mosaic", "bands": {"R": {"files": 1}}}}
    message = problems_of(BARE | {"inputs": inputs})
    assert "- inputs.AERIAL_RGBI.bands.R.files: Input should be a valid string (got 1)" in message


def test_a_cubes_configuration_needs_no_model_and_no_output() -> None:
    part = {"grid": BARE["grid"], "inputs": BARE["inputs"]}
    assert CubeConfig(**part).model is None
    message = problems_of(part)
    assert "2 problems" in message
    assert "model: required, and not given." in message
    assert "output: required, and not given." in message


def test_a_configuration_prints_as_the_yaml_that_gives_it() -> None:
    config = Config(**{**BARE, "grid": {"crs": "EPSG:2154", "anchor": ["1/3", 0]}})
    assert yaml.safe_load(str(config)) == {**BARE, "grid": {"crs": "EPSG:2154", "anchor": ["1/3", 0]}}
    assert Config(**yaml.safe_load(str(config))) == config


def test_a_configuration_shows_itself_in_a_notebook() -> None:
    table = ET.fromstring(Config(**BARE)._repr_html_())
    rows = {row[0].text: row[1].text for row in table}
    assert rows["inputs.AERIAL_RGBI.bands.R.files"] == "rvb"
    assert rows["paths count from"] == str(Path.cwd())


def test_options_of_an_object_store_are_not_shown() -> None:
    options = {"region": "eu-west-3", "secret_access_key": "hush"}
    config = Config(**{**BARE, "output": {"store": "s3://maps/x.zarr", "storage_options": options}})
    assert config.output.storage_options == options
    assert "secret_access_key" in str(config)
    for shown in (str(config), repr(config), config._repr_html_()):
        assert "hush" not in shown


def test_problems_of_the_cube_are_told_with_their_section() -> None:
    message = problems_of({**BARE, "cube": {"tile": 0}})
    assert "- cube.store: " in message
    assert "- cube.tile: " in message
