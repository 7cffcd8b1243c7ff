"""A block job with no model and no raster, a ledger kept in a folder, and a driver to be killed: no tests here."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from landweave.core.errors import OutputError, PredictError, ReadError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import LEDGER_CHUNK, BlockFunction, BlockResult, BlockState, WrittenObject
from landweave.engine.inline import InlineEngine
from landweave.jobs.lease import hold
from landweave.jobs.ledger import Ledger
from landweave.jobs.progress import Progress, SilentProgress, shown
from landweave.jobs.result import RunResult
from landweave.jobs.runner import run_blocks


@dataclass(frozen=True, kw_only=True)
class SquareJob:
    """Writes the squares of a block's numbers to a file; does worse with the blocks named in ``trouble``.

    Every opening and every attempt leaves a file in ``folder``: they can be counted across processes.
    """

    folder: Path
    key: str = "squares"
    torch_threads: int | None = None
    trouble: Mapping[BlockIndex, str] = field(default_factory=dict)
    block_seconds: float = 0.0
    ballast: bytes = b""

    def open(self) -> BlockFunction:
        _touch(self.folder / "opened", f"{os.getpid()}-{uuid.uuid4().hex}")
        return self.square

    def square(self, index: BlockIndex) -> BlockResult:
        started = time.perf_counter()
        _touch(self.folder / "tried", f"{index[0]}-{index[1]}-{uuid.uuid4().hex}")
        time.sleep(self.block_seconds)
        self._misbehave(index, self.trouble.get(index, ""))
        numbers = np.arange(8) + 1000 * index[0] + index[1]
        content = (numbers**2).tobytes()
        _write(self.folder / "out", f"{index[0]}-{index[1]}", content)
        written = WrittenObject(array="squares", size=len(content), checksum=int(numbers.sum()))
        return BlockResult(
            state=BlockState.DONE,
            objects=(written,),
            inputs=7,
            seconds={"total": time.perf_counter() - started},
            counts={"pixels": 8, "windows": 2},
        )

    def _misbehave(self, index: BlockIndex, how: str) -> None:
        if how in TROUBLES:
            raise TROUBLES[how]
        times = {"die once": 1, "die twice": 2, "die always": 100}.get(how, 0)
        if any(_first(self.folder / f"died-{index[0]}-{index[1]}{'+' * time}") for time in range(times)):
            os._exit(1)

    def outputs(self) -> dict[str, bytes]:
        """Every file written, by name."""
        return {path.name: path.read_bytes() for path in (self.folder / "out").glob("*") if path.suffix != ".tmp"}

    def tried(self) -> Counter[BlockIndex]:
        """How often each block was begun."""
        names = [path.name.split("-") for path in (self.folder / "tried").glob("*")]
        return Counter((int(row), int(column)) for row, column, _ in names)

    def opened(self) -> Counter[int]:
        """How often the job was opened, by process."""
        return Counter(int(path.name.split("-")[0]) for path in (self.folder / "opened").glob("*"))


TROUBLES: dict[str, Exception] = {
    "read": ReadError("tile 0612.jp2: 4 of 12 code blocks missing"),
    "predict": PredictError("window (3, 4): not finite"),
    "bug": KeyError("height"),
    "full disk": OutputError(28, "No space left on device"),
}


class NpyLedgerStore:
    """A ledger in a folder, one file a chunk; counts what was saved."""

    def __init__(self, folder: Path, shape: tuple[int, int], arrays: tuple[str, ...] = ("squares",)) -> None:
        self.folder, self.shape, self.arrays = folder, shape, arrays
        self.saved: list[tuple[int, int]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def load(self):
        fields = Ledger(self.shape, self.arrays).fields
        for path in self.folder.glob("*.npz"):
            row, column = (int(part) * LEDGER_CHUNK for part in path.stem.split("-"))
            for name, values in np.load(path).items():
                fields[name][row : row + values.shape[0], column : column + values.shape[1]] = values
        return fields, frozenset()

    def save(self, chunk, fields):
        self.saved.append(chunk)
        path = self.folder / f"{chunk[0]}-{chunk[1]}.npz"
        partial = path.with_suffix(".tmp")
        with partial.open("wb") as file:
            np.savez(file, **fields)
        partial.replace(path)


class FolderObjects:
    """Small objects in a folder, as a lease needs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, name: str, content: bytes) -> bool:
        try:
            with (self.folder / name).open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def get(self, name: str) -> bytes | None:
        path = self.folder / name
        return path.read_bytes() if path.exists() else None

    def put(self, name: str, content: bytes) -> None:
        _write(self.folder, name, content)

    def delete(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)


def grid_of(down: int, across: int) -> list[BlockIndex]:
    return [(row, column) for row in range(down) for column in range(across)]


def run_squares(job: SquareJob, engine, shape: tuple[int, int]) -> tuple[RunResult, Ledger]:
    """What is left of the job, as `run` does it: load the ledger, run what is to do."""
    store = NpyLedgerStore(job.folder / "ledger", shape)
    ledger = Ledger.load(store, store.arrays)
    summary = run_shown(job, engine, ledger, store, SilentProgress())
    return summary, ledger


def run_shown(job, engine, ledger: Ledger, store, progress: Progress, **settings) -> RunResult:
    """What is left of the job, with its progress, as a run of a map does it."""
    todo = ledger.todo()
    with shown(progress, len(todo), engine.name):
        return run_blocks(job, engine, ledger, store, blocks=todo, progress=progress, **settings)


def start_driver(folder: Path, kind: str, shape: tuple[int, int], block_seconds: float) -> subprocess.Popen[str]:
    """`main` in a process group of its own, as a shell would start it."""
    arguments = [str(folder), kind, str(shape[0]), str(shape[1]), str(block_seconds)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.block_jobs", *arguments],
        env=environment,
        cwd=Path(__file__).parents[1],
        start_new_session=True,
        preexec_fn=hear_interrupts,
        stderr=subprocess.PIPE,
        text=True,
    )


def hear_interrupts() -> None:
    """Let a process that is about to start hear Ctrl-C and SIGHUP, even where the tests were started deaf to them.

    A shell without job control, and ``nohup``, do so to what they run in the background, and children inherit it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def main(folder: Path, kind: str, down: int, across: int, block_seconds: float) -> int:
    """A whole driver under a lease, to be run as a process of its own and killed."""
    job = SquareJob(folder=folder, block_seconds=block_seconds)
    with ExitStack() as stack:
        stack.enter_context(hold(FolderObjects(folder), "lease"))
        engine = stack.enter_context(engine_of(kind))
        summary, _ = run_squares(job, engine, (down, across))
    return summary.exit_code


@contextmanager
def engine_of(kind: str):
    """``inline``, a number of workers, or the address of a scheduler."""
    if kind == "inline":
        yield InlineEngine()
        return
    from landweave.engine.clusters import connected_engine, local_engine  # a second that inline does without

    if kind.startswith("tcp://"):
        with connected_engine(kind) as engine:
            yield engine
    else:
        with local_engine(workers=int(kind)) as engine:
            yield engine


def _first(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _touch(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()


def _write(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}-{uuid.uuid4().hex}.tmp"
    partial.write_bytes(content)
    partial.replace(folder / name)


if __name__ == "__main__":
    given = sys.argv[1:]
    try:
        sys.exit(main(Path(given[0]), given[1], int(given[2]), int(given[3]), float(given[4])))
    except KeyboardInterrupt:
        sys.exit(130)
