from dataclasses import replace

from landweave.aligning.dates import TimeShard, plan_dates, time_shards
from tests.store.cubes.cube_samples import DAYS, step


def observations(*days):
    return tuple(step(day) for day in days)


def test_what_the_cube_has_keeps_its_place():
    """Seen, then begun, then found; of those begun what is found no more is dropped."""
    a, b, c, d, e = observations(*DAYS[:5])
    plan = plan_dates([c, a], [e, d], [a, b, d, e])
    assert plan.observations == (c, a, e, d, b)
    assert (plan.kept, plan.new, plan.changed) == (2, 3, ())
    assert plan_dates([c, a], [e, d], [b, d]).observations == (c, a, d, b)
    assert plan_dates([], [], [a, b]).observations == (a, b)


def test_other_scenes_of_a_kept_date_are_told_and_not_taken():
    a, b = observations(*DAYS[:2])
    now = replace(a, provenance={**a.provenance, "baseline": "05.10"})
    plan = plan_dates([a], [], [now, b])
    assert plan.changed == (a.datatake_id,)
    assert plan.observations == (a, b)
    same = replace(a, provenance={**a.provenance, "scenes": tuple(a.provenance["scenes"])})
    assert plan_dates([a], [], [same, b]).changed == ()


def test_time_shards_hold_every_date_once():
    days = observations(*DAYS)
    assert [(shard.number, len(shard.observations)) for shard in time_shards(days, 3)] == [(0, 3), (1, 3), (2, 1)]
    assert tuple(each for shard in time_shards(days, 3) for each in shard.observations) == days
    assert time_shards((), 3) == ()
    assert time_shards((), None) == (TimeShard(number=0),)


def test_a_time_shard_names_its_first_and_last_day():
    assert str(TimeShard(number=2, observations=observations(*DAYS))) == "time shard 2, dates 2020-06-30 to 2022-05-20"
    assert (str(TimeShard(number=0)), TimeShard(number=0).count) == ("time shard 0", 1)
