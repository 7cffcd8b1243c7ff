import sys
from types import ModuleType

import pytest

from landweave.core.errors import ConfigError
from landweave.sources.signing import signer


def test_an_unknown_signer_is_refused():
    with pytest.raises(ConfigError, match="Nobody signs as 'nobody': planetary-computer does"):
        signer("nobody")


def test_what_is_not_installed_is_named_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "planetary_computer", None)
    with pytest.raises(ConfigError, match=r"needs planetary_computer, .* pip install 'landweave\[catalogs\]'"):
        signer("planetary-computer")


def test_the_packages_own_function_signs(monkeypatch):
    package = ModuleType("planetary_computer")
    package.sign_url = "{}?signed".format
    monkeypatch.setitem(sys.modules, "planetary_computer", package)
    assert signer("planetary-computer")("https://files.example/a.tif") == "https://files.example/a.tif?signed"
