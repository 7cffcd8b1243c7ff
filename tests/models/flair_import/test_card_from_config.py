"""Cards from the public tools' training configurations: what they say is what the card says, and the weights fit."""

import contextlib
import copy
import hashlib

import pytest
import torch
import yaml
from safetensors.torch import save_file

from landweave.core.errors import CardError, WeightsError
from landweave.models.cards.card import ModelCard
from landweave.models.cards.outputs import find_legend
from landweave.models.cards.registry import read_card, write_card
from landweave.models.factory import build, core
from landweave.models.flair_import.card_from_config import card_from_flair_config, new_card
from landweave.models.flair_import.flair1_config import Flair1Config
from landweave.models.flair_import.flair_hub_config import FlairHubConfig
from landweave.models.flair_import.schema import card_content_of
from landweave.models.inference import torch_threads

COSIA = find_legend("cosia")
LPIS = find_legend("lpis")


def names(legend):
    return {each.code: each.name.replace(" ", "_", 1) for each in legend.classes}


MODALITIES = ("AERIAL_RGBI", "AERIAL-RLT_PAN", "DEM_ELEV", "SPOT_RGBI", "SENTINEL2_TS")
MODALITIES = (*MODALITIES, "SENTINEL1-ASC_TS", "SENTINEL1-DESC_TS")

HUB = {
    "paths": {"out_model_name": "test_base"},
    "modalities": {
        "inputs": {name: name in ("AERIAL_RGBI", "DEM_ELEV", "SENTINEL2_TS") for name in MODALITIES},
        "inputs_channels": {"AERIAL_RGBI": [4, 1, 2], "SENTINEL2_TS": list(range(1, 11))},
        "aux_loss": {"AERIAL_RGBI": True, "SENTINEL2_TS": True},
        "pre_processings": {
            "filter_sentinel2": True,
            "filter_sentinel2_max_cloud": 2,
            "filter_sentinel2_max_snow": 3,
            "filter_sentinel2_max_frac_cover": 0.1,
            "temporal_average_sentinel2": "monthly",
            "temporal_average_sentinel1": False,
            "calc_elevation": True,
            "calc_elevation_stack_dsm": True,
        },
        "normalization": {
            "norm_type": "custom",
            "AERIAL_RGBI_means": [106.59, 105.66, 111.35],
            "AERIAL_RGBI_stds": [39.78, 52.23, 45.62],
            "DEM_ELEV_means": [311.06, 311.06],
            "DEM_ELEV_stds": [537.55, 537.55],
        },
    },
    "models": {
        "monotemp_model": {"arch": "lcnet_035-upernet"},
        "multitemp_model": {
            **{"ref_date": "05-15", "encoder_widths": [64, 64, 64, 128], "decoder_widths": [32, 32, 64, 128]},
            **{"out_conv": [32, 19], "str_conv_k": 3, "str_conv_s": 1, "str_conv_p": 1, "agg_mode": "att_group"},
            **{"encoder_norm": "group", "n_head": 16, "d_model": 256, "d_k": 4, "padding_mode": "reflect"},
        },
    },
    "labels": ["AERIAL_LABEL-COSIA"],
    "labels_configs": {
        "AERIAL_LABEL-COSIA": {
            "value_name": names(COSIA),
            "value_weights": {"default": 1, "default_exceptions": {15: 0, 16: 0, 17: 0, 18: 0}},
        },
        "ALL_LABEL-LPIS": {"value_name": names(LPIS), "value_weights": {"default": 1, "default_exceptions": None}},
    },
}

FLAIR1 = {
    "model_architecture": "unet",
    "encoder_name": "tu-lcnet_035",
    "use_metadata": False,
    "channels": [1, 2, 3, 4, 5],
    "use_weights": True,
    "classes": {
        code: [int(code not in (3, 4)), f"{name}"] for code, name in ((1, "building"), (3, "water"), (4, "xyz"))
    },
    "norm_type": "custom",
    "norm_means": [105.08, 110.87, 101.82, 106.38, 53.26],
    "norm_stds": [52.17, 45.38, 44, 39.69, 79.3],
}

FRAMEWORK = {key: value for key, value in FLAIR1.items() if key not in ("model_architecture", "encoder_name")} | {
    "model_framework": {
        "model_provider": "SegmentationModelsPytorch",
        "HuggingFace": {"org_model": None},
        "SegmentationModelsPytorch": {"encoder_decoder": "tu-lcnet_035_unet"},
    }
}
"""FLAIR-1's configuration since June 2024."""


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


@pytest.fixture
def config(tmp_path):
    """A configuration's file, with some values changed: ``config(HUB, {"models.monotemp_model.arch": "…"})``."""

    def write(content, changes=None):
        content = copy.deepcopy(content)
        for dotted, value in (changes or {}).items():
            *parents, last = dotted.split("/")
            section = content
            for parent in parents:
                section = section[parent]
            section[last] = value
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def hub_card(inputs, legend="cosia", encoder="lcnet_035"):
    return ModelCard.model_validate(
        {
            "name": "trained",
            "title": "Trained",
            "architecture": {"kind": "flair_hub", "encoder": encoder},
            "inputs": inputs,
            "window": {"size": 512, "overlap": 256},
            "outputs": {"AERIAL_LABEL-COSIA": {"legend": legend, "pixel": 0.2}},
        }
    )


@pytest.fixture
def trained(tmp_path):
    """Weights as training leaves them for a card."""

    def write(card, prefix="model."):
        path = tmp_path / "trained.safetensors"
        tensors = core(build(card, 512)).state_dict()
        save_file({prefix + name: tensor.contiguous() for name, tensor in tensors.items()}, path)
        return path

    return write


AERIAL = {"pixel": 0.2, "bands": {"NIR": {}, "R": {}, "G": {}}}
ELEVATION = {"pixel": 0.2, "bands": {"DSM": {}, "NDSM": {}}}
SENTINEL2 = {"pixel": 10.24, "bands": {f"b{band}": {} for band in range(10)}, "dates": {}}


def test_a_configuration_of_flair_hub_becomes_its_card(config, trained, tmp_path):
    weights = trained(hub_card({"AERIAL_RGBI": AERIAL, "DEM_ELEV": ELEVATION, "SENTINEL2_TS": SENTINEL2}))

    content = card_from_flair_config(config(HUB), weights)

    write_card(content, tmp_path / "card.yaml")
    card = read_card(tmp_path / "card.yaml")
    assert card.name == "trained"
    assert list(card.inputs) == ["AERIAL_RGBI", "DEM_ELEV", "SENTINEL2_TS"]
    aerial, elevation, series = card.inputs.values()
    assert [(name, *band.statistics) for name, band in aerial.bands.items()] == [
        ("NIR", 106.59, 39.78),
        ("R", 105.66, 52.23),
        ("G", 111.35, 45.62),
    ]
    assert [(name, band.mean) for name, band in elevation.bands.items()] == [("DSM", 311.06), ("NDSM", 311.06)]
    assert list(series.bands)[:3] == ["B2", "B3", "B4"]
    assert {band.statistics for band in series.bands.values()} == {(0, 1)}
    assert (series.dates.filter.min_clear_fraction, series.dates.filter.cloud_max, series.dates.filter.snow_max) == (
        0.9,
        2,
        3,
    )
    assert (series.dates.composite, series.dates.reference, series.dates.position) == ("month", "05-15", "after")
    assert card.outputs["AERIAL_LABEL-COSIA"].legend == COSIA
    assert card.architecture.encoder == "lcnet_035"
    assert card.window.min_untrained_size == 256
    assert card.weights.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert card.weights.file == str(weights)


def test_a_folder_of_configurations_is_one(trained, tmp_path):
    only = HUB["modalities"] | {"inputs": {"AERIAL_RGBI": True}}
    folder = tmp_path / "train"
    folder.mkdir()
    for key, value in (HUB | {"modalities": only}).items():
        (folder / f"config_{key}.yaml").write_text(yaml.safe_dump({key: value}))

    card = ModelCard.model_validate(card_from_flair_config(folder, trained(hub_card({"AERIAL_RGBI": AERIAL}))))

    assert list(card.inputs) == ["AERIAL_RGBI"]
    assert card.window.overlap == 128


@pytest.mark.parametrize("changes", [{}, {15: 1}], ids=["as published", "clear cut trained"])
def test_classes_without_weight_are_not_trained(config, trained, changes):
    only = {"modalities/inputs": {"AERIAL_RGBI": True}}
    exceptions = {15: 0, 16: 0, 17: 0, 18: 0} | changes
    place = "labels_configs/AERIAL_LABEL-COSIA/value_weights/default_exceptions"

    content = card_from_flair_config(
        config(HUB, only | {place: exceptions}), trained(hub_card({"AERIAL_RGBI": AERIAL}))
    )

    legend = ModelCard.model_validate(content).legend()
    assert [not weight for weight in exceptions.values()] == [not each for each in legend.trained[15:]]
    assert legend.colors == COSIA.colors
    assert [each.name_fr for each in legend.classes] == [each.name_fr for each in COSIA.classes]


def test_more_statistics_than_bands_are_taken_in_order_and_said(config, trained):
    changes = {
        "modalities/inputs": {"AERIAL_RGBI": True},
        "modalities/normalization/AERIAL_RGBI_means": [1, 2, 3, 4],
        "modalities/normalization/AERIAL_RGBI_stds": [5, 6, 7, 8],
    }

    content = card_from_flair_config(config(HUB, changes), trained(hub_card({"AERIAL_RGBI": AERIAL})))

    assert content["inputs"]["AERIAL_RGBI"]["bands"]["NIR"] == {"mean": 1, "std": 5}
    assert "4 means are listed for the bands NIR, R, G" in content["unverified"][0]


def test_weights_of_another_training_are_refused_with_the_list(config, trained):
    weights = trained(hub_card({"AERIAL_RGBI": AERIAL}))

    with pytest.raises(WeightsError, match=r"missing: encoders\.DEM_ELEV"):
        card_from_flair_config(config(HUB), weights)


def test_what_no_network_here_is_comes_in_one_message(config, tmp_path):
    changes = {
        "models/monotemp_model/arch": "resnet34-unet",
        "models/multitemp_model/n_head": 8,
        "models/multitemp_model/out_conv": [64, 19],
        "modalities/inputs_channels/AERIAL_RGBI": [1, 5],
        "modalities/normalization/DEM_ELEV_stds": [1],
        "modalities/inputs/LIDAR": True,
    }

    with pytest.raises(CardError) as caught:
        card_from_flair_config(config(HUB, changes), tmp_path / "none.ckpt")

    text = str(caught.value)
    for told in ("'resnet34-unet', not ENCODER-upernet", "n_head is 8, not 16", "out_conv is [64, 19]", "[1, 5]"):
        assert told in text
    assert "DEM_ELEV_means and _stds are too few for 2 bands" in text
    assert "LIDAR is not known" in text


@pytest.mark.parametrize(("widths", "built"), [([32, 19], True), ([32, 19, 23], True), ([32, 23], False)])
def test_the_tools_own_output_convolutions_are_followed(config, tmp_path, widths, built):
    changes = {
        "modalities/inputs": {"SENTINEL2_TS": True},
        "labels": ["ALL_LABEL-LPIS"],
        "models/multitemp_model/out_conv": widths,
    }

    with pytest.raises((CardError, WeightsError)) as caught:
        card_from_flair_config(config(HUB, changes), tmp_path / "none.ckpt")

    assert isinstance(caught.value, WeightsError if built else CardError)


def test_a_configuration_of_flair1_becomes_its_card(config, tmp_path):
    bare = {"kind": "smp", "name": "Unet", "arguments": {"encoder_name": FLAIR1["encoder_name"]}}
    classes = [{"code": code, "name": str(code), "color": "#000000"} for code in range(3)]
    bands = {name: {} for name in "abcde"}
    like = hub_card({"AERIAL_RGBI": {"pixel": 0.2, "bands": bands}}, legend={"name": "x", "classes": classes})
    like = ModelCard.model_validate(
        like.model_dump(mode="json", exclude={"outputs"})
        | {
            "architecture": bare,
            "outputs": {"AERIAL_LABEL": {"legend": {"name": "x", "classes": classes}, "pixel": 0.2}},
        }
    )
    weights = tmp_path / "unet.ckpt"
    named = {f"model.seg_model.{name}": tensor for name, tensor in core(build(like, 512)).state_dict().items()}
    torch.save({"state_dict": named | {"criterion.weight": torch.ones(3)}}, weights)

    card = ModelCard.model_validate(card_from_flair_config(config(FLAIR1), weights))

    assert list(card.inputs["AERIAL_RGBI"].bands) == ["R", "G", "B", "NIR"]
    assert card.inputs["AERIAL_RGBI"].bands["NIR"].mean == 106.38
    assert card.inputs["DEM_ELEV"].bands["NDSM"].coding == "unstated"
    assert card.legend().codes == (1, 3, 4)
    assert card.legend().trained == (True, False, False)
    assert card.legend().classes[1].color == "#1553ae"
    assert card.window.min_untrained_size == 256


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_architecture": "transformer9"}, "'transformer9' is not in"),
        ({"channels": [1, 5, 2]}, "band 5 stands among"),
        ({"channels": [1, 1]}, "each once"),
        ({"norm_means": [1]}, "too few for 5 channels"),
        ({"model_provider": "HuggingFace"}, "HuggingFace"),
    ],
)
def test_what_flair1_cannot_be_here_is_refused(config, tmp_path, changes, told):
    with pytest.raises(CardError, match=told):
        card_from_flair_config(config(FLAIR1, changes), tmp_path / "none.ckpt")


def places(content, above=()):
    for key, value in content.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from places(value, (*above, key))


SLIPS = (None, True, 7, "x", [], [0], [["a"]], {}, {"a": None})


@pytest.mark.parametrize(
    ("content", "kind"), [(HUB, FlairHubConfig), (FLAIR1, Flair1Config), (FRAMEWORK, Flair1Config)]
)
def test_a_slip_anywhere_is_refused_by_its_name_or_does_not_matter(content, kind):
    for *above, last in places(content):
        for slip in (*SLIPS, "left out"):
            changed = copy.deepcopy(content)
            section = changed
            for key in above:
                section = section[key]
            section[last] = slip
            if slip == "left out":
                del section[last]
            with contextlib.suppress(CardError):  # anything else that is raised fails the test
                card_content_of(kind, changed)


@pytest.mark.parametrize(
    ("content", "change", "told"),
    [
        (HUB, {"modalities/normalization/norm_type": "standard"}, "modalities.normalization.norm_type: .*'without'"),
        (HUB, {"modalities/normalization": {}}, "modalities.normalization.norm_type is not said"),
        (HUB, {"modalities/normalization/DEM_ELEV_stds": 7}, "DEM_ELEV_stds is 7, not a list of numbers"),
        (HUB, {"modalities/pre_processings/temporal_average_sentinel2": "yearly"}, "temporal_average_sentinel2: "),
        (FLAIR1, {"norm_type": "standard"}, "norm_type: .*'without'"),
        (FLAIR1, {"classes": {1: "building"}}, "classes.1: "),
        (FLAIR1, {"channels": "1,2,3"}, "channels: "),
    ],
)
def test_a_slip_is_told_with_its_place(config, tmp_path, content, change, told):
    with pytest.raises(CardError, match=told):
        card_from_flair_config(config(content, change), tmp_path / "none.ckpt")


def test_other_files_are_told_apart(tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text("a: 1")
    with pytest.raises(CardError, match="It has: a"):
        card_from_flair_config(path, tmp_path / "w.ckpt")
    path.write_text("[1]")
    with pytest.raises(CardError, match="holds a list"):
        card_from_flair_config(path, tmp_path / "w.ckpt")
    path.write_text("a: [")
    with pytest.raises(CardError, match="is not YAML"):
        card_from_flair_config(path, tmp_path / "w.ckpt")
    with pytest.raises(CardError, match="cannot be read"):
        card_from_flair_config(tmp_path / "none.yaml", tmp_path / "w.ckpt")


def test_a_card_of_ones_own_training_lies_beside_its_weights(tmp_path):
    content = {
        "modalities": {
            "inputs": {"AERIAL_RGBI": True},
            "inputs_channels": {"AERIAL_RGBI": [1, 2]},
            "normalization": {"norm_type": "scaling"},
        },
        "models": {"monotemp_model": {"arch": "lcnet_035-upernet"}},
        "labels": ["AERIAL_LABEL-COSIA"],
        "labels_configs": {"AERIAL_LABEL-COSIA": {"value_name": {0: "building", 1: "water"}}},
    }
    classes = [{"code": code, "name": f"c{code}", "color": "#808080"} for code in range(2)]
    like = hub_card({"AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {}, "G": {}}}}, {"name": "x", "classes": classes})
    weights = tmp_path / "mine.ckpt"
    torch.save({"state_dict": core(build(like, 512)).state_dict()}, weights)
    config = tmp_path / "training.yaml"
    config.write_text(yaml.safe_dump(content))

    written = new_card(config, weights)

    made = read_card(written)
    assert written == tmp_path / "mine.yaml"
    assert "file: mine.ckpt" in written.read_text()
    assert made.weights.file == str(weights)
    assert made.legend().classes[1].name_fr == "eau"
    with pytest.raises(CardError, match="is there already"):
        new_card(config, weights)


def test_the_framework_of_a_later_flair1_says_the_same(config):
    assert card_content_of(Flair1Config, FRAMEWORK) == card_content_of(Flair1Config, FLAIR1)
    published = FRAMEWORK | {
        "model_framework": {
            "model_provider": "SegmentationModelsPytorch",
            "SegmentationModelsPytorch": {"encoder_decoder": "resnet34_unet"},
        }
    }
    architecture = card_content_of(Flair1Config, published)["architecture"]
    assert architecture == {"kind": "smp", "name": "Unet", "arguments": {"encoder_name": "resnet34"}}


@pytest.mark.parametrize(
    ("framework", "told"),
    [
        (
            {"model_provider": "HuggingFace", "HuggingFace": {"org_model": "openmmlab/upernet-swin-small"}},
            r"HuggingFace openmmlab/upernet-swin-small: .*torch.export.*kind: exported",
        ),
        ({"model_provider": "SegmentationModelsPytorch", "SegmentationModelsPytorch": None}, "no encoder is named"),
        (
            {"model_provider": "SegmentationModelsPytorch", "SegmentationModelsPytorch": {"encoder_decoder": "a_b"}},
            "'b' is not in segmentation-models-pytorch",
        ),
        ({"HuggingFace": {}}, "model_framework.model_provider"),
        ("unet", "model_framework: "),
    ],
)
def test_a_framework_without_a_network_here_is_refused_by_name(config, tmp_path, framework, told):
    with pytest.raises(CardError, match=told):
        card_from_flair_config(config(FRAMEWORK | {"model_framework": framework}), tmp_path / "none.ckpt")
