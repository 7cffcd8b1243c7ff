"""The documents as a site: ``make docs``, or ``sphinx-build -c docs . out/docs``.

The source folder is the project's own, so that links between README, docs/ and deploy/ are the same here and where a
person reads the files. The reference of the API and that of commands are made from the code at each build.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "pipeline"), str(ROOT / "docs")]

from command_reference import command_reference  # noqa: E402  once the paths are there
from sphinx.application import Sphinx  # noqa: E402

from landweave import __version__  # noqa: E402

project = "Landweave"
author = "The Landweave contributors"
project_copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
include_patterns = [
    "docs/*.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "deploy/README.md",
    "benchmarks/roofline.md",
]
root_doc = "docs/index"
source_suffix = {".md": "markdown"}
exclude_patterns = ["out", ".venv"]
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
default_role = "py:obj"  # a name in backticks is a link where the reference has it, and code elsewhere
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"Landweave {__version__}"
html_extra_path = ["site"]
html_copy_source = False
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["landweave.css"]
smartquotes = False  # what is shown is typed: --set, and quotes around a value
pygments_style = "friendly"

_FOLDER_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)\s]+)\)")
_COMMANDS = "<!-- the commands -->"


def _fit_to_the_site(_: Sphinx, name: str, source: list[str]) -> None:
    """Make the reference of commands where it belongs, and plain text of links to folders, which a site has none of."""
    here = (ROOT / name).parent

    def as_text(link: re.Match[str]) -> str:
        text, target = link.groups()
        return f"{text} (`{target.lstrip('./')}`)" if (here / target).is_dir() else link[0]

    source[0] = _FOLDER_LINK.sub(as_text, source[0])
    if _COMMANDS in source[0]:
        source[0] = source[0].replace(_COMMANDS, command_reference())


def setup(app: Sphinx) -> None:
    """Register what is changed in the sources while they are read."""
    app.connect("source-read", _fit_to_the_site)
