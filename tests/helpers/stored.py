"""Maps on disk, for the tests that look into one."""

import os

from landweave.store.maps.store import MapStore, open_store
from landweave.store.objects import Target


def stored_map(where: str | os.PathLike[str] | Target) -> MapStore:
    """Return the map at ``where``."""
    return open_store(Target.parse(where))
