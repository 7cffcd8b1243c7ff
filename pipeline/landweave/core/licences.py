"""Licences as catalogs name them."""

from __future__ import annotations

import re

_SPDX = {"Licence Ouverte 2.0": "etalab-2.0"}


def spdx_licence(name: str) -> str:
    """The SPDX identifier of a licence, as STAC has it; ``other`` where its name is none.

    >>> spdx_licence("Licence Ouverte 2.0"), spdx_licence("CC-BY-4.0"), spdx_licence("ask us")
    ('etalab-2.0', 'CC-BY-4.0', 'other')
    """
    known = _SPDX.get(name, name)
    return known if re.fullmatch(r"[\w\-.+]+", known) else "other"
