"""Files held against their checksums: which lists count, and what a mismatch, a repair and a setting do."""

import hashlib
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from landweave.core.checksums import Checksum
from landweave.core.errors import InputError, ReadError
from landweave.sources import checksums, files
from landweave.sources.checksums import FoundChecksums, check_file, find_checksums, without_checksums
from landweave.sources.files import RasterFile, file_version
from landweave.store import objects
from landweave.store.objects import Target
from tests.helpers.counted_s3 import BUCKET, counted_s3
from tests.helpers.web import responding, served


@pytest.fixture
def tile(tmp_path):
    path = tmp_path / "delivery" / "rvb" / "a.tif"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"pixels" * 1000)
    return path


@pytest.fixture(scope="module")
def s3():
    with counted_s3() as counted:
        yield counted


def digest(path, algorithm="sha256"):
    return hashlib.new(algorithm, Path(path).read_bytes()).hexdigest()


def found(tile, wanted=None):
    return find_checksums({str(tile): tile.stat().st_size}, wanted)


LISTS = {
    "SHA256SUMS": lambda tile: (tile.parent / "SHA256SUMS", f"{digest(tile)}  a.tif\n"),
    "md5sums.txt": lambda tile: (tile.parent / "md5sums.txt", f"{digest(tile, 'md5')} *a.tif\r\n"),
    "checksums.sha1": lambda tile: (tile.parent / "checksums.sha1", f"SHA1 (a.tif) = {digest(tile, 'sha1')}\n"),
    "beside the file": lambda tile: (tile.with_name("a.tif.md5"), digest(tile, "md5")),
    "named elsewhere": lambda tile: (tile.with_name("a.tif.md5"), f"{digest(tile, 'md5')}  /prod/x.tif\n"),
    "of the folder, beside it": lambda tile: (tile.parent.with_name("rvb.md5"), f"{digest(tile, 'md5')}  a.tif\n"),
    "of the delivery": lambda tile: (tile.parent.with_name("SHA512SUMS"), f"{digest(tile, 'sha512')}  ./rvb/a.tif\n"),
    "Windows": lambda tile: (tile.parent.with_name("MD5SUMS"), f"\ufeff{digest(tile, 'md5').upper()}  rvb\\a.tif\r\n"),
    "delivery.md5": lambda tile: (tile.with_name("D031.md5"), f"{'0' * 32}  b.tif\n{digest(tile, 'md5')}  a.tif\n"),
}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_beside_tiles_are_found_and_the_bytes_held_against_them(tile, kind):
    path, text = LISTS[kind](tile)
    path.write_text(text, encoding="utf-8")
    checksum = found(tile).by_path[str(tile)]
    assert checksum.origin == str(path)
    file = RasterFile(href=str(tile), checksum=checksum)
    check_file(file)
    content = bytearray(tile.read_bytes())
    content[17] ^= 1
    tile.write_bytes(content)
    with pytest.raises(ReadError) as error:
        check_file(file)
    assert checksum.digest[:16] in str(error.value)
    assert digest(tile, checksum.algorithm)[:16] in str(error.value)
    assert path.name in str(error.value)


def test_of_two_lists_the_stronger_counts_and_lists_of_other_files_do_not(tile):
    (tile.parent / "MD5SUMS").write_text(f"{'0' * 32}  a.tif\n")
    (tile.parent / "SHA256SUMS").write_text(f"{digest(tile)}  a.tif\n{'1' * 64}  b.tif\n")
    tile.with_name("b.tif").write_bytes(b"")
    tile.with_name("b.tif.md5").write_text("2" * 32)
    (tile.parent.parent / "other.md5").write_text(f"{'3' * 32}  a.tif\n")
    result = found(tile)
    assert {path: each.algorithm for path, each in result.by_path.items()} == {str(tile): "sha256"}
    assert "1 of 1 file is held against the checksums" in result.notes[0]


def test_a_file_named_so_that_holds_none_is_noted(tile):
    (tile.parent / "SHA256SUMS").write_text("<html>not found</html>")
    result = found(tile)
    assert not result.by_path
    assert "SHA256SUMS has no line that is a checksum" in result.notes[0]


def test_a_list_that_is_named_counts_by_names_alone_and_has_to_be_of_these_files(tile, tmp_path):
    listed = tmp_path / "sums of the producer"
    listed.write_text(f"{digest(tile)}  D:\\prod\\a.tif\n{'0' * 64}  b.tif\n")
    assert found(tile, str(listed)).by_path[str(tile)].digest == digest(tile)
    listed.write_text(f"{digest(tile)}  one/a.tif\n{'0' * 64}  two/a.tif\n")
    with pytest.raises(InputError, match="none of the 1 file"):
        found(tile, str(listed))
    with pytest.raises(InputError, match="cannot be read"):
        found(tile, str(tmp_path / "absent"))


@pytest.fixture
def hashed(monkeypatch):
    """How often a file is hashed."""
    calls = []
    once = checksums._digest
    monkeypatch.setattr(checksums, "_digest", lambda file, algorithm: calls.append(file.href) or once(file, algorithm))
    return calls


def test_a_file_is_read_whole_once_and_again_when_it_changes(tile, hashed):
    good = Checksum(algorithm="sha256", digest=digest(tile), origin="SHA256SUMS")
    for _ in range(3):
        check_file(RasterFile(href=str(tile), checksum=good))
        check_file(RasterFile(href=str(tile), checksum=good, version=file_version(str(tile))))
    assert len(hashed) == 1
    whole = tile.read_bytes()
    tile.write_bytes(b"other" + whole[5:])
    for _ in range(3):
        with pytest.raises(ReadError):
            check_file(RasterFile(href=str(tile), checksum=good))
    assert len(hashed) == 2
    tile.write_bytes(whole)  # repaired
    check_file(RasterFile(href=str(tile), checksum=good))
    tile.write_bytes(b"other" + whole[5:])
    with without_checksums():
        check_file(RasterFile(href=str(tile), checksum=good))
    check_file(RasterFile(href=str(tile)))


def test_a_file_on_the_web_is_fetched_whole_and_checked(tile):
    good = Checksum(algorithm="md5", digest=digest(tile, "md5"), origin="item S2A")
    with served(tile.parent) as address:
        href = f"{address}/a.tif?sig=canary"
        check_file(RasterFile(href=href, checksum=good))
        tile.write_bytes(tile.read_bytes()[::-1])
        with pytest.raises(ReadError, match="item S2A states") as error:
            check_file(RasterFile(href=href, checksum=good, version=(1, "another")))
    assert "canary" not in str(error.value)


def test_a_server_that_is_not_fetched_from_says_so_at_once():
    good = Checksum(algorithm="md5", digest=np.binary_repr(0, 32), origin="MD5SUMS")
    with pytest.raises(ReadError, match="cannot be held against its checksum"):
        check_file(RasterFile(href="ftp://server/a.tif", checksum=good, version=(1, "etag")))


DELIVERY = "delivery/rvb"


def put_delivery(target, tile, kind):
    """The tile and its list in a bucket, at the same places; address of the list."""
    path, text = LISTS[kind](tile)
    below = tile.parents[2]
    for place, content in ((tile, tile.read_bytes()), (path, text.encode())):
        target.put(place.relative_to(below).as_posix(), content)
    return f"{target}/{path.relative_to(below).as_posix()}"


@pytest.mark.parametrize("kind", LISTS)
def test_lists_beside_tiles_in_a_bucket_are_found_as_those_of_a_folder(tile, kind, s3):
    target = Target.parse(f"s3://{BUCKET}/{kind.replace(' ', '-')}", s3.storage_options)
    href, origin = f"{target}/{DELIVERY}/a.tif", put_delivery(target, tile, kind)
    asked = dict(s3.requests)
    assert find_checksums({href: 6000}, None, target.storage_options) == FoundChecksums()
    assert s3.requests == asked
    checksum = find_checksums({href: 6000}, True, target.storage_options).by_path[href]
    assert checksum.origin == origin
    file = RasterFile(href=href, checksum=checksum, storage_options=target.storage_options)
    check_file(file)
    target.put(f"{DELIVERY}/a.tif", tile.read_bytes()[::-1])
    with pytest.raises(ReadError, match=f"{origin.rpartition('/')[2]} states {checksum.digest[:16]}"):
        check_file(replace(file, version=(1, "another")))


def test_a_bucket_that_may_not_be_listed_is_noted_and_a_list_in_it_may_be_named(tile, s3, monkeypatch):
    target = Target.parse(f"s3://{BUCKET}/closed", s3.storage_options)
    href, origin = f"{target}/{DELIVERY}/a.tif", put_delivery(target, tile, "SHA256SUMS")
    monkeypatch.setattr(s3, "fault", lambda: "403 Forbidden")
    found = find_checksums({href: 6000}, True, target.storage_options)
    assert not found.by_path
    assert f"{target}/{DELIVERY} cannot be listed: checksums in it are not looked for" in found.notes
    with pytest.raises(InputError, match="SHA256SUMS cannot be read"):
        find_checksums({href: 6000}, origin, target.storage_options)
    monkeypatch.setattr(objects, "RETRY", replace(objects.RETRY, pauses_s=(0.0,)))
    monkeypatch.setattr(s3, "fault", lambda: "503 Slow Down")
    with pytest.raises(InputError, match=r"checksums: .*cannot be listed: .*set checksums: false"):
        find_checksums({href: 6000}, True, target.storage_options)
    monkeypatch.undo()
    assert find_checksums({href: 6000}, origin, target.storage_options).by_path[href].digest == digest(tile)
    with pytest.raises(InputError, match=r"none\.txt cannot be read: .*404"):
        find_checksums({href: 6000}, f"{target}/none.txt", target.storage_options)


@pytest.mark.parametrize("kind", ["SHA256SUMS", "Windows"])
def test_a_web_server_is_asked_for_the_usual_lists_beside_its_tiles(tile, kind, monkeypatch):
    with served(tile.parents[2]) as address:
        href = f"{address}/{DELIVERY}/a.tif?sig=canary"
        assert find_checksums({href: 6000}, True).by_path == {}
        path, text = LISTS[kind](tile)
        path.write_text(text)
        assert find_checksums({href: 6000}, None) == find_checksums({href: 6000}, False) == FoundChecksums()
        found = find_checksums({href: 6000}, True)
        assert found.by_path[href].digest == digest(tile, found.by_path[href].algorithm)
        assert "canary" not in str((*found.notes, *found.by_path.values()))
        path.write_text("<html>every address has a page here</html>")
        assert not find_checksums({href: 6000}, True).notes
        path.write_bytes(bytes(100))
        monkeypatch.setattr(checksums, "_LONGEST_LIST", 99)
        with pytest.raises(InputError, match="more than 99 bytes"):
            find_checksums({href: 6000}, True)


class Responding(BaseHTTPRequestHandler):
    """A server whose answer is the status that an address begins with."""

    def do_GET(self):
        self.send_error(int(self.path.split("/")[1]))

    def log_message(self, *_):
        """Nothing: a test's output is its own."""


def test_a_server_that_had_no_time_does_not_say_that_it_has_no_list(monkeypatch):
    monkeypatch.setattr(files, "PAUSES_S", (0.0,))
    with responding(Responding) as address:
        for status in (400, 401, 403, 404, 405, 410):
            assert find_checksums({f"{address}/{status}/rvb/a.tif": 6000}, True) == FoundChecksums()
        for status in (408, 429, 500, 503):
            href = f"{address}/{status}/rvb/a.tif?sig=canary"
            assert find_checksums({href: 6000}, None) == FoundChecksums()
            with pytest.raises(InputError, match=rf"checksums: .*SUMS .*{status}.*set checksums: false") as refusal:
                find_checksums({href: 6000}, True)
            assert "canary" not in str(refusal.value)
