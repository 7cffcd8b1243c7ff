"""Tiles in an object store and on web servers whose requests fail, or that are harmed during or after a run: no tests.

::

    harmed ──> named: by the blocks that fail, or by the run that cannot begin, or as stale ──> repaired ──> same bytes
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

from landweave import api
from landweave.core.errors import LandweaveError
from landweave.core.protocols import BlockState
from landweave.sources import files
from tests.helpers.commands import mosaic, shards
from tests.helpers.faulty import BUCKET, KINDS
from tests.laws.faults_ground import AfterFirst, Ground, Scenario, faults, words


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """The tiles of the small map in the store, below a prefix of their own, and the input that names them."""

    here: Ground
    prefix: str
    inputs: dict[str, Any]

    @classmethod
    def put(cls, here: Ground, prefix: str, address: str, *, checksums: bool = False) -> Tiles:
        for name in ("rgb", "irc"):
            here.store.put_folder(here.small.folder / name, f"{prefix}/{name}")
        roots = {"s3": f"s3://{BUCKET}", "http": f"{here.store.endpoint}/{BUCKET}"}
        root = f"{roots.get(address, f'{here.store.secure_endpoint}/{BUCKET}')}/{prefix}"
        names = {name: sorted(path.name for path in (here.small.folder / name).glob("*")) for name in ("rgb", "irc")}
        listed: Any = {name: [f"{root}/{name}/{each}" for each in found] for name, found in names.items()}
        if address == "s3":
            listed = {"rgb": f"{root}/rgb/*.tif", "irc": f"{root}/irc/"}
        section = mosaic(R=(listed["rgb"], 1), G=(listed["rgb"], 2), B=(listed["rgb"], 3), NIR=(listed["irc"], 1))
        section |= {"storage_options": here.store.storage_options} if address == "s3" else {}
        section |= {"checksums": cls.sums(here)} if checksums else {}
        return cls(here=here, prefix=prefix, inputs={"AERIAL_RGBI": section})

    @staticmethod
    def sums(here: Ground) -> str:
        """A list with the checksums of all tiles, as a delivery has it."""
        folder = here.small.folder
        lines = [
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}"
            for path in sorted(folder.glob("*/*.tif"))
        ]
        (folder / "SHA256SUMS.of").write_text("\n".join(lines))
        return str(folder / "SHA256SUMS.of")

    @property
    def victim(self) -> str:
        """Key of the tile that is harmed."""
        return f"{self.prefix}/rgb/{max(path.name for path in (self.here.small.folder / 'rgb').glob('*.tif'))}"

    @property
    def name(self) -> str:
        """Of the tile, which a line of the ledger has in full."""
        return self.victim.rpartition("/")[2]

    @property
    def whole(self) -> bytes:
        return (self.here.small.folder / self.victim.removeprefix(f"{self.prefix}/")).read_bytes()

    def harm(self, how: str) -> None:
        """Harm the tile; what servers said of it is forgotten, which otherwise is remembered for ten minutes."""
        whole = self.whole
        middle = len(whole) // 2
        flipped = bytes(byte ^ 0x5A for byte in whole[middle : middle + 2000])
        contents = {
            "truncated": whole[:2000],
            "replaced": bytes(len(whole)),
            "damaged": whole[:middle] + flipped + whole[middle + 2000 :],
        }
        if how == "removed":
            self.here.store.client.delete_object(Bucket=BUCKET, Key=self.victim)
        else:
            self.here.store.put(self.victim, contents[how])
        files._REMEMBERED.clear()

    def repair(self) -> None:
        """Put the tile back as it was."""
        self.here.store.put(self.victim, self.whole)
        files._REMEMBERED.clear()


@contextmanager
def trusted(here: Ground) -> Iterator[None]:
    """Trust the authority of the store's certificate, as a company's is: by the environment."""
    with patch.dict(os.environ, {"SSL_CERT_FILE": here.store.ca}):
        yield


def failing(here: Ground, seed: int, share: float, address: str) -> str:
    """Tiles whose requests fail."""
    tiles = Tiles.put(here, f"failing-{seed}-{share}-{address}", address)
    here.store.tell(seed=seed, share=share, kinds=list(KINDS), only=tiles.prefix)
    store = here.small.folder / f"{tiles.prefix}.zarr"
    try:
        with trusted(here):
            result = here.run({"store": str(store)}, inputs=tiles.inputs)
    finally:
        told = here.store.tell(share=0, only="")
    assert result.exit_code == 0, result
    assert shards(store) == here.reference
    assert result.retries > 0 or not faults(told)
    return f"{told['requests']} requests, {words(told)}; requests tried again: {result.retries}"


def harmed_during(here: Ground, seed: int, address: str, how: str, *, checksums: bool) -> str:
    """A tile that is harmed while a run goes on fails its blocks, named; repaired, they alone run."""
    tiles = Tiles.put(here, f"during-{how}-{address}-{checksums}-{seed}", address, checksums=checksums)
    store = here.small.folder / f"{tiles.prefix}.zarr"
    with trusted(here):
        strike = AfterFirst(lambda: tiles.harm(how))
        result = here.run({"store": str(store)}, inputs=tiles.inputs, progress=strike)
        failed = result.counts[BlockState.READ_FAILED]
        assert (result.exit_code, failed > 0, result.counts[BlockState.FAILED]) == (3, True, 0), result
        assert all(tiles.name in line for line in result.failures)
        tiles.repair()
        again = here.run({"store": str(store)}, inputs=tiles.inputs)
    assert (again.exit_code, again.ran) == (0, failed), again
    assert shards(store) == here.reference
    return f"{failed} blocks failed, named; repaired, {again.ran} ran"


def harmed_after(here: Ground, seed: int, address: str, how: str, *, checksums: bool) -> str:
    """A tile that is harmed after a run is named by the next one, whatever it was told to do."""
    tiles = Tiles.put(here, f"after-{how}-{address}-{checksums}-{seed}", address, checksums=checksums)
    store = here.small.folder / f"{tiles.prefix}.zarr"
    with trusted(here):
        assert here.run({"store": str(store)}, inputs=tiles.inputs).exit_code == 0
        tiles.harm(how)
        seen = named(here, tiles, str(store), stale=False)
        assert shards(store) == here.reference
        forced = named(here, tiles, str(store), stale=True, silent=how == "damaged" and not checksums)
        tiles.repair()
        again = api.run(configured(here, tiles, str(store)), stale=True, progress=False)
    assert again.exit_code == 0, again
    assert shards(store) == here.reference
    return f"{seen}; with --stale {forced}; repaired, {again.ran} ran"


def configured(here: Ground, tiles: Tiles, store: str) -> Any:
    return here.small.loaded(output={"store": store}, inputs=tiles.inputs, engine={"kind": "inline"})


def named(here: Ground, tiles: Tiles, store: str, *, stale: bool, silent: bool = False) -> str:
    """How a run over a harmed tile names it; ``silent`` where nobody can know that it is damaged."""
    refused: LandweaveError | None = None
    try:
        result = api.run(configured(here, tiles, store), stale=stale, progress=False)
    except LandweaveError as error:
        refused = error
    if refused is not None:
        assert tiles.name in str(refused), refused
        return f"refused, exit {refused.exit_code}"
    if silent and result.exit_code == 0:
        return f"{result.ran} ran"
    assert result.exit_code == 3, result
    lines = result.failures if stale else result.stale
    assert lines, result
    assert all(tiles.name in line for line in lines), lines
    return f"{len(lines)} {'failed' if stale else 'stale'}, named"


HARMS = ("truncated", "removed", "replaced", "damaged")

SCENARIOS: dict[str, Scenario] = {
    **{
        f"tiles over {address}, {share:.0%} of requests fail": partial(failing, share=share, address=address)
        for address in ("s3", "http", "https")
        for share in (0.05, 0.2)
    },
    **{
        f"tile {how} {when} a run, {address}{', checksums' if checksums else ''}": partial(
            scenario, address=address, how=how, checksums=checksums
        )
        for when, scenario in {"during": harmed_during, "after": harmed_after}.items()
        for how in HARMS
        for address in ("s3", "http", "https")
        for checksums in (False, True)
        if address != "https" or how == "damaged"
    },
}
"""By their names in the table."""
