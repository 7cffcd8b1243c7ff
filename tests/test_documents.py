"""What the documents show works as it is written: their configurations, commands and functions exist."""

import re
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import typer.main
import yaml

from landweave.cli.main import app
from landweave.config.load import load_cube_config
from landweave.config.schema import Config, CubeConfig, MosaicInput
from landweave.models.cards.registry import find_card
from tests.helpers.commands import ROOT
from tests.helpers.documents import NOT_RUN, commands, fences, runnable

DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")]
CONFIGS = [path for path in sorted((ROOT / "configs").rglob("*.yaml")) if "grid" in yaml.safe_load(path.read_text())]

REST: dict[str, Any] = {
    "grid": {"crs": "EPSG:2154"},
    "inputs": {"AERIAL_RGBI": {"kind": "mosaic", "bands": {"R": {"files": "rvb"}}}},
    "model": {"card": "LC-A"},
    "output": {"store": "out.zarr"},
}
"""What a document leaves out where it shows a part of a configuration."""


def fenced(path: Path, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def shown(path: Path) -> list[dict[str, Any]]:
    """Every configuration of a document, or part of one; ``{...}`` stands for bands told elsewhere."""
    return [yaml.safe_load(text.replace("{...}", "{R: {files: rvb}}")) for text in fenced(path, "yaml")]


def test_documents_are_found() -> None:
    assert {"README.md", "series.md", "models.md"} <= {path.name for path in DOCUMENTS}
    assert sum(len(shown(path)) for path in DOCUMENTS) >= 5


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_configurations_in_documents_are_read(path: Path) -> None:
    for part in shown(path):
        merged = {**REST, **{key: {**REST.get(key, {}), **section} for key, section in part.items()}}
        Config(**merged)


def unmet(config: CubeConfig) -> list[str]:
    """Inputs and bands that the model of a configuration wants and the configuration does not name."""
    if config.model is None or config.model.card.endswith(".yaml"):  # a user's own card: not there yet
        return []
    missing = []
    for name, spec in find_card(config.model.card).inputs.items():
        given = config.inputs.get(name)
        if given is None:
            missing.append(name)
        elif isinstance(given, MosaicInput):
            missing += [f"{name} {band}" for band in spec.names if band not in given.bands]
    return missing


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_configurations_name_what_their_model_wants(path: Path) -> None:
    assert unmet(load_cube_config(path)) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_whole_configurations_in_documents_name_what_their_model_wants(path: Path) -> None:
    for part in shown(path):
        if set(REST) <= set(part):
            assert unmet(Config(**part)) == []


def find_command(words: str) -> Any:
    """The command that ``words`` call; fails where there is none."""
    command: Any = typer.main.get_command(app)
    for word in words.split():
        command = command.commands[word]
    return command


@pytest.mark.parametrize("path", [*DOCUMENTS, *CONFIGS], ids=lambda path: path.name)
def test_commands_and_their_options_exist(path: Path) -> None:
    told = re.findall(
        r"(?:^#?\s*|`)landweave ((?:(?:models|sample) )?[a-z-]+)\b([^`\n#]*)", path.read_text(), re.MULTILINE
    )
    for words, rest in told:
        known = {option for each in find_command(words).params for option in each.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, words


_PAGES = ("evaluating", "howto-bucket", "howto-department", "howto-flair", "howto-model", "howto-series", "models")
_PAGES = (*_PAGES, "pages", "publishing", "series", "zones")

FOLLOWED = {
    "README.md": "test_howtos.py",
    "deploy/README.md": "test_deploy_readme.py",
    **{f"docs/{name}.md": "test_howtos.py" for name in _PAGES},
}
"""Documents with commands, each with the test that runs them."""

PROGRAM = re.compile(rf"^({'|'.join(('landweave', 'dask', 'cp', 'sbatch', *NOT_RUN))}) ", re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_are_understood_and_run_by_a_test(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    scripts = [text for language, text in fences(name) if language == "bash"]
    assert not [text for language, text in fences(name) if not language and PROGRAM.search(text)], "mark it bash"
    for words in [words for text in scripts for words in commands(text) if words[0] == "landweave"]:
        understand(words[1 : words.index(">") if ">" in words else None])
    if any(map(runnable, scripts)):
        assert f'"{name}"' in (ROOT / "tests" / FOLLOWED[name]).read_text()


def understand(words: list[str]) -> None:
    """Read the arguments of a command as the command itself would; fails where an option or an argument is wrong."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, [*words])


def test_a_command_that_is_not_understood_is_found() -> None:
    understand(["change", "a.zarr", "b.zarr", "--min-area", "100"])
    with pytest.raises(Exception, match="No such option"):
        understand(["change", "a.zarr", "b.zarr", "--least-area", "100"])
    with pytest.raises(Exception, match="Missing parameter"):
        understand(["publish"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_functions_and_modules_exist(path: Path) -> None:
    for name in names_of_the_package("\n".join([*fenced(path, "python"), *re.findall("`(.+?)`", path.read_text())])):
        resolve_name(name)


def names_of_the_package(text: str) -> list[str]:
    """Dotted names under ``landweave``, or ``lw`` as it is imported; not those of the accessor of the same name."""
    found = re.findall(r"(?<![\w.])(?:landweave|lw)((?:\.[A-Za-z_]\w*)+)", text)
    return [f"landweave{name}" for name in found]


def test_names_are_found() -> None:
    text = "import landweave as lw\nlw.run(c); m.landweave.plot(); landweave.errors.InputError; gard.yaml; `lw`"
    assert names_of_the_package(text) == ["landweave.run", "landweave.errors.InputError"]


KEY = re.compile(r"(?:`|--set )((?:area|grid|model|windows|output|publish|engine)\.\w+)\b")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_keys_that_documents_name_exist(path: Path) -> None:
    named = set(KEY.findall(path.read_text()))
    headings = (ROOT / "docs" / "configuration.md").read_text().split("\n## ")[1:]
    known = {
        f"{part.splitlines()[0]}.{key}" for part in headings for key in re.findall(r"^\| `(\w+)`", part, re.MULTILINE)
    }
    assert named <= known
