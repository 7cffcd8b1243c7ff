"""Hours, cost and energy, against arithmetic by hand."""

from dataclasses import replace

import pytest

from landweave.core.plain import as_plain
from landweave.mapping.estimate import Estimate
from landweave.models.pace import Pace

PACE = Pace(
    windows_per_second=2.0, card="LC-A", window=512, batch_size=4, torch_threads=2, device="cpu", bfloat16=False,
    hardware="a processor", torch="2.6", measured="2026-01-01T00:00:00+00:00",
)  # fmt: skip
ESTIMATE = Estimate(
    bench="LC-A", windows=72_000, decode_seconds=7_200, workers=4, pace=PACE, cost_per_hour=0.5, power_watts=100
)


def test_on_a_cpu_decoding_takes_cores_from_the_network() -> None:
    assert ESTIMATE.worker_hours == pytest.approx(72_000 / 2 / 3600 + 7_200 / 2 / 3600)  # 10 + 1
    assert ESTIMATE.hours == pytest.approx(11 / 4)
    assert ESTIMATE.cost == pytest.approx(11 * 0.5)
    assert ESTIMATE.energy_kwh == pytest.approx(11 * 0.1)


def test_beside_a_gpu_the_longer_of_the_two_counts() -> None:
    gpu = replace(PACE, device="cuda", windows_per_second=100.0)
    assert replace(ESTIMATE, pace=gpu).worker_hours == pytest.approx(1.0)  # decoding by two threads
    assert replace(ESTIMATE, pace=gpu, decode_seconds=10).worker_hours == pytest.approx(0.2)


def test_rows_say_what_is_known() -> None:
    rows = dict(ESTIMATE.rows)
    assert rows["time"].startswith("about 2.8 hours on 4, 11.0 hours on one worker (2 windows a second")
    assert "5.50 at 0.5 a worker and hour" in rows["cost"]
    assert "1.1 kWh at 100 W" in rows["energy"]
    alone = dict(replace(ESTIMATE, workers=None, cost_per_hour=None, power_watts=None).rows)
    assert alone["time"].startswith("about 11.0 hours on one worker")
    assert alone.keys() == {"time"}
    assert "`landweave bench LC-A`" in dict(replace(ESTIMATE, pace=None).rows)["time"]


def test_json_has_what_follows() -> None:
    plain = as_plain(ESTIMATE)
    assert (plain["worker_hours"], plain["cost"]) == (pytest.approx(11), pytest.approx(5.5))
    assert as_plain(replace(ESTIMATE, pace=None))["hours"] is None
