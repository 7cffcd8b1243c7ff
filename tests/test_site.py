"""The site is built without a warning, and its reference leaves out no public name, no command and no page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer.main
import yaml

import landweave
from landweave.cli.main import app
from tests.helpers.commands import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-c", "docs", "-d", str(folder / "trees")]
    command = [sys.executable, "-m", "sphinx", *options, str(ROOT), str(folder / "html")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder / "html"


@pytest.mark.slow
def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if "_modules" not in page.parts]
    assert len(pages) > 20
    for page in pages:
        for target in re.findall(r'(?:href|src)="(?!https?:|data:|mailto:|javascript:)([^"#?]+)', page.read_text()):
            assert (page.parent / unquote(target)).exists(), f"{page.relative_to(site)}: {target}"


@pytest.mark.slow
def test_the_reference_has_every_command(site: Path) -> None:
    page = (site / "docs" / "commands.html").read_text()
    root = typer.main.get_command(app)
    names = [(name, each) for name, each in root.commands.items() if not each.hidden]
    for name, each in names:
        for full in [f"{name} {below}" for below in getattr(each, "commands", {})] or [name]:
            assert f'id="landweave-{full.replace(" ", "-")}"' in page
    assert "--set output.store=out.zarr" in page, "what is typed is shown as it is"


def test_the_reference_has_every_public_name() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    documented = set(re.findall(r"auto(?:function|class):: landweave\.(\w+)$", text, re.MULTILINE))
    assert documented == set(landweave.__all__) - {"errors"}
    assert "automodule:: landweave.core.errors" in text


def test_the_citation_has_what_citations_need() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license", "type"} <= set(citation)
    assert citation["version"] == landweave.__version__
    assert all({"name"} <= set(author) or {"family-names"} <= set(author) for author in citation["authors"])
    assert f"\n## [{landweave.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
