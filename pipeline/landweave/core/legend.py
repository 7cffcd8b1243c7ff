"""Legends of class rasters: code, name, colour of each class, and whether the model was trained on it."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from landweave.core.errors import CardError

NODATA = 255
"""Nodata value of class and confidence layers. Not 0, which is the code of buildings."""

CONFIDENCE_SCALE = 250
"""Stored value of a probability of 1, in confidence and probability layers; 255 is nodata."""


def plain_name(name: object) -> str:
    """A name as people's spellings of it are compared: small letters, no blanks around, an accent with its letter."""
    return unicodedata.normalize("NFC", str(name).strip().lower())


def given_code(value: object, codes: Mapping[str, int], *, largest: int = NODATA) -> int | None:
    """A code that somebody wrote as a number, as text or by its name; None for what is neither.

    Parameters
    ----------
    value
        As a column of a file holds it.
    codes
        By names as `plain_name` gives them.
    largest
        Numbers beyond it are no codes.

    Examples
    --------
    >>> given_code(" Eau ", {"eau": 5}), given_code("12.0", {}), given_code(-3, {}), given_code("lake", {"eau": 5})
    (5, 12, None, None)
    """
    if (known := codes.get(plain_name(value))) is not None:
        return known
    try:
        number = float(str(value))
    except ValueError:
        return None
    return int(number) if number.is_integer() and 0 <= number <= largest else None


@dataclass(frozen=True, kw_only=True)
class LandClass:
    """One class: ``code`` 0..254 as stored, names, ``color`` as ``#rrggbb``, and ``trained`` or not."""

    code: int
    name: str
    color: str
    name_fr: str = ""
    trained: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.code < NODATA:
            raise CardError(f"Class {self.name!r} has code {self.code}: codes run from 0 to 254, 255 is nodata.")
        if not re.fullmatch("#[0-9a-fA-F]{6}", self.color):
            raise CardError(f"Class {self.name!r} has color {self.color!r}: write it as #rrggbb.")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, each 0..255."""
        value = int(self.color[1:], 16)
        return value >> 16, value >> 8 & 255, value & 255


@dataclass(frozen=True, kw_only=True)
class Legend:
    """The classes of one model output; channel ``i`` of the model is ``classes[i]``.

    Codes ascend with the channels, so that the lowest channel of a tie is the lowest code.
    """

    name: str
    classes: tuple[LandClass, ...]

    def __post_init__(self) -> None:
        codes = self.codes
        if not codes or list(codes) != sorted(set(codes)):
            raise CardError(f"Legend {self.name!r} lists codes {codes}: they must ascend, each once.")
        # Hectares, minimum units and tables go by the name, in which CF's attributes have _ for a space.
        twice = [
            name for name, count in Counter(cls.name.replace("_", " ") for cls in self.classes).items() if count > 1
        ]
        if twice or not all(cls.name.strip() for cls in self.classes):
            wrong = f"the name {twice[0]!r} to several classes" if twice else "no name to a class"
            raise CardError(f"Legend {self.name!r} gives {wrong}: classes are told by their names.")
        if not any(cls.trained for cls in self.classes):
            raise CardError(f"Legend {self.name!r} has no trained class.")

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Legend:
        """The legend as `dataclasses.asdict` wrote it."""
        return cls(name=written["name"], classes=tuple(LandClass(**each) for each in written["classes"]))

    @classmethod
    def from_flags(cls, name: str, codes: Iterable[int], meanings: Iterable[str], colors: Iterable[str]) -> Legend:
        """The legend in CF attributes: ``flag_values``, words of ``flag_meanings``, of ``flag_colors``."""
        entries = zip(codes, meanings, colors, strict=True)
        classes = (LandClass(code=int(code), name=word.replace("_", " "), color=color) for code, word, color in entries)
        return cls(name=name, classes=tuple(classes))

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def codes(self) -> tuple[int, ...]:
        """Stored code of each channel."""
        return tuple(cls.code for cls in self.classes)

    @property
    def trained(self) -> tuple[bool, ...]:
        """For each channel, whether the model was trained on it (others are dropped before the argmax)."""
        return tuple(cls.trained for cls in self.classes)

    @property
    def colors(self) -> dict[int, tuple[int, int, int]]:
        """Colour of each code, as ``(r, g, b)``."""
        return {cls.code: cls.rgb for cls in self.classes}

    @property
    def names(self) -> dict[int, str]:
        """English name of each code."""
        return {cls.code: cls.name for cls in self.classes}

    @property
    def codes_by_name(self) -> dict[str, int]:
        """Codes by names as `plain_name` gives them: the English ones, then those French ones that are of one class."""
        french = Counter(plain_name(cls.name_fr) for cls in self.classes if cls.name_fr)
        once = {plain_name(cls.name_fr): cls.code for cls in self.classes if french[plain_name(cls.name_fr)] == 1}
        english = {plain_name(cls.name): cls.code for cls in self.classes}
        return english | {name: code for name, code in once.items() if name not in english}

    def _repr_html_(self) -> str:
        cell = "<td style='background:{0.color};width:2em'></td><td>{0.code}</td><td>{1}{2}</td>"
        lines = (
            cell.format(each, escape(each.name), "" if each.trained else " (not trained)") for each in self.classes
        )
        return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
