"""What was found out about files before, in the user's cache directory: by path, for as long as the file is the same.

Nothing depends on it but time: a cache that is missing, damaged, locked or of another version is as good as empty.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landweave.core.paths import from_home

MOST_ENTRIES = 1_000_000
"""Of one kind; beyond them it is begun anew."""

SETTLED_NS = 2_000_000_000
"""A file written later than this before it was looked at may change again within one tick of its disk's clock."""

_WAIT_S = 2.0
"""For another process that writes."""


def cache_folder() -> Path:
    """The user's cache directory of this package, as the XDG base directory specification has it."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or from_home("~/.cache"))
    # A user without a home, as in a container, has no cache: nothing can be made below this.
    return Path(os.devnull if base.parts[:1] == ("~",) else base) / "landweave"


@dataclass(frozen=True)
class UserCache:
    """Plain JSON values of one kind by key, each with a stamp: a value is found under its own stamp only.

    Attributes
    ----------
    kind
        What the values are; names the file.
    """

    kind: str

    def get(self, stamps: Mapping[str, str]) -> dict[str, Any]:
        """The values of those keys whose stamps are still the same.

        Parameters
        ----------
        stamps
            The stamp of each key now, such as size and time of a file.
        """
        found: dict[str, Any] = {}
        with suppress(sqlite3.Error, OSError, ValueError), self._database() as database:
            rows = (
                row
                for key in stamps
                for row in database.execute("SELECT key, stamp, value FROM facts WHERE key = ?", (key,))
            )
            found.update((key, json.loads(value)) for key, stamp, value in rows if stamp == stamps[key])
        return found

    def put(self, values: Mapping[str, tuple[str, Any]]) -> None:
        """Keep values, each with its stamp, by key."""
        rows = [(key, stamp, json.dumps(value)) for key, (stamp, value) in values.items()]
        with suppress(sqlite3.Error, OSError, ValueError), self._database() as database, database:
            if database.execute("SELECT count(*) FROM facts").fetchone()[0] > MOST_ENTRIES:
                database.execute("DELETE FROM facts")
            database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", rows)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = folder / f"{self.kind}.sqlite"
        with closing(sqlite3.connect(file, timeout=_WAIT_S)) as database:
            try:
                database.execute("CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, stamp TEXT, value TEXT)")
            except sqlite3.OperationalError:  # locked, or not to be written
                raise
            except sqlite3.DatabaseError:  # damaged: gone the next time
                file.unlink(missing_ok=True)
                raise
            yield database
