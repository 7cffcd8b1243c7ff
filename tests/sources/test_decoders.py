"""Files that several threads decode: the same bits, by threads that GDAL starts for it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil

from landweave.core.lattice import Extent
from landweave.sources.files import RasterFile, decoded_by, read_window
from tests.helpers.tiles import textured, write_tile


def test_more_threads_decode_the_same_bits(tmp_path):
    values = textured((1024, 1024), 3)
    path = write_tile(
        tmp_path / "tile.tif", values, corner_xy=(0, 0), compress="deflate", blockxsize=128, blockysize=128
    )
    window = Extent.of((10, 1000), (100, 1024))

    def read(threads):
        with decoded_by(threads):
            return read_window(RasterFile(href=str(path)), [1, 2, 3], window)[0], psutil.Process().num_threads()

    found = []
    for threads in (1, 4):  # each in a thread with its own datasets, as blocks are
        with ThreadPoolExecutor(1) as pool:
            found.append(pool.submit(read, threads).result())
    for pixels, _ in found:
        np.testing.assert_array_equal(pixels, values[:, 10:1000, 100:])
    assert found[1][1] >= found[0][1] + 4
