"""Files of others are those that the table beside them names."""

from __future__ import annotations

import re
from hashlib import sha256

from landweave.formats.web_assets import FOLDER, map_style, page_scripts
from landweave.formats.web_words import LANGUAGES, WORDS, words


def test_the_library_is_the_published_one_with_its_licence() -> None:
    table = re.findall(r"^\| `(\S+)` \|.*`([0-9a-f]{64})` \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _ in table} == {"leaflet.js", "leaflet.css", "leaflet.LICENSE.txt"}
    for name, digest in table:
        assert sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name


def test_what_stands_in_a_page_names_no_file() -> None:
    assert "sourceMappingURL" not in "".join(page_scripts())
    assert set(re.findall(r"url\((.{5})", map_style())) == {'"data'}


def test_every_word_is_in_both_languages() -> None:
    assert all(all(pair) for pair in WORDS.values())
    assert words(LANGUAGES[0]).keys() == words(LANGUAGES[1]).keys()
