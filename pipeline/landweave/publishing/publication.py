"""A publication: the folder or prefix that a map is published to, its files, what made it and its ledger.

::

    collection.json  landcover.vrt  landcover.qml  …       over all dalles
    items/0770_6278.json                                   a STAC item for each dalle
    landcover/landcover_0770_6278.tif  .tif.aux.xml  .qml  a folder for each product
    .landweave/publication.json                            the settings that made it
    .landweave/ledger/                                     the state of each dalle, with size and checksum of its files

Nothing is replaced that a publication did not make: its place is empty at first, and a file that is there already is
left as it is unless it has the bytes that are about to be written, or those that the ledger says were written before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from landweave.core.errors import InputError, OutputError, ReadError
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks
from landweave.core.protocols import WriteFence, WrittenObject
from landweave.store.ledger_store import ZarrLedger, create_ledger
from landweave.store.objects import Target, checksum64

FORMAT = "landweave-publication"
FORMAT_VERSION = 1
OWN = ".landweave"
RECORD = f"{OWN}/publication.json"
SUMMARY = f"{OWN}/summary.json"
"""Checksums of the files over all dalles."""

ITEM = "item.json"
"""Column of the ledger for the STAC item of a dalle."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """Where the files of a publication are. Picklable.

    Attributes
    ----------
    target
        The folder or prefix.
    columns
        Product and ending of each file of a dalle, by its column in the ledger.
    fence
        Asked before each file is written; None to write always.
    """

    target: Target
    columns: Mapping[str, tuple[str, str]]
    fence: WriteFence | None = None

    @property
    def arrays(self) -> tuple[str, ...]:
        """Columns of the ledger, the item last."""
        return (*self.columns, ITEM)

    def key(self, dalle: str, column: str) -> str:
        """Path of a file of a dalle below the target.

        Parameters
        ----------
        dalle
            Its name.
        column
            One of `arrays`.
        """
        if column == ITEM:
            return f"items/{dalle}.json"
        product, ending = self.columns[column]
        return f"{product}/{product}_{dalle}{ending}"

    @cached_property
    def ledger(self) -> ZarrLedger:
        """The ledger of its dalles, declared or not."""
        return ZarrLedger(target=self.own)

    @property
    def own(self) -> Target:
        """Where its own records are."""
        return Target(location=f"{self.target.location}/{OWN}", storage_options=self.target.storage_options)

    def write(self, dalle: str, column: str, content: bytes, earlier: Sequence[int] = ()) -> WrittenObject:
        """Write one file of a dalle whole.

        Parameters
        ----------
        dalle, column
            As of `key`.
        content
            Of the file.
        earlier
            Checksums of files of this publication that may be replaced.

        Raises
        ------
        OutputError
            When another file is there, or it cannot be written.
        """
        return self._write(self.key(dalle, column), column, content, earlier)

    def read(self, dalle: str, column: str) -> bytes:
        """Content of one file of a dalle.

        Parameters
        ----------
        dalle, column
            As of `key`.

        Raises
        ------
        ReadError
            When it is not there.
        """
        content = self.target.get(self.key(dalle, column))
        if content is None:
            raise ReadError(f"{self.target}/{self.key(dalle, column)} is missing: publish again, which makes it anew.")
        return content

    def remove(self, dalle: str, earlier: Sequence[int]) -> None:
        """Remove the files of a dalle that has no pixel any more, those that this publication wrote.

        Parameters
        ----------
        dalle
            Its name.
        earlier
            Checksums of the files that were written.
        """
        for column in self.arrays:
            if self.target.checksum(key := self.key(dalle, column)) in earlier:
                self.target.delete(key)

    def write_summary(self, files: Mapping[str, bytes]) -> None:
        """Write files over all dalles, those that are other than before; what was there must be of this publication.

        What may be there is recorded first: a run that is killed in between leaves nothing that the next one refuses.

        Parameters
        ----------
        files
            By name, in the target itself.

        Raises
        ------
        OutputError
            When another file is there, or one cannot be written.
        """
        earlier = self._earlier_summary()
        now = {name: [checksum64(content)] for name, content in files.items()}
        self.target.put(SUMMARY, record_bytes({name: [*now[name], *earlier.get(name, [])] for name in now}))
        for name, content in files.items():
            self._write(name, "", content, earlier.get(name, []))
        self.target.put(SUMMARY, record_bytes(now))

    def _earlier_summary(self) -> dict[str, list[int]]:
        try:
            stated = json.loads(self.target.get(SUMMARY) or b"{}")
            return {name: [int(number) for number in numbers] for name, numbers in stated.items()}
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{self.target}/{SUMMARY} is damaged: restore it from a copy, or publish anew.") from error

    def _write(self, key: str, column: str, content: bytes, earlier: Sequence[int]) -> WrittenObject:
        checksum = checksum64(content)
        found = self.target.checksum(key) if self.target.exists(key) else None
        if found is not None and found not in (checksum, *earlier):
            raise OutputError(
                f"{self.target}/{key} is there already and was not written by this publication: remove it, or publish "
                "to another folder."
            )
        if found != checksum:
            if self.fence is not None:
                self.fence.check()
            self.target.put(key, content)
        return WrittenObject(array=column, size=len(content), checksum=checksum)

    def declare(self, settings: Mapping[str, Any], dalles: Grid) -> ZarrLedger:
        """Begin a publication: its ledger, then the record of what makes it.

        Parameters
        ----------
        settings
            What decides the files, plain JSON values.
        dalles
            A pixel for each dalle.
        """
        record = {"format": FORMAT, "format_version": FORMAT_VERSION, "settings": dict(settings)}
        self.target.put(RECORD, record_bytes(record))
        return create_ledger(self.own, dalles.block_centres(Blocks.square(dalles.extent, 1)), self.arrays)


def record_bytes(record: Mapping[str, Any]) -> bytes:
    """JSON of a record or a document, indented for a person."""
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()


def find_record(target: Target) -> dict[str, Any] | None:
    """The record of the publication at ``target``; None where one may be begun.

    Raises
    ------
    OutputError
        When anything else is there.
    InputError
        When the record is damaged.
    """
    content = target.get(RECORD)
    if content is None:
        if found := target.peek(OWN):  # where the first of all writes was killed, its folder may be there
            raise OutputError(
                f"{target} already holds {found}, which is no part of a publication: choose another folder, one of its "
                "own."
            )
        return None
    try:
        record = json.loads(content)
        known = record["format"], record["format_version"]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{target}/{RECORD} is damaged: restore it from a copy, or publish anew.") from error
    if known != (FORMAT, FORMAT_VERSION):
        raise OutputError(f"{target}/{RECORD} is of {known[0]} version {known[1]}: publish to another folder.")
    return dict(record)
