"""What is known of files from before: under its own stamp only, and never in the way."""

import pwd
import sqlite3
import threading
from pathlib import Path

import pytest

from landweave.core import user_cache
from landweave.core.user_cache import UserCache, cache_folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserCache:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    return UserCache("test")


def test_a_value_is_found_under_its_own_stamp(cache: UserCache) -> None:
    cache.put({"a": ("1", [1, "x"]), "b": ("1", {"c": None})})
    assert cache.get({"a": "1", "b": "2", "c": "1"}) == {"a": [1, "x"]}
    cache.put({"a": ("2", "new")})
    assert cache.get({"a": "1"}) == {}
    assert cache.get({"a": "2"}) == {"a": "new"}
    assert UserCache("other").get({"a": "2"}) == {}


@pytest.mark.parametrize("content", [b"", b"no database at all" * 99, b"SQLite format 3\0" + bytes(99)])
def test_a_damaged_cache_is_as_good_as_empty(cache: UserCache, content: bytes) -> None:
    cache.put({"a": ("1", 1)})
    (cache_folder() / "test.sqlite").write_bytes(content)
    assert cache.get({"a": "1"}) == {}
    cache.put({"a": ("1", 2)})
    cache.put({"a": ("1", 2)})
    assert cache.get({"a": "1"}) == {"a": 2}


def test_a_value_that_is_no_json_is_left_out(cache: UserCache) -> None:
    cache.put({"a": ("1", 1)})
    with sqlite3.connect(cache_folder() / "test.sqlite") as database:
        database.execute("UPDATE facts SET value = '{'")
    assert cache.get({"a": "1"}) == {}


def test_a_folder_that_cannot_be_made_is_no_error(cache: UserCache, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    cache.put({"a": ("1", 1)})
    assert cache.get({"a": "1"}) == {}


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    UserCache("test").put({"a": ("1", 1)})
    assert UserCache("test").get({"a": "1"}) == {}
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_text_is_left_out(cache: UserCache) -> None:
    cache.put({"caf\udce9.tif": ("1", 1)})
    assert cache.get({"caf\udce9.tif": "1"}) == {}


def test_too_many_entries_begin_anew(cache: UserCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cache, "MOST_ENTRIES", 2)
    cache.put({name: ("1", 1) for name in "abc"})
    cache.put({"d": ("1", 4)})
    assert cache.get(dict.fromkeys("abcd", "1")) == {"d": 4}


def test_threads_and_processes_share_it(cache: UserCache) -> None:
    threads = [threading.Thread(target=cache.put, args=({str(n): ("1", n)},)) for n in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert cache.get({str(n): "1" for n in range(8)}) == {str(n): n for n in range(8)}
