"""From a configuration, by function and by command: the map that it names, published as its section says."""

from __future__ import annotations

from pathlib import Path

import pytest

import landweave as lw
from landweave.core.errors import ConfigError, InputError, OutputError
from tests.helpers.small import Small
from tests.publishing.conftest import bytes_below

SECTION = {"folder": "delivery", "dalle_m": 20, "majority": 3}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A small scene that is mapped."""
    made = Small.make(tmp_path_factory.mktemp("scene"))
    assert lw.run(made.loaded(publish=SECTION), progress=False).exit_code == 0
    return made


def test_a_section_publishes_the_map_of_its_configuration(scene: Small, landweave) -> None:
    """By the command; then by function to another folder: the same bytes."""
    ended = landweave("publish", str(scene.config(publish=SECTION)))
    assert ended.code == 0, ended.err
    assert (scene.folder / "delivery/collection.json").is_file()
    lw.publish(scene.loaded(publish=SECTION), scene.folder / "other", progress=False)
    assert bytes_below(scene.folder / "other") == bytes_below(scene.folder / "delivery")
    planned = landweave("publish", str(scene.config(publish=SECTION)), "--plan")
    assert "dalles to make" in planned.out
    assert " 0 of " in planned.out


def test_a_map_by_its_place_takes_settings_too(scene: Small, landweave, tmp_path: Path) -> None:
    ended = landweave(
        "publish", str(scene.store), "--to", str(tmp_path / "out"), "--set", "dalle_m=50", "--set", "engine=1"
    )
    assert ended.code == 2
    assert "engine" in ended.err
    plan = landweave(
        "publish", str(scene.store), "--to", str(tmp_path / "out"), "--set", "publish.dalle_m=50", "--plan"
    )
    assert plan.code == 0, plan.err


def test_no_folder_is_an_error(scene: Small) -> None:
    with pytest.raises(ConfigError, match=r"--to\), or set publish\.folder"):
        lw.publish(scene.loaded(), progress=False)


def test_a_folder_inside_the_map_is_refused(scene: Small) -> None:
    with pytest.raises((ConfigError, OutputError), match="publish"):
        lw.check(scene.loaded(publish={"folder": "out.zarr/delivery"}))


def test_files_that_changed_since_the_map_was_made_refuse_it(scene: Small, tmp_path: Path) -> None:
    config = scene.loaded(publish=SECTION | {"folder": str(tmp_path / "out")})
    sorted((scene.folder / "rgb").iterdir())[0].touch()
    with pytest.raises(InputError, match=r"blocks of the map are stale, as block .*--keep-stale"):
        lw.publish(config, progress=False)
    assert lw.publish(config, keep_stale=True, progress=False).exit_code == 0
