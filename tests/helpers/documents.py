"""Blocks of the documents and the commands in them, and which of these no test can run: no tests here."""

from __future__ import annotations

import re
import shlex

from tests.helpers.commands import ROOT

Fence = tuple[str, str]
"""Language and text of a block of a document."""

NOT_RUN = {
    "make": "the targets are what runs the tests; those of the demo and the site have tests of their own",
    ".venv/bin/pre-commit": "it changes the hooks of the checkout",
    "pip": "packages come from an index: tests/test_fresh_environment.py installs the package",
    "conda": "no conda here: tests/test_project.py holds environment.yml against pyproject.toml",
    "docker": "no container engine here: tests/test_deploy.py holds the files against their definitions",
    "kubectl": "no Kubernetes here: tests/test_deploy.py holds the manifests against their schemas",
    "helm": "no Kubernetes here",
    "export": "keys of the user's own bucket: the test has those of its server",
}
"""Programs whose commands are not run, each with the reason."""


def fences(document: str) -> list[Fence]:
    """The blocks of a document, by its path from the root of the project."""
    return re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)


def commands(script: str) -> list[list[str]]:
    """Words of each command of a block; comments are left out, lines that end in a backslash joined."""
    lines = script.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def runnable(script: str) -> list[list[str]]:
    """Those of its commands that a test runs."""
    return [words for words in commands(script) if words[0] not in NOT_RUN]
