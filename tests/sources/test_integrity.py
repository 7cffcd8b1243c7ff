from pathlib import Path

import numpy as np
import pytest

from landweave.sources.integrity import find_damage, unwritten_blocks
from landweave.sources.tiff_tags import bytes_at

LAYOUTS = {
    "strips": {},
    "tiles": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"},
    "big": {"BIGTIFF": "YES", "tiled": True, "blockxsize": 64, "blockysize": 64},
    "motorola": {"ENDIANNESS": "BIG"},
    "cog": {"driver": "COG", "BLOCKSIZE": 128, "OVERVIEWS": "AUTO"},
    "jp2": {"driver": "JP2OpenJPEG"},
}


@pytest.fixture(params=LAYOUTS)
def whole(request, write_tile, rng):
    values = rng.integers(0, 255, (3, 200, 300), dtype=np.uint8)
    suffix = "jp2" if request.param == "jp2" else "tif"
    return Path(write_tile(f"{request.param}.{suffix}", values, (700000, 6600000), **LAYOUTS[request.param]))


def test_a_whole_file_is_whole(whole):
    assert find_damage(str(whole)) == ""


def test_blocks_that_were_never_written_are_counted(whole, write_tile):
    assert unwritten_blocks(str(whole))[0] == 0
    sparse = write_tile("sparse.tif", np.zeros((1, 128, 192), np.uint8), (0, 0), **LAYOUTS["tiles"], SPARSE_OK=True)
    assert unwritten_blocks(sparse) == (6, 6)
    assert find_damage(sparse) == ""


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.1, 0.01, 0.001])
def test_a_truncated_file_is_told_with_both_sizes(whole, share):
    content = whole.read_bytes()
    left = int(len(content) * share)
    whole.write_bytes(content[:left])
    damage = find_damage(str(whole))
    assert "is truncated" in damage
    assert len([word for word in damage.replace(",", " ").split() if word.isdigit()]) >= 2


@pytest.mark.parametrize("whole", ["jp2"], indirect=True)
def test_a_jpeg2000_of_unstated_length_needs_its_end_marker(whole):
    content = bytearray(whole.read_bytes())
    at = content.index(b"jp2c") - 4
    content[at : at + 4] = bytes(4)  # a last box may say 0: it reaches the end of the file
    whole.write_bytes(content)
    assert find_damage(str(whole)) == ""
    whole.write_bytes(content[:-40])
    assert "is truncated: its tile parts reach byte" in find_damage(str(whole))


def test_real_files_are_whole(shared):
    files = [path for path in shared("data").rglob("*.tif*")]
    assert len(files) > 15
    assert {str(path): find_damage(str(path)) for path in files if find_damage(str(path))} == {}


@pytest.mark.parametrize("content", [b"", b"II*\0", b"II*\0\xff\xff\xff\x7f" + b"\0" * 40])
def test_stumps_are_damaged(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    assert find_damage(str(tmp_path / "a.tif"))


def test_other_formats_are_left_to_gdal(tmp_path):
    (tmp_path / "a.txt").write_text("not a raster")
    assert find_damage(str(tmp_path / "a.txt")) == ""


def test_a_file_that_is_not_there_is_told(tmp_path):
    assert "cannot be read" in find_damage(str(tmp_path / "a.tif"))


@pytest.mark.parametrize(("at", "length"), [(2, 3), (100, 1), (2**50, 4), (2**64 - 8, 8), (0, 2**62)])
def test_bytes_that_are_not_in_a_file_are_told_with_both_numbers(tmp_path: Path, at: int, length: int) -> None:
    path = tmp_path / "four"
    path.write_bytes(b"1234")
    with path.open("rb") as file:
        assert bytes_at(file, 1, 3) == b"234"
        there = max(0, 4 - at)
        with pytest.raises(ValueError, match=f"{length} bytes expected at byte {at}, {there} there"):
            bytes_at(file, at, length)
