"""Checksums as deliveries state them: hexadecimal digits, multihashes of STAC, lines of SHA256SUMS and MD5SUMS."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BY_DIGITS = {32: "md5", 40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}
"""Algorithm by the number of hexadecimal digits, where nothing else names it; the more the stronger."""

SHA256_MULTIHASH = "1220"
"""What the multihash of a sha256 begins with."""

_MULTIHASH = {"d50110": "md5", "1114": "sha1", SHA256_MULTIHASH: "sha256", "2030": "sha384", "1340": "sha512"}
"""Algorithm by the code and the length that a multihash begins with."""

_HEX = re.compile(r"[0-9a-f]+")
_LINE = re.compile(r"\\?(?P<digest>[0-9a-fA-F]{32,128})(?:\s+\*?(?P<name>\S.*))?")
_TAGGED = re.compile(r"\\?(?P<algorithm>[A-Za-z0-9-]+) ?\((?P<name>.+)\) ?= ?(?P<digest>[0-9a-fA-F]{32,128})")
"""Lines of ``sha256sum``, and of ``sha256sum --tag`` and the BSDs."""


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """What the bytes of a file come to.

    Attributes
    ----------
    algorithm
        As `hashlib` calls it.
    digest
        Hexadecimal digits, lower case.
    origin
        Who states it, for a message.
    """

    algorithm: str
    digest: str
    origin: str

    @classmethod
    def parse(cls, text: str, origin: str) -> Checksum | None:
        """The checksum of a multihash, or of plain digits whose number tells the algorithm; None for any other text.

        >>> Checksum.parse("d50110" + "0f" * 16, "item").algorithm, Checksum.parse("yes", "item")
        ('md5', None)
        """
        digits = text.strip().lower()
        if not _HEX.fullmatch(digits):
            return None
        for start, algorithm in _MULTIHASH.items():
            rest = digits.removeprefix(start)
            if len(rest) == len(digits) - len(start) and _BY_DIGITS.get(len(rest)) == algorithm:
                return cls(algorithm=algorithm, digest=rest, origin=origin)
        plain = _BY_DIGITS.get(len(digits))
        return cls(algorithm=plain, digest=digits, origin=origin) if plain else None

    @property
    def strength(self) -> int:
        """Of two checksums of a file that with more digits counts."""
        return len(self.digest)


def parse_line(line: str, origin: str) -> tuple[str, Checksum] | None:
    r"""Name, with forward slashes (empty where the line has none), and checksum of a line; None where it is none.

    Parameters
    ----------
    line
        Of a list.
    origin
        The list, for a message.

    Examples
    --------
    >>> parse_line("D41D8CD98F00B204E9800998ECF8427E *.\\rvb\\a.tif", "MD5SUMS")[0]
    'rvb/a.tif'
    """
    found = _TAGGED.fullmatch(line.strip()) or _LINE.fullmatch(line.strip())
    checksum = Checksum.parse(found["digest"], origin) if found else None
    if found is None or checksum is None:
        return None
    return (found["name"] or "").replace("\\", "/").removeprefix("./"), checksum
