import json
from types import SimpleNamespace

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.tidemill.privacy.small_project import SUBJECT
from tidemill.cli.main import app
from tidemill.data.personal.tombstones import read_tombstones
from tidemill.errors import UsageError
from tidemill.privacy import inventory

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def run(project, *words, given=None):
    result = CliRunner().invoke(app, ["data", *words, "--project", str(project.root)], input=given)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_what_is_personal_is_listed_with_its_files(riders):
    found = json.loads(run(riders, "privacy", "--json").stdout)
    fields = {field["name"]: field for field in found["fields"]}
    assert fields["rider"] | {"files": []} == {
        "name": "rider", "kind": "key", "declared": "entity rider", "views": ["stats", "habits"], "files": [],
        "hidden": True,
    }  # fmt: skip
    assert set(fields["rider"]["files"]) == {
        "data/rider_stats.parquet",
        "data/training_set.parquet",
        "raw/rides.csv",
        str(riders.root.resolve().parent / "upstream.csv"),
    }
    assert (fields["age"]["kind"], fields["age"]["files"]) == ("feature", ["data/habits.parquet"])
    assert found["key"].endswith("privacy.key")
    assert (found["tombstones"], found["unfinished"]) == (0, 0)
    assert "rider" in run(riders, "privacy").stdout


def test_what_looks_personal_and_is_not_declared_is_named(riders, monkeypatch):
    places = [
        SimpleNamespace(name=name, path=riders.root / name) for name in ("raw.csv", "t.parquet", "l.ndjson")
    ]
    rows = pl.DataFrame(
        {"rider": ["a"] * 9, "e_mail": ["x"] * 9, "reach": ["ada@example.org"] * 9, "km": [1] * 9}
    )
    rows.drop("e_mail").write_csv(riders.root / "raw.csv", separator=";")
    rows.write_parquet(riders.root / "t.parquet")
    (riders.root / "l.ndjson").write_text("no table\n")
    monkeypatch.setattr(inventory, "find_places", lambda project: places)
    found = json.loads(run(riders, "privacy", "--json").stdout)["undeclared"]
    assert found == [
        {"name": "e_mail", "kind": "e-mail addresses", "files": ["t.parquet"]},
        {"name": "reach", "kind": "e-mail addresses", "files": ["raw.csv", "t.parquet"]},
    ]
    said = " ".join(run(riders, "privacy").stdout.split())
    assert "not declared, but looks like e-mail addresses: reach, in raw.csv, t.parquet" in said


def test_an_erasure_is_shown_first_asked_for_and_reported(riders):
    dry = run(riders, "erase", "--entity", f"rider={SUBJECT}", "--dry-run", "--json")
    assert json.loads(dry.stdout)["found"]["predictions"] == 2
    assert SUBJECT not in dry.stdout
    told = run(riders, "erase", "--entity", f"rider={SUBJECT}", "--dry-run").stdout
    assert "upstream.csv is outside the project and stays as it is" in " ".join(told.split())
    with pytest.raises(UsageError, match="--yes"):
        run(riders, "erase", "--entity", f"rider={SUBJECT}", "--json")
    assert read_tombstones(riders.root) == ()
    done = run(riders, "erase", "--entity", "rider=nobody-here", "--actor", "ann", "--yes", "--json")
    [outcome] = json.loads(done.stdout)
    assert (done.exit_code, outcome["status"]) == (0, "done")
    assert "no erasure is waiting" in run(riders, "erase", "--resume").stdout
    for wrong in (
        ["erase"],
        ["erase", "--resume", "--dry-run"],
        ["erase", "--resume", "--entity", "rider=a"],
    ):
        with pytest.raises(UsageError):
            run(riders, *wrong)
