"""Run notebooks and store them with their outputs, so that they read on a web page: ``make notebooks-store``.

What is of the machine rather than of the notebook is not stored: times of cells, scratch folders, and what is said on
stderr while workers of a busy machine are waited for, which is printed instead. A warning stores nothing.
"""

from __future__ import annotations

import base64
import io
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
PNG_BYTES = 40_000
"""A larger picture is a photograph rather than a chart, and stored as JPEG."""

SCRATCH = re.compile(re.escape(tempfile.gettempdir()) + r"/tmp\w+/?")


def store(path: Path) -> None:
    """Run a notebook from its first cell to its last, and store it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=900, record_timing=False, resources={"metadata": {"path": str(FOLDER)}}).execute()
    notebook.metadata = METADATA
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [portable(output) for output in cell.outputs if not _is_noise(output, path)]
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook, indent=1) + "\n", encoding="utf-8")


def _is_noise(output: Any, path: Path) -> bool:
    """Whether an output is of stderr; it is printed."""
    if output.get("name") != "stderr":
        return False
    if "Warning" in output["text"]:
        raise SystemExit(f"{path.name} warns, and is not stored:\n{output['text']}")
    print(output["text"], file=sys.stderr)  # noqa: T201  a command
    return True


def portable(output: Any) -> Any:
    """An output without scratch folders, its large pictures as JPEG, and xarray's objects as text."""
    if "text" in output:
        output["text"] = SCRATCH.sub("", output["text"])
    shown = output.get("data", {})
    for kind in [kind for kind in shown if kind.startswith("text/")]:
        shown[kind] = SCRATCH.sub("", shown[kind])
    if "xr-text-repr-fallback" in shown.get("text/html", ""):
        del shown["text/html"]  # web pages drop its style sheet; the text beside it reads as well
    if len(shown.get("image/png", "")) > PNG_BYTES * 4 / 3:
        picture, stored = Image.open(io.BytesIO(base64.b64decode(shown.pop("image/png")))), io.BytesIO()
        picture.convert("RGB").save(stored, "JPEG", quality=72)
        shown["image/jpeg"] = base64.b64encode(stored.getvalue()).decode()
    return output


if __name__ == "__main__":
    for each in map(Path, sys.argv[1:] or sorted(FOLDER.glob("*.ipynb"))):
        print(each.name)  # noqa: T201  a command
        store(each)
