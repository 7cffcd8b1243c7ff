import numpy as np
import pytest

from landweave.core.protocols import LEDGER_FIELDS, REASON_BYTES, BlockResult, BlockState, WrittenObject
from landweave.jobs.ledger import Ledger, encode_reason
from tests.block_jobs import NpyLedgerStore

ARRAYS = ("landcover", "confidence")
DONE = BlockResult(
    state=BlockState.DONE,
    objects=(
        WrittenObject(array="confidence", size=22, checksum=2**64 - 1),
        WrittenObject(array="landcover", size=11, checksum=5),
    ),
    inputs=2**63 + 1,
    seconds={"total": 1.5, "read": 0.5},
    counts={"windows": 36, "pixels": 1024},
)
FAILED = BlockResult(state=BlockState.READ_FAILED, reason="tile é.jp2: cut short")


def test_a_new_ledger_is_all_pending(tmp_path):
    ledger = Ledger((3, 5), ARRAYS)
    assert ledger.counts()[BlockState.PENDING] == 15
    assert len(ledger.todo()) == 15
    assert ledger.todo()[:2] == [(0, 0), (0, 1)]
    assert ledger.failures() == []
    assert ledger.flush(NpyLedgerStore(tmp_path, (3, 5), ARRAYS)) == 0


def test_fields_are_those_of_the_port():
    fields = Ledger((3, 5), ARRAYS).fields
    assert {name: str(values.dtype) for name, values in fields.items()} == {
        name: dtype for name, (dtype, _) in LEDGER_FIELDS.items()
    }
    assert fields["object_bytes"].shape == (3, 5, 2)
    assert fields["reason"].shape == (3, 5, REASON_BYTES)


def test_marks_come_back_from_the_store(tmp_path):
    store = NpyLedgerStore(tmp_path, (130, 70), ARRAYS)
    ledger = Ledger((130, 70), ARRAYS)
    ledger.mark((129, 69), DONE)
    ledger.mark((0, 1), FAILED)
    assert ledger.flush(store) == 2
    again = Ledger.load(store, ARRAYS)
    assert again.counts() == ledger.counts()
    assert again.reason((0, 1)) == "tile é.jp2: cut short"
    assert again.state((129, 69)) is BlockState.DONE
    for name in ledger.fields:
        np.testing.assert_array_equal(again.fields[name], ledger.fields[name])
    assert again.fields["object_bytes"][129, 69].tolist() == [11, 22]
    assert again.fields["object_checksum"][129, 69].tolist() == [5, 2**64 - 1]
    assert again.fields["inputs"][129, 69] == 2**63 + 1
    assert again.fields["windows"][129, 69] == 36
    assert again.fields["seconds"][129, 69] == 1.5


def test_todo_is_what_is_not_finished():
    ledger = Ledger((1, len(BlockState)))
    for state in BlockState:
        ledger.mark((0, state.value), BlockResult(state=state))
    left = [BlockState(column) for _, column in ledger.todo()]
    assert left == [
        BlockState.PENDING,
        BlockState.READ_FAILED,
        BlockState.MODEL_FAILED,
        BlockState.FAILED,
        BlockState.WORKER_DIED,
        BlockState.DAMAGED,
    ]
    assert [line.split(": ")[1] for line in ledger.failures()] == [state.words for state in left[1:]]


def test_a_later_mark_replaces_all_but_the_attempts():
    ledger = Ledger((2, 2), ARRAYS)
    ledger.mark((1, 1), FAILED)
    ledger.mark((1, 1), DONE)
    assert ledger.reason((1, 1)) == ""
    assert ledger.fields["attempts"][1, 1] == 2
    ledger.mark((1, 1), FAILED)
    assert ledger.fields["object_bytes"][1, 1].tolist() == [0, 0]
    for _ in range(300):
        ledger.mark((1, 1), DONE)
    assert ledger.fields["attempts"][1, 1] == 255


def test_only_chunks_that_changed_are_saved(tmp_path):
    store = NpyLedgerStore(tmp_path, (200, 200))
    ledger = Ledger((200, 200))
    for row in range(64):
        for column in range(60, 68):
            ledger.mark((row, column), BlockResult(state=BlockState.OUTSIDE))
    assert ledger.flush(store) == 2
    assert ledger.flush(store) == 0
    ledger.mark((199, 199), DONE if ledger.arrays else FAILED)
    assert ledger.flush(store) == 1
    assert store.saved == [(0, 0), (0, 1), (3, 3)]


def test_a_save_that_fails_is_tried_again(tmp_path):
    class Full(NpyLedgerStore):
        full = True

        def save(self, chunk, fields):
            if self.full:
                raise OSError(28, "No space left on device")
            super().save(chunk, fields)

    store = Full(tmp_path, (2, 2), ())
    ledger = Ledger((2, 2))
    ledger.mark((0, 0), FAILED)
    with pytest.raises(OSError, match="No space left"):
        ledger.flush(store)
    store.full = False
    assert ledger.flush(store) == 1
    assert Ledger.load(store).counts()[BlockState.READ_FAILED] == 1


def test_marks_outside_or_of_unknown_arrays_are_refused():
    ledger = Ledger((2, 3), ("landcover",))
    with pytest.raises(ValueError, match=r"Block \(2, 0\) is not in a ledger of 2 x 3"):
        ledger.mark((2, 0), FAILED)
    with pytest.raises(ValueError, match=r"Block \(-1, 0\)"):
        ledger.mark((-1, 0), FAILED)
    with pytest.raises(ValueError, match="confidence"):
        ledger.mark((0, 0), DONE)


def test_a_ledger_of_other_arrays_is_not_loaded(tmp_path):
    store = NpyLedgerStore(tmp_path, (2, 3), ARRAYS)
    with pytest.raises(ValueError, match="object_bytes"):
        Ledger.load(store, ("landcover",))


def test_a_failure_reads_as_a_sentence():
    ledger = Ledger((4, 4))
    ledger.mark((3, 2), FAILED)
    assert ledger.failures()[0] == "block (3, 2): read failed: tile é.jp2: cut short"


@pytest.mark.parametrize("length", [10, 255, 256, 257, 1000])
@pytest.mark.parametrize("letter", ["a", "é", "地"])
def test_a_reason_fits_its_room_and_keeps_both_ends(length, letter):
    reason = "Cannot read " + letter * length + " in tile_0612.jp2"
    encoded = encode_reason(reason)
    assert len(encoded) == REASON_BYTES
    text = encoded.rstrip(b"\0").decode()
    assert text.startswith("Cannot read ")
    assert text.endswith("in tile_0612.jp2")
    assert ("…" in text) == (len(reason.encode()) > REASON_BYTES)


def test_a_reason_is_one_line():
    assert encode_reason("first\n  second\0").rstrip(b"\0") == b"first second"
