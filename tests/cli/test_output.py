"""What every command does with its result: JSON, quiet, a log file; pictures and figures that scripts look at."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from matplotlib.image import imread
from rich.console import Console

import landweave as lw
from landweave.cli import output
from landweave.cli.main import app, main
from landweave.core.consoles import error_console
from landweave.core.protocols import BlockResult, BlockState
from landweave.core.secrets import without_secrets
from landweave.jobs.progress import BarProgress
from landweave.models.cards.registry import list_cards
from landweave.models.pace import pace_file
from tests.helpers.commands import Command
from tests.helpers.small import Small


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Mapped by the first test that runs it."""
    return Small.make(tmp_path_factory.mktemp("small"))


@pytest.fixture
def landweave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def test_every_result_is_json(small: Small, landweave: Command) -> None:
    config = small.config()
    found = {}
    for name, command in {
        "check": ("check", config),
        "plan": ("plan", config),
        "run": ("run", config),
        "status": ("status", config),
        "verify": ("verify", small.store),
        "list": ("models", "list"),
        "show": ("models", "show", "LC-A"),
    }.items():
        ended = landweave(*command, "--json")
        assert ended.code == 0, ended.err
        found[name] = json.loads(ended.out)
    assert found["check"]["inputs"]["AERIAL_RGBI"]
    assert found["plan"]["blocks"]["to_run"] == 12
    assert found["plan"]["estimate"]["windows"] >= found["plan"]["windows"]
    assert (found["run"]["counts"]["done"], found["run"]["exit_code"], found["run"]["engine"]) == (12, 0, "inline")
    assert found["run"]["stage_seconds"]["predict"] > 0
    assert found["run"]["peak_bytes"] > 100e6
    assert found["status"]["complete"] is True
    assert found["verify"]["objects"] > 12
    assert {each["name"] for each in found["list"]} == set(list_cards())
    assert found["show"]["outputs"]


def test_the_figures_of_a_run_lie_beside_its_map(small: Small, landweave: Command) -> None:
    landweave("run", small.config())
    record = json.loads((small.folder / "out.zarr.run.json").read_text())
    assert record["command"] == "run"
    assert (record["counts"]["done"], record["ran"], record["error"]) == (
        12,
        12,
        None,
    )  # not of the run that had nothing
    assert record["megapixels_per_second"] > 0
    assert {"start", "blocks", "overviews"} == set(record["part_seconds"])
    assert 0 < record["device_use"] <= 1
    assert {"read", "wait", "predict", "blend", "argmax", "compress", "write"} <= set(record["stage_seconds"])
    assert record["planned"]["windows"] >= record["sums"]["windows"] >= record["windows_needed"] > 0
    assert record["planned"]["memory_bytes"] > 0
    assert record["rates"][-1][0] <= record["seconds"] + 1e-3
    assert record["started"] < record["ended"] or record["started"] == record["ended"]


def test_an_error_is_json_too(small: Small, landweave: Command) -> None:
    ended = landweave("status", small.folder / "none.zarr", "--json")
    assert ended.code == 2
    error = json.loads(ended.out)["error"]
    assert (error["type"], error["exit_code"]) == ("InputError", 2)
    assert error["message"] in ended.err


@pytest.fixture
def in_a_terminal() -> Iterator[None]:
    """A job that a shell puts into the background ignores SIGINT, and one under ``nohup`` SIGHUP."""
    heard = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in heard.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("in_a_terminal")
def test_whatever_ends_a_command_is_json(
    small: Small, landweave: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def error(*command: object, code: int) -> dict[str, object]:
        ended = landweave(*command, "--json")
        assert ended.code == code
        found: dict[str, object] = json.loads(ended.out)["error"]
        assert found["exit_code"] == code
        assert found["message"]
        return found

    config = small.config()
    assert error("check", config, "--log-file", "/proc/none/a.log", code=2)["type"] == "ConfigError"
    assert "No such option" in str(error("check", config, "--nonsense", code=2)["message"])
    assert error("check", code=2)["type"] == "UsageError"
    assert "none of" in str(error("run", config, "--cluster", "slrum", code=2)["message"])
    (tmp_path / "wrong.yaml").write_text("cluster: {kind: local, max_wrokers: 3}")
    assert "max_wrokers" in str(error("run", config, "--cluster", tmp_path / "wrong.yaml", code=2)["message"])
    (tmp_path / "wrong.yaml").write_text("[1, 2")
    assert "not YAML" in str(error("run", config, "--cluster", tmp_path / "wrong.yaml", code=2)["message"])

    def stroke(number: int) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(lw, "check", lambda _: stroke(signal.SIGTERM))
    assert error("check", config, code=143)["type"] == "Interrupted"

    def locked(_: object) -> None:
        raise PermissionError(13, "Permission denied", "/data/rgb")

    monkeypatch.setattr(lw, "check", locked)
    assert "/data/rgb cannot be read or entered" in str(error("check", config, code=2)["message"])
    monkeypatch.setattr(lw, "check", lambda _: stroke(signal.SIGHUP))
    assert error("check", config, code=129)["type"] == "Interrupted"
    monkeypatch.setattr(lw, "check", lambda _: stroke(signal.SIGINT))
    assert error("check", config, code=130)["type"] == "Interrupted"


def test_a_terminal_without_the_signs_gets_others(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(lw, "check", lambda _: "±0 m ████")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    monkeypatch.setattr(sys, "argv", ["landweave", "check", str(small.config())])
    with pytest.raises(SystemExit) as end:
        main()
    assert (end.value.code or 0, shown.getvalue()) == (0, b"?0 m ????\n")


class ClosedTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_notes_that_cannot_be_written_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        for stream in (full, None, ClosedTerminal()):
            monkeypatch.setattr(sys, "stderr", stream)
            error_console().print("a note")
            bar = BarProgress(error_console())
            bar.start(2, "this process")
            bar.advance((0, 0), BlockResult(state=BlockState.READ_FAILED, reason="cut short"))
            bar.stop()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_python_that_leaves_assertions_out_is_refused() -> None:
    ended = subprocess.run(
        [sys.executable, "-O", "-m", "landweave", "models", "list"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, "with -O or PYTHONOPTIMIZE" in ended.stderr) == (2, True), ended.stderr


def test_a_current_folder_that_was_removed_is_named(
    landweave: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    ended = landweave("models", "list")
    assert (ended.code, "current folder is not there any more" in ended.err) == (2, True)


def test_a_fault_of_the_program_is_json_and_a_traceback(
    small: Small, landweave: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lw, "check", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        landweave("check", small.config(), "--json")
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "ZeroDivisionError"


def test_all_that_runs_blocks_takes_a_cluster() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = {**commands, "sample draw": commands["sample"].commands["draw"]}
    options = {name: {option for each in found[name].params for option in each.opts} for name in found}
    named = {name for name, of in options.items() if "--cluster" in of}
    assert named == {
        *("check", "plan", "run", "align", "verify", "publish"),
        *("evaluate", "evaluate-model", "compare", "change", "sample draw", "hectares", "report"),
    }
    assert not any({"--workers", "--scheduler", "--address"} & of for of in options.values())


@pytest.mark.slow
def test_a_map_is_published_and_reread_by_workers_that_are_named(small: Small, landweave: Command) -> None:
    landweave("run", small.config())
    folder = small.folder / "published"
    ended = landweave("publish", small.store, "--to", folder, "--cluster", "1", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["engine"].startswith("dask: 1 workers")
    record = json.loads((small.folder / "published.run.json").read_text())
    assert (record["command"], record["error"]) == ("publish", None)
    assert record["counts"]["done"] > 0
    assert landweave("verify", small.store, "--cluster", "1").code == 0
    refused = landweave("publish", small.store, "--to", folder, "--cluster", "tcp://127.0.0.1:nonsense", "--json")
    assert refused.code == 2
    assert "tcp://127.0.0.1:nonsense" in json.loads(refused.out)["error"]["message"]


def test_quiet_says_nothing_but_errors(small: Small, landweave: Command) -> None:
    ended = landweave("run", small.config(), "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    ended = landweave("run", small.config(), "--quiet", "--json")
    assert (json.loads(ended.out)["ran"], ended.err) == (0, "")
    ended = landweave("status", small.folder / "none.zarr", "-q")
    assert (ended.code, ended.out) == (2, "")
    assert "There is no map" in ended.err


def test_a_log_file_has_command_progress_and_result(small: Small, landweave: Command, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "run.log"
    store = tmp_path / "logged.zarr"
    landweave("run", small.config(output={"store": str(store)}), "--log-file", log, "--quiet")
    landweave("status", small.folder / "none.zarr", "--log-file", log)
    text = log.read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d .* INFO landweave run .*config.yaml", text, re.MULTILINE)
    assert "12 of 12 blocks, 0 failed" in text
    assert "12 done; 12 ran" in text
    assert re.search("ERROR InputError: There is no map", text)
    ended = landweave("status", store, "--log-file", "/proc/none/run.log")
    assert ended.code == 2
    assert "--log-file /proc/none/run.log cannot be written" in ended.err


def test_the_version(landweave: Command) -> None:
    ended = landweave("--version")
    assert (ended.code, ended.out) == (0, f"landweave {lw.__version__}\n")


def test_status_draws_the_ledger(small: Small, landweave: Command, tmp_path: Path) -> None:
    config = small.config(area={"bounds": small.scene.bounds}, output={"store": "drawn.zarr"})
    assert landweave("run", config, "--quiet").code == 0
    picture = tmp_path / "ledger.png"
    ended = landweave("status", config, "--picture", picture, "--blocks")
    assert ended.out.splitlines()[-4:] == ["████", "████", "████", "█ done"]
    pixels = imread(picture)[..., :3]
    done = abs(pixels - [0x2A / 255, 0x7F / 255, 0x62 / 255]).max(axis=-1) < 0.01
    assert 0.2 < done.mean() < 0.9
    status = lw.status(small.folder / "drawn.zarr")
    assert status.states is not None
    assert (status.states == BlockState.DONE).all()
    ended = landweave("status", config, "--picture", "/proc/none/ledger.png")
    assert (ended.code, "Cannot write /proc/none/ledger.png" in ended.err) == (2, True)


def test_a_plan_needs_no_weights_and_gives_hours(
    small: Small, landweave: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = small.config(
        model={"weights": "not-here.safetensors"},
        engine={"cost_per_hour": 3600, "power_watts": 1000},
        output={"store": "planned.zarr"},
    )
    planned = landweave("plan", config)
    assert planned.code == 0, planned.err
    advised = re.search("^time +not known: measure .* by `landweave (bench .*)`$", planned.out, re.MULTILINE)
    assert advised
    assert "the weights are not here" in planned.out
    assert landweave("run", config).code == 2
    measured = landweave(*shlex.split(advised[1]), "--windows", "6", "--json")
    assert measured.code == 0, measured.err
    pace = json.loads(measured.out)["windows_per_second"]
    assert pace > 0
    assert pace_file().is_relative_to(tmp_path)
    estimate = json.loads(landweave("plan", config, "--json").out)["estimate"]
    expected = estimate["windows"] / pace / 3600 + estimate["decode_seconds"] / 3600
    assert expected > 0
    assert estimate["hours"] == pytest.approx(expected)
    assert estimate["cost"] == pytest.approx(expected * 3600)
    assert estimate["energy_kwh"] == pytest.approx(expected)
    other = landweave("plan", config, "--set", "model.engine=onnxruntime", "--set", "model.batch_size=1")
    # Another pace.
    assert f"bench {small.card} --batch-size 1 --torch-threads 1 --device cpu --engine onnxruntime`" in other.out


def test_no_secret_is_in_json(small: Small, landweave: Command) -> None:
    where = "https://me:secret@127.0.0.1:1/map.zarr?sig=8F3"
    ended = landweave("status", where, "--json")
    assert ended.code != 0
    assert "secret" not in ended.out + ended.err
    assert without_secrets(where) == "https://127.0.0.1:1/map.zarr"


def test_a_full_disk_ends_a_log_early_and_a_result_with_an_error(landweave: Command, monkeypatch) -> None:
    ended = landweave("models", "list", "--log-file", "/dev/full")
    assert (ended.code, ended.err.count("--log-file /dev/full ends early: [Errno 28]")) == (0, 1)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(output, "out", Console(file=full))
        ended = landweave("models", "list")
    assert ended.code == 3
    assert "its result cannot be printed: No space left on device" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "--help"], ["--version"]])
def test_help_on_a_full_disk_ends_with_an_error(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "landweave", *arguments]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr.count("cannot be printed: No space left on device")) == (3, 1), ended.stderr
    assert "Traceback" not in ended.stderr
