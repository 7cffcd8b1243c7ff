"""Fills a map: the ledger that its output holds, the blocks that are left, the overviews of what came of them."""

from __future__ import annotations

from dataclasses import dataclass

from landweave.core.budget import BlockMemory
from landweave.core.errors import OutputError
from landweave.core.protocols import BlockResult, BlockState, Engine
from landweave.engine.settings import EngineSettings
from landweave.jobs.fingerprint import Fingerprint, differences
from landweave.jobs.lease import Lease
from landweave.jobs.ledger import Ledger
from landweave.jobs.plan import BlockAction, BlockActionGrid
from landweave.jobs.progress import Progress
from landweave.jobs.runner import Attempted, Summary, interrupts, run_blocks
from landweave.mapping.job import MapJob
from landweave.models.cards.card import ModelCard
from landweave.sources.stac.series import StacSeries
from landweave.store.common import read_attributes, refuse_occupied
from landweave.store.ledger_store import ZarrLedger
from landweave.store.maps.overviews import create_overviews, mark_overviews, overviews_complete
from landweave.store.maps.store import MapStore, create_map, create_map_ledger
from landweave.store.maps.template import FORMAT, MapTemplate
from landweave.store.objects import Target

LEDGER_ROOT = "ledger/zarr.json"
"""Object without which a map has no ledger yet."""


@dataclass(frozen=True, kw_only=True)
class MapSetup:
    """A map that could be run: its job, and what a person wants to know of it.

    Attributes
    ----------
    card
        The model's contract.
    job
        What every worker needs.
    template
        What the output will hold.
    fingerprint
        The meaning of the run.
    memory
        Of one block at work.
    engine
        Who runs the blocks.
    notes
        What a person should know before running it.
    """

    card: ModelCard
    job: MapJob
    template: MapTemplate
    fingerprint: Fingerprint
    memory: BlockMemory
    engine: EngineSettings
    notes: tuple[str, ...]

    @property
    def target(self) -> Target:
        """Where the map goes."""
        store = self.job.store
        assert isinstance(store, MapStore)
        return store.target

    @property
    def straight(self) -> tuple[str, ...]:
        """Series that are read straight from their catalogs, not from a cube."""
        return tuple(name for name, item in self.job.inputs.items() if isinstance(item.source, StacSeries))

    def direct_opens(self) -> int:
        """Times that a file is opened for them, each block opening its own."""
        return sum(
            item.source.opens(self.job.reach(item, self.job.blocks[index]))
            for index in self.job.blocks
            for item in self.job.inputs.values()
            if isinstance(item.source, StacSeries) and not self.job.outside(index)
        )


def find_ledger(made: MapSetup) -> Ledger:
    """The ledger of the output, or a new one where there is no map yet; another run's map is refused."""
    attributes = read_attributes(made.target)
    if attributes is None:
        refuse_occupied(made.target)
        return Ledger(made.job.blocks.shape, made.template.arrays)
    if attributes.get("format") != FORMAT:
        raise OutputError(
            f"{made.target} holds a Zarr store of the format {attributes.get('format')!r}, a map has {FORMAT!r}: "
            "choose another output.store."
        )
    meaning = attributes.get("provenance", {}).get("fingerprint_fields", {})
    if differing := differences(Fingerprint(meaning), made.fingerprint):
        raise OutputError(
            f"{made.target} holds the map of another run. What differs:\n"
            + "\n".join(f"- {line}" for line in differing)
            + "\nChoose another output.store, or remove that map."
        )
    if not made.target.exists(LEDGER_ROOT):
        return Ledger(made.job.blocks.shape, made.template.arrays)
    return Ledger.load(ZarrLedger(target=made.target), made.template.arrays)


def prepare_output(made: MapSetup) -> tuple[MapStore, ZarrLedger]:
    """The map and the ledger to go on with, declared where they are not there yet."""
    store = made.job.store
    assert isinstance(store, MapStore)
    if read_attributes(made.target) is None:
        create_map(made.target, made.template)
    # Not in one with the map: a driver may have been killed between the two.
    if not made.target.exists(LEDGER_ROOT):
        return store, create_map_ledger(store)
    return store, ZarrLedger(target=made.target)


def is_whole(made: MapSetup) -> bool:
    """Whether map, ledger and overviews are all there."""
    store = made.job.store
    assert isinstance(store, MapStore)
    is_begun = read_attributes(made.target) is not None and made.target.exists(LEDGER_ROOT)
    return is_begun and overviews_complete(store)


def fill_map(made: MapSetup, blocks: BlockActionGrid, engine: Engine, progress: Progress, lease: Lease) -> Summary:
    """Run what is left of the blocks, and make the overviews of what came of it."""
    store, ledgers = prepare_output(made)
    ledger = Ledger.load(ledgers, made.template.arrays)
    for index in blocks.blocks(BlockAction.OUTSIDE):
        if ledger.state(index) is not BlockState.OUTSIDE:
            ledger.mark(index, BlockResult(state=BlockState.OUTSIDE))
    if blocks.todo:
        mark_overviews(store, complete=False)
    summary = run_blocks(made.job, engine, ledger, ledgers, blocks=blocks.todo, progress=progress, lease=lease)
    if not overviews_complete(store):
        _write_overviews(store, engine)
        mark_overviews(store, complete=True)
        store.finalize()
    return summary


def _write_overviews(store: MapStore, engine: Engine) -> None:
    with interrupts() as heard:
        for job in create_overviews(store):
            for index, result in engine.run(Attempted(job), job.blocks):
                if result.state is not BlockState.DONE:
                    raise OutputError(f"Overview {job.store.level}, block {index}: {result.reason}")
                if heard:
                    raise KeyboardInterrupt
