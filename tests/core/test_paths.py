from pathlib import Path

from landweave.core.paths import from_home


def test_a_home_that_there_is_none_of_is_a_name() -> None:
    assert from_home("~nobody-here/map.zarr") == Path("~nobody-here/map.zarr")
