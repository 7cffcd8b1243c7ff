import pickle
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import obstore
import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from landweave.core.errors import ConfigError, OutputError
from landweave.store import objects
from landweave.store.objects import Target


def test_small_objects_come_back(any_target):
    assert any_target.get("a/b.json") is None
    assert not any_target.exists("a/b.json")
    any_target.put("a/b.json", b"one")
    any_target.put("a/b.json", b"two")
    any_target.put("a/c.json", b"")
    any_target.put("ab.json", b"x")
    assert any_target.get("a/b.json") == b"two"
    assert any_target.get("a/c.json") == b""
    assert any_target.exists("a/b.json")
    assert any_target.list("a") == ("a/b.json", "a/c.json")
    assert any_target.list() == ("a/b.json", "a/c.json", "ab.json")
    any_target.delete("a/b.json")
    any_target.delete("a/b.json")
    assert any_target.list("a") == ("a/c.json",)


def test_what_killed_writers_left_half_written_is_removed(tmp_path):
    """No listing shows it; a file that a user calls so stays."""
    target = Target.parse(tmp_path)
    for name in ("map/c/0/1", ".lease"):
        target.put(name, b"whole")
        for number in (1, 2):
            (tmp_path / f"{name}#{number}").write_bytes(b"half")
    (tmp_path / "notes#1").write_bytes(b"a user's")
    target.put("map/.writable-0", b"a trial")
    assert target.list() == (".lease", "map/.writable-0", "map/c/0/1")
    target.delete(".lease")
    assert {path.name for path in tmp_path.iterdir()} == {"map", "notes#1"}
    target.remove_unfinished()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["notes#1", "1"]
    Target.parse(tmp_path / "none").remove_unfinished()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("size", [3, 11 << 20])
def test_a_file_comes_back(any_target, size):
    """A large one too, over an older object; its place in the file is of no account."""
    content = np.random.default_rng(size).bytes(size)
    with tempfile.TemporaryFile() as file:
        file.write(b"old")
        any_target.put_file("a/b", file)
        assert any_target.get("a/b") == b"old"
        file.seek(0)
        file.write(content)
        any_target.put_file("a/b", file)
    assert any_target.get("a/b") == content
    assert any_target.list() == ("a/b",)


def test_a_listing_knows_what_small_objects_of_s3_hold(s3_target, tmp_path):
    s3_target.put("a/b", b"content")
    listing = s3_target.sizes()
    assert listing == {"a/b": 7}
    assert listing.holds("a/b", b"content")
    assert not listing.holds("a/b", b"contenu")
    assert not listing.holds("none", b"")
    assert s3_target.names() == set()
    assert s3_target.start_of("a/b", 3) == b"con"
    local = Target.parse(tmp_path)
    local.put("a", b"content")
    assert not local.sizes().holds("a", b"content")


def test_an_empty_place_lists_nothing(any_target):
    assert any_target.list() == ()


def test_exactly_one_of_many_creates(any_target):
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda number: any_target.create("lease", b"%d" % number), range(8)))
    assert created.count(True) == 1
    assert any_target.get("lease") == b"%d" % created.index(True)


def test_checking_leaves_nothing_behind(any_target, tmp_path):
    any_target.check_writable()
    assert any_target.list() == ()
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    blocked = Target.parse(tmp_path / "file" / "map.zarr")
    with pytest.raises(OutputError, match=r"file/map\.zarr"):
        blocked.check_writable()


def test_a_missing_bucket_is_named(s3_target, s3_options):
    missing = Target.parse("s3://no-such-bucket/map.zarr", s3_options)
    with pytest.raises(OutputError, match=r"s3://no-such-bucket/map\.zarr"):
        missing.check_writable()


def test_secrets_are_never_shown(s3_target, s3_options):
    copy = pickle.loads(pickle.dumps(s3_target))
    assert copy == s3_target
    copy.put("a", b"1")
    for text in (repr(s3_target), str(s3_target), str(s3_target.beside(""))):
        assert "hidden-word" not in text
    with pytest.raises(ConfigError, match="s3://maps/x") as caught:
        Target.parse("s3://maps/x", {**s3_options, "no_such_option": "1"})
    assert "hidden-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("where", "options", "message"),
    [
        ("ftp://host/map.zarr", {}, "ftp"),
        ("s3://key:word@bucket/map.zarr", {}, "credentials"),
        ("az://bucket/map.zarr?sig=word", {}, "credentials"),
        ("out/map.zarr", {"region": "eu-west-3"}, "region"),
        ("s3://", {}, "names no bucket"),
        ("s3://host:9000/maps/map.zarr", {}, "names no bucket"),
        ("s3://maps/a/../map.zarr", {}, "a part . or .."),
        ("s3://maps/a\nmap.zarr", {}, "cannot be printed"),
        ("s3:/key:word@maps/map.zarr", {}, "a URL begins with s3://"),
        ("/vsigs/maps/map.zarr", {}, "a URL begins with gs://"),
        ("file:/maps/map.zarr", {}, "a URL begins with file://"),
        ("file://host/maps/map.zarr", {}, "names another machine"),
    ],
)
def test_places_that_cannot_be_meant(where, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Target.parse(where, options)
    assert "word@" not in str(caught.value)


def test_local_places_do_not_depend_on_the_folder_one_stands_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        Target.parse("map.zarr") == Target.parse(tmp_path / "map.zarr") == Target.parse(f"file://{tmp_path}/map.zarr")
    )


def test_the_path_of_a_url_is_encoded(tmp_path):
    folder = tmp_path / "my maps #1"
    assert Target.parse(folder.as_uri()) == Target.parse(folder)
    assert Target.parse(f"file://localhost{tmp_path}/a") == Target.parse(tmp_path / "a")


@pytest.mark.parametrize("name", ["a b", "a%20b", "a#1", "a+b", "100%", "é"])
def test_names_in_a_bucket_stand_for_themselves(s3_target, s3_options, name):
    """Else two outputs, each with a lease of its own, are one."""
    target = Target.parse(f"{s3_target}/{name}.zarr", s3_options)
    target.put("a", b"1")
    place, lease = target.beside(".lease")
    place.put(lease, b"2")
    assert place.list() == tuple(sorted((f"{name}.zarr.lease", f"{name}.zarr/a")))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(objects, "RETRY", replace(objects.RETRY, pauses_s=(0.0, 0.0, 0.0)))


def failing(monkeypatch, name, errors, *, after=False):
    """Let the first calls of an obstore function fail, before or after they have done their work."""
    real, left, calls = getattr(obstore, name), list(errors), []

    def wrapped(*args, **kwargs):
        calls.append(args)
        if after and left:
            real(*args, **kwargs)
        if left:
            raise left.pop(0)
        return real(*args, **kwargs)

    monkeypatch.setattr(obstore, name, wrapped)
    return calls


def test_a_transient_error_is_tried_again(tmp_path, monkeypatch, quick):
    calls = failing(monkeypatch, "put", [GenericError("503"), GenericError("reset")])
    target = Target.parse(tmp_path / "x")
    target.put("a", b"1")
    assert (target.get("a"), len(calls)) == (b"1", 3)


def test_a_file_is_written_whole_whichever_try_succeeds(tmp_path, monkeypatch, quick):
    failing(monkeypatch, "put", [GenericError("answer lost")], after=True)
    target = Target.parse(tmp_path / "x")
    with tempfile.TemporaryFile() as file:
        file.write(b"all of it")
        target.put_file("a", file)
    assert target.get("a") == b"all of it"


def test_tries_are_bounded(tmp_path, monkeypatch, quick):
    calls = failing(monkeypatch, "put", [GenericError("503")] * 10)
    with pytest.raises(OutputError, match="503"):
        Target.parse(tmp_path / "x").put("a", b"1")
    assert len(calls) == 4


def test_a_refusal_is_not_tried_again(tmp_path, monkeypatch, quick):
    calls = failing(monkeypatch, "put", [PermissionDeniedError("no right")] * 2)
    with pytest.raises(OutputError, match="no right"):
        Target.parse(tmp_path / "x").put("a", b"1")
    assert len(calls) == 1


def test_a_creation_whose_answer_was_lost_is_ours(tmp_path, monkeypatch, quick):
    target = Target.parse(tmp_path / "x")
    failing(monkeypatch, "put", [GenericError("answer lost")], after=True)
    assert target.create("lease", b"mine")
    assert not target.create("lease", b"other")


def test_an_output_behind_a_link_is_what_it_leads_to(tmp_path):
    """Two drivers that call it by two names meet at one lease."""
    linked, real, loop = (tmp_path / name for name in ("linked", "real", "loop"))
    linked.symlink_to(real)
    loop.symlink_to(loop)
    assert Target.parse(linked) == Target.parse(real)
    Target.parse(linked).put("a", b"1")
    assert (real / "a").read_bytes() == b"1"
    assert linked.is_symlink()
    with pytest.raises(OutputError, match="loop"):
        Target.parse(loop).check_writable()
