import time

import pytest
import yaml

from landweave.core.yaml_text import MOST_BYTES, load_yaml, load_yaml_file

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "values with those that aliases repeat"),
        ("a: &a [*a]", "values with those that aliases repeat|recursive"),
        ("a: &a\n  b: *a", "values with those that aliases repeat|recursive"),
        ("[" * 3000 + "]" * 3000, "more than 50 levels"),
        ("a: " + "9" * 5000, "5,000 digits"),
        ("a: 0x" + "f" * 100_000, "digits"),
        ("a: " + ":".join(["59"] * 2000), "digits"),
        ("a: " + "x" * 2_000_000, "1,048,576 are taken"),
        ("a: 2021-13-45", "month"),
        ("a: {b: [}", "expected"),
        ("a: !!python/object/apply:os.system [ls]", "constructor"),
        ("a: !!int ''", "index"),
        ("a: !!bool x", "x"),
        ("a: !!timestamp x", "group"),
        ("a: [" + "1," * 200_000 + "]", "more than 100,000 values"),
        ("? [a, b]\n: c\n? {}\n: d", "unhashable"),
        ("a:\n  b: 1\n  'b': 2", "the key 'b' stands twice at line 3, column 3"),
    ],
    ids=[
        "aliases",
        "itself",
        "own-value",
        "depth",
        "digits",
        "hex",
        "sexagesimal",
        "size",
        "date",
        "open",
        "tag",
        "empty",
        "bool",
        "time",
        "many",
        "key",
        "twice",
    ],
)
def test_what_costs_more_than_it_says_is_refused_at_once(text, said):
    started = time.process_time()
    with pytest.raises(yaml.YAMLError, match=said):
        load_yaml(text)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "text",
    [
        "a: 1",
        "a: &x {b: 1}\nc: &y {<<: *x, b: 2}\nd: {<<: [*y, *x], b: 3}\ne: *y",
        "- 0.2\n- 1e3\n- 0x10\n- 1_000\n- '1/3'",
        "",
        "a: 2021-01-31",
    ],
)
def test_what_people_write_is_what_yaml_says(text):
    assert load_yaml(text) == yaml.safe_load(text)


def test_of_a_file_no_more_is_read_than_is_taken(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(2 * 10**9)  # on a disk it takes no room
    with pytest.raises(yaml.YAMLError, match=f"more than {MOST_BYTES:,} bytes"):
        load_yaml_file(path)
