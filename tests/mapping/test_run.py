"""A run opens its output once: counted request by request."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from landweave import api
from landweave.core.errors import OutputError
from landweave.core.protocols import LEDGER_FIELDS, Engine
from landweave.engine import clusters
from landweave.mapping.setup import input_rows
from landweave.store.common import ROOT
from landweave.store.maps.store import create_map, open_store
from landweave.store.objects import Target
from tests.helpers.counted_s3 import BUCKET, CountedS3, counted_s3
from tests.helpers.small import Small
from tests.store.samples import template

MOST_METADATA = {"new": 65, "again": 11}
"""GET requests for metadata of any array or group of the output; what the listing says to be whole is not read."""


@pytest.fixture
def s3() -> Iterator[CountedS3]:
    with counted_s3() as counted:
        yield counted


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each small object was read by this package itself, not by Zarr on its behalf."""
    counted: Counter[str] = Counter()
    read = Target.get

    def get(self: Target, name: str) -> bytes | None:
        counted[name] += 1
        return read(self, name)

    monkeypatch.setattr(Target, "get", get)
    return counted


def test_the_root_is_read_twice_at_most_and_the_ledger_once(tmp_path, s3: CountedS3, asked: Counter[str]) -> None:
    """The root once under the lease, and once more when a map is begun there."""
    small = Small.make(tmp_path)
    output = {"store": f"s3://{BUCKET}/map.zarr", "storage_options": s3.storage_options}
    config = small.loaded(output=output, engine={"kind": "inline"})
    for turn, of_root in (("new", 2), ("again", 1)):
        s3.requests.clear()
        asked.clear()
        assert api.run(config).exit_code == 0
        reads = s3.reads("map.zarr")
        chunks = {key: count for key, count in reads.items() if key.startswith("ledger/") and "/c/" in key}
        metadata = sum(count for key, count in reads.items() if key.endswith(ROOT))
        print(  # noqa: T201  shown by ``pytest -s``
            f"{turn}: {reads.total()} GETs, {metadata} of metadata, {reads[ROOT]} of the root, "
            f"{sum(chunks.values())} of ledger chunks"
        )
        assert asked[ROOT] == reads[ROOT] == of_root  # Zarr itself asks for it neither to declare nor to consolidate
        assert max(chunks.values(), default=0) <= 1
        assert metadata <= MOST_METADATA[turn]
    assert len(chunks) == len(LEDGER_FIELDS)


@pytest.mark.parametrize("what", ["a file", "another map"])
def test_what_came_to_the_output_while_workers_started_is_not_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Workers may take minutes; the place was free when the run began."""
    small = Small.make(tmp_path)
    config = small.loaded(engine={"kind": "inline"})
    started, store = clusters.open_engine, small.store

    @contextmanager
    def slowly(*args: Any, **settings: Any) -> Iterator[Engine]:
        with started(*args, **settings) as engine:
            if what == "a file":
                store.mkdir()
                (store / "notes.txt").write_text("of somebody else")
            else:
                create_map(Target.parse(store), template())
            yield engine

    monkeypatch.setattr(clusters, "open_engine", slowly)
    with pytest.raises(OutputError, match=r"holds|not empty"):
        api.run(config)
    if what == "a file":
        assert [path.name for path in store.iterdir()] == ["notes.txt"]
    else:
        assert open_store(Target.parse(store)).template == template()


def test_short_facts_share_a_row_and_so_do_bands_that_are_read_alike() -> None:
    pixels = {"B2": "band 1, uint16", "B3": "band 1, uint16", "SCL": "band 1, uint8", "B4": "band 1, uint16"}
    facts = {
        "modality": "S",
        "dates": 3,
        "reason": "far " * 20,
        "DSM": {"none in 03.01": 2},
        "pixels": pixels,
        "notes": ["own"],
    }
    assert input_rows("S", {**facts, "scenes": 4}) == [
        ("S", "dates: 3; scenes: 4"),
        ("S.reason", "far " * 20),
        ("S.DSM", "none in 03.01: 2"),
        ("S.pixels.B2, B3, B4", "band 1, uint16"),
        ("S.pixels.SCL", "band 1, uint8"),
    ]
