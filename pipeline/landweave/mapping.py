"""Fills a map: the ledger that its output holds, the blocks that are left, the overviews of what came of them."""

from __future__ import annotations

from landweave.assembly import MapRun
from landweave.errors import OutputError
from landweave.ports import BlockResult, Engine, State
from landweave.store.ledgers import ZarrLedger, create_map_ledger
from landweave.store.maps import MapStore, create_map, read_attributes, refuse_occupied
from landweave.store.overviews import create_overviews, mark_overviews, overviews_complete
from landweave.store.template import FORMAT
from landweave.work.fingerprint import Fingerprint, differences
from landweave.work.lease import Lease
from landweave.work.ledger import Ledger
from landweave.work.plan import BlockPlan, Task
from landweave.work.progress import Progress
from landweave.work.runner import Attempted, Summary, interrupts, run_blocks

LEDGER_ROOT = "ledger/zarr.json"
"""Object without which a map has no ledger yet."""


def find_ledger(made: MapRun) -> Ledger:
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
    meaning = attributes.get("provenance", {}).get("meaning", {})
    if differing := differences(Fingerprint(meaning), made.fingerprint):
        raise OutputError(
            f"{made.target} holds the map of another run. What differs:\n"
            + "\n".join(f"- {line}" for line in differing)
            + "\nChoose another output.store, or remove that map."
        )
    if not made.target.exists(LEDGER_ROOT):
        return Ledger(made.job.blocks.shape, made.template.arrays)
    return Ledger.load(ZarrLedger(target=made.target), made.template.arrays)


def prepare_output(made: MapRun) -> tuple[MapStore, ZarrLedger]:
    """The map and the ledger to go on with, declared where they are not there yet."""
    store = made.job.store
    assert isinstance(store, MapStore)
    if read_attributes(made.target) is None:
        create_map(made.target, made.template)
    # Not in one with the map: a driver may have been killed between the two.
    if not made.target.exists(LEDGER_ROOT):
        return store, create_map_ledger(store)
    return store, ZarrLedger(target=made.target)


def is_whole(made: MapRun) -> bool:
    """Whether map, ledger and overviews are all there."""
    store = made.job.store
    assert isinstance(store, MapStore)
    is_begun = read_attributes(made.target) is not None and made.target.exists(LEDGER_ROOT)
    return is_begun and overviews_complete(store)


def fill_map(made: MapRun, blocks: BlockPlan, engine: Engine, progress: Progress, lease: Lease) -> Summary:
    """Run what is left of the blocks, and make the overviews of what came of it."""
    store, ledgers = prepare_output(made)
    ledger = Ledger.load(ledgers, made.template.arrays)
    for index in blocks.blocks(Task.OUTSIDE):
        if ledger.state(index) is not State.OUTSIDE:
            ledger.mark(index, BlockResult(state=State.OUTSIDE))
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
                if result.state is not State.DONE:
                    raise OutputError(f"Overview {job.store.level}, block {index}: {result.reason}")
                if heard:
                    raise KeyboardInterrupt
