"""How messages are put: numbers with their noun, lists with a line for each entry, the first of many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_VERBS = {"is": "are", "has": "have"}
"""Of one and of several; other verbs lose their s."""


def counted(number: int, noun: str, verb: str = "") -> str:
    """A number with its noun and its verb, as they go with one or with several.

    Parameters
    ----------
    number
        Of things.
    noun, verb
        As they are with one thing: ``block``, ``is``.

    Examples
    --------
    >>> counted(1, "block"), counted(12_000, "block"), counted(1, "file", "states"), counted(2, "class", "is")
    ('1 block', '12,000 blocks', '1 file states', '2 classes are')
    """
    if number != 1:
        noun, verb = noun + ("es" if noun.endswith("s") else "s"), _VERBS.get(verb, verb.removesuffix("s"))
    return f"{number:,} {noun} {verb}".rstrip()


def bullets(lines: Iterable[str]) -> str:
    """A line for each entry of a list, to stand behind a colon.

    >>> print("It lacks:" + bullets(["bands", "dates"]))
    It lacks:
    - bands
    - dates
    """
    return "".join(f"\n- {line}" for line in lines)


def first_lines(lines: Sequence[str], most: int, more: str = "more") -> list[str]:
    """The first ``most`` of ``lines``, and a line that says how many are left out.

    >>> first_lines(["a", "b", "c"], 1)
    ['a', 'and 2 more']
    """
    left = len(lines) - most
    return [*lines[:most], *([f"and {left:,} {more}"] if left > 0 else [])]


def problem_text(kind: str, message: str) -> str:
    """What is wrong with a setting, in plain words where pydantic has words of its own.

    Parameters
    ----------
    kind, message
        As pydantic gives them.

    Examples
    --------
    >>> problem_text("missing", "Field required"), problem_text("value_error", "Value error, give either")
    ('required, and not given', 'give either')
    """
    known = {"missing": "required, and not given", "extra_forbidden": "unknown key"}
    return known.get(kind) or message.removeprefix("Value error, ")


def content_kind(content: object) -> str:
    """What a YAML file holds in place of keys and values.

    >>> content_kind(None), content_kind("grid"), content_kind([1])
    ('nothing', 'a text', 'a list')
    """
    if content is None:
        return "nothing"
    return {"str": "a text", "list": "a list"}.get(kind := type(content).__name__, f"one {kind}")
