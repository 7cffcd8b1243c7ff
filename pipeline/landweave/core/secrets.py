"""Text that may be shown or stored: addresses without passwords, tokens and signatures."""

from __future__ import annotations

import re
from urllib.parse import unquote

_ADDRESS = re.compile(
    r"(?P<start>[a-z][a-z0-9+.-]+:/{1,2})(?P<user>[^\s/?#'\"<>]*@)?(?P<rest>[^\s?#'\"<>]*)(?P<query>[?#][^\s'\"<>]*)?",
    re.IGNORECASE,
)
"""An address; where it was taken for a path it has lost one of its slashes."""

_SECRET = re.compile(
    r"sig|signature|token|secret|credential|pass|pwd|auth|jwt|bearer|sas|api.?key|subscription.?key|access.?key"
    r"|key.?pair|policy|^key$|^(se|sp|sv|sr|st|spr|sks|ske|skt|skv|skoid|sktid)$|expires|^x-(amz|goog)-",
    re.IGNORECASE,
)
"""Parameters of an address that sign it or let somebody in; they change when it is signed anew."""


def without_secrets(text: str) -> str:
    """``text`` with every address in it as it may be shown: a renewed signature leaves it the same.

    >>> without_secrets("GET https://me:pw@host/a.tif?sig=8F3&band=2 failed")
    'GET https://host/a.tif?band=2 failed'
    """
    return _ADDRESS.sub(_shown, text) if ":/" in text else text


def _shown(match: re.Match[str]) -> str:
    query, _, fragment = (match["query"] or "").partition("#")
    parts = [("?", _kept(query[1:])), ("#", _kept(fragment))]
    return f"{match['start']}{match['rest']}{''.join(mark + kept for mark, kept in parts if kept)}"


def _kept(parameters: str) -> str:
    """Parameters without those that are secret, and without the secrets of addresses inside them."""
    listed = [part for part in re.split("[&;]", parameters) if part]
    open_ones = [part for part in listed if not _SECRET.search(unquote(part.partition("=")[0]))]
    return "&".join(without_secrets(part) for part in open_ones)
