"""A network that was tried with the same weights and the same code is not tried again; any other is."""

from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from landweave.config.load import load_config
from landweave.models import known_trials
from landweave.models.known_trials import known_trial, software_stamp
from landweave.models.predictor import TorchModel
from landweave.setup.map_setup import set_up_map
from tests.helpers.small import Small


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TorchModel:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = set_up_map(load_config(Small.make(tmp_path).config())).job.model
    assert isinstance(model, TorchModel)
    return model


def test_what_was_tried_is_not_loaded_to_be_checked_nor_tried_to_be_opened(
    model: TorchModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = model.verify()
    monkeypatch.setattr("landweave.models.loading.try_network", lambda *_: pytest.fail("tried again"))
    model.open()
    monkeypatch.setattr("landweave.models.loading.load_with_notes", lambda *_, **__: pytest.fail("loaded again"))
    assert model.verify() == notes


def test_other_weights_settings_cards_and_code_are_tried(model: TorchModel, monkeypatch: pytest.MonkeyPatch) -> None:
    notes, settings = model.verify(), model.settings
    assert known_trial(settings, model.weights_sha256.upper()) == notes
    assert known_trial(settings, "0" * 64) is None
    assert known_trial(replace(settings, batch_size=settings.batch_size + 1), model.weights_sha256) is None
    changed = settings.card.model_copy(update={"title": "another"})
    monkeypatch.setattr(type(changed), "sha256", property(lambda card: card.title))
    assert known_trial(replace(settings, card=changed), model.weights_sha256) is None
    monkeypatch.undo()
    monkeypatch.setattr(known_trials, "source_digest", lambda: "other")
    assert known_trial(settings, model.weights_sha256) is None


def test_an_engine_may_be_absent_here_or_come_in_a_build_of_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    real, builds = metadata.version, {"onnxruntime-gpu": "1.20"}
    assert software_stamp("onnxruntime").endswith(real("onnxruntime"))

    def version(name: str) -> str:
        if name in ("onnxruntime", "openvino"):
            raise metadata.PackageNotFoundError(name)
        return builds.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "packages_distributions", lambda: {"onnxruntime": ["onnxruntime-gpu"] * 2})
    assert software_stamp("openvino").endswith(" absent")
    assert software_stamp("onnxruntime").endswith(" onnxruntime-gpu-1.20")
    builds["onnxruntime-gpu"] = "1.21"
    assert software_stamp("onnxruntime").endswith(" onnxruntime-gpu-1.21")
