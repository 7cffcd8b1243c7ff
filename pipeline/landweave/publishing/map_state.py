"""How far a map is that is published or measured, from its ledger: what is missing of it, and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from landweave.core.errors import InputError
from landweave.core.lattice import BlockIndex, Extent
from landweave.core.protocols import BlockState
from landweave.jobs.audit import find_missing, find_torn, ledger_objects
from landweave.jobs.fingerprint import digest64
from landweave.jobs.ledger import Ledger
from landweave.jobs.plan import first_names
from landweave.jobs.result import count_words
from landweave.store.maps.layout import level_path
from landweave.store.maps.store import MapStore


@dataclass(frozen=True, kw_only=True)
class MapState:
    """The states of the blocks of a map, and which of them have lost objects.

    Attributes
    ----------
    store
        The map.
    ledger
        Of its blocks.
    damage
        What is wrong with blocks that are done, by block; nothing is read to find it.
    """

    store: MapStore
    ledger: Ledger
    damage: Mapping[BlockIndex, str]

    @classmethod
    def read(cls, store: MapStore) -> MapState:
        """The state of a map as it is stored.

        Raises
        ------
        InputError
            When it has no ledger, or a damaged one.
        """
        if store.ledger.attributes is None:
            raise InputError(f"{store.target} has no ledger: its run was not started, or ended at once. Run it first.")
        ledger = Ledger.load(store.ledger, store.arrays)
        if ledger.damaged:
            raise InputError(f"The ledger of {store.target} is damaged: run `landweave verify`, then the map again.")
        missing = find_missing(ledger_objects(ledger, store.object_key), store.target.sizes(level_path(0)))
        return cls(store=store, ledger=ledger, damage=missing | find_torn(ledger))

    def check(self, *, partial: bool) -> tuple[str, ...]:
        """Make sure that the map can be published; notes where it is not whole and that is wanted.

        Raises
        ------
        InputError
            When blocks have lost objects; when blocks are not finished, unless ``partial``.
        """
        found = self.holes()
        if found and not partial:
            raise InputError(
                f"{self.store.target}: {found[0]}. Run it again to finish the {len(self.ledger.todo()):,} blocks that "
                "are left, or publish what there is with partial (--partial)."
            )
        return found

    def holes(self) -> tuple[str, ...]:
        """A note of the blocks that are not finished; none where the map is whole.

        Raises
        ------
        InputError
            When blocks have lost objects: their pixels look like nodata.
        """
        if self.damage:
            block, problem = next(iter(self.damage.items()))
            raise InputError(
                f"{len(self.damage):,} blocks of the map {self.store.target} are damaged, as block {block}: {problem}. "
                "Run the map again, which repairs them."
            )
        if not (left := self.ledger.todo()):
            return ()
        counts = count_words(self.ledger.counts())
        return (f"the map is not complete ({counts}): blocks {first_names(left)} are nodata",)

    def version(self, extent: Extent) -> int:
        """Digest of the blocks that some pixels are read from: it changes when any of them is computed anew."""
        rows, columns = self.store.template.blocks.touching(extent)
        fields = self.ledger.fields
        states, checksums = fields["state"][rows, columns], fields["object_checksum"][rows, columns]
        return digest64([states.tolist(), checksums.tolist()])

    def count(self, extent: Extent, *states: BlockState) -> int:
        """Number of blocks with one of ``states`` that some pixels are read from."""
        rows, columns = self.store.template.blocks.touching(extent)
        return int(np.isin(self.ledger.fields["state"][rows, columns], states).sum())

    def unfinished(self, extent: Extent) -> int:
        """Number of blocks that are not finished, of those that some pixels are read from."""
        return self.count(extent, *(state for state in BlockState if not state.finished))


def find_holes(store: MapStore) -> tuple[str, ...]:
    """`MapState.holes` of a map that is measured; nothing is known of one without a ledger.

    Raises
    ------
    InputError
        When the map or its ledger is damaged.
    """
    return () if store.ledger.attributes is None else MapState.read(store).holes()
