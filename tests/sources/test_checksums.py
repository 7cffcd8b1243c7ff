"""Files held against their checksums: which lists count, and what a mismatch, a repair and a setting do."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from landweave.core.checksums import Checksum
from landweave.core.errors import InputError, ReadError
from landweave.sources import checksums
from landweave.sources.checksums import check_file, find_checksums, without_checksums
from landweave.sources.files import RasterFile, file_version
from tests.helpers.web import served


@pytest.fixture
def tile(tmp_path):
    path = tmp_path / "delivery" / "rvb" / "a.tif"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"pixels" * 1000)
    return path


def digest(path, algorithm="sha256"):
    return hashlib.new(algorithm, Path(path).read_bytes()).hexdigest()


def found(tile, named=None):
    return find_checksums({str(tile): tile.stat().st_size}, named)


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
    assert "1 of 1 files are held against the checksums" in result.notes[0]


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
    with pytest.raises(InputError, match="none of the 1 files"):
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


def test_a_server_that_is_not_fetched_whole_says_so(tile):
    good = Checksum(algorithm="md5", digest=np.binary_repr(0, 32), origin="MD5SUMS")
    with pytest.raises(ReadError, match="cannot be held against its checksum"):
        check_file(RasterFile(href="ftp://host/a.tif", checksum=good, version=(1, "etag")))
