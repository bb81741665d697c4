import json

import pytest
from typer.testing import CliRunner

from tidemill.cli.lineage import summary
from tidemill.cli.main import app
from tidemill.errors import ProjectNotFound


def test_help_with_an_example_and_json():
    shown = CliRunner().invoke(app, ["lineage", "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    for word in ("Example", "--json", "--up", "--down", "--depth", "--openlineage"):
        assert word in shown.output


def test_outside_a_project(tmp_path):
    assert isinstance(
        CliRunner().invoke(app, ["lineage", "champion", "-p", str(tmp_path)]).exception, ProjectNotFound
    )


@pytest.mark.parametrize(
    ("kind", "facts", "said"),
    [
        ("service", {"definition": "77c2" * 16, "still_applied": None}, "definition 77c277c277c2"),
        ("service", {"definition": None}, ""),
        ("run", {}, ""),
        ("turn", {}, ""),
        ("version", {"model": "m", "version": "1"}, ""),
        ("view", {"data_revision": None}, "0 features"),
        ("commit", {"revision": "4f1d"}, ""),
        ("source", {"md5": None}, ""),
        ("prediction", {"at": "2013-05-01T13:00:00+00:00", "score": 0.5, "replica": "r"},
         "at 2013-05-01 13:00 · score 0.5000 · replica r"),
        ("something-new", {"a": 1}, ""),
    ],
)  # fmt: skip
def test_what_is_missing_is_left_out(kind, facts, said):
    assert summary(kind, json.loads(json.dumps(facts))) == said
