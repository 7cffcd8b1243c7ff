"""A run, its status and its verification in Azure's and in Google's object store: the bytes are those on disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from landweave import api
from landweave.core.errors import OutputError
from landweave.store.objects import Target
from tests.helpers.clouds import Place, azure, google
from tests.helpers.commands import shards
from tests.helpers.small import Small

pytestmark = pytest.mark.slow

CLOUDS = {"az": azure, "gs": google}


@pytest.fixture(params=CLOUDS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with CLOUDS[request.param]() as found:
        yield found


def test_a_run_a_status_and_a_verification(tmp_path: Path, place: Place) -> None:
    url, options = place
    small = Small.make(tmp_path)
    assert api.run(small.loaded(), progress=False).exit_code == 0
    output = {"store": f"{url}/a/map.zarr", "cog": f"{url}/a/map.tif", "picture": f"{url}/a/map.png"}
    config = small.loaded(output={**output, "storage_options": options})
    assert api.run(config, progress=False).exit_code == 0

    target = Target.parse(output["store"], options)
    reference = shards(small.store)
    assert {name: target.get(name) for name in reference} == reference
    assert api.status(output["store"], options).done == 1
    assert api.verify(output["store"], options).exit_code == 0
    again = api.run(config, progress=False)  # which replaces its own COG and picture
    assert (again.exit_code, again.ran) == (0, 0)

    victim = "map/0/landcover/c/1/1"
    target.put(victim, b"damaged")
    assert len(api.verify(output["store"], options).damaged) == 1
    assert api.run(config, progress=False).ran == 1
    assert target.get(victim) == reference[victim]

    folder = Target.parse(f"{url}/a", options)
    folder.put("map.tif", b"of somebody else")
    with pytest.raises(OutputError, match=r"output\.cog: .*map\.tif is there already and is no file of this map"):
        api.run(config, progress=False)
    assert not [name for name in folder.list() if name.endswith(".lease")]
