"""A model over a dataset in its published layout: the numbers of the same model over plain rasters."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  registers .rio
import xarray as xr

import landweave as lw
from landweave.core.modalities import SENTINEL2_BANDS
from landweave.models.cards.registry import read_card
from landweave_demo.landscape.landscape import make_landscape
from tests.helpers.commands import Command, done, write_config
from tests.helpers.networks import unet, write_card, write_weights
from tests.helpers.patches import MadeRegion, write_flair_1, write_flair_hub
from tests.helpers.small_series import write_small_card
from tests.helpers.tiles import textured, write_tile

SIDE = 64
FAR_XY = (612345.6, 6300000.2)


def region(domain: str, name: str, seed: int, **changes) -> MadeRegion:
    shape = (2 * SIDE, 3 * SIDE)
    labels = np.random.default_rng(seed).integers(0, 5, (1, 2 * SIDE // 8, 3 * SIDE // 8)).astype(np.uint8)
    labels = labels.repeat(8, 1).repeat(8, 2)
    arrays = {"AERIAL_RGBI": textured(shape, 4, seed), "AERIAL_LABEL-COSIA": labels}
    return MadeRegion(domain=domain, name=name, arrays=arrays, side=SIDE, **changes)


REGIONS = (
    region("D012-2019", "AA-S1-1", 1, missing=((1, 2),)),
    region("D012-2019", "UU-S2-7", 2, corner_xy=FAR_XY),
    region("D075-2021", "AA-S1-1", 3, corner_xy=(700000.2, 6500000.4)),
    region("D006-2020", "FF-S1-14", 4, corner_xy=(800000.2, 6500000.4)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, a card and its weights."""
    base = tmp_path_factory.mktemp("dataset")
    write_flair_hub(base / "hub", *REGIONS)
    write_weights(write_card(base / "small.yaml", unet(), window=64, overlap=16))
    return base


def plain(where: Path, made: MadeRegion, card: Path):
    """The evaluation of a map of the region's pixels as one raster, on a grid anchored at its corner."""
    whole = {name: values.copy() for name, values in made.arrays.items()}
    valid = np.ones(whole["AERIAL_RGBI"].shape[1:], bool)
    for row, column in made.missing:
        valid[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = False
    whole["AERIAL_LABEL-COSIA"][:, ~valid] = 255
    for name, values in whole.items():
        for row, column in made.patches():
            part, place = made.cut(values, (row, column))
            write_tile(where / name / f"{row}-{column}.tif", part, corner_xy=place["corner_xy"])
    x, y = made.corner_xy
    bands = {band: {"files": "AERIAL_RGBI", "band": number} for number, band in enumerate(("R", "G", "B", "NIR"), 1)}
    config = write_config(
        where,
        card,
        card.with_suffix(".safetensors"),
        grid={"crs": "EPSG:2154", "anchor": [x, y]},
        inputs={"AERIAL_RGBI": {"kind": "mosaic", "bands": bands}},
    )
    lw.run(lw.load_config(config), progress=False)
    return lw.evaluate(where / "out.zarr", where / "AERIAL_LABEL-COSIA")


def test_a_dataset_evaluates_to_the_numbers_of_plain_rasters(folder, tmp_path):
    patches = lw.open_patches(folder / "hub")
    assert patches.domains == ("D012-2019", "D075-2021")
    result = lw.evaluate_model(folder / "small.yaml", patches, weights=folder / "small.safetensors")
    parts = [plain(tmp_path / str(number), made, folder / "small.yaml") for number, made in enumerate(REGIONS[:3])]
    total = parts[0].counts.pairs, parts[1].counts.pairs, parts[2].counts.pairs
    for domain, of_domain in (("D012-2019", total[:2]), ("D075-2021", total[2:])):
        keys = {key for pairs in of_domain for key in pairs}
        expected = {key: sum(pairs.get(key, 0) for pairs in of_domain) for key in keys}
        assert dict(result.domains[domain].pairs) == expected
    assert result.counts.pixels == (3 * 6 - 1) * SIDE**2
    assert "domain D075-2021" in str(result)
    assert result.calibration_error == pytest.approx(
        (parts[0].counts + parts[1].counts + parts[2].counts).reliability.expected_error(), abs=1e-12
    )


def test_a_map_is_compared_with_a_dataset_by_domain(folder, tmp_path):
    direct = plain(tmp_path, REGIONS[2], folder / "small.yaml")
    result = lw.evaluate(tmp_path / "out.zarr", lw.open_patches(folder / "hub", domains=["D075"]))
    assert dict(result.domains["D075-2021"].pairs) == dict(direct.counts.pairs)


def test_training_domains_are_refused_unless_asked_for(folder):
    for wanted in ({"split": "train"}, {"split": "all"}, {"domains": ["D006"]}):
        with pytest.raises(lw.errors.ConfigError, match="D006-2020 are domains that models of flair-hub were trained"):
            lw.open_patches(folder / "hub", **wanted)
    assert set(lw.open_patches(folder / "hub", split="train", training_domains=True).regions) == {"D006_FF-S1-14"}
    assert len(lw.open_patches(folder / "hub", split="all", training_domains=True).regions) == 4
    with pytest.raises(lw.errors.ConfigError, match="no domain D099: it has D006-2020, D012-2019"):
        lw.open_patches(folder / "hub", domains=["D099"])
    with pytest.raises(lw.errors.ConfigError, match="choose test, train or all"):
        lw.open_patches(folder / "hub", split="valid")


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(lw.errors.InputError, match="does not exist"):
        lw.open_patches(tmp_path / "none")
    with pytest.raises(lw.errors.InputError, match="holds no patches of FLAIR-HUB"):
        lw.open_patches(tmp_path)


def test_patches_that_do_not_go_together_are_told(folder, tmp_path):
    hub = write_flair_hub(tmp_path / "hub", REGIONS[2])
    images, labels = (sorted((hub / f"D075-2021_{name}").rglob("*.tif")) for name in REGIONS[2].arrays)
    labels[0].with_name(f"._{labels[0].name}").write_bytes(b"beside each file of a macOS archive")
    images[1].unlink()
    labels[2].unlink()
    result = lw.evaluate_model(folder / "small.yaml", lw.open_patches(hub), weights=folder / "small.safetensors")
    assert result.notes == (
        "patches with AERIAL_RGBI and without AERIAL_LABEL-COSIA, not scored: 1, D075_AA-S1-1 0-2 the first",
        "patches with AERIAL_LABEL-COSIA and without AERIAL_RGBI, not scored: 1, D075_AA-S1-1 0-1 the first",
    )
    assert result.scores.confusion.sum() == 4 * SIDE**2
    write_tile(labels[0], np.zeros((1, 80, 80), np.uint8), corner_xy=(700000.2, 6500000.4))
    with pytest.raises(lw.errors.InputError, match=r"D075_AA-S1-1 are patches of several sizes: .*80 x 80"):
        lw.evaluate_model(folder / "small.yaml", lw.open_patches(hub), weights=folder / "small.safetensors")


def test_an_input_that_the_dataset_lacks_is_named(folder, tmp_path):
    bands = {name: {"mean": 110, "std": 50} for name in ("R", "G", "B", "NIR")}
    inputs = {"AERIAL_RGBI": {"pixel": 0.2, "bands": bands}, "SPOT_RGBI": {"pixel": 1.6, "bands": {"R": {"scale": 1}}}}
    card = write_card(tmp_path / "more.yaml", unet(), window=64, overlap=16, inputs=inputs)
    with pytest.raises(lw.errors.CardError, match="SPOT_RGBI is missing"):
        lw.evaluate_model(card, lw.open_patches(folder / "hub"), weights=folder / "small.safetensors")
    for lost, match in (("AERIAL_RGBI", "D075_AA-S1-1: AERIAL_RGBI is missing; it has AERIAL_LABEL-COSIA"),
                        ("AERIAL_LABEL-COSIA", "Region D075_AA-S1-1 has no labels AERIAL_LABEL-COSIA")):  # fmt: skip
        poor = tmp_path / lost
        shutil.copytree(folder / "hub", poor)
        shutil.rmtree(poor / f"D075-2021_{lost}")  # not of the first region
        with pytest.raises(lw.errors.LandweaveError, match=match):
            lw.evaluate_model(folder / "small.yaml", lw.open_patches(poor), weights=folder / "small.safetensors")


def test_flair_1_is_read_in_its_own_layout_and_split(folder, tmp_path):
    made = [region("D012_2019", "Z1_AA", 1), region("D015_2020", "Z2_UU", 2, corner_xy=FAR_XY)]
    write_flair_1(tmp_path / "one", *made)
    patches = lw.open_patches(tmp_path / "one")
    assert (patches.layout, list(patches.regions)) == ("flair-1", ["D012_Z1_AA"])
    result = lw.evaluate_model(folder / "small.yaml", patches, weights=folder / "small.safetensors")
    direct = plain(tmp_path / "plain", made[0], folder / "small.yaml")
    assert dict(result.counts.pairs) == dict(direct.counts.pairs)
    assert list(result.domains) == ["D012-2019"]
    (tmp_path / "one/flair_sen_train").mkdir()  # what FLAIR#2 has beside the same patches, and another split
    assert (lw.open_patches(tmp_path / "one").layout, list(lw.open_patches(tmp_path / "one").regions)) == (
        "flair-2",
        ["D015_Z2_UU"],
    )


def test_the_command_evaluates_a_model(landweave: Command, folder, tmp_path):
    weights = ("--weights", folder / "small.safetensors")
    said = done(landweave("evaluate-model", folder / "small.yaml", folder / "hub", *weights, "--domain", "D075"))
    patches = lw.open_patches(folder / "hub", domains=["D075"])
    assert said.strip() == str(lw.evaluate_model(folder / "small.yaml", patches, weights=weights[1])).strip()
    ended = landweave("evaluate-model", folder / "small.yaml", folder / "hub", *weights, "--split", "train")
    assert ended.code == 2
    assert "--training-domains" in ended.err
    for wrong in ("LC-Z", tmp_path / "none.yaml"):
        ended = landweave("evaluate-model", wrong, folder / "hub")
        assert (ended.code, "Traceback" in ended.err) == (2, False)


def test_a_configuration_gives_model_and_windows(folder, tmp_path):
    path = write_config(
        tmp_path, folder / "small.yaml", folder / "small.safetensors", windows={"overlap": 0, "blend": "crop"}
    )
    patches = lw.open_patches(folder / "hub", domains=["D075"])
    result = lw.evaluate_model(lw.load_config(path), patches)
    assert result.facts["windows"] == "64 px, overlap 0, crop"
    other = lw.evaluate_model(folder / "small.yaml", patches, weights=folder / "small.safetensors")
    assert dict(result.counts.pairs) != dict(other.counts.pairs)


@pytest.mark.slow
def test_a_series_of_patches_is_mapped_as_the_same_series_in_memory(tmp_path):
    """A region of 2 x 2 patches of 102.4 m: dates, masks and anchor are those of the arrays."""
    rng = np.random.default_rng(5)
    values = rng.integers(1, 9000, (3, 10, 20, 20)).astype(np.uint16)
    masks = np.zeros((3, 2, 20, 20), np.uint8)
    masks[1, 1] = 80  # a date of clouds
    days = ("20190310", "20190610", "20190910")
    labels = rng.integers(0, 5, (1, 20, 20)).astype(np.uint8)
    made = MadeRegion(
        domain="D012-2019", name="AA-S1-1", arrays={"AERIAL_LABEL-COSIA": labels},
        side=10, pixel=10.24, series={"SENTINEL2_TS": values}, masks=masks, days=days,
    )  # fmt: skip
    write_flair_hub(tmp_path / "hub", made)
    card = write_small_card(tmp_path / "small.yaml")
    weights = tmp_path / "small.safetensors"
    result = lw.evaluate_model(card, lw.open_patches(tmp_path / "hub"), weights=weights)
    x, y = made.corner_xy
    pixels = xr.Dataset(
        {
            "band_data": (("time", "band", "y", "x"), values),
            "pixel_class": (("time", "y", "x"), np.where(masks[:, 1] > 1, 2, 1).astype(np.uint8)),
        },
        {
            "time": [np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}", "s") for day in days],
            "band": list(SENTINEL2_BANDS),
            "y": y - 10.24 * (np.arange(20) + 0.5),
            "x": x + 10.24 * (np.arange(20) + 0.5),
        },
        {"grid": {"crs": "EPSG:2154", "resolution": "256/25", "anchor_xy": [str(x), str(y)]}},
    ).rio.write_crs("EPSG:2154")
    direct = lw.predict({"SENTINEL2_TS": pixels}, read_card(card), weights=weights)
    assert len(np.unique(direct.landcover.values)) > 1
    pairs = np.bincount(labels[0].ravel().astype(int) * 256 + direct.landcover.values.ravel())
    assert dict(result.counts.pairs) == {int(k): int(pairs[k]) for k in np.flatnonzero(pairs)}


@pytest.mark.slow
def test_the_demos_landscape_as_a_dataset_evaluates_to_the_numbers_of_its_plain_rasters(tmp_path):
    """Aerial images and heights of a landscape in two patches of 512 px, and the same pixels in one file each."""
    landscape = make_landscape(9, height=512, width=1024)
    heights = np.stack([landscape.dsm, landscape.dtm]).astype(np.float32)
    arrays = {"AERIAL_LABEL-COSIA": landscape.truth[None], "AERIAL_RGBI": landscape.rgbi, "DEM_ELEV": heights}
    made = MadeRegion(domain="D012-2019", name="AA-S1-1", arrays=arrays)
    write_flair_hub(tmp_path / "hub", made)
    for name, values in arrays.items():
        write_tile(tmp_path / f"{name}.tif", values, corner_xy=made.corner_xy)
    bands = {
        band: {"files": "AERIAL_RGBI.tif", "band": number} for number, band in enumerate(("R", "G", "B", "NIR"), 1)
    }
    config = lw.Config(
        grid={"crs": "EPSG:2154", "anchor": list(made.corner_xy)},
        inputs={
            "AERIAL_RGBI": {"kind": "mosaic", "bands": bands},
            "DEM_ELEV": {
                "kind": "elevation",
                "dsm": {"files": "DEM_ELEV.tif", "band": 1},
                "dtm": {"files": "DEM_ELEV.tif", "band": 2},
            },
        },
        model={"card": "demo-unet"},
        output={"store": "out.zarr", "probability": True},
        engine={"kind": "inline"},
        root=tmp_path,
    )
    lw.run(config, progress=False)
    direct = lw.evaluate(tmp_path / "out.zarr", tmp_path / "AERIAL_LABEL-COSIA.tif")
    result = lw.evaluate_model("demo-unet", lw.open_patches(tmp_path / "hub"))
    assert dict(result.counts.pairs) == dict(direct.counts.pairs)
    np.testing.assert_array_equal(result.scores.confusion, direct.scores.confusion)
    assert result.temperature == pytest.approx(direct.temperature, rel=1e-3)
    assert result.scores.accuracy > 0.6
