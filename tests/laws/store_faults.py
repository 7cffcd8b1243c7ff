"""An object store that fails, goes away or refuses, while a map is written into it: no tests here."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import rasterio

from landweave.store import clients, objects, zarr_store
from landweave.store.objects import Target
from tests.helpers.faulty import KINDS
from tests.laws.faults_ground import DASK, INLINE, AfterFirst, Ground, Scenario, ended, faults, words


def failing_store(here: Ground, seed: int, share: float, engine: Mapping[str, Any]) -> str:
    """A run, with COG and picture, into a store that fails; every fault is one retry, but for those of its record."""
    output = here.output(f"failing-{seed}-{share}-{engine['kind']}", with_files=True)
    here.store.tell(seed=seed, share=share, kinds=list(KINDS))
    try:
        result = here.run(output, engine=dict(engine))
    finally:
        told = here.store.tell(share=0)
    assert result.exit_code == 0, result
    here.check(output)
    counted = f"requests tried again: {result.retries}"
    assert counted in str(result)
    # The record of a run, which holds the count, is stored after it. On workers a request may be in the air as well.
    after = faults(told) - result.retries
    assert 0 <= after <= 3 if engine["kind"] == "inline" else result.retries > 0, (counted, told)
    parent, name = Target.parse(str(output["cog"]), output["storage_options"]).beside("")
    with rasterio.MemoryFile(parent.get(name)) as memory, memory.open() as cog:
        assert cog.count == 1
    return f"{told['requests']} requests, {words(told)}; {counted}"


def gone_and_back(here: Ground, seed: int) -> str:
    """A store that goes away for some seconds in the middle of a run."""
    output, back = here.output(f"back-{seed}"), threading.Timer(4, lambda: here.store.tell(down=False))
    try:
        result = here.run(output, progress=AfterFirst(lambda: (here.store.tell(down=True), back.start())))
    finally:
        back.cancel()
        here.store.tell(down=False)
    assert (result.exit_code, result.retries > 0) == (0, True), result
    here.check(output)
    return f"gone for 4 s; requests tried again: {result.retries}"


def gone_for_good(here: Ground, seed: int) -> str:
    """A store that goes away and stays away ends the run; the same process goes on at once when it is there again."""
    output, began = here.output(f"gone-{seed}"), time.monotonic()
    quick = replace(clients.RETRY, pauses_s=(0.1, 0.2))
    try:
        with patch.object(objects, "RETRY", quick), patch.object(zarr_store, "RETRY", quick):
            error = ended(lambda: here.run(output, progress=AfterFirst(lambda: here.store.tell(down=True))))
    finally:
        here.store.tell(down=False)
    assert error.exit_code == 3, error
    seconds = time.monotonic() - began
    result = here.run(output)
    assert result.exit_code == 0, result
    here.check(output)
    return f"exit 3 after {seconds:.0f} s ({str(error)[:60]}…); then {result.ran} blocks ran"


def wrong_secret(here: Ground, seed: int) -> str:
    """A key that is not right is one clear error, at once, and says no secret."""
    here.store.tell(auth=True)
    output = here.output(f"wrong-{seed}")
    output["storage_options"] |= {"secret_access_key": "canary-of-a-secret"}
    began = time.monotonic()
    try:
        error = ended(lambda: here.run(output))
    finally:
        here.store.tell(auth=False)
    assert (error.exit_code, time.monotonic() - began < 10) == (2, True), error
    assert "canary" not in str(error)
    assert "403" in str(error)
    return f"exit 2: {str(error)[:70]}…"


SCENARIOS: dict[str, Scenario] = {
    **{
        f"store, {share:.0%} of requests fail": partial(failing_store, share=share, engine=INLINE)
        for share in (0.05, 0.2)
    },
    "store, 5% of requests fail, Dask": partial(failing_store, share=0.05, engine=DASK),
    "store gone and back": gone_and_back,
    "store gone for good": gone_for_good,
    "wrong secret": wrong_secret,
}
"""By their names in the table."""
