from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.errors import ConfigError
from tidemill.project import load_project
from tidemill.scoring.schedules.schedule_rules import Schedule, load_schedules
from tidemill.scoring.schedules.slots import DEATHS, RecordedSlot, due, last_slot

DAY = timedelta(days=1)
MONDAY = datetime(2013, 4, 1, 4, tzinfo=UTC)


def schedule(**more) -> Schedule:
    facts = {"name": "a", "input": "in", "output": "{slot:%Y-%m-%dT%H%M}", "every": "1d", "at": "04:00"}
    return Schedule.model_validate({**facts, **more})


def done(*days: int) -> dict[datetime, RecordedSlot]:
    return {MONDAY + day * DAY: RecordedSlot("done", 1, MONDAY + day * DAY) for day in days}


def test_a_new_schedule_begins_with_its_latest_slot():
    assert due(schedule(), {}, MONDAY + timedelta(hours=30)).slot == MONDAY + DAY


@pytest.mark.parametrize(
    ("missed", "slot", "skipped"), [("latest", 4, (1, 2, 3)), ("all", 1, ()), ("none", None, None)]
)
def test_what_was_missed_is_dealt_with_as_declared(missed, slot, skipped):
    found = due(schedule(missed=missed), done(0), MONDAY + 4 * DAY + timedelta(hours=2))
    if slot is None:
        assert found is None
        found = due(schedule(missed=missed), done(0), MONDAY + 5 * DAY + timedelta(minutes=59))
        slot, skipped = 5, (1, 2, 3, 4)
    assert found.slot == MONDAY + slot * DAY
    assert found.skipped == tuple(MONDAY + day * DAY for day in skipped)


def test_what_failed_is_tried_again_later_and_not_for_ever():
    one = schedule(tries=2, retry_after="10m")
    failed = {MONDAY: RecordedSlot("failed", 1, MONDAY)}
    assert due(one, failed, MONDAY + timedelta(minutes=9)) is None
    assert due(one, failed, MONDAY + timedelta(minutes=10)).slot == MONDAY
    assert due(one, {MONDAY: RecordedSlot("failed", 2, MONDAY)}, MONDAY + timedelta(hours=9)) is None
    killed = {MONDAY: RecordedSlot("running", 9, MONDAY)}
    assert due(one, killed, MONDAY + timedelta(seconds=1)).slot == MONDAY
    deadly = {MONDAY: RecordedSlot("running", 2 + DEATHS, MONDAY)}
    assert due(one, deadly, MONDAY + timedelta(hours=9)) is None
    assert due(one, deadly, MONDAY + DAY).slot == MONDAY + DAY


@pytest.mark.parametrize("missed", ["latest", "all"])
def test_a_slot_that_was_run_ahead_by_hand_keeps_no_other_waiting(missed):
    one, past = schedule(missed=missed), done(0, 3)
    assert due(one, past, MONDAY + DAY).slot == MONDAY + DAY
    assert due(one, done(3), MONDAY + DAY).slot == MONDAY + DAY
    assert due(one, past | done(1, 2), MONDAY + 3 * DAY) is None


@pytest.mark.slow
@given(
    st.sampled_from(["latest", "all"]),
    st.lists(st.timedeltas(timedelta(minutes=1), 3 * DAY), min_size=1, max_size=30),
    st.sampled_from(["1h", "6h", "1d", "7d"]),
)
def test_whenever_somebody_looks_no_slot_comes_twice_or_out_of_order(missed, steps, every):
    one = schedule(missed=missed, every=every, at="00:30")
    past, now, seen = {}, MONDAY, []
    for step in steps:
        now += step
        while found := due(one, past, now):
            assert found.slot <= now
            assert last_slot(one, found.slot) == found.slot
            for slot in (*found.skipped, found.slot):
                assert slot not in past
                past[slot] = RecordedSlot("done", 1, now)
                seen.append(slot)
    assert seen == sorted(seen)
    assert {later - earlier for earlier, later in pairwise(seen)} <= {one.every}


def test_the_file_says_what_is_wrong_with_it(tmp_path):
    (tmp_path / "monitoring").mkdir()
    (tmp_path / "params.yaml").write_text(
        "project: {name: a, model: b, training: 'a:b', application: 'a:b'}\n"
        "dataset: {path: a, label: b}\nfeatures: {service: a}\n"
    )
    project = load_project(tmp_path)
    assert load_schedules(project) == ()
    file = tmp_path / "monitoring" / "schedules.yaml"
    for text, told in (
        ("schedules: [{name: a, input: i, output: o, every: 1d}]", "output is the same for every slot"),
        ("schedules: [{name: a, input: i, output: 'o{day}', every: 1d}]", "only {slot:…} can be filled in"),
        (
            "schedules: [{name: a, input: i, output: 'o{slot}', every: 1h, at: '04:00'}]",
            "at must be less than",
        ),
        ("schedules: [{name: a, input: i, output: 'o{slot}', every: 1d, at: 4:00}]", "is not a time of day"),
        ("schedules: [{name: a, input: i, output: 'o{slot}', evry: 1d}]", "schedules.0.evry"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=told.replace("{", r"\{").replace("}", r"\}")):
            load_schedules(project)
