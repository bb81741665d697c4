"""Stage validate and `tidemill data validate`: files in, files out, all or nothing."""

import json
import os
import resource
import shutil
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from tests.tidemill.data.conftest import PARAMS
from tidemill.cli.main import app
from tidemill.data.validation.project_validation import check_project, failures, write_checked
from tidemill.errors import ConfigError, DataError, UsageError
from tidemill.project import load_project

AS_OF = datetime(2013, 4, 1, tzinfo=UTC)
DECLARED = {
    "planes": {
        "source": "planes.csv",
        "accepted": "out/planes.parquet",
        "rejected": "out/bad-planes.parquet",
        "mode": "warn",
        "columns": {"tail": {"type": "string", "unique": True}, "seats": {"type": "int64", "min": 1}},
    },
    "flights": {
        "source": "flights/*.parquet",
        "accepted": "out/flights.parquet",
        "rejected": "out/bad-flights.parquet",
        "max_rejected": 0.3,
        "columns": {"n": {"type": "int64", "max": 100}, "plane": {"type": "string"}},
        "references": [{"columns": "plane", "to": "planes", "keys": "tail"}],
        "volume": {"min": 1, "change": 0.5, "versions": 3},
        "bias": {"label": "n > 3", "groups": ["plane"], "min_rows": 1},
    },
}


@pytest.fixture
def project(tmp_path):
    def make(**changes):
        content = {"report": "out/report.json", "datasets": DECLARED | changes}
        (tmp_path / "params.yaml").write_text(PARAMS)
        (tmp_path / "expectations.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        (tmp_path / "planes.csv").write_text("tail,seats\nN1,100\nN2,0\nN3,3\n")
        (tmp_path / "flights").mkdir(exist_ok=True)
        write_flights(tmp_path, [1, 2, 3, 4, 500], ["N1", "N2", "N1", "N3", "N1"])
        return load_project(tmp_path)

    return make


def write_flights(root, numbers, planes):
    frame = pl.DataFrame({"n": numbers, "plane": planes})
    frame[:2].write_parquet(root / "flights" / "a.parquet")
    frame[2:].write_parquet(root / "flights" / "b.parquet")


def files_below(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_one_data_set_is_checked_though_the_files_of_others_are_missing(project):
    loaded = project()
    for file in (loaded.root / "flights").iterdir():
        file.unlink()
    assert list(check_project(loaded, AS_OF, only="planes")) == ["planes"]
    with pytest.raises(DataError, match="flights"):
        check_project(loaded, AS_OF, only="flights")


def test_the_report_names_groups_of_a_personal_column_by_pseudonym_only(project):
    loaded = project()
    write_checked(loaded, AS_OF, personal={"plane"})
    found = json.loads((loaded.root / "out/report.json").read_text())["flights"]["bias"]["groups"]["plane"]
    assert len(found) == 3
    assert all(group["group"].startswith("psn_") for group in found)


def test_the_sides_and_the_report_are_written_together(project):
    loaded = project()
    write_checked(loaded, AS_OF)
    out = loaded.root / "out"
    assert files_below(out) == {
        "planes.parquet", "bad-planes.parquet", "flights.parquet", "bad-flights.parquet", "report.json",
    }  # fmt: skip
    assert pl.read_parquet(out / "planes.parquet").height == 3
    assert pl.read_parquet(out / "bad-planes.parquet").rows() == []
    assert pl.read_parquet(out / "flights.parquet").rows() == [(1, "N1"), (2, "N2"), (3, "N1"), (4, "N3")]
    bad = pl.read_parquet(out / "bad-flights.parquet")
    assert bad.rows() == [(500, "N1", "n: less_than_or_equal_to(100)")]
    report = json.loads((out / "report.json").read_text())
    assert list(report) == ["planes", "flights"]
    planes, flights = report.values()
    assert (planes["mode"], planes["passed"], planes["rejected"], planes["failing"]) == ("warn", False, 0, 1)
    assert (flights["rows"], flights["accepted"], flights["rejected_share"]) == (5, 4, 0.2)
    assert flights["broken"] == {"n: less_than_or_equal_to(100)": 1}
    assert {check["outcome"] for check in flights["checks"]} == {"passed", "rows fail", "skipped"}
    rates = {group["group"]: group["rate"]["value"] for group in flights["bias"]["groups"]["plane"]}
    assert rates == {"N1": 0.0, "N2": 0.0, "N3": 1.0}
    assert "bias" not in planes


def test_what_went_through_once_goes_through_again_unchanged(project):
    loaded = project()
    write_checked(loaded, AS_OF)
    out = loaded.root / "out"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    write_checked(loaded, AS_OF)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_all_failures_of_all_data_sets_are_told_and_nothing_is_written(project):
    loaded = project(planes=DECLARED["planes"] | {"mode": "stop", "max_rejected": 0})
    write_flights(loaded.root, [500, 600, 1], ["N1", "N9", "N1"])
    before = files_below(loaded.root)
    with pytest.raises(DataError) as caught:
        write_checked(loaded, AS_OF)
    assert str(caught.value).splitlines()[1:] == [
        "  - planes: share of bad rows: 1 of 3 rows is bad (33.3%; at most 0.0% may be)",
        "    seats: greater_than_or_equal_to(1): 1 row",
        "  - flights: share of bad rows: 2 of 3 rows are bad (66.7%; at most 30.0% may be)",
        "    n: less_than_or_equal_to(100): 2 rows",
        "    plane: in planes (tail): 1 row",
    ]
    assert files_below(loaded.root) == before


def test_checking_writes_nothing_but_the_rows_that_fail_where_that_is_asked(project, tmp_path):
    loaded = project()
    before = files_below(loaded.root)
    reports = check_project(loaded, AS_OF, failing=tmp_path / "bad")
    assert failures(reports) == []
    assert files_below(loaded.root) - before == {"bad/planes.parquet", "bad/flights.parquet"}
    assert pl.read_parquet(tmp_path / "bad" / "planes.parquet")["reason"].to_list() == [
        "seats: greater_than_or_equal_to(1)"
    ]


def test_batches_make_no_difference(project, monkeypatch):
    loaded = project()
    write_checked(loaded, AS_OF)
    whole = [pl.read_parquet(loaded.root / "out" / f"{side}flights.parquet") for side in ("", "bad-")]
    monkeypatch.setattr("tidemill.data.tables.frames.batches.__defaults__", (1,))
    write_checked(loaded, AS_OF)
    for side, before in zip(("", "bad-"), whole, strict=True):
        assert_frame_equal(pl.read_parquet(loaded.root / "out" / f"{side}flights.parquet"), before)


SCHEMA = """\
import pandera.polars as pa
import polars as pl

class flights(pa.DataFrameModel):
    n: int

    @pa.dataframe_check
    def even(cls, data):
        return data.lazyframe.select(pl.col("n") % 2 == 0)

mean = pa.DataFrameSchema({"n": pa.Column(int)}, checks=pa.Check(
    lambda data: data.lazyframe.select(pl.col("n").mean() < 1), name="small mean"))
number = 7
"""


def test_a_pandera_schema_says_what_yaml_cannot(project, tmp_path):
    (tmp_path / "own_schemas.py").write_text(SCHEMA)
    flights = DECLARED["flights"] | {"max_rejected": 1, "schema": "own_schemas:flights"}
    loaded = project(flights=flights)
    write_checked(loaded, AS_OF)
    bad = pl.read_parquet(tmp_path / "out" / "bad-flights.parquet")
    assert bad.rows() == [
        (1, "N1", "even"),
        (3, "N1", "even"),
        (500, "N1", "n: less_than_or_equal_to(100)"),
    ]
    project(flights=flights | {"schema": "own_schemas:mean"})
    with pytest.raises(DataError, match="small mean does not hold for the data set as a whole"):
        write_checked(load_project(tmp_path), AS_OF)
    for reference in ("own_schemas:number", "own_schemas:nothing"):
        project(flights=flights | {"schema": reference})
        with pytest.raises(ConfigError, match=r"expectations\.yaml: datasets\.flights\.schema"):
            write_checked(load_project(tmp_path), AS_OF)


def test_missing_and_broken_sources_are_all_named(project):
    loaded = project()
    (loaded.root / "planes.csv").unlink()
    shutil.rmtree(loaded.root / "flights")
    with pytest.raises(DataError, match=r"planes\.csv cannot be read.*flights/\*\.parquet cannot be read"):
        write_checked(loaded, AS_OF)


def test_a_source_that_changes_while_it_is_read_is_no_data_set(project):
    loaded = project()

    def change(name, message, done, total):
        if name == "flights" and done:
            os.utime(loaded.root / "flights" / "a.parquet", ns=(1, 1))

    with pytest.raises(DataError, match="changed while it was read"):
        write_checked(loaded, AS_OF, on_progress=change)
    assert not list((loaded.root / "out").iterdir())


def test_a_full_disk_leaves_nothing_behind(project):
    loaded = project()
    (loaded.root / "out").mkdir()
    before = files_below(loaded.root)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limit[1]))
    try:
        with pytest.raises(DataError, match=r"planes\.parquet cannot be written"):
            write_checked(loaded, AS_OF)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert files_below(loaded.root) == before


def git(root, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def test_volume_is_held_against_earlier_versions(project):
    loaded = project()
    git(loaded.root, "init", "--quiet")
    for rows in (5, 6, 30):  # the median counts: one version of another size is not a rule
        write_flights(loaded.root, [1] * rows, ["N1"] * rows)
        found = {name: report.as_dict() for name, report in check_project(loaded, AS_OF).items()}
        (loaded.root / "out").mkdir(exist_ok=True)
        (loaded.root / "out" / "report.json").write_text(json.dumps(found))
        git(loaded.root, "add", "out/report.json")
        git(loaded.root, "commit", "--quiet", "--message", f"{rows} rows")
    write_flights(loaded.root, [1] * 9, ["N1"] * 9)
    [volume] = [c for c in check_project(loaded, AS_OF)["flights"].checks if "changed" in c.check]
    assert volume.outcome == "passed"
    assert volume.observed == {"rows": 9.0, "before": 6.0, "versions": 3, "change": 0.5}
    write_flights(loaded.root, [1] * 90, ["N1"] * 90)
    with pytest.raises(DataError, match=r"changed by at most 0\.5: 90 rows; before there were 6"):
        write_checked(loaded, AS_OF)


def test_the_commands(project, tmp_path, monkeypatch):
    loaded = project()
    monkeypatch.chdir(loaded.root)
    run = CliRunner()

    shown = run.invoke(app, ["data", "validate", "--as-of", "2013-04-01"])
    assert shown.exit_code == 0
    assert "✓ flights: 5 rows, 1 fail" in shown.output
    assert "! planes: 3 rows, 1 fail" in shown.output

    pl.DataFrame({"n": [1, 900], "plane": ["N1", "N1"]}).write_parquet("new.parquet")
    arguments = ["data", "validate", "new.parquet", "--dataset", "flights", "--json"]
    told = run.invoke(app, arguments)
    assert told.exit_code == 1
    assert json.loads(told.stdout)["flights"]["failing"] == 1
    assert isinstance(run.invoke(app, ["data", "validate", "new.parquet"]).exception, UsageError)
    assert isinstance(run.invoke(app, ["data", "validate", "-d", "nothing"]).exception, UsageError)

    declared = Path("expectations.yaml").read_text()
    inferred = run.invoke(app, ["data", "infer", "new.parquet"])
    assert yaml.safe_load(inferred.stdout)["datasets"]["new"]["source"] == "new.parquet"
    assert Path("expectations.yaml").read_text() == declared
    assert run.invoke(app, ["data", "infer", "new.parquet", "--append", "--json"]).exit_code == 0
    assert run.invoke(app, ["data", "validate", "--dataset", "new"]).exit_code == 0
    again = run.invoke(app, ["data", "infer", "new.parquet", "--append"])
    assert isinstance(again.exception, UsageError)

    biased = run.invoke(app, ["data", "bias", "--json", "--html", "bias.html"])
    assert list(json.loads(biased.stdout)) == ["flights"]
    assert "<html" in Path("bias.html").read_text()
    asked = run.invoke(app, ["data", "bias", "-d", "planes", "--by", "tail", "--label", "seats > 50"])
    assert "too small" in asked.output
    assert isinstance(run.invoke(app, ["data", "bias", "-d", "planes"]).exception, UsageError)

    sets = yaml.safe_load(declared)
    sets["datasets"] = {"planes": sets["datasets"]["planes"]}
    Path("expectations.yaml").write_text(yaml.safe_dump(sets))
    only = run.invoke(app, ["data", "bias", "--by", "tail", "--label", "seats > 50"])
    assert only.output == asked.output


def test_inference_needs_no_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a b.csv").write_text("x\n1\n")
    inferred = CliRunner().invoke(app, ["data", "infer", "a b.csv"])
    assert yaml.safe_load(inferred.stdout)["datasets"]["a_b"]["columns"] == {"x": {"type": "int64", "min": 0}}


def test_csv_has_the_types_that_are_declared(project):
    columns = {
        "zip": {"type": "string", "regex": "[0-9]{4}"},
        "id": {"type": "string"},
        "big": {"type": "uint64"},
        "seats": {"type": "int32", "min": 1},
        "mass": {"type": "float64"},
        "at": {"type": "datetime[us, UTC]"},
    }
    declared = {"source": "planes.csv", "accepted": "out/planes.parquet", "rejected": "out/bad.parquet"}
    loaded = project(planes={**declared, "max_rejected": 0.7, "columns": columns})
    (loaded.root / "planes.csv").write_text(
        "zip,id,big,seats,mass,at\n"
        "0150,12345678901234567890,18446744073709551615,100,7,2013-04-01T06:00:00+05:30\n"
        "1234,1,1,many,8,2013-04-01T06:00:00Z\n"
        "1234,2,1,5,8,1387552500\n"
    )
    found = check_project(loaded, AS_OF, only="planes")["planes"]
    assert found.broken == {"seats: can be int32": 1, "at: can be datetime[us, UTC]": 1}
    write_checked(_only(loaded, "planes"), AS_OF)
    accepted = pl.read_parquet(loaded.root / "out/planes.parquet").row(0)
    assert accepted[:5] == ("0150", "12345678901234567890", 18446744073709551615, 100, 7.0)
    assert accepted[5] == datetime(2013, 4, 1, 0, 30, tzinfo=UTC)
    rejected = pl.read_parquet(loaded.root / "out/bad.parquet")
    assert rejected["seats"].to_list() == ["many", "5"]  # as it is written


def test_undeclared_digits_with_leading_zeros_stay_text(project):
    declared = {"source": "planes.csv", "accepted": "out/planes.parquet"}
    loaded = project(planes=declared)
    (loaded.root / "planes.csv").write_text("tail,seats\n007,1\n12,2\n012,3\n")
    write_checked(_only(loaded, "planes"), AS_OF)
    assert pl.read_parquet(loaded.root / "out/planes.parquet")["tail"].to_list() == ["007", "12", "012"]


def _only(loaded, name):
    path = loaded.root / "expectations.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "datasets": {name: content["datasets"][name]}}))
    return load_project(loaded.root)
