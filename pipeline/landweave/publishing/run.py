"""Publishes a map: what its folder holds already, the dalles that are left, the files over all of them.

::

    map's ledger ──> complete? ──> dalles to make ──> one dalle on a worker: files and item ──> ledger
                                                      at the end: VRT, styles, collection over all that are done
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.budget import PROCESS_BYTES, THREADS_A_WORKER, check_memory
from landweave.core.lattice import BlockIndex, Extent
from landweave.core.protocols import BlockState, Engine
from landweave.engine.clusters import open_engine
from landweave.engine.settings import EngineSettings
from landweave.jobs.audit import find_altered, find_missing, find_torn, ledger_objects, mark_damaged, run_until_whole
from landweave.jobs.fingerprint import Fingerprint, require_same_settings
from landweave.jobs.lease import Lease, hold_output
from landweave.jobs.ledger import Ledger, cells_where
from landweave.jobs.plan import BlockAction, BlockActionGrid, plan_block_actions
from landweave.jobs.progress import Progress, SilentProgress, shown
from landweave.jobs.result import RunResult, is_empty, join_results
from landweave.jobs.runner import run_blocks, writing_begun
from landweave.publishing.catalog import Catalog, lonlat_box
from landweave.publishing.dalles import DalleGrid
from landweave.publishing.job import PublishJob, column_of
from landweave.publishing.map_state import MapState
from landweave.publishing.plan import PublishPlan
from landweave.publishing.products import DalleProduct, PublishedDalle, SummaryContext
from landweave.publishing.publication import Publication, find_record
from landweave.publishing.reader import PublishedPixels
from landweave.store.objects import Target

READ_FACTOR = 3.0
"""Memory of a dalle's pixels while they are read, over their size: as stored, as published, overviews."""

COLLECTION = "collection.json"


@dataclass(frozen=True, kw_only=True)
class PublishSetup:
    """A publication that can be run, every setting resolved.

    Attributes
    ----------
    target
        The folder or prefix that is published to.
    map
        The map and how far it is.
    pixels
        The map as it is published.
    dalles
        The blocks of the job.
    products
        What is made of each dalle.
    catalog
        Makes items and the collection.
    settings
        All that decides the files but the pixels of the map, as plain JSON values.
    engine
        Which engine makes the dalles.
    notes
        What a person should know.
    """

    target: Target
    map: MapState
    pixels: PublishedPixels
    dalles: DalleGrid
    products: tuple[DalleProduct, ...]
    catalog: Catalog
    settings: Mapping[str, Any]
    engine: EngineSettings
    notes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The settings that decide the files; of the map its fingerprint."""
        products = {product.name: product.fingerprint_fields for product in self.products}
        return Fingerprint({**self.settings, "products": products})

    @property
    def publication(self) -> Publication:
        """Where the files are written."""
        columns = {
            column_of(product, ending): (product.name, ending) for product in self.products for ending in product.assets
        }
        return Publication(target=self.target, columns=columns)

    @property
    def worker_bytes(self) -> int:
        """Memory of a worker that makes two dalles at once."""
        side = self.dalles.size_m / float(self.dalles.grid.resolution)
        per_pixel = READ_FACTOR * len(self.pixels.arrays) + max(product.bytes_per_pixel for product in self.products)
        return int(PROCESS_BYTES + THREADS_A_WORKER * side**2 * per_pixel)

    @cached_property
    def outside(self) -> NDArray[np.bool_]:
        """Which dalles have no pixel of the map, ``(row, column)``: no block there has any, or ever will."""
        outside = np.ones(self.dalles.shape, np.bool_)
        mappable = [state for state in BlockState if state not in (BlockState.OUTSIDE, BlockState.NO_INPUT)]
        for index in self.dalles:
            outside[index] = not self.map.count(self.dalles.extent(index), *mappable)
        return outside

    def depends_on(self, index: BlockIndex) -> Extent:
        """Pixels of the map that a dalle is made of: those around it too that its clean-up may look at."""
        cleanup = self.pixels.cleanup
        return self.dalles.read_extent(index).grow(cleanup.reach if cleanup else 0)

    def version(self, index: BlockIndex) -> int:
        """Digest of the blocks of the map that a dalle is made of."""
        return self.map.version(self.depends_on(index))


@dataclass(frozen=True, kw_only=True)
class PublicationState:
    """What a publication holds already: whether it is begun, its ledger, and files that were changed since."""

    begun: bool
    ledger: Ledger
    altered: tuple[str, ...] = ()


def read_publication(setup: PublishSetup) -> PublicationState:
    """What the target holds of this publication.

    Raises
    ------
    OutputError
        When it holds anything else: the settings that differ are named.
    """
    publication, record = setup.publication, find_record(setup.target)
    fresh = Ledger(setup.dalles.shape, publication.arrays)
    if record is None:
        return PublicationState(begun=False, ledger=fresh)
    require_same_settings(
        record.get("settings", {}),
        setup.fingerprint.parts,
        f"{setup.target} holds another publication",
        "Choose another folder, or remove that one.",
    )
    if publication.ledger.attributes is None:  # killed between the record and the ledger
        return PublicationState(begun=False, ledger=fresh)
    ledger = Ledger.load(publication.ledger, publication.arrays)
    key, sizes = partial(_key, setup), setup.target.sizes()
    gone = find_missing((item for item in ledger_objects(ledger, key) if item.key not in sizes), sizes)
    altered = find_missing((item for item in ledger_objects(ledger, key) if item.key in sizes), sizes)
    mark_damaged(ledger, gone | find_torn(ledger))
    lines = [f"{setup.dalles.name_of(index)}: {problem}" for index, problem in altered.items()]
    advice = "it is left as it is; remove it to have it made again"
    return PublicationState(begun=True, ledger=ledger, altered=tuple(f"{line}: {advice}" for line in lines))


def _key(setup: PublishSetup, index: BlockIndex, column: str) -> str:
    return setup.publication.key(setup.dalles.name_of(index), column)


def plan_actions(setup: PublishSetup, ledger: Ledger, *, stale: bool) -> BlockActionGrid:
    """The action of every dalle.

    One that was published with holes where blocks of the map were not finished is made again once they are.

    Parameters
    ----------
    setup
        The publication.
    ledger
        Of its dalles.
    stale
        Whether dalles are made again whose blocks of the map were computed anew since.
    """
    planned = plan_block_actions(
        ledger, outside=setup.outside, input_version=setup.version, recompute_stale=stale
    ).actions
    states = ledger.fields["state"]
    planned[(states == BlockState.OUTSIDE) & ~setup.outside] = BlockAction.NEW
    for index in cells_where(planned, [BlockAction.STALE]):
        if ledger.reason(index):
            planned[index] = BlockAction.NEW
    return BlockActionGrid(actions=planned, recompute_stale=stale)


def plan_publish(setup: PublishSetup, *, stale: bool = False, partial_map: bool = False) -> PublishPlan:
    """What `run_publish` would do, and its cost. Reads no pixel and writes nothing.

    Parameters
    ----------
    setup, stale, partial_map
        As of `run_publish`.
    """
    notes = setup.map.check(partial=partial_map)
    state = read_publication(setup)
    actions = plan_actions(setup, state.ledger, stale=stale)
    names = [setup.dalles.name_of(index) for index in actions.todo]
    return PublishPlan(
        output=str(setup.target),
        dalles=actions,
        first=names[0] if names else "",
        last=names[-1] if names else "",
        pixels=sum(setup.dalles.extent(index).size for index in actions.todo),
        products=tuple(product.name for product in setup.products),
        worker_bytes=setup.worker_bytes,
        notes=(*setup.notes, *notes, *state.altered),
    )


def run_publish(
    setup: PublishSetup,
    *,
    stale: bool = False,
    partial_map: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Make the dalles that are not made yet, and the files over all of them.

    Parameters
    ----------
    setup
        The publication.
    stale
        Whether dalles are made again whose blocks of the map were computed anew since.
    partial_map
        Whether a map that is not complete is published, with nodata where it is not.
    engine
        Makes the dalles, in place of the setup's own.
    progress
        Advanced with every dalle.

    Raises
    ------
    InputError
        When the map is damaged, or not complete.
    OutputError
        When the target holds anything else, another driver writes it, or it cannot be written.
    """
    notes = (*setup.notes, *setup.map.check(partial=partial_map))
    with hold_output(setup.target) as lease:
        state = read_publication(setup)
        actions = plan_actions(setup, state.ledger, stale=stale)
        if actions.todo:
            dalle = f"dalles of {setup.dalles.size_m} m"
            check_memory(setup.worker_bytes, setup.engine.worker_bytes, dalle, "publish.dalle_m")
        with open_engine(setup.engine, 1, engine, blocks=len(actions.todo)) as opened, writing_begun():
            lease.check()  # workers may have taken minutes to come
            results = _make(setup, state, actions, opened, progress or SilentProgress(), lease)
            _write_summary(setup, state.ledger, lease)
    ledger = state.ledger
    kept = () if stale else actions.blocks(BlockAction.STALE)
    lines = [f"dalle {setup.dalles.name_of(index)}: stale: the map was computed anew there since" for index in kept]
    result = join_results(results, [ledger], ledger.failures(), notes, stale=[*lines, *state.altered])
    return replace(result, empty=("the publication",) if is_empty(result.counts) else ())


def _make(
    setup: PublishSetup,
    state: PublicationState,
    actions: BlockActionGrid,
    engine: Engine,
    progress: Progress,
    lease: Lease,
) -> list[RunResult]:
    publication, ledger = replace(setup.publication, fence=lease.fence), state.ledger
    stored = publication.ledger if state.begun else publication.declare(setup.fingerprint.parts, setup.dalles.dalles)
    ledger.mark_outside(actions.blocks(BlockAction.OUTSIDE))
    job = _job(setup, ledger, actions, publication)
    run = partial(run_blocks, job, engine, ledger, stored, progress=progress, lease=lease)
    find = partial(_find_damage, setup, ledger, followed=lease.followed)
    with shown(progress, len(actions.todo), engine.name):
        todo = actions.todo
        results = list(run_until_whole(lambda blocks: [run(blocks=blocks)], todo, ledger, find)) if todo else []
    lease.check()
    ledger.flush(stored)
    return results


def _job(setup: PublishSetup, ledger: Ledger, actions: BlockActionGrid, publication: Publication) -> PublishJob:
    extents = {index: setup.depends_on(index) for index in actions.todo}
    unfinished = {index: count for index, extent in extents.items() if (count := setup.map.unfinished(extent))}
    checksums = ledger.fields["object_checksum"]
    earlier = {index: tuple(int(each) for each in checksums[index]) for index in extents if checksums[index].any()}
    return PublishJob(
        key=setup.fingerprint.sha256,
        pixels=setup.pixels,
        dalles=setup.dalles,
        products=setup.products,
        catalog=setup.catalog,
        publication=publication,
        inputs={index: setup.version(index) for index in extents},
        unfinished=unfinished,
        earlier=earlier,
    )


def _find_damage(
    setup: PublishSetup, ledger: Ledger, ran: Collection[BlockIndex], *, followed: bool
) -> Mapping[BlockIndex, str]:
    """What is wrong with dalles that ran: files that are gone, or another driver's that was overtaken."""
    key = partial(_key, setup)
    mine = list(ledger_objects(ledger, key, set(ran)))
    altered = find_altered(mine, setup.target.checksum) if followed else {}
    return {**altered, **find_missing(mine, setup.target.sizes())}


def _write_summary(setup: PublishSetup, ledger: Ledger, lease: Lease) -> None:
    """Write the files over all dalles, and the collection last."""
    done = cells_where(ledger.fields["state"], [BlockState.DONE])
    if not done:
        return
    publication = replace(setup.publication, fence=lease.fence)
    dalles = {index: setup.dalles.name_of(index) for index in done}
    grids = {index: setup.dalles.grid.with_extent(setup.dalles.extent(index)) for index in done}
    sizes = ledger.fields["object_bytes"]
    files: dict[str, bytes] = {}
    for product in setup.products:
        columns = {ending: publication.arrays.index(column_of(product, ending)) for ending in product.assets}
        listed = [
            PublishedDalle(
                name=dalles[index],
                grid=grids[index],
                sizes={ending: int(sizes[index][number]) for ending, number in columns.items()},
            )
            for index in done
        ]
        read = partial(_read_file, publication, product)
        files |= product.summary(SummaryContext(dalles=listed, legend=setup.pixels.legend, read=read))
    titles = {name: f"{name.partition('.')[0]} of all dalles" for name in files}
    boxes = [lonlat_box(grids[index]) for index in done]
    files[COLLECTION] = setup.catalog.collection([dalles[index] for index in done], boxes, titles)
    publication.write_summary(files)


def _read_file(publication: Publication, product: DalleProduct, dalle: str, ending: str) -> bytes:
    return publication.read(dalle, column_of(product, ending))
