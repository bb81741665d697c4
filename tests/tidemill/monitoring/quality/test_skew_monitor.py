"""Planted skew, with the real feature store and the real prediction log: each kind is found and named."""

import json
import shutil
from datetime import timedelta

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.tidemill.monitoring.small_project import (
    FEATURES,
    Player,
    crown,
    define,
    hour,
    make_project,
)
from tests.tidemill.recorded import list_alerts
from tidemill.alerting.alert_states import record_alerts
from tidemill.cli.main import app, exit_code
from tidemill.errors import SkewFound, UsageError
from tidemill.features.feature_store import definition_hash
from tidemill.monitoring.monitor import evaluate
from tidemill.monitoring.monitor_config import Monitor
from tidemill.monitoring.quality.skew_monitor import LogSlice, measure_skew
from tidemill.project import load_project
from tidemill.state import open_state
from tidemill.training.tracking.mlflow_tracking import connect

pytestmark = pytest.mark.engine

HOURS = 72
TEN_MINUTES = timedelta(minutes=10)
ALL = LogSlice(hour(0), hour(HOURS))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("flights") / "project", HOURS).root


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory, template):
    """MLflow's tables, made once: they take seconds."""
    connect(load_project(template))
    return template / ".tidemill" / "mlflow.db"


@pytest.fixture
def project(tmp_path, template, empty_store):
    return load_project(shutil.copytree(template, tmp_path / "project"))


def measure(project, wanted=ALL, threshold=0.01):
    report = measure_skew(project, wanted, threshold)
    return report, {each.feature: each for each in report.features}


def why(skew):
    return {(cause.name, cause.view): cause.rows for cause in skew.causes}


def test_a_clean_log_has_no_skew_whatever_is_missing_or_expired(project):
    def arrives(view, row, known):
        return None if view == "weather" and row["origin"] == "LGA" else known  # nobody reports from there

    path = project.root / "data" / "weather.parquet"
    reported = (pl.col("origin") != "LGA") & ~pl.col("event_timestamp").is_between(hour(30), hour(36))
    pl.read_parquet(path).filter(reported).write_parquet(path)
    Player(project, arrives).play(0, HOURS, ("JFK", "EWR", "LGA", "XXX", None))
    report, found = measure(project)
    assert report.verdict == "ok"
    assert report.predictions == HOURS * 10
    assert set(found) == set(FEATURES)
    assert {each.differing for each in report.features} == {0}
    for name, each in found.items():
        # Its newest row is of hour 48, that of weather of hour 71: nobody can tell yet what is to come.
        reaches = 48 if name == "late_share" else 71
        assert (each.rows, each.not_comparable_yet) == (reaches * 10, (HOURS - reaches) * 10)


def test_a_transformation_changed_in_serving_only_is_named_with_its_beginning(project):
    player = Player(project)
    player.play(0, 10)
    define(project, ("wind * wind", "2 * wind * wind"))
    player.play(10, 30)
    define(project, ("2 * wind * wind", "wind * wind"))
    report, found = measure(project)
    assert [each.feature for each in report.skewed] == ["wind_squared"]
    skew = found["wind_squared"]
    assert why(skew) == {("transformation changed", "schedule"): skew.differing}
    assert skew.since == hour(10) + TEN_MINUTES
    assert skew.ongoing
    assert not skew.or_earlier
    assert skew.mean_difference == pytest.approx(109, rel=0.3)
    assert len(skew.examples) == 3
    assert (skew.served_null, skew.expected_null) == (0, 0)


def test_a_column_that_is_written_differently_is_told_from_a_row_that_is_late(project):
    """The online store gets the rain in inches from hour 10 on; all else of the row is right."""
    player = Player(project)
    for index, (arrives, view, row) in enumerate(player.pending):
        if view == "weather" and arrives >= hour(10):
            player.pending[index] = (arrives, view, row | {"rain": row["rain"] / 25.4 + 0.01})
    player.play(0, 30)
    report, found = measure(project)
    assert [each.feature for each in report.skewed] == ["rain"]
    assert ("unknown", "weather") not in why(found["rain"])
    assert found["rain"].since == hour(10) + TEN_MINUTES


def test_a_stale_materialisation_is_named_with_its_view_lag_beginning_and_end(project):
    def arrives(view, row, known):
        return hour(40) if view == "weather" and hour(38) < known <= hour(40) else known

    Player(project, arrives).play(24, HOURS)
    report, found = measure(project)
    assert {each.feature for each in report.skewed} == {"wind", "rain", "wind_squared"}
    for name in ("wind", "wind_squared"):
        (cause,) = found[name].causes
        assert (cause.name, cause.view, cause.rows) == ("stale materialisation", "weather", 6)
        assert "up to 60 min older" in cause.evidence
        assert "nothing newer than 2013-01-02 14:00" in cause.evidence
        assert found[name].since == found[name].until == hour(39) + TEN_MINUTES
        assert not found[name].ongoing


def test_rows_that_came_late_are_told_from_a_stale_store_by_what_others_got(project):
    def arrives(view, row, known):
        late = view == "weather" and row["origin"] == "EWR" and hour(12) < known <= hour(20)
        return known + timedelta(hours=2) if late else known

    Player(project, arrives).play(0, 30, ("JFK", "EWR"))
    _, found = measure(project)
    skew = found["wind"]
    assert set(why(skew)) == {("late data", "weather")}
    assert skew.differing == 16
    assert (skew.since, skew.until) == (hour(13) + TEN_MINUTES, hour(20) + TEN_MINUTES)
    assert found["late_share"].differing == found["hour"].differing == 0


def test_what_expired_online_is_named_after_what_went_stale_first(project):
    def arrives(view, row, known):
        return None if view == "weather" and known > hour(50) else known

    player = Player(project, arrives)
    player.play(36, HOURS)
    _, found = measure(project)
    skew = found["wind"]
    assert why(skew) == {("stale materialisation", "weather"): 12, ("expired", "weather"): 6 * 18}
    assert skew.since == hour(51) + TEN_MINUTES
    assert skew.served_null == 6 * 18
    assert why(found["wind_squared"]) == why(skew)
    missing = LogSlice(hour(60), hour(61), features=frozenset({"wind"}))
    report, only = measure(project, missing)
    assert set(only) == {"wind"}
    assert report.predictions == only["wind"].differing == 6


def test_a_key_that_never_reached_the_online_store_is_missing(project):
    Player(project, lambda view, row, known: None if row.get("carrier") == "UA" else known).play(0, 20)
    _, found = measure(project)
    assert why(found["late_share"]) == {("missing", "lateness"): 20 * 3}


def test_pseudonyms_are_resolved_in_memory_and_counted_where_nobody_has_them(project):
    define(project, ('join_keys=["carrier"], ', 'join_keys=["carrier"], tags={"personal": "true"}, '))
    Player(project).play(0, 20)
    (segment,) = (project.predictions / "delay" / "predictions" / "date=2013-01-01").glob("*.ndjson")
    assert "psn_" in segment.read_text()
    assert '"UA"' not in segment.read_text()
    report, found = measure(project)
    assert report.verdict == "ok"
    assert (found["late_share"].rows, found["late_share"].unresolved) == (120, 0)
    path = project.root / "data" / "lateness.parquet"
    pl.read_parquet(path).filter(carrier="AA").write_parquet(path)
    _, found = measure(project)
    assert (found["late_share"].differing, found["late_share"].unresolved) == (0, 60)
    assert found["wind"].rows == 120


def test_test_traffic_versions_and_logs_without_keys(project):
    Player(project).play(0, 3)
    Player(project, lambda *_: None, version="2").play(3, 5)
    log = project.predictions / "delay" / "predictions" / "date=2013-01-01"
    for segment in log.glob("*.ndjson"):
        lines = segment.read_text().splitlines(keepends=True)
        lines[0] = lines[0].replace('"test":false', '"test":true')
        segment.write_text("".join(lines))
    assert measure(project)[0].predictions == 28
    one, _ = measure(project, LogSlice(hour(0), hour(9), version="1"))
    assert (one.predictions, one.verdict) == (17, "ok")
    with pytest.raises(UsageError, match="no feature 'snow'"):
        measure(project, LogSlice(hour(0), hour(9), features=frozenset({"snow"})))


def test_definitions_that_changed_since_the_version_was_trained_are_named(project):
    """Version 2 knows the wind's force to go with its cube; the definitions were then changed back."""
    before = definition_hash(project)
    player = Player(project)
    player.play(0, 10)
    define(project, ("wind * wind", "wind * wind * wind"))
    assert (crown(project, before), crown(project, definition_hash(project))) == ("1", "2")
    player.version = "2"
    player.play(10, 20)
    define(project, ("wind * wind * wind", "wind * wind"))
    _, found = measure(project)
    (cause,) = found["wind_squared"].causes
    assert (cause.name, cause.view, cause.rows) == ("definition changed", "schedule", 10 * 6)
    assert cause.evidence.startswith("definition changed: version 2 was trained on other definitions")


def test_the_monitor_alerts_and_leaves_alone_what_it_cannot_judge(project):
    monitor = Monitor.model_validate(
        {"name": "skew", "window": "2d", "every": "1d", "min_rows": 50, "feature_skew": {"share": 0.1}}
    )
    crown(project, definition_hash(project))
    Player(project, lambda view, _, known: None if view == "weather" and known > hour(20) else known).play(
        0, 70
    )
    state = open_state(project.state_url)
    assert evaluate(project, state, monitor, hour(20), record_alerts).results["unjudged"] == {}
    path = project.root / "data" / "weather.parquet"
    whole = pl.read_parquet(path)
    whole.filter(pl.col("event_timestamp") <= hour(5)).write_parquet(path)
    early = evaluate(project, state, monitor, hour(20), record_alerts)
    assert early.results["unjudged"] == {
        "feature_skew": "4 of 6 features: 30 predictions can be compared yet, 50 are needed "
        "(view weather, whose newest row in the offline store is of 2013-01-01 05:00 UTC)"
    }
    whole.write_parquet(path)
    bad = evaluate(project, state, monitor, hour(70), record_alerts)
    assert bad.verdict == "alert"
    assert bad.results["feature_skew"]["skewed"] == ["wind", "rain", "wind_squared"]
    shown = bad.results["examples"]["feature_skew"]
    assert shown
    differing = [each for each in bad.results["feature_skew"]["features"] if each["differing"]]
    assert set(shown) <= {name for each in differing for name in each["examples"]}
    (alert,) = list_alerts(state)
    assert alert.kind == "feature_skew"
    assert alert.message.startswith(
        "3 of 6 features were served with other values than training would see (alert at 10.0% of the rows): "
    )
    assert "since 2013-01-01 22:10 or earlier: expired (weather)" in alert.message
    assert "3 of 6 features differ" in (project.root / bad.report_path).read_text()
    path.unlink()
    broken = evaluate(project, state, monitor, hour(71), record_alerts)
    assert broken.verdict == "ok"
    assert "weather.parquet" in broken.results["unjudged"]["feature_skew"]
    assert [each.status for each in list_alerts(state)] == ["firing"]
    state.close()


def command(project, *arguments):
    return CliRunner().invoke(
        app, ["features", "skew", "-p", str(project.root), *arguments], env={"COLUMNS": "200"}
    )


def test_the_command_shows_what_differs_and_fails_past_the_threshold(project):
    player = Player(project)
    empty = command(project)
    assert isinstance(empty.exception, UsageError)
    player.play(0, 20)
    clean = command(project)
    assert clean.exit_code == 0
    assert "of 6 features 6 agree in all rows compared, 0 differ" in clean.output
    define(project, ("wind * wind", "2 * wind * wind"))
    player.play(20, 24)
    define(project, ("2 * wind * wind", "wind * wind"))
    shown = command(project)
    assert exit_code(shown.exception) == 1
    assert isinstance(shown.exception, SkewFound)
    assert "16.67%" in shown.output
    assert "2013-01-01 20:10" in shown.output
    assert "transformation changed (24)" in shown.output
    facts = json.loads(command(project, "--json").stdout)
    assert (facts["verdict"], facts["skewed"]) == ("skew", ["wind_squared"])
    assert facts["features"][0]["causes"][0]["name"] == "transformation changed"
    assert command(project, "--threshold", "0.2").exit_code == 0
    assert command(project, "--until", "2013-01-01T20:00", "--days", "1").exit_code == 0
    assert command(project, "--feature", "wind", "--version", "1").exit_code == 0
    assert isinstance(command(project, "--since", "2013-01-01", "--days", "2").exception, UsageError)


def test_few_comparable_predictions_are_not_called_free_of_skew(project):
    Player(project).play(0, 20)
    for path in (project.root / "data").glob("*.parquet"):
        frame = pl.read_parquet(path)
        if "event_timestamp" in frame.columns:
            frame.filter(pl.col("event_timestamp") <= hour(3)).write_parquet(path)
    report, _ = measure(project)
    assert 0 < report.compared < 100 < report.predictions
    assert report.verdict == "too few to compare"
    shown = command(project)
    assert shown.exit_code == 0
    assert f"not judged: {report.compared} of {report.predictions} predictions compared" in shown.output
    assert "no skew" not in shown.output
    every, _ = measure(project, LogSlice(hour(0), hour(3)))
    assert (every.compared, every.verdict) == (every.predictions, "ok")


OURS = {
    "wind_squared": "prediction_id",
    "late_share": "version",
    "pressure": "served_at",
    "runways": "flags",
    "wind": "score",
    "rain": "label",
    "hour": "at",
}
"""Names of features that columns of our own have too."""
PATTERNS = {
    "wind_squared": "^.*$",
    "late_share": "*",
    "pressure": "^(wind)$",
    "runways": "^runways$",
    "wind": "^feature$",
    "rain": "ré [n]",
    "hour": "$",
}
"""Names of features that Polars would take for patterns."""


def rename(project, names):
    """Give the features other names, in the definitions and in the data."""
    define(
        project,
        ('timedelta(0), "runways"', 'timedelta(0), "RUNWAYS"'),
        ('weather[["wind", "rain"]]', "weather"),
        *((f'"{"RUNWAYS" if old == "runways" else old}"', f'"{new}"') for old, new in names.items()),
    )
    for path in (project.root / "data").glob("*.parquet"):
        table = pl.read_parquet(path)
        table.rename({old: new for old, new in names.items() if old in table.columns}).write_parquet(path)


def measure_planted(project, names):
    """Serve a wrong transformation from hour 15 on, other rain from hour 10 on; return what is found."""
    rename(project, names)
    player = Player(project)
    for index, (arrives, view, row) in enumerate(player.pending):
        if view == "weather" and arrives >= hour(10):
            player.pending[index] = (arrives, view, row | {names["rain"]: row[names["rain"]] / 25.4 + 0.01})
    player.play(0, 15)
    define(project, ("wind * wind", "2 * wind * wind"))
    player.play(15, 30)
    define(project, ("2 * wind * wind", "wind * wind"))
    report, found = measure(project)
    return report.predictions, {
        old: (each.rows, each.differing, each.since, why(each), each.mean_difference)
        for old, new in names.items()
        for each in [found.pop(new)]
    }


@pytest.fixture(scope="module")
def planted(tmp_path_factory, template, empty_store):
    """What is found where the names are ordinary."""
    plain = shutil.copytree(template, tmp_path_factory.mktemp("plain") / "project")
    return measure_planted(load_project(plain), {name: name for name in OURS})


@pytest.mark.parametrize("names", [OURS, PATTERNS], ids=["ours", "patterns"])
def test_any_name_of_a_feature_is_measured_alike(project, planted, names):
    assert [name for name, found in planted[1].items() if found[1]] == ["wind_squared", "rain"]
    assert measure_planted(project, names) == planted
