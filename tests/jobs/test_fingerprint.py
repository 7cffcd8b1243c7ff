import json
from collections import OrderedDict

import pytest

from landweave.jobs.fingerprint import Fingerprint, differences, digest64

MEANING = {
    "grid": {"crs": "EPSG:2154", "resolution": "1/5", "extent": [[0, 4096], [0, 8192]]},
    "windows": {"size": 512, "stride": 384, "blend": "cosine"},
    "scenes": [f"31-2019-{number:04}.jp2" for number in range(40)],
    "keep_untrained": False,
}


def changed(**parts):
    return Fingerprint({**MEANING, **parts})


def test_the_same_meaning_has_the_same_digest_however_it_was_built():
    reordered = OrderedDict(reversed(MEANING.items()))
    reordered["grid"] = {"resolution": "1/5", "extent": ((0, 4096), (0, 8192)), "crs": "EPSG:2154"}
    assert Fingerprint(reordered) == Fingerprint(MEANING)
    assert Fingerprint(reordered).sha256 == Fingerprint(MEANING).sha256


def test_it_comes_back_from_its_stored_text():
    stored = Fingerprint(MEANING).canonical
    assert Fingerprint(json.loads(stored)) == Fingerprint(MEANING)
    assert Fingerprint(json.loads(stored)).canonical == stored


def test_the_digest_does_not_change_between_releases():
    known = "91e40a50dc96587ee9077e46b3975ad7"
    assert Fingerprint({"blend": "cosine", "size": 512, "é": [1.5, None, True]}).sha256[:32] == known


@pytest.mark.parametrize(
    "parts",
    [
        {"keep_untrained": True},
        {"keep_untrained": 0},
        {"scenes": list(reversed(MEANING["scenes"]))},
        {"scenes": MEANING["scenes"][:-1]},
        {"batch_size": 4},
    ],
)
def test_any_change_of_meaning_changes_the_digest_and_is_told(parts):
    other = changed(**parts)
    assert other.sha256 != Fingerprint(MEANING).sha256
    [line] = differences(Fingerprint(MEANING), other)
    assert line.startswith(next(iter(parts)))


def test_differences_name_the_part_and_both_values():
    old = changed(windows={"size": 512, "stride": 384, "blend": "linear"}, torch_threads=2)
    new = changed(windows={"size": 512, "stride": 256, "blend": "cosine"})
    assert differences(old, new) == [
        "torch_threads: absent here, 2 in the output",
        "windows.blend: cosine here, linear in the output",
        "windows.stride: 256 here, 384 in the output",
    ]
    assert differences(old, old) == []


def test_long_lists_are_not_printed_whole():
    scenes = [*MEANING["scenes"][:12], "new.jp2", *MEANING["scenes"][12:]]
    [line] = differences(Fingerprint(MEANING), changed(scenes=scenes))
    assert line == "scenes: 41 entries here, 40 in the output; entry 12 is new.jp2 here, 31-2019-0012.jp2 there"
    [line] = differences(changed(scenes=scenes), changed(scenes=scenes[:-1]))
    assert line == "scenes: 40 entries here, 41 in the output; entry 40 is absent here, 31-2019-0039.jp2 there"


@pytest.mark.parametrize("value", [{1, 2}, 1j, b"bytes", object()])
def test_what_is_not_json_is_refused_with_its_place(value):
    with pytest.raises(TypeError, match=r"model\.layers\[1\]"):
        Fingerprint({"model": {"layers": ["a", value]}})


def test_keys_are_strings_and_numbers_finite():
    with pytest.raises(TypeError, match="keys are strings: 3"):
        Fingerprint({"classes": {3: "water"}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        _ = Fingerprint({"scale": float("nan")}).sha256


def test_digest64_knows_every_item_and_its_order():
    scenes = [("AERIAL_RGBI", "a.jp2", 1000, "t1"), ("AERIAL_RGBI", "b.jp2", 1000, "t1")]
    repaired = [scenes[0], ("AERIAL_RGBI", "b.jp2", 1000, "t2")]
    digests = [digest64(items) for items in (scenes, repaired, scenes[::-1], scenes[:1], [])]
    assert len(set(digests)) == 5
    assert digests[-1] == 0
    assert all(0 <= digest < 2**64 for digest in digests)
    assert digest64(iter(scenes)) == digests[0]
