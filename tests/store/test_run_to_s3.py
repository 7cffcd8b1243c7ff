"""The whole way to an object store: the same map as on disk, gone on with, refused to another run."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from landweave import api
from landweave.core.errors import OutputError
from landweave.store.objects import Target
from tests.helpers.counted_s3 import BUCKET, counted_s3
from tests.helpers.small import Small
from tests.helpers.stored import stored_map


def test_a_map_in_s3_is_the_map_on_disk(mapped: Small, s3_target, s3_options):
    there = {"output.store": str(s3_target), "output.storage_options": s3_options}
    config = api.load_config(mapped.config(), overrides=there)
    assert api.run(config).exit_code == 0
    remote, local = stored_map(s3_target), stored_map(mapped.store)
    for name in local.arrays:
        extent = local.grid.extent
        np.testing.assert_array_equal(remote.read(name, extent), local.read(name, extent))
    assert api.run(config).ran == 0
    assert not [name for name in s3_target.list() if "lease" in name]
    other = api.load_config(mapped.config(), overrides={**there, "windows.overlap": 32})
    with pytest.raises(OutputError, match=r"windows\.overlap: 32 here, 16 in the output"):
        api.run(other)


def test_a_bucket_itself_can_be_a_map(s3_target):
    bucket = type(s3_target)(location="s3://maps", storage_options=s3_target.storage_options)
    place, name = bucket.beside(".lease")
    assert (str(place), name) == ("s3://maps", ".lease")


def _faults(seed: int, share: float) -> Callable[[], str | None]:
    rng, kinds = random.Random(seed), ("500 Internal Server Error", "503 Slow Down", "late 500 Internal Server Error")
    return lambda: rng.choice(kinds) if rng.random() < share else None


SLOW = [pytest.param(seed, share, marks=pytest.mark.slow) for seed in range(3) for share in (0.05, 0.2)]


@pytest.mark.parametrize(("seed", "share"), SLOW)
def test_a_store_that_fails_one_request_in_five_holds_the_same_bytes(tmp_path: Path, seed: int, share: float) -> None:
    """Of all requests: objects, metadata, listings, the lease."""
    with counted_s3() as s3:
        small, contents = Small.make(tmp_path), []
        for name in ("quiet", "failing"):
            output = {"store": f"s3://{BUCKET}/{name}-{seed}-{share}.zarr", "storage_options": s3.storage_options}
            config = small.loaded(output=output, engine={"kind": "inline"})
            if name == "failing":
                s3.fault = _faults(seed, share)
            assert api.run(config).exit_code == 0
            s3.fault = lambda: None
            target = Target.parse(output["store"], s3.storage_options)
            contents.append({key: target.get(key) for key in target.list("map")})
        assert s3.failed > 5
        assert contents[0] == contents[1]


@pytest.mark.slow
def test_retries_are_counted_and_printed_and_files_go_along(tmp_path: Path) -> None:
    """COG and picture are put in one request, replace their own, and nothing else."""
    with counted_s3() as s3:
        small = Small.make(tmp_path)
        files = {"cog": f"s3://{BUCKET}/a/map.tif", "picture": f"s3://{BUCKET}/a/map.png"}
        output = {"store": f"s3://{BUCKET}/a/map.zarr", "storage_options": s3.storage_options, **files}
        config = small.loaded(output=output)
        s3.fault = _faults(3, 0.02)
        result = api.run(config, progress=False)
        s3.fault = lambda: None
        assert (result.exit_code, result.retries) == (0, s3.failed)
        assert f"requests tried again: {s3.failed}" in str(result)
        folder = Target.parse(f"s3://{BUCKET}/a", s3.storage_options)
        for name in ("map.tif", "map.png", "map.tif.aux.xml"):
            assert s3.requests["PUT", f"a/{name}"] >= 1
            assert folder.mark_of(name)
        with rasterio.MemoryFile(folder.get("map.tif")) as memory, memory.open() as cog:
            assert cog.shape == small.extent.shape
        assert api.run(config, progress=False).exit_code == 0
        folder.put("map.png", b"of somebody else")
        with pytest.raises(OutputError, match=r"output\.picture: .*map\.png is there already and is no file of this"):
            api.run(config, progress=False)
        assert folder.get("map.png") == b"of somebody else"
