"""A zonal detection of FLAIR-HUB's tool becomes a run that says the same, or is refused by name."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from landweave.cli.models import app
from landweave.config.load import load_config
from landweave.core.errors import CardError
from landweave.models.cards.outputs import find_legend
from landweave.models.cards.registry import find_card, read_card
from landweave.models.flair_import.card_from_config import card_from_flair_config
from landweave.setup.zonal_import import import_zonal

MODALITIES = ("AERIAL_RGBI", "AERIAL-RLT_PAN", "DEM_ELEV", "SPOT_RGBI", "SENTINEL2_TS", "SENTINEL1-ASC_TS")
ELEVATION = {"means": [311.06, 311.06], "stds": [537.55, 537.55]}
ZONAL: dict[str, Any] = {
    "output_path": "../results/",
    "output_name": "zone",
    "write_dataframe": False,
    "output_type": "argmax",
    "cog_conversion": True,
    "model_weights": "LC-A.safetensors",
    "use_gpu": True,
    "batch_size": 1,
    "num_worker": 10,
    "img_pixels_detection": 2048,
    "margin": 512,
    "output_px_meters": 0.2,
    "monotemp_arch": "swin_base_patch4_window12_384-upernet",
    "multitemp_model_ref_date": "05-15",
    "modalities": {
        "inputs": {name: name == "AERIAL_RGBI" for name in MODALITIES},
        "AERIAL_RGBI": {
            "input_img_path": "/data/ortho.tif",
            "channels": [4, 1, 2],
            "normalization": {"type": "custom", "means": [106.59, 105.66, 111.35], "stds": [39.78, 52.23, 45.62]},
        },
        "DEM_ELEV": {
            "input_img_path": "/data/elevation.tif",
            "channels": [1, 2],
            "normalization": {"type": "custom", **ELEVATION},
            "calc_elevation": True,
            "calc_elevation_stack_dsm": True,
        },
        "SENTINEL2_TS": {"input_img_path": "/data/s2.tif", "channels": [1, 2], "dates_txt": "d.txt"},
        "SENTINEL1-ASC_TS": None,
    },
    "tasks": [
        {
            "name": "AERIAL_LABEL-COSIA",
            "active": True,
            "class_names": {each.code: each.name.replace(" ", "_", 1) for each in find_legend("cosia").classes},
        },
        {"name": "ALL_LABEL-LPIS", "active": False, "class_names": {0: "grasses", 1: "wheat"}},
    ],
}


def written(folder: Path, **changes: Any) -> Path:
    """The detection in a file; keys of changes are paths: ``modalities/AERIAL_RGBI/channels``."""
    content = copy.deepcopy(ZONAL)
    for key, value in changes.items():
        *above, last = key.split("/")
        section = content
        for each in above:
            section = section[each]
        section[last] = value
    path = folder / "config_zonal.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_detection_by_a_published_model_is_a_run_of_its_card(tmp_path: Path) -> None:
    (path,) = import_zonal(written(tmp_path))

    run = load_config(path)
    assert path == tmp_path / "zone.yaml"
    assert (run.model.card, run.model.weights, run.model.device, run.model.batch_size) == (
        "LC-A",
        "LC-A.safetensors",
        "auto",
        1,
    )
    assert {name: (each.files, each.band) for name, each in run.inputs["AERIAL_RGBI"].bands.items()} == {
        "NIR": ("/data/ortho.tif", 4),
        "R": ("/data/ortho.tif", 1),
        "G": ("/data/ortho.tif", 2),
    }
    assert (run.grid.own, run.windows.size, run.windows.overlap) == ("AERIAL_RGBI", 2048, None)
    assert (run.output.store, run.output.cog) == ("../results/zone.zarr", "../results/zone.tif")
    text = path.read_text()
    for said in ("margin: 512 was cropped", "255, not class 0", "never mapped, as never trained: clear cut"):
        assert said in text


def test_elevation_is_a_surface_and_a_terrain_model(tmp_path: Path) -> None:
    (path,) = import_zonal(written(tmp_path, **{"modalities/inputs/DEM_ELEV": True}))

    run = load_config(path)
    assert run.model.card == "LC-B"
    elevation = run.inputs["DEM_ELEV"]
    assert [(each.files, each.band) for each in (elevation.dsm, elevation.dtm)] == [
        ("/data/elevation.tif", 1),
        ("/data/elevation.tif", 2),
    ]


def test_other_statistics_make_a_card_that_has_them_and_names_the_published_one(tmp_path: Path) -> None:
    changes = {"modalities/AERIAL_RGBI/normalization/means": [1.0, 2.0, 3.0], "output_px_meters": 0.4}
    config = written(tmp_path, **changes, output_type="class_prob", use_gpu=False)

    own, path = import_zonal(config, tmp_path / "run.yaml")

    card, run = read_card(own), load_config(path)
    assert [band.mean for band in card.inputs["AERIAL_RGBI"].bands.values()] == [1, 2, 3]
    assert card.legend() == find_card("LC-A").legend()
    assert (run.model.card, run.windows.size, run.model.device) == ("run-card.yaml", 512, "cpu")
    assert (run.output.probability, run.output.resolution) == (True, 0.4)
    text = path.read_text()
    assert "LC-A has these bands, and other statistics" in text
    assert "none of img_pixels_detection: 2048" in text


def test_red_green_blue_are_a_model_of_their_own(tmp_path: Path) -> None:
    rgb = {"type": "custom", "means": [105.66, 111.35, 102.18], "stds": [52.23, 45.62, 44.3]}
    config = written(
        tmp_path, **{"modalities/AERIAL_RGBI/channels": [1, 2, 3], "modalities/AERIAL_RGBI/normalization": rgb}
    )

    own, _ = import_zonal(config)

    bands = read_card(own).inputs["AERIAL_RGBI"].bands
    assert [(name, *band.statistics) for name, band in bands.items()] == [
        ("R", 105.66, 52.23),
        ("G", 111.35, 45.62),
        ("B", 102.18, 44.3),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities/inputs/SENTINEL2_TS": True}, "SENTINEL2_TS is one file of stacked dates.*STAC catalog or a cube"),
        ({"modalities/inputs/AERIAL_RGBI": False}, "no modality is on"),
        ({"modalities/inputs/AERIAL-RLT_PAN": True}, "modalities.AERIAL-RLT_PAN.input_img_path names no file"),
        ({"modalities/AERIAL_RGBI/channels": [1, 9]}, r"AERIAL_RGBI is \[1, 9\]"),
        ({"modalities/AERIAL_RGBI/channels": "412"}, "modalities.AERIAL_RGBI.channels"),
        ({"modalities/AERIAL_RGBI/normalization": {"type": "custom"}}, "AERIAL_RGBI_means and _stds are too few"),
        ({"monotemp_arch": "resnet34-unet"}, "'resnet34-unet', not ENCODER-upernet"),
        ({"tasks": []}, "tasks"),
        ({"img_pixels_detection": "512"}, "img_pixels_detection"),
        ({"output_type": "logits"}, "output_type"),
    ],
)
def test_what_no_run_here_has_is_refused_by_its_key(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CardError, match=message):
        import_zonal(written(tmp_path, **changes))
    assert [path.name for path in tmp_path.iterdir()] == ["config_zonal.yaml"]


def test_each_configuration_is_taken_for_what_it_is(tmp_path: Path) -> None:
    detection = written(tmp_path)
    with pytest.raises(CardError, match=r"one of a detection, .* landweave models import"):
        card_from_flair_config(detection, tmp_path / "w.ckpt")

    other = tmp_path / "flair-1-config-detect.yaml"
    zone = {"input_img_path": "x.tif", "channels": [1, 2, 3], "img_pixels_detection": 512, "margin": 128}
    other.write_text(yaml.safe_dump(zone | {"n_classes": 19, "model_weights": "w.pth", "norma_task": [{}]}))
    with pytest.raises(CardError, match=r"FLAIR-1's zone detection.*flair-inc-rgbie-15cl.*files: x\.tif"):
        import_zonal(other)

    other.write_text("modalities: {}")
    with pytest.raises(CardError, match=r"not one of FLAIR-HUB's zonal detection.*It has: modalities\."):
        import_zonal(other)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    config = written(tmp_path)
    import_zonal(config)

    with pytest.raises(CardError, match="is there already"):
        import_zonal(config)


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["import", str(written(tmp_path)), "--output", str(tmp_path / "mine.yaml")])

    assert (done.exit_code, done.output) == (0, f"wrote {tmp_path / 'mine.yaml'}\n")
