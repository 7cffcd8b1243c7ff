"""Files that several threads decode: the same bits, by threads that GDAL starts for it."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import psutil

from landweave.core.lattice import Extent
from landweave.sources.files import RasterFile, decoded_by, read_window
from tests.helpers.tiles import textured, write_tile

WINDOW = Extent.of((10, 1000), (100, 1024))


def read(path, threads):
    with decoded_by(threads):
        return read_window(RasterFile(href=path), [1, 2, 3], WINDOW)[0], psutil.Process().num_threads()


def test_more_threads_decode_the_same_bits(tmp_path):
    values = textured((1024, 1024), 3)
    path = write_tile(
        tmp_path / "tile.tif", values, corner_xy=(0, 0), compress="deflate", blockxsize=128, blockysize=128
    )
    found = []
    for threads in (1, 4):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # whose threads are its own
            found.append(pool.submit(read, str(path), threads).result())
    for pixels, _ in found:
        np.testing.assert_array_equal(pixels, values[:, 10:1000, 100:])
    assert found[1][1] >= found[0][1] + 4
