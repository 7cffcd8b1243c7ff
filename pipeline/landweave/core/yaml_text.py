"""YAML from outside, read within limits: a few hundred bytes can otherwise stand for billions of values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 1 << 20
MOST_VALUES = 100_000
"""Values of a file, those that aliases repeat counted each time."""
MOST_LEVELS = 50
MOST_DIGITS = 40

_OWN_NAME = re.compile(r"(alias|anchor|tag|handle) '[^']*'")
"""In a problem: a password may begin with ``*`` or ``!``."""


def load_yaml(text: str) -> Any:
    """Plain values of a YAML text.

    Parameters
    ----------
    text
        Of a configuration, a card, or a value of the command line.

    Raises
    ------
    yaml.YAMLError
        When it is not YAML, has a key twice, or exceeds `MOST_BYTES`, `MOST_VALUES`, `MOST_LEVELS` or `MOST_DIGITS`:
        with the place, and without the text around it, which may be a password.
    """
    if len(text) > MOST_BYTES:
        raise yaml.YAMLError(f"{len(text):,} characters, {MOST_BYTES:,} are taken")
    loader = _BoundedLoader(text)
    try:
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        said = _OWN_NAME.sub(r"\1", ": ".join(filter(None, (error.context, error.problem))))
        raise yaml.YAMLError(f"{said}{place}") from None
    except (ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        # PyYAML's own, of a date of a 13th month or `!!bool x`
        raise yaml.YAMLError(str(error)) from error
    finally:
        loader.dispose()


def load_yaml_file(path: Path) -> Any:
    """Plain values of a YAML file, of which no more than `MOST_BYTES` are read.

    Raises
    ------
    OSError
        When it cannot be read.
    UnicodeDecodeError
        When it is not UTF-8.
    yaml.YAMLError
        As `load_yaml`.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise yaml.YAMLError(f"more than {MOST_BYTES:,} bytes, and so many are taken")
    return load_yaml(content.decode("utf-8"))


class _BoundedLoader(yaml.SafeLoader):
    level = 0
    values = 0

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        count = _count(node, {})
        if count > MOST_VALUES:
            raise yaml.YAMLError(f"{count:,} values with those that aliases repeat, {MOST_VALUES:,} are taken")
        return node

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.level += 1
        self.values += 1
        if self.values > MOST_VALUES:
            raise yaml.YAMLError(f"more than {MOST_VALUES:,} values")
        if self.level > MOST_LEVELS:
            raise yaml.YAMLError(f"more than {MOST_LEVELS} levels, one inside the other")
        node = super().compose_node(parent, index)
        self.level -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Refuses a key that stands twice: YAML forbids it, and PyYAML would forget what the first one says."""
        node = super().compose_mapping_node(anchor)
        seen = set[tuple[str, str]]()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"):
            if (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add((key.tag, key.value))
        return node

    def construct_yaml_int(self, node: Any) -> int:
        if len(node.value) > MOST_DIGITS:
            raise yaml.YAMLError(f"a number of {len(node.value):,} digits, {MOST_DIGITS} are taken")
        return int(super().construct_yaml_int(node))


_BoundedLoader.add_constructor("tag:yaml.org,2002:int", _BoundedLoader.construct_yaml_int)


def _count(node: Any, known: dict[int, int]) -> int:
    """Number of values below a node, each alias counted as what it repeats."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # a node inside itself is endless
        inner = (part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,)))
        known[id(node)] = 1 + sum(_count(part, known) for part in inner)
    return known[id(node)]
