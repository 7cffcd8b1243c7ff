import json
import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from landweave.core.errors import OutputError
from landweave.jobs import lease as lease_module
from landweave.jobs.lease import Holder, Lease, hold
from tests.block_jobs import FolderObjects, wait_until

ELSEWHERE = Holder(host="node7", pid=4242, machine="another machine")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease_module, "SILENT_SECONDS", 0.5)


@pytest.fixture
def place(tmp_path):
    return FolderObjects(tmp_path)


def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    return ended.pid


@pytest.mark.usefixtures("quick")
def test_one_driver_at_a_time(place):
    with hold(place, "lease"), pytest.raises(OutputError, match=r"process \d+ on .*, last seen \d+ s ago"):
        Lease(place, "lease")
    with hold(place, "lease"):
        pass
    assert place.get("lease") is None


def test_refusal_names_who_where_and_since_when(place):
    place.put("lease", replace(ELSEWHERE, seen=time.time() - 33).to_bytes())
    with pytest.raises(OutputError, match="process 4242 on node7, last seen 33 s ago"):
        Lease(place, "lease")


@pytest.mark.usefixtures("quick")
def test_the_holder_beats(place):
    with hold(place, "lease"):
        first = Holder.from_bytes(place.get("lease"))
        wait_until(lambda: Holder.from_bytes(place.get("lease")).seen > first.seen)
        assert Holder.from_bytes(place.get("lease")).token == first.token


def test_a_dead_process_of_this_machine_is_followed_at_once(place):
    place.put("lease", Holder(pid=dead_pid()).to_bytes())
    started = time.monotonic()
    with hold(place, "lease"):
        assert time.monotonic() - started < 5


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"null", b"[" * 100_000, "{}".encode("utf-16"), b'{"seen": ' + b"1" * 5000 + b"}"),
        *({"pid": pid} for pid in ("x", -1, 0, 10**30, [1], None)),
        *({"seen": seen} for seen in ("x", None, float("nan"), 10**400)),
        *({"token": {}}, {"host": [], "machine": {}}),
    ],
    ids=lambda content: str(content)[:30],
)
def test_a_lease_that_is_damaged_holds_up_nobody(place, content):
    stored = json.dumps({**json.loads(Holder(seen=0.0).to_bytes()), **content}) if isinstance(content, dict) else ""
    place.put("lease", stored.encode() or content)
    with hold(place, "lease") as lease:
        lease.check()
    assert place.get("lease") is None


def test_a_process_that_nobody_buried_is_dead_too(place):
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        wait_until(lambda: Holder(pid=ended.pid).gone)


def test_a_living_process_and_any_of_another_machine_are_not_gone():
    assert not Holder(pid=os.getppid()).gone
    assert not replace(ELSEWHERE, pid=dead_pid()).gone


@pytest.mark.usefixtures("quick")
def test_a_silent_holder_is_watched_and_then_followed(place):
    place.put("lease", replace(ELSEWHERE, seen=time.time() - 1).to_bytes())
    with hold(place, "lease") as lease:
        lease.check()


@pytest.mark.parametrize("offset", [-3600, 3600])
@pytest.mark.usefixtures("quick")
def test_a_holder_with_another_clock_is_alive_while_it_beats(place, monkeypatch, offset):
    wrong = replace(ELSEWHERE, seen=time.time() + offset)
    place.put("lease", wrong.to_bytes())
    # Somebody beats while the newcomer watches.
    monkeypatch.setattr(time, "sleep", lambda _: place.put("lease", replace(wrong, seen=wrong.seen + 10).to_bytes()))
    with pytest.raises(OutputError, match="node7"):
        Lease(place, "lease")


@pytest.mark.usefixtures("quick")
def test_of_two_who_find_a_dead_holder_one_wins(place, monkeypatch):
    place.put("lease", Holder(pid=dead_pid()).to_bytes())
    monkeypatch.setattr(time, "sleep", lambda _: place.put("lease", ELSEWHERE.to_bytes()))
    with pytest.raises(OutputError, match="took this output over just now: process 4242 on node7"):
        Lease(place, "lease")


@pytest.mark.usefixtures("quick")
def test_who_was_followed_learns_it_and_leaves_the_other_alone(place):
    lease = Lease(place, "lease")
    lease.check()
    place.put("lease", ELSEWHERE.to_bytes())

    def lost():
        try:
            lease.check()
        except OutputError:
            return True
        return False

    wait_until(lost)
    with pytest.raises(OutputError, match="another took its output over: process 4242 on node7"):
        lease.check()
    lease.release()
    assert Holder.from_bytes(place.get("lease")) == ELSEWHERE


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", json.dumps({"pid": 1}).encode()])
@pytest.mark.usefixtures("quick")
def test_a_lease_that_was_cut_short_binds_nobody(place, content):
    place.put("lease", content)
    with hold(place, "lease"):
        pass


@pytest.mark.usefixtures("quick")
def test_a_store_that_fails_for_a_moment_does_not_lose_the_lease(place, monkeypatch):
    with hold(place, "lease") as lease:
        with monkeypatch.context() as broken:
            failures = []

            def fail(name):
                failures.append(name)
                raise OSError("503")

            broken.setattr(place, "get", fail)
            wait_until(lambda: len(failures) > 2)
        before = Holder.from_bytes(place.get("lease")).seen
        wait_until(lambda: Holder.from_bytes(place.get("lease")).seen > before)
        lease.check()


@pytest.mark.usefixtures("quick")
def test_a_missing_lease_is_a_lost_lease(place):
    """The one who took over has ended since: its lease is gone, and so is this one's right to write."""
    lease = Lease(place, "lease")
    place.delete("lease")
    with pytest.raises(OutputError, match="another took its output over"):
        lease.check()
    time.sleep(0.3)
    assert place.get("lease") is None  # no beat takes the output back
    lease.release()


@pytest.mark.usefixtures("quick")
def test_a_fence_says_at_once_that_another_took_over(place):
    """Where blocks are written nobody waits for the next beat."""
    with hold(place, "lease") as lease:
        fence = pickle.loads(pickle.dumps(lease.fence))
        fence.check()
        place.put("lease", ELSEWHERE.to_bytes())
        with pytest.raises(OutputError, match="process 4242 on node7"):
            fence.check()


@pytest.mark.usefixtures("quick")
def test_a_holder_suspended_within_a_beat_does_not_put_its_lease_over_the_next_one(place, monkeypatch):
    lease, read, woken = Lease(place, "lease"), place.get, []

    def get(name):
        content = read(name)
        if threading.current_thread().name == "landweave-lease" and not woken:
            place.put("lease", ELSEWHERE.to_bytes())
            time.sleep(0.2)  # longer than a beat
            woken.append(1)
        return content

    monkeypatch.setattr(place, "get", get)
    wait_until(lambda: woken)
    time.sleep(0.2)
    assert Holder.from_bytes(read("lease")) == ELSEWHERE
    lease.release()


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.usefixtures("quick")
def test_a_driver_knows_whether_it_follows_one_that_never_gave_back(place, held):
    if held:
        place.put("lease", Holder(pid=dead_pid()).to_bytes())
    with hold(place, "lease") as lease:
        assert lease.followed is held


@pytest.mark.usefixtures("quick")
def test_a_store_that_went_away_does_not_hide_what_ended_the_run_and_may_be_taken_at_once(place, monkeypatch):
    def fail(name):
        raise OSError("out of reach")

    def run():
        with monkeypatch.context() as away, hold(place, "lease"):
            away.setattr(place, "get", fail)
            raise KeyError("height")

    with pytest.raises(KeyError, match="height"):
        run()
    assert place.get("lease") is not None
    started = time.monotonic()
    with hold(place, "lease") as lease:
        assert lease.followed
    assert time.monotonic() - started < 5
