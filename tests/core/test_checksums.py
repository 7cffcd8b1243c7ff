"""Forms in which deliveries state checksums; oracles: hashlib, and coreutils where it is there."""

import hashlib
import shutil
import subprocess

import pytest

from landweave.core.checksums import Checksum, parse_line

CONTENT = b"a tile"
CODES = {"md5": "d50110", "sha1": "1114", "sha256": "1220", "sha384": "2030", "sha512": "1340"}


@pytest.mark.parametrize("algorithm", CODES)
def test_plain_digits_and_a_multihash_are_the_same_checksum(algorithm):
    digest = hashlib.new(algorithm, CONTENT).hexdigest()
    for text in (digest, digest.upper(), f" {digest}\n", CODES[algorithm] + digest):
        found = Checksum.parse(text, "item")
        assert (found.algorithm, found.digest) == (algorithm, digest)


@pytest.mark.parametrize("text", ["", "yes", "0x12", "ab" * 7, "1220abcd", "g" * 32, "٣" * 32])
def test_what_is_no_checksum_is_none(text):
    assert Checksum.parse(text, "item") is None


@pytest.mark.parametrize("command", ["md5sum", "sha1sum", "sha256sum", "sha512sum"])
@pytest.mark.parametrize("option", [(), ("--tag",), ("-b",)])
def test_lines_of_coreutils_are_read(tmp_path, command, option):
    if shutil.which(command) is None:
        pytest.skip(f"no {command} here")
    (tmp_path / "a tile.tif").write_bytes(CONTENT)
    line = subprocess.run(
        [command, *option, "./a tile.tif"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    name, found = parse_line(line, "list")
    assert name == "a tile.tif"
    assert found.digest == hashlib.new(found.algorithm, CONTENT).hexdigest()


@pytest.mark.parametrize("line", ["", "# made on Monday", "a.tif", "d41d8cd98f00b204e9800998ecf8427", "MD5 (a) ="])
def test_other_lines_are_left_out(line):
    assert parse_line(line, "list") is None
