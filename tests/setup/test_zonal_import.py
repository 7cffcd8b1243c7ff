"""A detection of FLAIR-HUB's or FLAIR-1's tool becomes a run that says the same, or is refused by name."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from numpy.typing import NDArray
from safetensors.torch import save_file
from typer.testing import CliRunner

import landweave
from landweave.cli.models import app
from landweave.config.load import load_config
from landweave.core.errors import CardError
from landweave.models.cards.card import ModelCard
from landweave.models.cards.outputs import find_legend
from landweave.models.cards.registry import find_card, read_card
from landweave.models.factory import build, core
from landweave.models.flair_import.card_from_config import card_from_flair_config
from landweave.setup.zonal_import import import_zonal
from tests.helpers.networks import drawn
from tests.helpers.tiles import textured, write_tile

MODALITIES = ("AERIAL_RGBI", "AERIAL-RLT_PAN", "DEM_ELEV", "SPOT_RGBI", "SENTINEL2_TS", "SENTINEL1-ASC_TS")
ELEVATION = {"means": [311.06, 311.06], "stds": [537.55, 537.55]}
SMALL_SWIN = "swin_tiny_patch4_window7_224-upernet"
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
    assert (run.grid.own, run.windows.size, run.windows.overlap, run.windows.blend) == (
        "AERIAL_RGBI",
        2048,
        1024,
        "crop",
    )
    assert (run.output.store, run.output.cog) == ("../results/zone.zarr", "../results/zone.tif")
    text = path.read_text()
    for said in (
        "margin: 512 is cropped from windows 1024 px apart, 4 times the work",
        "could not be opened here",
        "255, not class 0",
        "never mapped, as never trained: clear cut",
    ):
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
    changes |= {"monotemp_arch": SMALL_SWIN, "img_pixels_detection": 1000, "margin": 100}
    config = written(tmp_path, **changes, output_type="class_prob", use_gpu=False)

    own, path = import_zonal(config, tmp_path / "run.yaml")

    card, run = read_card(own), load_config(path)
    assert [band.mean for band in card.inputs["AERIAL_RGBI"].bands.values()] == [1, 2, 3]
    assert card.legend() == find_card("LC-A").legend()
    assert (run.model.card, run.windows.size, run.model.device) == ("run-card.yaml", 512, "cpu")
    assert (run.output.probability, run.output.resolution) == (True, 0.4)
    text = path.read_text()
    assert "LC-A has these bands, and other statistics" in text
    assert "none of img_pixels_detection: 1000" in text


def test_red_green_blue_are_a_model_of_their_own(tmp_path: Path) -> None:
    rgb = {"type": "custom", "means": [105.66, 111.35, 102.18], "stds": [52.23, 45.62, 44.3]}
    bands = {"modalities/AERIAL_RGBI/channels": [1, 2, 3], "modalities/AERIAL_RGBI/normalization": rgb}
    config = written(tmp_path, **bands, monotemp_arch=SMALL_SWIN)

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
        ({"margin": 1024}, "margin: 1024 on both sides leaves nothing"),
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

    other = tmp_path / "other.yaml"
    other.write_text("modalities: {}")
    with pytest.raises(CardError, match=r"not one of a detection.*It has: modalities\."):
        import_zonal(other)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    config = written(tmp_path)
    import_zonal(config)

    with pytest.raises(CardError, match="is there already"):
        import_zonal(config)


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["import", str(written(tmp_path)), "--output", str(tmp_path / "mine.yaml")])

    assert (done.exit_code, done.output) == (0, f"wrote {tmp_path / 'mine.yaml'}\n")


FLAIR_1: dict[str, Any] = {
    "output_path": "results",
    "output_name": "zone",
    "input_img_path": "ortho.tif",
    "channels": [1, 2, 3, 4, 5],
    "img_pixels_detection": 512,
    "margin": 128,
    "output_type": "argmax",
    "n_classes": 19,
    "model_weights": "FLAIR-INC_rgbie_15cl_resnet34-unet_weights.pth",
    "model_framework": {
        "model_provider": "SegmentationModelsPytorch",
        "HuggingFace": {"org_model": None},
        "SegmentationModelsPytorch": {"encoder_decoder": "resnet34_unet"},
    },
    "batch_size": 4,
    "use_gpu": False,
    "norma_task": [
        {
            "norm_type": "custom",
            "norm_means": [105.08, 110.87, 101.82, 106.38, 53.26],
            "norm_stds": [52.17, 45.38, 44, 39.69, 79.3],
        }
    ],
}


def written_flair_1(folder: Path, **changes: Any) -> Path:
    path = folder / "flair-1-config-detect.yaml"
    path.write_text(yaml.safe_dump({**FLAIR_1, **changes}))
    return path


def test_a_detection_of_flair_1_is_a_run_of_the_card_that_its_weights_name(tmp_path: Path) -> None:
    (path,) = import_zonal(written_flair_1(tmp_path))

    run = load_config(path)
    assert run.model.card == "flair-inc-rgbie-15cl"
    assert run.model.coding == "delivered"
    height = run.inputs["DEM_ELEV"].bands["NDSM"]
    assert (height.files, height.band, *run.inputs["AERIAL_RGBI"].bands) == ("ortho.tif", 5, "R", "G", "B", "NIR")
    assert (run.windows.size, run.windows.overlap, run.windows.blend) == (512, 256, "crop")
    assert "15 of 19 classes were trained, by the name of the weights" in path.read_text()


@pytest.mark.parametrize(
    ("changes", "legend", "said"),
    [
        ({}, "flair1-19", "they are those of flair1-19, all trained"),
        ({"n_classes": 12}, "flair1-12", "they are those of flair1-12"),
        ({"n_classes": 7}, "flair1-own", "give them their names in the card's legend"),
    ],
)
def test_classes_of_flair_1_go_by_their_number(tmp_path: Path, changes: Any, legend: str, said: str) -> None:
    *_, path = import_zonal(written_flair_1(tmp_path, model_weights="w.pth", **changes))

    card = load_config(path).model.card
    found = read_card(tmp_path / card) if card.endswith(".yaml") else find_card(card)
    assert found.legend().name == legend
    assert len(found.legend().classes) == changes.get("n_classes", 19)
    assert said in path.read_text()


CORNER = (650_000.0, 6_860_000.0)
"""North-west corner of the images, on whole pixels of Lambert-93."""


def anchored_detection(folder: Path, tool: str, shape: tuple[int, int]) -> Path:
    """A detection of a made-up image, with windows of 256 px whose middle 128 px are written."""
    write_tile(folder / "ortho.tif", textured(shape, 3), corner_xy=CORNER)
    same = {"model_weights": "w.safetensors", "img_pixels_detection": 256, "margin": 64, "batch_size": 1}
    means, stds = [100.0, 110.0, 120.0], [40.0, 50.0, 60.0]
    if tool == "FLAIR-1":
        network = {"model_provider": "SegmentationModelsPytorch"}
        network |= {"SegmentationModelsPytorch": {"encoder_decoder": "resnet18_unet"}}
        norm = {"norm_type": "custom", "norm_means": means, "norm_stds": stds}
        config = written_flair_1(
            folder, **same, channels=[1, 2, 3], n_classes=6, model_framework=network, norma_task=[norm]
        )
    else:
        bands = {"input_img_path": "ortho.tif", "channels": [1, 2, 3]}
        bands |= {"normalization": {"type": "custom", "means": means, "stds": stds}}
        task = {"name": "LABEL", "class_names": {code: f"class {code}" for code in range(6)}}
        changes = {"modalities/AERIAL_RGBI": bands, "tasks": [task], "monotemp_arch": SMALL_SWIN, "use_gpu": False}
        config = written(folder, **same, **changes)
    return config


def cropped_and_written(
    card_path: Path, image: NDArray[np.uint8], weights: dict[str, torch.Tensor]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """What the tools compute, window by window from the south-west corner, and which pixels a shifted window wrote."""
    card = read_card(card_path)
    network = core(build(card, 256)).eval()
    network.load_state_dict(weights)
    (spec,) = card.inputs.values()
    means, stds = np.transpose([band.statistics for band in spec.bands.values()]).astype("float32")[:, :, None, None]
    _, height, width = image.shape
    window, margin = 256, 64
    step = window - 2 * margin
    padded = np.pad((image - means) / stds, ((0, 0), (window, window), (window, window)))  # 0 is the mean
    classes, shifted = np.empty((height, width), np.uint8), np.zeros((height, width), bool)
    for south in range(-margin, height + margin, step):  # pixels north of the image's south edge
        for west in range(-margin, width + margin, step):
            left = min(west, width + margin - window)
            bottom = min(south, height + margin - window)
            top = height - bottom - window
            crop = padded[:, window + top :, window + left :][:, :window, :window]
            with torch.inference_mode():
                logits = network(inputs_of(card, crop))
            middle = np.asarray(scores(logits))[0].argmax(0)[margin:-margin, margin:-margin]
            part = np.s_[top + margin : top + window - margin, left + margin : left + window - margin]
            classes[part] = middle + min(each.code for each in card.legend().classes)
            shifted[part] = bool((west - left) % step or (south - bottom) % step)
    return classes, shifted


def balanced(card: ModelCard, image: NDArray[np.uint8]) -> dict[str, torch.Tensor]:
    """Drawn weights whose last layer lets every class win somewhere."""
    network = core(build(card, 256)).eval()
    weights = drawn(network, scale=1.5)
    network.load_state_dict(weights)
    crop = np.resize(image, (3, 256, 256)).astype(np.float32) / 50 - 2
    with torch.inference_mode():
        logits = scores(network(inputs_of(card, crop)))
    (bias,) = [name for name, each in weights.items() if each.shape == (6,) and name.endswith("bias")]
    spread = logits.std((0, 2, 3))
    weights[bias] = (weights[bias] - logits.mean((0, 2, 3))) / spread
    weight = bias.removesuffix("bias") + "weight"
    weights[weight] = weights[weight] / spread[:, None, None, None]
    return weights


def over_image(landcover: xr.DataArray, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The pixels of a map over the image, whose extent is out to whole chunks."""
    top = round((float(landcover.y[0]) + 0.1 - CORNER[1]) / 0.2)
    left = round((CORNER[0] - float(landcover.x[0]) + 0.1) / 0.2)
    return landcover.values[top:, left:][: shape[0], : shape[1]]


def inputs_of(card: ModelCard, crop: NDArray[np.float32]) -> Any:
    tensor = torch.from_numpy(np.ascontiguousarray(crop, np.float32))[None]
    return {"AERIAL_RGBI": tensor} if card.architecture.kind == "flair_hub" else tensor


def scores(logits: Any) -> torch.Tensor:
    return logits["LABEL"] if isinstance(logits, dict) else logits


@pytest.mark.parametrize(
    ("tool", "shape", "whole"),
    [
        ("FLAIR-1", (200, 230), False),
        pytest.param("FLAIR-1", (256, 384), True, marks=pytest.mark.slow),
        pytest.param("FLAIR-HUB", (128, 200), False, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def test_a_map_is_what_cropping_and_writing_gives(
    tmp_path: Path, tool: str, shape: tuple[int, int], whole: bool
) -> None:
    own, path = import_zonal(anchored_detection(tmp_path, tool, shape))
    weights = balanced(read_card(own), textured(shape, 3))
    save_file(weights, tmp_path / "w.safetensors")
    run = load_config(path, overrides={"output.store": "map.zarr", "output.cog": None, "engine.kind": "inline"})

    landweave.run(run)

    found = over_image(landweave.open_map(tmp_path / "map.zarr").landcover, shape)
    wanted, shifted = cropped_and_written(own, textured(shape, 3), weights)
    assert shifted.any() == (not whole)
    np.testing.assert_array_equal(found[~shifted], wanted[~shifted])
    assert len(np.unique(found)) > 3
    if not whole:  # the network looks at its window's edges: another place in it is another class
        assert (found != wanted)[shifted].mean() > 0.01
