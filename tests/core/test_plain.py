from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from landweave.core.plain import UNLISTED, as_plain
from landweave.core.protocols import BlockResult, BlockState


@dataclass(frozen=True)
class Inner:
    LISTED: ClassVar = ("twice",)

    size: int
    states: object = field(default=None, metadata=UNLISTED)

    @property
    def twice(self) -> int:
        return 2 * self.size


def test_records_are_dicts_of_their_fields_and_of_what_follows() -> None:
    assert as_plain(Inner(3, states=object())) == {"size": 3, "twice": 6}


def test_a_field_that_is_added_later_is_there_by_itself() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Later(BlockResult):
        retried: int = 0

    assert as_plain(Later(state=BlockState.READ_FAILED, retried=2)) | {"state": "read_failed"} == as_plain(
        Later(state=BlockState.READ_FAILED, retried=2)
    )
    assert as_plain(Later(state=BlockState.DONE, retried=2))["retried"] == 2


def test_keys_values_and_containers() -> None:
    value = {BlockState.DONE: np.float32(0.5), "path": Path("a"), 3: {1}, "wide": np.arange(3), "inf": float("inf")}
    assert as_plain(value) == {"done": 0.5, "path": "a", "3": [1], "wide": [0, 1, 2], "inf": None}


def test_texts_have_no_secrets_at_any_depth() -> None:
    assert as_plain([{"a": ("s3://key:pw@bucket/x",)}]) == [{"a": ["s3://bucket/x"]}]
