"""What a turn reads has the same digest until it changes."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.tidemill.retraining.test_policies import PROJECT
from tidemill.project import Project, load_project
from tidemill.retraining.turns.turn_inputs import data_digest, read_sources, tell_all

STAGES = {
    "make": {"cmd": "true", "deps": ["raw.csv", "make.py"], "params": ["data"], "outs": ["data/set.parquet"]}
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("/data\nraw.csv\n")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**PROJECT, "data": {"first": 1, "as_of": None}}))
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (tmp_path / "raw.csv").write_text("a\n1\n")
    (tmp_path / "make.py").write_text("")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "set.parquet").write_bytes(b"rows")
    return load_project(tmp_path)


def digests(project: Project, **overrides: object) -> tuple[str | None, str | None]:
    sources = read_sources(project, overrides)
    return sources.all, data_digest(project, sources)


def write(project: Project, name: str, text: str) -> None:
    (project.root / name).parent.mkdir(exist_ok=True)
    (project.root / name).write_text(text)


def test_what_changes_the_digests(project: Project):
    before = digests(project)
    assert None not in before
    assert digests(project) == before
    write(project, "notes.md", "a new file that no turn reads")
    write(project, "monitoring/monitors.yaml", "monitors: []")
    assert digests(project) == before
    write(project, "make.py", "print()")
    code = digests(project)
    write(project, "raw.csv", "a\n1\n2\n")
    raw = digests(project)
    write(project, "data/set.parquet", "more rows")
    made = digests(project)
    assert len({before[0], code[0], raw[0]}) == 3
    assert made[0] == raw[0]  # what the stages make is no source
    assert code[1] == raw[1] != before[1]  # the same rows came out of the changed file
    assert made[1] != raw[1]


def test_the_moment_of_a_turn_is_no_change_but_its_parameters_are(project: Project):
    before = digests(project)
    text = (project.root / "params.yaml").read_text()
    write(project, "params.yaml", text.replace("as_of: null", 'as_of: "2013-05-01T00:00:00+00:00"'))
    moved = load_project(project.root)
    assert digests(moved) == before
    assert digests(moved, **{"data.first": 2})[0] != before[0]
    assert not tell_all(moved)


@pytest.mark.parametrize(
    "stage", [{"always_changed": True}, {"deps": ["s3://bucket/rows.csv"]}], ids=["always", "address"]
)
def test_what_cannot_be_seen(project: Project, stage: dict[str, object]):
    write(project, "dvc.yaml", yaml.safe_dump({"stages": {"make": {**STAGES["make"], **stage}}}))
    assert digests(project)[0] is None
    assert digests(project)[1] is not None


def test_an_address_in_the_parameters(project: Project):
    text = (project.root / "params.yaml").read_text()
    write(project, "params.yaml", text.replace("first: 1", "first: sqlite:////srv/shop.db::orders"))
    assert digests(load_project(project.root))[0] is None
