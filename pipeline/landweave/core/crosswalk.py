"""Crosswalks: which class of another legend each class of a map becomes, read from a YAML file.

Where a map keeps the probabilities of its classes they are summed before the most probable class is chosen: two kinds
of trees of 0.3 each are more probable than a lawn of 0.4. Labels alone would make a lawn of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from landweave.core.errors import ConfigError, LandweaveError
from landweave.core.legend import CONFIDENCE_SCALE, NODATA, LandClass, Legend
from landweave.core.words import content_kind
from landweave.core.yaml_text import load_yaml_file

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (_PACKAGE.parents[1] / "configs" / "crosswalks", _PACKAGE / "configs" / "crosswalks")
"""Of a checkout, and of an installed package."""

LARGEST_SOURCE = 65534
"""Codes of other legends may have more digits than those of a map: 523 is the sea of CORINE Land Cover."""

_CLASS_KEYS = {"code", "name", "name_fr", "color", "source_codes"}


@dataclass(frozen=True, kw_only=True)
class Crosswalk:
    """The target class of every class of a source legend.

    Attributes
    ----------
    source
        Name of the source legend, as ``cosia``.
    legend
        The target classes.
    codes
        Pairs of source code (to `LARGEST_SOURCE`) and target code, ascending; target 255 (nodata) for classes that are
        left out.

    Raises
    ------
    ConfigError
        When a source code is given twice, or a target is no class of the legend.
    """

    source: str
    legend: Legend
    codes: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        sources = Counter(code for code, _ in self.codes)
        if twice := [code for code, count in sources.items() if count > 1]:
            raise ConfigError(f"Crosswalk {self.legend.name!r}: source code {twice[0]} is given twice.")
        if odd := [pair for pair in self.codes if not _may_be_source(pair[0]) or pair[1] not in self._targets]:
            raise ConfigError(
                f"Crosswalk {self.legend.name!r}: {odd[0][0]} to {odd[0][1]} names no class: those of the source have "
                f"codes from 0 to {LARGEST_SOURCE} (255 is nodata), those that they become from 0 to 254."
            )

    @classmethod
    def identity(cls, legend: Legend) -> Crosswalk:
        """The crosswalk that leaves a map as it is."""
        return cls(source=legend.name, legend=legend, codes=tuple((code, code) for code in legend.codes))

    @property
    def _targets(self) -> tuple[int, ...]:
        return (*self.legend.codes, NODATA)

    @property
    def is_one_to_one(self) -> bool:
        """Whether no two source classes become one: labels then say all that probabilities could."""
        counts = Counter(target for _, target in self.codes if target != NODATA)
        return max(counts.values(), default=1) == 1 and NODATA not in dict(self.codes).values()

    @cached_property
    def table(self) -> NDArray[np.uint8]:
        """Target code of each source code, uint8 of 256 or, with larger codes, more; 255 where there is none."""
        table = np.full(max([NODATA, *dict(self.codes)]) + 1, NODATA, np.uint8)
        for source, target in self.codes:
            table[source] = target
        return table

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """All that it decides, as plain JSON values."""
        return {"source": self.source, "legend": asdict(self.legend), "codes": [list(pair) for pair in self.codes]}

    def check(self, legend: Legend) -> None:
        """Make sure that it is of this source legend: of that name, and with a target for each of its classes.

        Raises
        ------
        ConfigError
            With the codes that have no target, or both names.
        """
        if legend.name != self.source:
            raise ConfigError(
                f"Crosswalk {self.legend.name!r} is for the legend {self.source!r}, the map has {legend.name!r}: take "
                "another crosswalk, or write one for it."
            )
        known = dict(self.codes)
        if missing := [f"{each.code} ({each.name})" for each in legend.classes if each.code not in known]:
            raise ConfigError(
                f"Crosswalk {self.legend.name!r} has no target for {', '.join(missing)} of {legend.name!r}: add them "
                "to source_codes of a class, or to left_out."
            )

    def classes_of(self, classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels, class by class: uint8 of the same shape, 255 stays 255."""
        return self.table[classes]

    def merge(
        self, classes: NDArray[np.uint8], probabilities: NDArray[np.uint8], source: Legend
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Classes and their probability, the probabilities of source classes summed before one is chosen.

        Parameters
        ----------
        classes
            uint8 ``(y, x)``, codes of the source; 255 = nodata.
        probabilities
            uint8 ``(class, y, x)``, probability x 250 of each class of ``source``, in its order.
        source
            The source legend.

        Returns
        -------
        classes
            uint8 ``(y, x)``. Of equal sums that of the pixel's own label wins, then the lowest code: a class that
            stands alone, and was the most probable, stays. 255 where ``classes`` is nodata, or all are left out.
        probability
            uint8 ``(y, x)``, probability x 250 of the class; 255 where ``classes`` is nodata.
        """
        sums = self.sums(probabilities, source)
        result = self.classes_of(classes)
        best = np.zeros(classes.shape, np.uint16)
        for code, total in sums.items():
            np.copyto(best, total, where=result == code)
        for code, total in sums.items():
            better = total > best
            np.copyto(result, code, where=better)
            np.copyto(best, total, where=better)
        missing = (classes == NODATA) | (result == NODATA)
        result[missing] = NODATA
        probability = np.minimum(best, CONFIDENCE_SCALE).astype(np.uint8)
        probability[missing] = NODATA
        return result, probability

    def sums(self, probabilities: NDArray[np.uint8], source: Legend) -> dict[int, NDArray[np.uint16]]:
        """Summed probability x 250 of each target class that has a source class, uint16 ``(y, x)``, codes ascending.

        Parameters
        ----------
        probabilities, source
            As of `merge`; nodata pixels have sums without a meaning.
        """
        found: dict[int, NDArray[np.uint16]] = {}
        for code, layer in zip(source.codes, probabilities, strict=True):
            target = int(self.table[code])
            if target != NODATA:
                total = found.setdefault(target, np.zeros(layer.shape, np.uint16))
                total += layer
        return dict(sorted(found.items()))


def load_crosswalk(name_or_path: str | Path) -> Crosswalk:
    """The crosswalk of that name in ``configs/crosswalks/``, or of a YAML file.

    Raises
    ------
    ConfigError
        When there is none, or it is not as it should be: the key is named.
    """
    path = _crosswalk_path(str(name_or_path))
    try:
        content = load_yaml_file(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Crosswalk {path} cannot be read: {str(error).splitlines()[0]}.") from error
    return parse_crosswalk(content, str(path))


def parse_crosswalk(content: Any, where: str) -> Crosswalk:
    """The crosswalk that plain values describe.

    Parameters
    ----------
    content
        ``source``, ``classes`` (each with ``code``, ``name``, ``color``, ``source_codes``, and ``name_fr`` if wanted)
        and ``left_out``, source codes that become nodata. ``name`` is that of the target legend.
    where
        Names it in errors.

    Raises
    ------
    ConfigError
        When a key is missing, unknown, or of another type.
    """
    try:
        listed, left_out = _checked(content)
        classes = [LandClass(**{key: each[key] for key in each if key != "source_codes"}) for each in listed]
        legend = Legend(name=content["name"], classes=tuple(classes))
        pairs = [(code, each["code"]) for each in listed for code in each["source_codes"]]
        codes = tuple(sorted([*pairs, *((code, NODATA) for code in left_out)]))
        return Crosswalk(source=content["source"], legend=legend, codes=codes)
    except LandweaveError as error:
        raise ConfigError(f"{where}: {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        missing = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigError(
            f"{where}: {missing}. A crosswalk has name, source, classes (each with code, name, color and "
            "source_codes) and, where classes become nodata, left_out."
        ) from error


def _may_be_source(code: int) -> bool:
    return 0 <= code <= LARGEST_SOURCE and code != NODATA


def _checked(content: Any) -> tuple[Sequence[Mapping[str, Any]], Sequence[int]]:
    """Classes and codes left out, once all keys and types are known to be right."""
    if not isinstance(content, Mapping):
        raise TypeError(f"it holds {content_kind(content)}, not keys and values")
    if unknown := content.keys() - {"name", "source", "classes", "left_out"}:
        raise ValueError(f"{sorted(map(str, unknown))[0]} is no key of a crosswalk")
    if not isinstance(content["name"], str) or not isinstance(content["source"], str):
        raise TypeError("name and source are texts")
    classes, left_out = content["classes"], content.get("left_out", [])
    if unknown := {key for each in classes for key in each} - _CLASS_KEYS:
        raise ValueError(f"{sorted(map(str, unknown))[0]} is no key of a class")
    given = [("left_out", left_out), *((f"source_codes of {each['name']!r}", each["source_codes"]) for each in classes)]
    if odd := [(key, value) for key, value in given if not isinstance(value, list | tuple)]:
        raise TypeError(f"{odd[0][0]} is {odd[0][1]!r}, and is a list of codes: [4, 5]")
    codes = [code for each in classes for code in (each["code"], *each["source_codes"])] + [*left_out]
    if odd := [code for code in codes if type(code) is not int]:
        raise TypeError(f"{odd[0]!r} is no code, a whole number")
    if odd := [text for each in classes for key, text in each.items() if key in ("name", "name_fr", "color")
               and not isinstance(text, str)]:  # fmt: skip
        raise TypeError(f"{odd[0]!r} is no text")
    return classes, left_out


def _crosswalk_path(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    packaged = {path.stem: path for folder in _FOLDERS for path in sorted(folder.glob("*.yaml"))}
    if name not in packaged:
        raise ConfigError(
            f"There is no crosswalk {name!r}: choose one of {', '.join(sorted(packaged))}, or name a file (.yaml)."
        )
    return packaged[name]
