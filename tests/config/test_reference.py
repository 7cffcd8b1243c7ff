"""The reference of keys in the documents is what the schema gives, and leaves none out."""

import pytest

from landweave.config.reference import configuration_reference
from landweave.config.schema import Section, known_keys
from tests.helpers.commands import ROOT, Command, done

SECTIONS = {"area", "grid", "inputs", "cube", "model", "windows", "output", "publish", "engine"}
"""The sections at the top, which have headings and no rows."""


def test_the_document_is_what_the_schema_gives() -> None:
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == configuration_reference() + "\n", "write it anew: landweave reference > docs/configuration.md"


def test_every_key_has_a_row_with_its_meaning() -> None:
    rows = [line for line in configuration_reference().splitlines() if line.startswith("| `")]
    assert {row.split("`")[1] for row in rows} >= known_keys(Section) - {"root", *SECTIONS}
    assert all(row.split(" | ")[-1].removesuffix(" |") not in ("", "None") for row in rows)


def test_rows_say_what_a_key_takes_and_what_it_is_without() -> None:
    reference = configuration_reference()
    for row in (
        "| `cloud_max` | number, at least 0, at most 100 | `1` |",
        "| `store` | text | required | Path or URL of the map, a Zarr store. |",
        '| `resolution` | number, or a fraction such as `"1/3"` |',
        "| `resampling` | `nearest`, `bilinear`, `cubic` | `bilinear` |",
        "| `anchor` | 2 times: number, or a fraction",
        "| `align` | `true`, `false` | `false` |",
    ):
        assert row in reference
    assert reference.count("## inputs.NAME, kind: ") == 6
    assert reference.count("## inputs.NAME.year\n") == 1
    assert "## inputs.NAME.bands.NAME\n" in reference


def test_the_command_prints_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert done(Command(monkeypatch, capsys)("reference")) == configuration_reference() + "\n"
