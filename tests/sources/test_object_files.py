"""Tiles in an object store: found by prefix and pattern, with versions, and named where they are not there."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landweave.core.errors import InputError, MissingFileError, ReadError
from landweave.sources.files import RasterFile, file_versions, query_file, remote_version
from landweave.sources.object_files import in_object_store, list_objects
from landweave.store import objects
from landweave.store.gdal_options import file_options
from landweave.store.objects import Target
from tests.helpers.counted_s3 import BUCKET, counted_s3
from tests.helpers.tiles import write_tile

ROOT = f"s3://{BUCKET}/tiles"
NAMES = ("a.tif", "b.TIF", "b.txt", "deeper/c.tif", "[1]/d.tif", "yes/e.tif")


@pytest.fixture(scope="module")
def options() -> Iterator[tuple]:
    with counted_s3() as s3:
        target = Target.parse(ROOT, s3.storage_options)
        for name in NAMES:
            target.put(name, name.encode())
        for name in ("marks/.folder", "marks/._x.tif"):
            target.put(name, b"of a browser of buckets, and of macOS")
        target.put("marks/sub.tif", b"")
        target.put("marks/x.tif", b"a tile")
        yield tuple(sorted(s3.storage_options.items()))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a.tif", ["a.tif"]),
        ("", ["a.tif", "b.TIF"]),
        ("*.tif", ["[1]/d.tif", "a.tif", "deeper/c.tif", "marks/x.tif", "yes/e.tif"]),
        ("[1]/", ["[1]/d.tif"]),
        ("d*/", ["deeper/c.tif"]),
        ("deeper/?.tif", ["deeper/c.tif"]),
        ("b.*", ["b.TIF", "b.txt"]),
        ("ye[st]/", ["yes/e.tif"]),
        ("marks/*", ["marks/x.tif"]),
    ],
)
def test_what_a_pattern_names(options: tuple, pattern: str, found: list[str]) -> None:
    named = list_objects(f"{ROOT}/{pattern}", options, (".tif",))
    assert named == [f"{ROOT}/{name}" for name in found]


def test_a_pattern_that_names_nothing(options: tuple) -> None:
    with pytest.raises(InputError, match=r"\*\.jp2' names 0 of 7 objects below"):
        list_objects(f"{ROOT}/*.jp2", options, (".tif",))
    with pytest.raises(InputError, match="names a pattern of buckets"):
        list_objects("s3://buck*t/a.tif", options, (".tif",))


def test_a_version_is_size_and_etag_and_what_is_gone_is_named(options: tuple) -> None:
    size, etag = remote_version(f"{ROOT}/a.tif", None, options)
    assert size == len("a.tif")
    Target.parse(ROOT, dict(options)).put("a.tif", b"other")
    assert remote_version(f"{ROOT}/a.tif", None, options) == (size, etag)  # remembered
    assert remote_version(f"{ROOT}/a.tif", None, options, again=True) not in ((size, etag), (0, ""))
    with pytest.raises(MissingFileError, match=r"none\.tif cannot be read: HTTP error 404"):
        remote_version(f"{ROOT}/none.tif", None, options)


def test_a_name_with_signs_of_a_url_is_that_name(options: tuple, tmp_path: Path) -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    tile = write_tile(tmp_path / "tile.tif", pixels, corner_xy=(0, 0))
    root, name = f"s3://{BUCKET}/named", "é #1 100%25+;.tif"
    Target.parse(root, dict(options)).put(name, tile.read_bytes())
    assert list_objects(f"{root}/", options, (".tif",)) == [f"{root}/{name}"]
    read = query_file(RasterFile(href=f"{root}/{name}", storage_options=options), lambda dataset: dataset.read())
    assert (read == pixels).all()


def test_a_store_that_does_not_respond_is_asked_once_for_all_files(monkeypatch: pytest.MonkeyPatch) -> None:
    options = (("access_key_id", "a"), ("endpoint", "http://127.0.0.1:1"), ("secret_access_key", "b"))
    tried: list[str] = []
    real = Target.version
    monkeypatch.setattr(Target, "version", lambda self, name: tried.append(name) or real(self, name))
    quick = replace(objects.RETRY, pauses_s=(0.0,))
    monkeypatch.setattr(objects, "RETRY", quick)
    assert file_versions([f"s3://gone/{name}.tif" for name in "abc"], None, options) == {
        f"s3://gone/{name}.tif": (0, "") for name in "abc"
    }
    assert file_versions([f"s3://gone/{name}.tif" for name in "def"], None, options)
    assert set(tried) <= {"a.tif", "b.tif", "c.tif"}
    with pytest.raises(ReadError, match="cannot be read"):
        remote_version("s3://gone/a.tif", None, options, again=True)
    assert tried[-1] == "a.tif"
    objects.RETRY.outage.lasts = False


def test_the_settings_of_gdal_in_the_environment_count(options: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    given = dict(options)
    monkeypatch.setenv("AWS_S3_ENDPOINT", given["endpoint"].removeprefix("http://"))
    monkeypatch.setenv("AWS_HTTPS", "NO")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", given["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", given["secret_access_key"])
    assert remote_version(f"{ROOT}/b.txt") == remote_version(f"{ROOT}/b.txt", None, options)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_the_endpoint_of_the_environment_counts_for_gdal(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Else tiles are listed in one store, and read from a bucket of the same name in another."""
    monkeypatch.delenv("AWS_S3_ENDPOINT", raising=False)
    monkeypatch.setenv(name, "http://host:9000")
    assert file_options(f"{ROOT}/a.tif", ())["AWS_S3_ENDPOINT"] == "host:9000"
    assert file_options(f"{ROOT}/a.tif", (("endpoint", "https://other"),))["AWS_S3_ENDPOINT"] == "other"
    monkeypatch.setenv("AWS_S3_ENDPOINT", "own")
    assert "AWS_S3_ENDPOINT" not in file_options(f"{ROOT}/a.tif", ())


def test_an_option_by_any_of_its_names_counts_before_the_variables_of_gdal(
    options: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_S3_ENDPOINT", "127.0.0.1:1")
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    renamed = dict(options)
    renamed["aws_endpoint_url"], renamed["skip_signature"] = renamed.pop("endpoint"), False
    assert list_objects(f"{ROOT}/d*/", tuple(renamed.items()), (".tif",)) == [f"{ROOT}/deeper/c.tif"]


def test_what_lies_in_an_object_store() -> None:
    assert [in_object_store(name) for name in ("s3://a/b", "az://a/b", "http://a/b", "a/b", "s3")] == [1, 1, 0, 0, 0]
