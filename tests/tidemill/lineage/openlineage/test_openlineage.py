"""Events of a real turn, as a real server got them; and servers that are down."""

import contextlib
import json
import logging
import socket
import uuid
from datetime import datetime, timedelta

import attrs
import pytest
from openlineage.client import event_v2, facet_v2
from openlineage.client.serde import Serde

from tests.tidemill.lineage.conftest import KEY
from tests.tidemill.lineage.small_world import NOON
from tidemill.errors import ConfigError, TidemillError, UsageError
from tidemill.lineage.openlineage.collector_address import configured
from tidemill.lineage.openlineage.emission import deliver, events_of
from tidemill.lineage.openlineage.events import whole_turn
from tidemill.lineage.openlineage.reporting import TurnReport
from tidemill.lineage.sources.turn_details import TurnDetails
from tidemill.project import load_project
from tidemill.settings import Settings
from tidemill.state.tables import Turn

pytestmark = pytest.mark.engine

STEPS = ("data", "gate", "promote", "register", "train")
JOBS = ["dvc.observe", "dvc.training_set", *(f"parcel-delay.{step}" for step in STEPS), "parcel-delay.turn"]


def jobs_of(events, phase):
    return sorted(event["job"]["name"] for event in events if event["eventType"] == phase)


def versions(sets):
    return {each["name"]: each["facets"]["version"]["datasetVersion"] for each in sets}


def event_of(events, job, phase="COMPLETE"):
    (found,) = (each for each in events if (each["job"]["name"], each["eventType"]) == (job, phase))
    return found


def facets_of(event):
    for place in (event["run"], event["job"]):
        yield from place["facets"].items()
    for data in (*event["inputs"], *event["outputs"]):
        for group in ("facets", "inputFacets", "outputFacets"):
            yield from data.get(group, {}).items()


def at(address, tmp_path, **settings):
    project = tmp_path / "p"
    project.mkdir(exist_ok=True)
    sections = {
        "project": {"name": "parcels", "model": "m", "training": "a:b", "application": "a:b"},
        "dataset": {"path": "set.parquet", "label": "late"},
        "features": {"service": "s"},
    }
    (project / "params.yaml").write_text(json.dumps(sections))
    return load_project(project, Settings(openlineage_url=address, **settings))


def turn(status="running", error=None):
    return Turn(
        id="turn_1", model="m", trigger="manual", reason="why not", actor="ada", promote=True, overrides={},
        as_of=NOON, status=status, step="data", seconds={}, requested_at=NOON, error=error,
    )  # fmt: skip


def test_a_turn_tells_each_job_from_start_to_end(world):
    assert jobs_of(world.events, "START") == jobs_of(world.events, "COMPLETE") == JOBS
    assert len(world.events) == 2 * len(JOBS)
    assert world.keys == {f"Bearer {KEY}"}
    assert {event["path"] for event in world.events} == {"/api/v1/lineage"}
    by_job = {}
    for event in world.events:
        by_job.setdefault(event["job"]["name"], set()).add(event["run"]["runId"])
    assert all(len(runs) == 1 for runs in by_job.values())
    root = event_of(world.events, "parcel-delay.turn")["run"]["runId"]
    stage = event_of(world.events, "dvc.observe")["run"]["facets"]["parent"]
    assert (stage["job"]["name"], stage["root"]["run"]["runId"]) == ("parcel-delay.data", root)


def test_what_the_jobs_read_and_wrote_has_version_schema_and_source(world):
    made = event_of(world.events, "dvc.training_set")
    trained = event_of(world.events, "parcel-delay.train")
    assert set(versions(made["inputs"])) == {"data/weather.parquet"}
    assert versions(made["outputs"]) == versions(trained["inputs"])
    columns = made["outputs"][0]["facets"]["schema"]["fields"]
    assert {"name": "late", "type": "Int64"}.items() <= next(
        c for c in columns if c["name"] == "late"
    ).items()
    assert made["outputs"][0]["outputFacets"]["outputStatistics"]["size"] > 0
    assert made["job"]["facets"]["sourceCodeLocation"]["version"] == world.revision
    assert versions(trained["outputs"]) == {"models/parcel-delay": world.run_id}
    assert trained["run"]["facets"]["tidemill_lineage"]["feature_service"] == "parcels"
    assert trained["run"]["facets"]["nominalTime"]["nominalStartTime"] == NOON.isoformat()
    promoted = event_of(world.events, "parcel-delay.promote")
    assert versions(promoted["outputs"]) == {"registry/parcel-delay@champion": "1"}
    assert event_of(world.events, "parcel-delay.gate")["run"]["facets"]["tidemill_gate"]["passed"] is True


def test_the_events_are_what_openlineage_defines(world):
    """The wheel ships no JSON schema; its typed classes, made from it, must take every field."""
    known = {
        name: getattr(module, name)
        for module in vars(facet_v2).values()
        for name in dir(module)
        if isinstance(getattr(module, name), type) and attrs.has(getattr(module, name))
    }
    for event in world.events:
        assert {"eventTime", "producer", "schemaURL", "run", "job"} <= set(event)
        assert event["schemaURL"].endswith("#/$defs/RunEvent")
        assert event["job"]["namespace"] == "parcels"
        assert event_v2.RunState(event["eventType"])
        assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
        assert uuid.UUID(event["run"]["runId"])
        for name, facet in facets_of(event):
            kind = facet["_schemaURL"].rpartition("/")[2]
            if name.startswith("tidemill_"):
                assert kind == "RunFacet"
                continue
            declared = {field.name: field for field in attrs.fields(known[kind])}
            assert set(facet) <= set(declared)
            needed = {n for n, f in declared.items() if f.default is attrs.NOTHING}
            assert needed <= set(facet), f"{name} lacks a field"


def test_a_past_turn_can_be_told_again(world, tmp_path, collector):
    project = world.copy(tmp_path / "parcels")
    again = events_of(project, "champion")
    assert again.turns == (world.turn_id,)
    told = [json.loads(line) for line in again.lines()]
    assert jobs_of(told, "COMPLETE") == JOBS
    assert {e["run"]["runId"] for e in told} == {e["run"]["runId"] for e in world.events}
    for job in JOBS:
        assert event_of(told, job)["inputs"] == event_of(world.events, job)["inputs"]
        assert event_of(told, job)["outputs"] == event_of(world.events, job)["outputs"]
    with pytest.raises(UsageError, match="no turn of the loop made view:weather"):
        events_of(project, "view:weather")
    with pytest.raises(UsageError, match="no address"):
        deliver(project, again)
    with_name = collector.address.replace("://", "://ada:sesame@")
    there = load_project(project.root, Settings(openlineage_url=f"{with_name}/custom/path"))
    assert deliver(there, again) == f"{collector.address}/custom/path"
    assert [event["path"] for event in collector.events] == ["/custom/path"] * len(told)
    assert set(collector.keys) == {"Basic YWRhOnNlc2FtZQ=="}  # ada:sesame
    collector.status = 503
    with pytest.raises(TidemillError, match=f"took 0 of {len(told)} events: 503"):
        deliver(there, again)
    counted = json.loads((there.home / "openlineage.json").read_text())
    assert (counted["failed"], counted["last_error"][:3]) == (1, "503")


def test_a_turn_that_was_only_registered_ends_there():
    made = turn("registered")
    made.seconds, made.step = {"data": 1.0, "train": 2.0, "register": 0.5}, "gate"
    events = [
        json.loads(Serde.to_json(each)) for each in whole_turn(TurnDetails("parcels", made, "set.parquet"))
    ]
    assert (
        jobs_of(events, "START")
        == jobs_of(events, "COMPLETE")
        == ["m.data", "m.register", "m.train", "m.turn"]
    )
    assert event_of(events, "m.register")["eventTime"] == (NOON + timedelta(seconds=3.5)).isoformat()


def test_events_go_to_a_file(tmp_path):
    project = at("file:lineage/events.ndjson", tmp_path)
    made = turn()
    with TurnReport(project, made) as report:
        report.begin("gate")
        report.complete("gate")
        made.status = "refused"
    lines = (project.root / "lineage" / "events.ndjson").read_text().splitlines()
    assert [json.loads(line)["eventType"] for line in lines] == ["START", "START", "COMPLETE", "COMPLETE"]


@pytest.mark.parametrize(("error", "phase"), [("no flights", "FAIL"), ("interrupted", "ABORT")])
def test_a_turn_that_fails_tells_why(tmp_path, collector, error, phase):
    made = turn()
    with TurnReport(at(collector.address, tmp_path), made) as report:
        report.begin("data")
        made.status, made.error = "failed", error
    assert jobs_of(collector.events, phase) == ["m.data", "m.turn"]
    failed = event_of(collector.events, "m.data", phase)
    assert failed["run"]["facets"]["errorMessage"]["message"] == error


def test_a_turn_that_the_next_process_takes_up_has_not_ended(tmp_path, collector):
    report = TurnReport(at(collector.address, tmp_path), turn())
    with contextlib.suppress(KeyboardInterrupt), report:
        report.begin("promote")
        raise KeyboardInterrupt
    assert {event["eventType"] for event in collector.events} == {"START"}


def test_a_collector_that_is_down_costs_a_warning(tmp_path, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://me:{KEY}@127.0.0.1:{free.getsockname()[1]}"
    project, made = at(address, tmp_path, openlineage_api_key=KEY), turn()
    caplog.set_level(logging.DEBUG)
    with TurnReport(project, made):
        made.status = "promoted"
    warnings = [each for each in caplog.records if each.name.startswith("tidemill")]
    assert [each.levelname for each in warnings] == ["WARNING"]
    counted = (project.home / "openlineage.json").read_text()
    assert json.loads(counted)["failed"] == 2
    assert KEY not in caplog.text + counted + repr(project)


def test_a_collector_that_never_answers_is_waited_for_a_while(tmp_path):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        project = at(f"http://127.0.0.1:{deaf.getsockname()[1]}", tmp_path, openlineage_timeout=0.5)
        made = turn()
        with TurnReport(project, made):  # it ends, though the collector never says a word
            made.status = "promoted"
    counted = json.loads((project.home / "openlineage.json").read_text())
    assert (counted["sent"], counted["failed"]) == (0, 2)


@pytest.mark.parametrize("address", ["ftp://lineage.example", "lineage.example:5000", "http:/oops"])
def test_an_address_that_is_none_is_told_and_breaks_nothing(tmp_path, world, caplog, address):
    made = turn()
    with TurnReport(at(address, tmp_path), made):
        made.status = "promoted"
    assert "TIDEMILL_OPENLINEAGE_URL" in caplog.text
    there = load_project(world.root, Settings(openlineage_url=address))
    with pytest.raises(ConfigError, match="not an address of a collector"):
        deliver(there, events_of(there, world.turn_id))


def test_nothing_is_sent_unless_an_address_is_given(monkeypatch):
    for name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    assert configured(Settings()) is None
    monkeypatch.setenv("OPENLINEAGE_URL", "http://lineage.example")
    assert configured(Settings()) == "http://lineage.example"
    assert configured(Settings(openlineage_url="console:")) == "console:"
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "True")
    assert configured(Settings(openlineage_url="console:")) is None
