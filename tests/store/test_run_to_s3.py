"""The whole way to an object store: the same map as on disk, gone on with, refused to another run."""

import numpy as np
import pytest

from landweave import api
from landweave.core.errors import OutputError
from tests.helpers.small import Small
from tests.helpers.stored import stored_map


def test_a_map_in_s3_is_the_map_on_disk(tmp_path, s3_target, s3_options):
    small = Small.make(tmp_path)
    engine = {"engine.kind": "inline"}
    there = {**engine, "output.store": str(s3_target), "output.storage_options": s3_options}
    config = api.load_config(small.config(), overrides=there)
    assert api.run(config).exit_code == 0
    api.run(api.load_config(small.config(), overrides=engine))
    remote, local = stored_map(s3_target), stored_map(small.store)
    for name in local.arrays:
        extent = local.grid.extent
        np.testing.assert_array_equal(remote.read(name, extent), local.read(name, extent))
    assert api.run(config).ran == 0
    assert not [name for name in s3_target.list() if "lease" in name]
    other = api.load_config(small.config(), overrides={**there, "windows.overlap": 32})
    with pytest.raises(OutputError, match=r"windows\.overlap: 32 here, 16 in the output"):
        api.run(other)


def test_a_bucket_itself_can_be_a_map(s3_target):
    bucket = type(s3_target)(location="s3://maps", storage_options=s3_target.storage_options)
    place, name = bucket.beside(".lease")
    assert (str(place), name) == ("s3://maps", ".lease")
