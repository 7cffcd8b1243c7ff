"""What README and the documents say is done as it stands: their configurations are written, their commands run.

Tiles, areas and catalogs are small and made here; a large model of FLAIR-HUB is replaced by a small network of the same
inputs. Commands are those of the blocks marked ``bash``. The bucket is one of an S3 of this machine, without TLS, so
that its endpoint is given as the how-to says. `tests/test_documents.py` refuses a command that no test here runs, but
for those that it lists with a reason.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import geopandas
import matplotlib
import numpy as np
import pandas
import pytest
import torch
import yaml
from safetensors.torch import save_file

import landweave as lw
from landweave.models._torchvision import smp
from landweave.models.cards.registry import find_card, read_card
from landweave.models.factory import build, core
from tests.helpers.commands import Command, done, start
from tests.helpers.counted_s3 import connect, counted_s3
from tests.helpers.documents import fences, runnable
from tests.helpers.example_inputs import CORNER, write_inputs
from tests.helpers.networks import drawn, unet, write_card
from tests.helpers.patches import MadeRegion, write_flair_hub
from tests.helpers.small_series import AREA, CRS, SmallSeries
from tests.helpers.tiles import textured, write_tile
from tests.models.flair_import.test_card_from_config import FLAIR1

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Follower:
    """A folder in which a document is followed: files are written, inputs made, commands run in this process."""

    def __init__(self, folder: Path, landweave: Command, valley: SmallSeries) -> None:
        self.folder, self.landweave, self.valley = folder, landweave, valley
        self.ran: list[str] = []
        self._ready: set[Path] = set()
        self.stand_ins: dict[str, str] = {}

    def follow(self, document: str) -> None:
        for language, text in fences(document):
            if named := re.match(r"# ([\w-]+\.yaml)", text):
                self.write(self.folder / named[1], yaml.safe_load(text))
            elif language == "bash":
                for words in runnable(text):
                    self.run(words)

    @staticmethod
    def commands(document: str) -> list[list[str]]:
        """All that can be run of a document."""
        return [words for language, text in fences(document) if language == "bash" for words in runnable(text)]

    def write(self, path: Path, content: dict[str, Any]) -> None:
        if "grid" in content:
            content = {**content, "engine": {"kind": "inline"}}
            if "SENTINEL2_TS" in content["inputs"]:
                content = self._over_valley(content)
            elif content["model"]["card"].startswith("LC-"):
                content["model"] = self.small_model(content["model"]["card"])
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    def run(self, words: list[str]) -> str:
        """What a command prints; it has to end well. Its configurations find their inputs."""
        self.make_inputs()
        words, to = (words[:-2], words[-1]) if ">" in words else (words, None)
        if words[0] != "landweave":
            subprocess.run(words, cwd=self.folder, check=True)
            return ""
        arguments = [each for word in words[1:] for each in (sorted(map(str, Path().glob(word))) or [word])]
        arguments = [self.stand_ins.get(word, word) for word in arguments]
        printed = done(self.landweave(*arguments))
        self.ran.append(shlex.join(words))
        if to:
            (self.folder / to).write_text(printed)
        return printed

    def make_inputs(self) -> None:
        for path in set(self.folder.glob("*.yaml")) - self._ready:
            content = yaml.safe_load(path.read_text())
            if "grid" in content and "SENTINEL2_TS" not in content["inputs"]:
                write_inputs(path)
                self._ready.add(path)

    def small_model(self, name: str) -> dict[str, Any]:
        """A small network of the inputs of a card, in place of its own."""
        inputs = {
            modality: {"pixel": 0.2, "bands": {band: {"mean": 128, "std": 70} for band in spec.names}}
            for modality, spec in find_card(name).inputs.items()
        }
        outputs = {"AERIAL_LABEL-COSIA": {"legend": "cosia", "pixel": 0.2}}
        card = self.folder / "models" / "small.yaml"
        card.parent.mkdir(exist_ok=True)
        write_card(card, unet(), window=512, overlap=128, inputs=inputs, outputs=outputs)
        weights = card.with_suffix(".safetensors")
        save_file(drawn(core(build(read_card(card), 512)), scale=2), weights)
        return {"card": str(card), "weights": str(weights)}

    def _over_valley(self, content: dict[str, Any]) -> dict[str, Any]:
        """The configuration over a few scenes, with a small card in place of its own."""
        series = {**content["inputs"]["SENTINEL2_TS"], "catalog": str(self.valley.folder / "summer.json")}
        del series["collections"]
        model = {
            "card": str(self.valley.folder / "small.yaml"),
            "weights": str(self.valley.folder / "small.safetensors"),
        }
        return {
            **content,
            "area": {"bounds": list(AREA)},
            "grid": {"crs": CRS},
            "inputs": {"SENTINEL2_TS": series},
            "model": model,
        }


@pytest.fixture
def follower(tmp_path: Path, landweave: Command, valley: SmallSeries, monkeypatch: pytest.MonkeyPatch) -> Follower:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    return Follower(tmp_path, landweave, valley)


def test_the_readme(follower: Follower) -> None:
    follower.follow("README.md")

    assert [each.split()[1] for each in follower.ran] == ["check", "plan", "run", "verify", "publish"]
    assert (follower.folder / "out/landcover.tif").is_file()
    assert (follower.folder / "out/landcover.png").is_file()
    assert list((follower.folder / "delivery/landcover").glob("*.tif"))
    (python,) = [text for language, text in fences("README.md") if language == "python"]
    python = python.replace('"delivery"', '"another"')
    exec(compile(python, "README.md", "exec"), {})
    assert (follower.folder / "part.tif").is_file()
    assert (follower.folder / "another/collection.json").is_file()


def test_after_the_readme(follower: Follower) -> None:
    """Publishing, hectares and evaluation start from the map that README makes."""
    (readme,) = [text for language, text in fences("README.md") if language == "yaml"]
    (section,) = [text for language, text in fences("docs/publishing.md") if language == "yaml"][:1]
    follower.write(follower.folder / "gard.yaml", yaml.safe_load(readme) | yaml.safe_load(section))
    follower.run(["landweave", "run", "gard.yaml"])
    (follower.folder / "admin.gpkg").rename(follower.folder / "communes.gpkg")
    geopandas.read_file("communes.gpkg").to_file("admin.gpkg", layer="commune")

    for document in ("docs/publishing.md", "docs/zones.md"):
        for words in follower.commands(document):
            subprocess.run(["rm", "-rf", "delivery"], check=True)
            follower.run(words)

    assert len(pandas.read_csv("hectares.csv")) == 1


def test_how_right_it_is(follower: Follower) -> None:
    """Three maps of one ground, labels that are the first map, and its images."""
    (readme,) = [text for language, text in fences("README.md") if language == "yaml"]
    follower.write(follower.folder / "gard.yaml", yaml.safe_load(readme))
    follower.run(["landweave", "run", "gard.yaml"])
    for name in ("landcover", "2021", "2021-again", "2024"):
        shutil.copytree("out/landcover.zarr", f"{name}.zarr")
    Path("labels").mkdir()
    shutil.copy("out/landcover.tif", "labels")
    write_tile(Path("ortho/tile.tif"), textured((1024, 1024), 3), corner_xy=CORNER)
    labels = np.full((1, 512, 512), 8, np.uint8)
    arrays = {"AERIAL_RGBI": textured((512, 512), 4, 1), "AERIAL_LABEL-COSIA": labels}
    write_flair_hub(Path("FLAIR-HUB"), MadeRegion(domain="D012-2019", name="AA-S1-1", arrays=arrays))
    write_tile(Path("oso.tif"), np.full((1, 20, 20), 3, np.uint8), corner_xy=CORNER, pixel=10)
    ours = {"name": "one", "classes": [{"code": 1, "name": "ground", "color": "#00ff00"}]}
    for name, source, codes in (("mine", "cosia", list(range(19))), ("oso", "oso", [3])):
        content = {**ours, "source": source, "classes": [{**ours["classes"][0], "source_codes": codes}]}
        Path(f"{name}.yaml").write_text(yaml.safe_dump(content))
    *first, areas = follower.commands("docs/evaluating.md")

    for words in first:
        follower.run(words)
    geopandas.read_file("sample.gpkg", layer="sample").assign(reference=8).to_file("sample.gpkg", layer="sample")

    assert "± 95 %" in follower.run(areas)
    assert json.loads(Path("scores/scores.json").read_text())["with_left_out"]["accuracy"] == 1
    assert len(geopandas.read_file("sample.gpkg", layer="sample")) > 100
    assert list(Path("changes").glob("*.tif"))


@pytest.mark.parametrize("document", ["docs/howto-department.md", "docs/howto-model.md"])
def test_a_how_to_over_tiles(follower: Follower, document: str) -> None:
    write_training(follower.folder)
    follower.follow(document)

    (store,) = [
        path for path in (follower.folder / "out/landcover.zarr", follower.folder / "mine.zarr") if path.exists()
    ]
    assert lw.status(store).complete
    assert len(follower.ran) > 2
    if document == "docs/howto-model.md":
        _any_other_network(follower)


def _any_other_network(follower: Follower) -> None:
    """An exported network and its card, on the tiles that are there."""
    (python,) = [text for language, text in fences("docs/howto-model.md") if language == "python"]
    exec(python, {"network": torch.nn.Conv2d(3, 2, 3, padding=1)})
    (card,) = [text for language, text in fences("docs/howto-model.md") if text.startswith("# network.yaml")]
    Path("network.yaml").write_text(card)
    content = yaml.safe_load(Path("mine-run.yaml").read_text())
    del content["inputs"]["AERIAL_RGBI"]["bands"]["NIR"]
    content |= {"model": {"card": "network.yaml"}, "output": {"store": "trees.zarr"}}
    follower.write(follower.folder / "trees.yaml", content)
    follower.run(["landweave", "check", "trees.yaml"])
    follower.run(["landweave", "run", "trees.yaml"])
    assert {*np.unique(lw.open_map("trees.zarr").landcover.values)} <= {0, 1, 255}


def test_my_bucket(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys from the environment; the endpoint beside each URL, as the server has no TLS."""
    with counted_s3() as server:
        options = server.storage_options
        endpoint = {"endpoint": options["endpoint"]}
        for name in ("access_key_id", "secret_access_key", "region"):
            monkeypatch.setenv(f"AWS_{name.upper()}", options[name])
        connect(options).create_bucket(Bucket="maps")
        (section,) = [text for language, text in fences("docs/howto-bucket.md") if language == "yaml"]
        content = yaml.safe_load(section)
        content["model"] = follower.small_model("flair-inc-rgbi-15cl")
        content["output"]["storage_options"] = endpoint
        follower.write(follower.folder / "gard.yaml", content)
        scripts = [text for language, text in fences("docs/howto-bucket.md") if language == "bash"]
        for words in runnable("\n".join(scripts)):
            by_url = [f"--storage-option=endpoint={endpoint['endpoint']}"] if words[2].startswith("s3://") else []
            follower.run([*words, *by_url])
        (python,) = [text for language, text in fences("docs/howto-bucket.md") if language == "python"]
        found: dict[str, Any] = {}
        exec(python.replace('{"anonymous": True}', repr(endpoint)), found)
        assert (found["landcover_map"].landcover.values != 255).any()
        stored = {key for _, key in server.requests if key.startswith("/maps/delivery/")}
        assert any(key.endswith("collection.json") for key in stored)


def test_my_own_series(follower: Follower) -> None:
    follower.follow("docs/howto-series.md")
    (python,) = [text for language, text in fences("docs/howto-series.md") if language == "python"]
    card, weights = (repr(str(follower.valley.folder / f"small.{ending}")) for ending in ("yaml", "safetensors"))
    found: dict[str, Any] = {}
    exec(python.replace('"LC-G"', card).replace('"LC-G.safetensors"', weights), found)

    part = found["landcover"].landcover.sel(x=slice(AREA[0], AREA[0] + 150), y=slice(AREA[3], AREA[3] - 150))
    assert (part.values != 255).all()
    assert lw.open_cube("cube.zarr")["SENTINEL2_TS"].sizes["time"] == 3
    assert (lw.open_map("crops.zarr").landcover.values != 255).any()


def test_from_the_flair_tools(follower: Follower) -> None:
    write_training(follower.folder)
    write_tile(follower.folder / "ortho.tif", textured((1024, 1024), 4), corner_xy=CORNER)
    follower.follow("docs/howto-flair.md")

    run = yaml.safe_load((follower.folder / "zone.yaml").read_text())
    x, y = map(float, run["grid"]["anchor"])
    assert (x, y) == pytest.approx((CORNER[0] - 128 * 0.2, CORNER[1] - (1024 - 128) * 0.2))


def write_training(folder: Path) -> None:
    """The configuration and weights that a training of FLAIR-1's leaves, of a small network."""
    (folder / "TRAINING.yaml").write_text(yaml.safe_dump(FLAIR1))
    network = smp.Unet(FLAIR1["encoder_name"], encoder_weights=None, in_channels=5, classes=len(FLAIR1["classes"]))
    torch.save({"state_dict": network.state_dict()}, folder / "WEIGHTS.ckpt")


def test_models(follower: Follower) -> None:
    """Every command of the page, on a small network of LC-A's inputs; its own card is shown."""
    write_training(follower.folder)
    (detection,) = [text for _, text in fences("docs/howto-flair.md") if "detect.yaml" in text and "margin" in text]
    Path("DETECTION.yaml").write_text(detection)
    write_tile(Path("ortho.tif"), textured((1024, 1024), 4), corner_xy=CORNER)
    (readme,) = [text for language, text in fences("README.md") if language == "yaml"]
    follower.write(follower.folder / "gard.yaml", yaml.safe_load(readme))
    small = yaml.safe_load(Path("gard.yaml").read_text())["model"]
    assert "name: LC-A" in follower.run(["landweave", "models", "show", "LC-A"])
    for card, weights in (("LC-A", "LC-A.safetensors"), ("flair-inc-rgbi-15cl", "rgbi.safetensors")):
        follower.stand_ins |= {card: small["card"], weights: small["weights"]}

    follower.follow("docs/models.md")

    for written in ("lc-a.json", "lc-a.pt2", "rgbi.onnx", "WEIGHTS.yaml", "zone.yaml"):
        assert (follower.folder / written).is_file(), written


def test_satellite_series(follower: Follower) -> None:
    (crops,) = [text for _, text in fences("docs/howto-series.md") if text.startswith("# crops.yaml")]
    follower.write(follower.folder / "crops.yaml", yaml.safe_load(crops))

    follower.follow("docs/series.md")

    assert (lw.open_map("crops.zarr").landcover.values != 255).any()


def test_pages(follower: Follower) -> None:
    (readme,) = [text for language, text in fences("README.md") if language == "yaml"]
    follower.write(follower.folder / "gard.yaml", yaml.safe_load(readme))
    follower.run(["landweave", "run", "gard.yaml"])
    follower.make_inputs()
    shutil.copy("admin.gpkg", "communes.gpkg")
    report, view = follower.commands("docs/pages.md")

    follower.run(report)

    assert "<html" in Path("gard.html").read_text()
    process = start(*(str(follower.folder / word) if word == "gard.yaml" else word for word in view[1:]))
    try:
        assert process.stdout
        (address,) = re.findall(r"http://\S+", process.stdout.readline())
        with urllib.request.urlopen(address, timeout=60) as page:
            assert b"<html" in page.read().lower()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
