"""``tidemill lineage`` on a project that went round once."""

import json

import pytest
from typer.testing import CliRunner

from tidemill.cli.main import app
from tidemill.errors import UsageError

pytestmark = pytest.mark.engine


def run(world, *arguments, columns="200"):
    return CliRunner().invoke(
        app, ["lineage", *arguments, "--project", str(world.root)], env={"COLUMNS": columns, "TERM": "dumb"}
    )


def test_the_tree(world):
    shown = run(world, world.predictions[0])
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0].startswith(f"prediction:{world.predictions[0]}  at 2013-05-01 13:00 · score 0.")
    depth = {
        kind: next(len(line) - len(line.lstrip("│├└─ ")) for line in lines[1:] if f" {kind}:" in line)
        for kind in ("version", "run", "training-set", "data")
    }
    assert depth["version"] < depth["run"] < depth["training-set"] < depth["data"]
    assert any("service:parcels  definition" in line and "still applied" in line for line in lines), (
        shown.output
    )
    assert any("label:" in line and "label 0" in line for line in lines)
    assert "gap" not in shown.stdout


def test_the_graph_for_machines(world):
    shown = run(world, "champion", "--json")
    graph = json.loads(shown.stdout)
    assert (graph["format"], graph["start"], graph["cut"]) == (1, "version:parcel-delay/1", [])
    ids = {node["id"] for node in graph["nodes"]}
    assert {f"run:{world.run_id}", f"commit:{world.revision}", "predictions:parcel-delay/1"} <= ids
    assert all({edge["from"], edge["to"]} <= ids for edge in graph["edges"])
    promotion = next(node for node in graph["nodes"] if node["kind"] == "promotion")
    assert promotion["facts"]["since"] == "2013-05-01T12:00:00+00:00"


def test_one_direction_some_steps_and_some_ids(world):
    up = json.loads(run(world, "champion", "--up", "--depth", "1", "--json").stdout)
    assert [node["kind"] for node in up["nodes"]] == ["version", "run"]
    assert up["cut"] == [f"run:{world.run_id}"]
    down = json.loads(run(world, "champion", "--down", "--ids", "2", "--json").stdout)
    kinds = [node["kind"] for node in down["nodes"]]
    assert kinds.count("prediction") == 2
    assert "run" not in kinds
    assert "…" in run(world, "champion", "--up", "--depth", "1").stdout


def test_events_are_printed(world):
    shown = run(world, "champion", "--openlineage")
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    assert len(events) == len(world.events)


def test_sending_needs_an_address(world, monkeypatch, tmp_path):
    refused = run(world, "champion", "--send")
    assert isinstance(refused.exception, UsageError)
    monkeypatch.setenv("TIDEMILL_OPENLINEAGE_URL", f"file:{tmp_path / 'events.ndjson'}")
    sent = run(world, "champion", "--send", "--json")
    assert json.loads(sent.stdout)["sent"] == len(world.events)
    assert len((tmp_path / "events.ndjson").read_text().splitlines()) == len(world.events)


def test_a_narrow_terminal_cuts_no_id(world):
    assert world.predictions[0] in run(world, world.predictions[0], columns="60").stdout
