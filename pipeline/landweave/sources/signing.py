"""Signs the addresses of files when they are read; never when they are found, for signatures expire soon."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from landweave.core.errors import ConfigError

SIGNERS = {"planetary-computer": ("planetary_computer", "sign_url")}
"""Module and function that signs, by the name a configuration gives."""


def check_signer(name: str) -> None:
    """Refuse a signer that does not exist.

    Raises
    ------
    ConfigError
        With those that do.
    """
    if name not in SIGNERS:
        raise ConfigError(f"Nobody signs as {name!r}: {', '.join(SIGNERS)} does. Leave sign out for open files.")


def signer(name: str) -> Callable[[str], str]:
    """A function from the address of a file to one that may be read now.

    Raises
    ------
    ConfigError
        When there is no signer of that name, or its package is not installed.
    """
    check_signer(name)
    module, function = SIGNERS[name]
    try:
        return cast("Callable[[str], str]", getattr(import_module(module), function))
    except ImportError as error:
        raise ConfigError(
            f"Signing as {name!r} needs {module}, which is not installed: pip install 'landweave[catalogs]'."
        ) from error
