"""``landweave models``: every verb runs, says what it did, and passes on what it was told."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from landweave.cli.models import app
from landweave.core.errors import CardError
from landweave.models import export
from landweave.models.cards.registry import list_cards
from landweave.models.flair_import import card_from_config
from landweave.setup import model_tools

RUNNER = CliRunner()


@pytest.fixture
def asked(monkeypatch):
    """What the functions behind the verbs were called with."""
    calls = SimpleNamespace(made={})

    def answering(module, name, answer):
        def called(*args, **options):
            calls.made[name] = (args, options)
            return answer

        monkeypatch.setattr(module, name, called)

    answering(model_tools, "inspect_model", "receptive field  3 px")
    answering(export, "export_model", [Path("a.json"), Path("b.pt2")])
    answering(card_from_config, "new_card", Path("mine.yaml"))
    return calls.made


def run(*arguments):
    done = RUNNER.invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_list_names_every_card():
    output = run("list")

    assert all(name in output for name in list_cards())


def test_show_prints_a_card():
    assert "name: flair1-unet-resnet34" in run("show", "flair1-unet-resnet34")


def test_inspect_passes_its_options_on(asked):
    output = run("inspect", "LC-A", "--window", "1024", "--weights", "w.ckpt", "--imagery", "run.yaml")

    assert output == "receptive field  3 px\n"
    wanted = {"window": 1024, "weights": Path("w.ckpt"), "imagery": Path("run.yaml")}
    assert asked["inspect_model"] == (("LC-A",), wanted)


def test_export_says_what_it_wrote(asked):
    output = run("export", "LC-A", "--stac", "a.json", "--program", "b.pt2", "--bounds", "-5", "41.3", "9.7", "51")

    assert output == "wrote a.json\nwrote b.pt2\n"
    _, options = asked["export_model"]
    assert options["bounds"] == (-5, 41.3, 9.7, 51)
    assert options["stac"] == Path("a.json")


def test_new_takes_a_configuration_and_weights(asked):
    output = run("new", "--from-flair-config", "train", "mine.ckpt")

    assert output == "wrote mine.yaml\n"
    assert asked["new_card"] == ((Path("train"), Path("mine.ckpt"), None), {})


def test_errors_are_left_to_the_command():
    done = RUNNER.invoke(app, ["show", "nothing"])

    assert isinstance(done.exception, CardError)
