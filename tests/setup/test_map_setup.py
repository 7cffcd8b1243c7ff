"""From a configuration to a job: every setting resolved once, the meaning of a run told from how it is run."""

import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely
import torch
import yaml

from landweave.config.load import load_config
from landweave.core.errors import BudgetError, CardError, ConfigError, InputError
from landweave.core.lattice import Extent
from landweave.jobs.fingerprint import differences
from landweave.mapping.setup import MapSetup
from landweave.models.predictor import TorchModel
from landweave.setup.map_setup import engine_section, security, set_up_map
from tests.helpers.commands import RGBI_FILES
from tests.helpers.small import Small
from tests.helpers.tiles import write_tile


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small.make(tmp_path_factory.mktemp("assembly"))


def made(small: Small, *, overrides: dict[str, Any] | None = None, **sections: Any) -> MapSetup:
    return set_up_map(load_config(small.config(**sections), overrides=overrides))


def test_without_an_area_the_imagery_is_mapped_in_whole_blocks(small: Small) -> None:
    job = made(small).job
    assert job.blocks.extent == small.extent.snap(64)  # whole chunks
    assert (job.blocks.height, job.blocks.width, job.blocks.shape) == (128, 128, (3, 4))
    assert job.bounds == small.extent
    assert job.grid.extent == job.blocks.extent
    assert job.grid.resolution == Fraction(1, 5)
    assert (job.blending.lattice.window, job.blending.lattice.overlap) == (64, 16)
    assert job.arrays == ("landcover", "confidence", "probability")
    assert job.area is None


def test_an_area_is_snapped_outwards_to_blocks(small: Small) -> None:
    y, x = small.extent.y, small.extent.x
    wanted = Extent.of((y.start + 30, y.start + 200), (x.start + 150, x.start + 400))
    bounds = [wanted.x.start / 5, -wanted.y.stop / 5, wanted.x.stop / 5, -wanted.y.start / 5]
    job = made(small, area={"bounds": bounds}).job
    assert job.blocks.extent == wanted.snap(64)
    assert job.bounds == wanted
    assert job.area is not None


def test_windows_and_blocks_come_from_the_card_unless_they_are_set(small: Small) -> None:
    card = yaml.safe_load(small.card.read_text())
    card["window"] |= {"min_untrained_size": 32}
    (small.folder / "wide.yaml").write_text(yaml.safe_dump(card))
    run = made(small, model={"card": "wide.yaml"}, windows={"size": 128})
    assert (run.job.blending.lattice.window, run.job.blending.lattice.overlap) == (128, 32)
    assert any("windows of 128 px; the model was trained on 64" in note for note in run.notes)
    default = made(small, overrides={"output.block": None})
    assert (default.job.blocks.height % 64, len(default.job.blocks)) == (0, 1)
    assert default.notes == ()


def test_the_default_block_fits_the_memory(small: Small) -> None:
    x0, _, _, y1 = small.scene.bounds
    far = {"area": {"bounds": [x0, y1 - 3000, x0 + 3000, y1]}}
    large = made(small, overrides={"output.block": None}, engine={"memory_gib": 8}, **far)
    tight = made(small, overrides={"output.block": None}, engine={"memory_gib": 1.2}, **far)
    assert len(tight.job.blocks) > len(large.job.blocks)
    assert tight.memory.worker <= tight.engine.worker_bytes
    side = large.job.blocks.height
    with pytest.raises(BudgetError, match=f"blocks of {side} x {side}"):
        made(small, overrides={"output.block": side}, engine={"memory_gib": 1.2}, **far)


def test_a_models_memory_is_asked_for_once(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = TorchModel.memory_bytes

    def counted(self: TorchModel) -> int:
        asked.append(1)
        return original(self)

    monkeypatch.setattr(TorchModel, "memory_bytes", counted)
    made(small, overrides={"output.block": None}, engine={"memory_gib": 1.2})
    assert len(asked) == 1


def test_engines_are_resolved(small: Small) -> None:
    assert made(small, engine={"kind": "inline"}).engine.workers == 1
    dask = made(small, engine={"kind": "dask", "workers": 3, "memory_gib": 1}).engine
    assert (dask.kind, dask.workers, dask.address, dask.worker_bytes) == ("dask", 3, None, 1 << 30)
    assert made(small, engine={"kind": "dask", "address": "tcp://host:1"}).engine.address == "tcp://host:1"


def test_a_job_travels(small: Small) -> None:
    run = made(small)
    again = pickle.loads(pickle.dumps(run.job))
    assert again.key == run.fingerprint.sha256 == run.job.key
    assert again.blocks == run.job.blocks
    assert again.input_version((1, 1)) == run.job.input_version((1, 1))


MEANING = [
    ({"windows": {"overlap": 32}}, "windows.overlap"),
    ({"windows": {"blend": "linear"}}, "windows.blend"),
    ({"output": {"block": 64}}, "output.block"),
    ({"output": {"chunk": 32}}, "output.chunk"),
    ({"output": {"probability": False}}, "output.probability"),
    ({"output": {"resolution": 0.4, "chunk": 32, "block": 64}}, "output.factor"),
    ({"model": {"keep_untrained": True}}, "model.keep_untrained"),
    ({"model": {"torch_threads": 2}}, "model.numerics.torch_threads"),
    ({"model": {"batch_size": 3}}, "model.numerics.batch_size"),
    ({"inputs": {"AERIAL_RGBI": {**RGBI_FILES, "nodata_border": True}}}, "inputs.AERIAL_RGBI.nodata_border"),
    ({"inputs": {"AERIAL_RGBI": {**RGBI_FILES, "nodata": 0}}}, "inputs.AERIAL_RGBI.nodata"),
    ({"grid": {"anchor": [0.2, 0]}}, "grid.anchor"),
    ({"area": {"bounds": [131, 170, 200, 220]}}, "area"),
]


@pytest.mark.parametrize(("sections", "part"), MEANING, ids=[part for _, part in MEANING])
def test_what_changes_the_map_changes_the_fingerprint(small: Small, sections: dict[str, Any], part: str) -> None:
    plain, other = made(small).fingerprint, made(small, **sections).fingerprint
    assert plain.sha256 != other.sha256
    assert any(line.startswith(f"{part}: ") or line.startswith(f"{part}[") for line in differences(plain, other))


def test_the_provenance_names_the_card_and_its_checksum(small: Small) -> None:
    setup = made(small)
    model = setup.template.attributes["model"]
    assert model["card"] == "small"
    assert model["card_sha256"] == setup.card.sha256 == setup.fingerprint.parts["model"]["card"]
    assert model["weights"] == setup.fingerprint.parts["model"]["weights"]


def test_how_it_is_run_does_not(small: Small) -> None:
    plain = made(small).fingerprint
    for sections in (
        {"engine": {"kind": "dask", "workers": 2}},
        {"engine": {"kind": "inline", "memory_gib": 5}},
        {"output": {"store": "elsewhere.zarr", "cog": "x.tif", "picture": "x.png"}},
    ):
        assert made(small, **sections).fingerprint == plain


def test_titles_and_a_repaired_scene_do_not_change_it_and_other_scenes_do(tmp_path: Path) -> None:
    small = Small.make(tmp_path)
    plain = made(small)
    card = yaml.safe_load(small.card.read_text())
    small.card.write_text(yaml.safe_dump({**card, "title": "Another title", "source": "elsewhere"}, sort_keys=False))
    tile = sorted((small.folder / "rgb").glob("*.tif"))[0]
    tile.write_bytes(tile.read_bytes() + b"\0")
    again = made(small)
    assert again.fingerprint == plain.fingerprint
    assert again.job.input_version((0, 0)) != plain.job.input_version((0, 0))
    assert again.job.input_version((2, 3)) == plain.job.input_version((2, 3))
    for name, bands in (("rgb", (0, 1, 2)), ("irc", (3,))):
        values = small.scene.values[list(bands), :50, :50]
        write_tile(small.folder / name / "tile_zz.tif", values, corner_xy=(small.scene.left / 5 + 100, 200))
    assert "inputs.AERIAL_RGBI.scenes" in differences(plain.fingerprint, made(small).fingerprint)[0]


def test_a_project_that_moved_is_the_same_run(small: Small, tmp_path: Path) -> None:
    other = Small.make(tmp_path / "elsewhere")
    assert made(other).fingerprint == made(small).fingerprint


def test_a_mosaics_own_grid(small: Small, tmp_path: Path) -> None:
    other = Small.make(tmp_path)
    for tile in other.folder.glob("*/*.tif"):
        tile.unlink()
    for name, bands in (("rgb", (0, 1, 2)), ("irc", (3,))):
        write_tile(
            other.folder / name / "a.tif", other.scene.values[list(bands)], corner_xy=(700000.07, 6600000.11), pixel=0.2
        )
    config = other.config()
    content = yaml.safe_load(config.read_text())
    content["grid"] = {"own": "AERIAL_RGBI"}
    config.write_text(yaml.safe_dump(content))
    job = set_up_map(load_config(config)).job
    assert job.grid.resolution == Fraction(1, 5)
    assert [float(value) for value in job.grid.anchor_xy] == pytest.approx([0.07, 0.11])
    assert "alignment: paste" in str(job.inputs["AERIAL_RGBI"].source.describe()).replace("'", "")
    content["grid"] = {"own": "SPOT"}
    config.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="SPOT"):
        set_up_map(load_config(config))


def test_pixels_other_than_the_cards_need_a_word(small: Small) -> None:
    with pytest.raises(ConfigError, match=r"0\.4 m, the model is fed 0\.2 m.*model\.pixel"):
        made(small, grid={"resolution": 0.4})
    run = made(small, grid={"resolution": 0.4}, model={"pixel": 0.4})
    assert run.job.grid.resolution == Fraction(2, 5)
    assert "resample" in str(run.job.inputs["AERIAL_RGBI"].source.describe())
    assert any("pixels of 0.4 m, it was trained on 0.2 m" in note for note in run.notes)


def test_an_optional_input_may_be_left_out(small: Small) -> None:
    card = yaml.safe_load(small.card.read_text())
    card["inputs"]["DEM_ELEV"] = {"pixel": 0.2, "required": False, "bands": {"NDSM": {}}}
    (small.folder / "optional.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    assert set(made(small, model={"card": "optional.yaml"}).job.inputs) == {"AERIAL_RGBI"}
    card["inputs"]["DEM_ELEV"]["required"] = True
    (small.folder / "required.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    with pytest.raises(CardError, match="DEM_ELEV is missing"):
        made(small, model={"card": "required.yaml"})


def test_a_quantity_of_an_input_without_dates_is_no_matter_of_dates(small: Small) -> None:
    card = yaml.safe_load(small.card.read_text())
    card["inputs"]["AERIAL_RGBI"]["quantity"] = "sigma0"
    (small.folder / "quantity.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    assert not [note for note in made(small, model={"card": "quantity.yaml"}).notes if "holds" in note]


def test_inputs_that_share_no_ground(small: Small) -> None:
    card = yaml.safe_load(small.card.read_text())
    card["inputs"]["DEM_ELEV"] = {"pixel": 0.2, "bands": {"NDSM": {}}}
    (small.folder / "two.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    for name in ("dsm", "dtm"):
        values = small.scene.values[:1].astype("float32")
        write_tile(small.folder / f"{name}.tif", values, corner_xy=(900000, 6700000))
    elevation = {"kind": "elevation", "dsm": {"files": "dsm.tif"}, "dtm": {"files": "dtm.tif"}}
    inputs = {"AERIAL_RGBI": RGBI_FILES, "DEM_ELEV": elevation}
    with pytest.raises(InputError, match=r"share no ground.*AERIAL_RGBI covers .*DEM_ELEV covers .*900000"):
        made(small, model={"card": "two.yaml"}, inputs=inputs)


def test_a_device_of_other_machines_is_not_looked_for_here(small: Small) -> None:
    asked = {"model.device": "cuda", "engine": {"kind": "dask", "address": "tcp://10.0.0.1:8786", "memory_gib": 8}}
    run = made(small, overrides=asked)
    model = run.job.model
    assert model.fingerprint_fields["numerics"]["device"] == "cuda"
    assert run.memory.gpu > model.memory_bytes()
    assert run.memory.model == 2 * small.weights.stat().st_size
    model.verify()
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no GPU here"):
            made(small, overrides={"model.device": "cuda"})


def test_notes_of_elevation_models_are_among_those_of_the_map(small: Small) -> None:
    card = yaml.safe_load(small.card.read_text())
    card["inputs"]["DEM_ELEV"] = {"pixel": 0.2, "bands": {"NDSM": {}}}
    (small.folder / "heights.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    x0, _, _, y1 = small.scene.bounds
    for name, crs in (("surface", None), ("terrain", "EPSG:2154")):
        values = small.scene.values[:1].astype("float32")
        write_tile(small.folder / f"{name}.tif", values, corner_xy=(x0, y1), crs=crs)
    elevation = {
        "kind": "elevation",
        "dsm": {"files": "surface.tif", "crs": "EPSG:2154"},
        "dtm": {"files": "terrain.tif"},
    }
    run = made(small, model={"card": "heights.yaml"}, inputs={"AERIAL_RGBI": RGBI_FILES, "DEM_ELEV": elevation})
    [note] = [note for note in run.notes if "from the setting" in note]
    assert note.startswith("DEM_ELEV DSM: 1 of 1 files take EPSG:2154")
    rows = dict(run.rows)
    assert "alignment: paste" in rows["DEM_ELEV.DSM"]
    assert rows["DEM_ELEV"] == "bands: DSM, DTM, NDSM"


def test_an_area_around_the_imagery_is_refused(small: Small) -> None:
    x0, y0, x1, y1 = small.scene.bounds
    ring = shapely.box(x0 - 400, y0 - 400, x1 + 400, y1 + 400) - shapely.box(x0 - 50, y0 - 50, x1 + 50, y1 + 50)
    geopandas.GeoDataFrame(geometry=[ring], crs="EPSG:2154").to_file(small.folder / "ring.gpkg")
    with pytest.raises(InputError, match=r"No tile of AERIAL_RGBI touches the area.*Correct one of them\.$"):
        set_up_map(small.loaded(area={"file": str(small.folder / "ring.gpkg")}))


def test_longitudes_and_latitudes_that_are_exchanged_are_named(small: Small) -> None:
    area = geopandas.GeoSeries([shapely.box(*small.scene.bounds)], crs="EPSG:2154").to_crs("EPSG:4326")
    swapped = shapely.transform(area.array, lambda points: points[:, ::-1])
    geopandas.GeoSeries(swapped, crs="EPSG:4326").to_file(small.folder / "swapped.geojson")
    with pytest.raises(InputError, match=r"touches the area.*longitudes and latitudes are exchanged"):
        set_up_map(small.loaded(area={"file": str(small.folder / "swapped.geojson")}))


def test_certificates_count_from_the_configurations_folder(small):
    config = small.loaded(engine={"security": {"ca": "ca.pem", "cert": "/etc/cert.pem", "key": "tls/key.pem"}})
    here = str(small.folder)
    assert security(engine_section(config)) == (f"{here}/ca.pem", "/etc/cert.pem", f"{here}/tls/key.pem")
    assert security(engine_section(small.loaded())) is None
