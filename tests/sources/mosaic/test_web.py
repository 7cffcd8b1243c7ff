"""Tiles on a web server: one that fails, falls silent, loses its files or changes them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from landweave.core.errors import InputError, ReadError
from landweave.sources import files
from tests.helpers.cog_server import CogServer, serving
from tests.sources.mosaic.test_source import X, Y, coded, grid_of, open_mosaic

IMAGE = coded((256, 256))
GRID = grid_of(256, 256)
NETWORK = {"GDAL_HTTP_MAX_RETRY": 0, "GDAL_HTTP_LOW_SPEED_TIME": 1, "GDAL_HTTP_TIMEOUT": 2, "VSI_CACHE": "FALSE"}


@pytest.fixture
def server(write_tile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CogServer]:
    monkeypatch.setattr(files, "PAUSES_S", (0.01, 0.02))
    monkeypatch.setattr(files, "_TIMEOUT_S", 1)
    for name, value in NETWORK.items():
        monkeypatch.setitem(files._NETWORK, name, value)
    write_tile("a.tif", IMAGE, (X, Y), tiled=True, blockxsize=64, blockysize=64)
    with serving(tmp_path) as running:
        yield running


def opened(server: CogServer, query: str = ""):
    return open_mosaic(server.folder, f"{server.address}/a.tif{query}", grid=GRID)


def test_the_bits_are_those_of_the_file(server: CogServer) -> None:
    np.testing.assert_array_equal(opened(server).read(GRID, ("R",)).values, IMAGE)


@pytest.mark.parametrize("harm", ["fail", "hang_up", "stall"])
def test_a_header_is_asked_for_again(server: CogServer, harm: str) -> None:
    getattr(server, harm)(2)
    np.testing.assert_array_equal(opened(server).read(GRID, ("R",)).values, IMAGE)


@pytest.mark.parametrize("harm", ["fail", "hang_up", "cut"])
def test_a_window_is_asked_for_again(server: CogServer, harm: str) -> None:
    source = opened(server)
    getattr(server, harm)(2)
    np.testing.assert_array_equal(source.read(GRID, ("R",)).values, IMAGE)


def test_what_is_gone_for_good_is_one_error_without_a_secret(server: CogServer) -> None:
    (server.folder / "a.tif").unlink()
    with pytest.raises(InputError) as caught:
        opened(server, "?token=secret")
    text = str(caught.value)
    assert f"{server.address}/a.tif cannot be read" in text
    assert "404" in text
    assert "it is not there" in text
    for word in ("secret", "pattern", "set sign"):
        assert word not in text


def test_a_server_that_never_answers_is_named(server: CogServer) -> None:
    server.hang_up(99)
    with pytest.raises(InputError, match=r"/a\.tif cannot be read"):
        opened(server)


def test_a_tile_that_goes_between_header_and_window_is_named(server: CogServer) -> None:
    source = opened(server, "?token=secret")
    files._REMEMBERED.clear()
    (server.folder / "a.tif").unlink()
    with pytest.raises(ReadError, match=r"/a\.tif cannot be read.*404") as caught:
        source.read(GRID, ("R",))
    assert "secret" not in str(caught.value)


def test_a_changed_tile_is_another_version_and_never_mixed(server: CogServer, write_tile) -> None:
    source = opened(server)
    (before,) = source.files(GRID)
    assert (before.size, before.version) == ((server.folder / "a.tif").stat().st_size, '"made-1"')
    write_tile("a.tif", IMAGE + 1, (X, Y), tiled=True, blockxsize=64, blockysize=64)
    server.relabel('"made-2"')
    files._REMEMBERED.clear()
    with pytest.raises(ReadError, match=r"a\.tif changed during the run: .*made-1.*made-2.*Run again"):
        source.read(GRID, ("R",))
    again = opened(server)
    assert again.files(GRID)[0].version == '"made-2"'
    np.testing.assert_array_equal(again.read(GRID, ("R",)).values, IMAGE + 1)
    assert again.fingerprint_fields == source.fingerprint_fields


def test_a_server_that_refuses_to_say_what_a_file_is_gives_a_part_of_it(server: CogServer) -> None:
    size = (server.folder / "a.tif").stat().st_size
    assert files.remote_version(f"{server.address}/a.tif?head=refused") == (size, '"made-1"')


def test_a_query_is_no_part_of_what_is_stored(server: CogServer) -> None:
    source = opened(server, "?token=secret")
    assert "secret" not in repr((source.files(GRID), source.fingerprint_fields, source.describe()))
    np.testing.assert_array_equal(source.read(GRID, ("R",)).values, IMAGE)
    assert source.fingerprint_fields == opened(server, "?token=other").fingerprint_fields


def test_a_file_that_is_no_raster_is_named(server: CogServer) -> None:
    shutil.copy(server.folder / "asked.txt", server.folder / "a.tif")
    with pytest.raises(InputError, match=r"/a\.tif cannot be read: .*not recognized"):
        opened(server)
