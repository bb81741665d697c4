import asyncio
import json
import threading

import pytest

from tests.tidemill.dashboard.pages.serving.test_serving_pages import job
from tests.tidemill.dashboard.pages.test_fleet import run
from tidemill.accounts.identities import Identity
from tidemill.accounts.roles import TABLE
from tidemill.dashboard.live.record_changes import TOPICS, Change, RecordChanges, latest_rows, watch_rows
from tidemill.dashboard.pages import event_stream
from tidemill.dashboard.pages.event_stream import NEEDS, _heard, _stream
from tidemill.dashboard.records.bounded_reading import Readings, patience
from tidemill.dashboard.visit import Visit
from tidemill.errors import BeingComputed


def test_every_topic_needs_a_permission_of_the_table():
    assert set(NEEDS) == set(TOPICS)
    for action, resource in NEEDS.values():
        assert action in TABLE[resource]


def test_nobody_hears_of_a_project_without_a_role_there(installation):
    def heard(identity):
        return {model for _, model in _heard(Visit(installation, identity, installation.clock.now()))}

    assert heard(Identity("person", "ada", {"parcels": frozenset({"viewer"})})) == {"parcel-delay"}
    assert heard(Identity("person", "bob", {"other": frozenset({"admin"})})) == set()


def test_a_row_that_changes_is_an_event_of_its_model(installation):
    now = installation.clock.now()
    with installation.state.transaction() as session:
        session.add(job(1, now))
    before = latest_rows(installation.records)
    with installation.state.transaction() as session:
        other = job(2, now)
        other.model = "other"
        session.add(other)
    after = latest_rows(installation.records)
    changed = {one for one in after if after[one] != before.get(one)}
    assert changed == {Change("serving", "other")}


def test_records_are_read_again_only_where_they_have_changed(installation, monkeypatch):
    with installation.state.transaction() as session:
        session.add(run())
    look = watch_rows(installation.records)
    first = look()
    [[seen]] = [rows for change, rows in first.items() if change.topic == "monitoring"]
    assert "results" not in seen, "they are long, and never change"
    with monkeypatch.context() as patched:
        patched.setattr(installation.records, "select", None)  # whoever reads fails
        assert look() == first
    with installation.state.transaction() as session:
        session.add(job(1, installation.clock.now()))
    assert look().keys() - first.keys() == {Change("serving", "parcel-delay")}


def test_a_stream_tells_only_what_may_be_heard(monkeypatch):
    monkeypatch.setattr(event_stream, "READINGS", Readings())  # others have told of theirs
    state = {Change("alerts", "mine"): 1, Change("alerts", "theirs"): 1}

    looks = []

    def look():
        looks.append(1)
        return dict(state)

    async def looked():
        seen = len(looks)
        while len(looks) < seen + 2:
            await asyncio.sleep(0.01)

    async def scene():
        stream = _stream(RecordChanges(look, every=0.01), frozenset({("alerts", "mine")}))
        assert (await anext(stream)).startswith("retry: 2000\nid: ")
        await looked()
        state[Change("alerts", "theirs")] = 2
        await looked()
        state[Change("alerts", "mine")] = 2
        said = await asyncio.wait_for(anext(stream), 5)
        await stream.aclose()
        return said

    said = asyncio.run(scene())
    assert json.loads(said.partition("data: ")[2]) == {"topic": "alerts", "model": "mine"}


def test_a_page_that_listens_anew_is_told_of_all_that_nobody_looked_at():
    async def scene(last):
        stream = _stream(RecordChanges(dict, every=60), frozenset({("alerts", "mine")}), last)
        first = await anext(stream)
        await stream.aclose()
        return first

    assert '{"topic": "alerts", "model": "mine"}' in asyncio.run(scene("of another process-7"))
    assert "alerts" not in asyncio.run(scene(None))


def test_a_stream_tells_of_readings_that_end_and_of_those_that_just_have(monkeypatch):
    readings, go = Readings(), threading.Event()
    monkeypatch.setattr(event_stream, "READINGS", readings)

    def ticket(key):
        with patience(0.0), pytest.raises(BeingComputed) as told:
            readings.read("it", key, lambda: go.wait(10))
        return told.value.ticket

    async def scene():
        stream = _stream(RecordChanges(dict, every=60), frozenset())
        assert (await anext(stream)).startswith("retry: 2000\nid: ")
        expected = await asyncio.to_thread(ticket, "first")
        go.set()
        said = await asyncio.wait_for(anext(stream), 5)
        await stream.aclose()
        later = _stream(RecordChanges(dict, every=60), frozenset())
        first = await anext(later)
        await later.aclose()
        return expected, said, first

    expected, said, first = asyncio.run(scene())
    assert json.loads(said.partition("data: ")[2]) == {"topic": "computed", "model": expected}
    assert first.partition("\n\n")[2] == said.partition("\n")[2]
