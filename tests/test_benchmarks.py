"""The benchmarks run, at a size that says nothing: so that they cannot rot."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.slow
SMALL = ("--window", "64", "--encoder", "resnet18")


def printed(script: str, *arguments: str) -> str:
    return run(script, *arguments, *SMALL)


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_throughput_prints_a_ratio_and_its_stages() -> None:
    table = printed("throughput.py", "--side", "512", "--turns", "1", "--workers", "2", "--threads", "1")
    assert float(re.search(r"median ratio (\S+)", table)[1]) > 0
    assert all(stage in table for stage in ("read", "predict", "blend", "argmax", "write"))


def test_peers_prints_equal_answers_and_a_row_for_each() -> None:
    table = printed("peers.py", "--side", "300", "--turns", "1", "--threads", "1", "--engines", "eager")
    assert float(re.search(r"landweave crop eager: (\S+) of the pixels as the peer", table)[1]) > 0.9999
    rows = [line.split() for line in table.splitlines() if line.startswith(("zonal loop", "landweave crop"))][1:]
    windows, *seconds = zip(*(map(float, row[-8:]) for row in rows), strict=True)
    assert windows[0] == windows[1]
    assert all(each > 0 for column in seconds for each in column)


def test_quality_prints_agreement_by_cost_and_draws_it(tmp_path: Path) -> None:
    picture = tmp_path / "quality.png"
    sizes = ("--side", "512", "--pairs", "128/0", "128/32", "--reference", "128/96", "--threads", "1")
    table = run("quality.py", *sizes, "--picture", str(picture))
    rows = [line.split() for line in table.splitlines()[3:]]
    assert [row[1] for row in rows] == ["crop", "crop", "linear", "cosine", "gaussian"]
    assert all(0.5 < float(row[3]) < 1 for row in rows)
    assert float(rows[0][3]) < max(float(row[3]) for row in rows[1:])
    assert picture.stat().st_size > 10_000


def test_alignment_prints_ratios_and_the_memory_of_dates_and_areas() -> None:
    sizes = ("--side", "128", "--tile", "64", "--dates", "2", "--turns", "1")
    memory = ("--memory-dates", "1", "2", "--memory-areas", "2")
    table = run("align.py", *sizes, *memory)
    assert all(float(ratio) > 0 for ratio in re.findall(r"takes (\S+) of odc-stac's time, (\S+) of its", table)[0])
    rows = [line.split() for line in table.splitlines()[-4:-1]]
    assert [(int(row[0]), int(row[1])) for row in rows] == [(1, 1), (2, 1), (1, 4)]
    assert all(float(row[2]) > 0 for row in rows)


def test_zones_prints_ratios_and_memory() -> None:
    table = run("zones.py", "--side", "1024", "--zones", "20", "--turns", "1", "--memory-sides", "1024")
    assert len([ratio for ratio in re.findall(r"(\S+) times as fast", table) if float(ratio) > 0]) == 2
    assert all(float(peak) > 0 for peak in re.findall(r"(\S+) MB", table))


def test_memory_prints_promise_and_measure_of_each_area() -> None:
    table = printed("memory.py", "--block", "256", "--sides", "1", "2")
    rows = [line.split() for line in table.splitlines()[-3:-1]]
    assert [int(row[0]) for row in rows] == [1, 4]
    assert all(float(row[1]) > 0 for row in rows)


def test_regional_prints_windows_needed_planned_and_run() -> None:
    table = printed("regional.py", "--sides", "200", "--workers", "1", "--offsets", "1", "--chunk", "64")
    rows = [line.split() for line in table.splitlines()[3:]]
    (row,) = rows
    needed, planned, ratio, run, seconds, before = (float(each.replace(",", "")) for each in row[-6:])
    assert needed <= run <= planned <= 1.15 * needed
    assert ratio == pytest.approx(planned / needed, abs=1e-3)
    assert before < seconds


def test_scale_prints_plan_overhead_and_efficiency() -> None:
    small = ("--side", "30000", "--tiles", "3", "--blocks", "8", "--workers", "1", "--seconds", "0.02", "--turns", "2")
    table = run("scale.py", *small)
    assert "blocks, " in table
    assert "headers of 3 tiles" in table
    assert 0 < float(table.splitlines()[-1].split()[1]) <= 1


def test_publishing_prints_a_ratio_and_the_memory_of_each_area() -> None:
    table = run("publish.py", "--side", "1024", "--turns", "1", "--unit", "512", "--areas", "1", "2")
    assert float(re.search(r"ours is (\S+) times as fast", table)[1]) > 0
    rows = [line.split() for line in table.splitlines()[-2:]]
    assert [int(row[0]) for row in rows] == [1, 4]
    assert all(float(row[1]) > 0 for row in rows)
