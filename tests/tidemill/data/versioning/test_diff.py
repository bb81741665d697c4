"""What changed between two versions: held against brute force, and on a history with real DVC and git."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.cli.data.version_display import parameter_lines
from tidemill.data.repository.git import git
from tidemill.data.repository.revisions import list_versions, outputs_at, resolve
from tidemill.data.tables.version_tables import describe
from tidemill.data.versioning import row_differences
from tidemill.data.versioning.add import add
from tidemill.data.versioning.diff import diff, previous
from tidemill.data.versioning.row_differences import compare_rows
from tidemill.data.versioning.show import show
from tidemill.data.versioning.version_log import Trained, log
from tidemill.errors import DataError, VersionNotFound
from tidemill.project import Project

FIRST, LAST = "HEAD~2", "HEAD"

tables = st.lists(
    st.tuples(st.integers(0, 8), st.sampled_from([None, "a", "b"]), st.sampled_from([0.0, 1.5, None]))
)
schema = {"k": pl.Int64, "s": pl.String, "x": pl.Float64}


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(before=tables, after=tables, slice_rows=st.sampled_from([3, 1000]))
def test_whole_rows_are_counted_as_brute_force_counts_them(before, after, slice_rows, tmp_path_factory):
    one, other = (pl.LazyFrame(side, schema=schema, orient="row") for side in (before, after))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_differences, "_SLICE", slice_rows)  # a slice at a time gives what all at once gives
        found = compare_rows(one, other, [], "t", tmp_path_factory.getbasetemp())
    was, now = Counter(before), Counter(after)
    assert (found.added, found.removed, found.changed) == ((now - was).total(), (was - now).total(), None)


@settings(max_examples=40, deadline=None)
@given(before=tables, after=tables)
def test_rows_of_a_key_are_counted_as_brute_force_counts_them(before, after, tmp_path_factory):
    was, now = ({row[:2]: row[2] for row in side} for side in (before, after))  # a null in a key is a value
    one, other = (
        pl.LazyFrame([(*key, value) for key, value in side.items()], schema=schema, orient="row")
        for side in (was, now)
    )
    found = compare_rows(one, other, ["k", "s"], "t", tmp_path_factory.getbasetemp())
    changed = sum(was[key] != now[key] for key in was.keys() & now.keys())
    assert (found.added, found.removed, found.changed) == (
        len(now.keys() - was),
        len(was.keys() - now),
        changed,
    )


def test_values_are_compared_not_types(tmp_path: Path):
    one = pl.LazyFrame({"k": [1, 2], "d": ["2013-01-01", "2013-01-02"], "c": ["a", "b"], "n": ["1", "x"]})
    other = one.with_columns(pl.col("k").cast(pl.Float32), pl.col("c").cast(pl.Categorical))
    other = other.with_columns(n=pl.Series([1, 2]), d=pl.col("d").str.to_date().cast(pl.Datetime("ms")))
    one = one.with_columns(pl.col("d").str.to_date())
    assert compare_rows(one, other, ["k"], "t", tmp_path).changed == 1  # "x" and 2


def test_what_is_no_key_is_refused_with_the_number_of_rows(tmp_path: Path):
    one, other = pl.LazyFrame({"k": [1, 1, 2], "x": [1, 2, 3]}), pl.LazyFrame({"k": [1, 2], "x": [1, 3]})
    with pytest.raises(DataError, match="t cannot be compared by k: 2 rows of the earlier version"):
        compare_rows(one, other, ["k"], "t", tmp_path)
    with pytest.raises(DataError, match="z is not in both versions"):
        compare_rows(one, other, ["z"], "t", tmp_path)


def test_a_column_is_summed_up_whatever_its_type():
    table = pl.LazyFrame(
        {
            "x": [1.0, float("nan"), float("inf"), None],
            "flag": [True, False, True, True],
            "deep": [[1], [2], None, []],
            "text": ["é" * 100, "b", None, "b"],
            "none": [None] * 4,
        }
    )
    x, flag, deep, text, none = describe(table).columns
    assert (x.nulls, x.distinct, x.mean, x.max) == (2, 2, None, "inf")  # JSON knows no infinity
    assert (flag.mean, flag.min, flag.max) == (0.75, 0, 1)
    assert (deep.nulls, deep.distinct) == (1, None)
    assert (text.nulls, text.distinct, len(str(text.max))) == (1, 2, 60)
    assert none.nulls == 4


@pytest.mark.engine
def test_added_data_and_stages_with_a_folder_of_their_own_are_among_the_outputs(finished: Project):
    versions = list_versions(finished)
    assert [one.message for one in versions] == [
        "More weather",
        "More flights",
        "A stage",
        "Weather",
        "Flights",
    ]
    outputs = outputs_at(finished, versions[0].revision)
    assert list(outputs) == [
        "data/deep/kept.json",
        "data/deep/out.txt",
        "data/flights.parquet",
        "data/weather",
    ]
    assert not outputs["data/deep/kept.json"].kept
    assert outputs["data/weather"].is_folder
    assert outputs["data/weather"].files == 3
    assert list_versions(finished, limit=1) == versions[:1]
    assert [*versions[-1].outputs] == ["data/flights.parquet"]  # what else was staged is not its business


@pytest.mark.engine
def test_a_table_is_compared_by_key_and_a_folder_of_tables_as_one(finished: Project):
    (flights,) = diff(finished, FIRST, LAST, key=["flight"], path="data/flights.parquet").changes
    assert flights.table is not None
    assert (flights.table.rows_before, flights.table.rows_after) == (3, 4)
    assert (flights.table.added, flights.table.removed, flights.table.changed) == (2, 1, 1)
    assert [(c.name, c.change) for c in flights.table.columns] == [
        ("flight", "same"), ("delay", "same"), ("carrier", "same"), ("gate", "added"),
    ]  # fmt: skip
    delay = flights.table.columns[1]
    assert delay.before is not None
    assert delay.after is not None
    assert (delay.before.nulls, delay.after.nulls, delay.before.mean, delay.after.mean) == (1, 0, 6.0, 4.0)

    found = diff(finished, FIRST, LAST)
    assert found.unchanged == 2
    weather = found.changes[1]
    assert weather.files == (("data/weather/02.csv", "changed"), ("data/weather/03.csv", "added"))
    assert weather.table is not None
    assert (weather.table.added, weather.table.removed, weather.table.changed) == (3, 1, None)

    within = diff(finished, FIRST, LAST, "data/weather/02.csv").changes[0].table
    assert within is not None
    assert (within.added, within.removed) == (1, 1)
    assert diff(finished, FIRST, LAST, "data/weather/01.csv").changes == ()
    assert [(one.path, one.table) for one in diff(finished, "HEAD~1", rows=False).changes] == [
        ("data/weather", None)
    ]
    assert previous(finished) == resolve(finished, "HEAD~1")
    added = diff(finished, "HEAD~4").changes[-1]
    assert (added.path, added.change, added.size_before) == ("data/weather", "added", None)


@pytest.mark.engine
def test_a_version_is_shown_with_schema_and_statistics(finished: Project):
    flights, weather = show(finished).outputs[2:]
    assert (flights.rows, flights.stats, weather.rows, weather.files) == (4, None, 6, 3)
    assert flights.schema == {"flight": "Int64", "delay": "Float64", "carrier": "String", "gate": "Int64"}
    (earlier,) = show(finished, FIRST, "data/flights.parquet").outputs
    assert earlier.stats is not None
    assert [(c.name, c.nulls, c.distinct) for c in earlier.stats.columns] == [
        ("flight", 0, 3), ("delay", 1, 2), ("carrier", 0, 2),
    ]  # fmt: skip


@pytest.mark.engine
def test_unknown_paths_and_broken_tables_are_told(project: Project):
    with pytest.raises(VersionNotFound, match=r"has no data/none; its outputs: data/deep"):
        diff(project, FIRST, LAST, "data/none")
    with pytest.raises(VersionNotFound, match=r"has no data/weather/99.csv"):
        show(project, FIRST, "data/weather/99.csv")
    before = resolve(project, FIRST)
    (project.root / "data/flights.parquet").unlink()
    (project.root / "data/flights.parquet").write_text("no parquet")
    add(project, "data/flights.parquet")
    changes = diff(project, before, "HEAD").changes
    assert [one.note is None for one in changes] == [False, True]  # the others are compared all the same
    with pytest.raises(DataError, match=r"data/flights.parquet cannot be read as a table"):
        show(project, "HEAD", "data/flights.parquet")


@pytest.mark.engine
def test_a_section_that_goes_is_told_a_parameter_a_line(project: Project):
    root = project.root
    params = root / "params.yaml"
    kept = params.read_text()
    params.write_text(kept + "demo:\n  seed: 0\n  later: {start: null}\n")
    (root / "data/weather.dvc").unlink()
    git(root, "commit", "-q", "-a", "-m", "A demo")
    params.write_text(kept)
    (root / "data/flights.parquet.dvc").unlink()
    git(root, "commit", "-q", "-a", "-m", "No demo")
    without, demo = log(project, 2)
    assert demo.params == {"demo.seed": (None, 0), "demo.later.start": (None, None)}
    assert (demo.added_params, demo.removed_params) == (("demo.seed", "demo.later.start"), ())
    assert parameter_lines(demo) == ["demo.seed: added, 0", "demo.later.start: added, null"]
    assert (without.added_params, without.removed_params) == ((), ("demo.seed", "demo.later.start"))
    assert parameter_lines(without) == ["demo.seed: 0 → removed", "demo.later.start: null → removed"]


@pytest.mark.engine
def test_the_log_tells_what_changed_and_what_was_trained(project: Project):
    root = project.root
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("wait: 0", "wait: 2013-01-01"))
    (root / "data/weather.dvc").unlink()
    git(root, "commit", "-q", "-a", "-m", "No weather")
    git(root, "commit", "-q", "--allow-empty", "-m", "Only code")
    head, flights = resolve(project, "HEAD"), resolve(project, "HEAD~3")
    gone = Trained("m", "3", "0" * 40, list_versions(project)[1].outputs)  # such as before a rebase
    trained = (Trained("m", "1", flights, {}), Trained("m", "2", head, {}), gone)
    newest, weather, more = log(project, 3, trained)
    assert (newest.removed, newest.params) == (("data/weather",), {"data.wait": (0, "2013-01-01")})
    assert (weather.changed, weather.models) == (("data/weather",), ("m/3",))
    assert (more.changed, more.models) == (("data/flights.parquet",), ("m/1",))
    assert newest.models == ("m/2",)
    assert (newest.added_params, newest.removed_params) == ((), ())
    assert log(project)[-1].added == ("data/flights.parquet",)


@pytest.mark.engine
def test_a_folder_that_is_a_template_is_resolved(project: Project):
    pipeline = project.root / "dvc.yaml"
    text = pipeline.read_text().replace("wdir: data/deep", "wdir: ${place}/deep")
    pipeline.write_text("vars: [{place: data/very}]\n" + text)
    git(project.root, "commit", "-q", "-a", "-m", "Elsewhere")
    outputs = outputs_at(project, resolve(project, "HEAD"))
    assert [*outputs][:1] == ["data/flights.parquet"]
    assert {"data/very/deep/kept.json", "data/very/deep/out.txt"} < outputs.keys()
    assert not outputs["data/very/deep/kept.json"].kept
