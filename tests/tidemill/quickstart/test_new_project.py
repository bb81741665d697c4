import re
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from tidemill.errors import DataError, TidemillError, UsageError
from tidemill.monitoring.drift.drift_columns import compare_column
from tidemill.monitoring.monitor_config import load_monitors
from tidemill.project.feature_columns import read_columns
from tidemill.project.project import load_project
from tidemill.quickstart.init_options import Ask, InitOptions, assume
from tidemill.quickstart.new_project import ProjectDraft, draft_project, write_draft
from tidemill.retraining.policies import load_policies

pytestmark = pytest.mark.engine

N = 400
R = np.random.default_rng(0)
SIZE = R.normal(size=N)
LEFT = SIZE + R.normal(size=N) > 0.5
TABLE = pl.DataFrame(
    {
        "id": range(1000, 1000 + N),
        "size": SIZE,
        "plan": R.choice(["free", "pro"], N),
        "age": [None if n % 10 == 0 else n % 60 for n in range(N)],
        "email": [f"u{n}@example.org" for n in range(N)],
        "left": np.where(LEFT, "yes", "no"),
    }
)
DAYS = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 12, 31), interval="1d", eager=True)
FOUR = ("season", "bill", "outages", "plan")
TIMED = TABLE.with_columns(at=DAYS.sample(N, with_replacement=True, seed=0).sort())


@pytest.fixture
def all_pieces() -> None:
    """For tests of what comes of comparing all pieces of a table."""


@pytest.fixture(autouse=True)
def _few_pieces(request: pytest.FixtureRequest) -> None:
    if "all_pieces" not in request.fixturenames:
        request.getfixturevalue("few_pieces")


def draft(
    table: pl.DataFrame, folder: Path, target: str = "left", ask: Ask = assume, **options: Any
) -> ProjectDraft:
    table.write_parquet(folder / "t.parquet")
    return draft_project("My Modèl", "t.parquet", folder, InitOptions(target, **options), ask)


def params(made: ProjectDraft) -> dict[str, Any]:
    return yaml.safe_load(made.files["params.yaml"])


def test_a_project_of_ten_short_files_that_the_platform_accepts(tmp_path: Path):
    made = draft(TIMED, tmp_path, labels_after="2d")
    assert len(made.files) == 10
    assert max(text.count("\n") for text in made.files.values()) < 60
    write_draft(made, tmp_path / "p")
    project = load_project(tmp_path / "p")
    assert [column.name for column in read_columns(project)] == ["size", "plan", "age"]
    [monitor], [policy] = load_monitors(project), load_policies(project)
    assert (monitor.name, policy.name) == ("my-model", "keep-fresh")
    assert project.config.split.by == "time"
    assert project.task.labels(TABLE["left"]).values.sum() == LEFT.sum()
    assert [column.required for column in read_columns(project)] == [True, True, False]


def test_rows_without_time(tmp_path: Path):
    made = draft(TABLE, tmp_path)
    assert params(made)["dataset"]["time"] is None
    assert params(made)["split"] == {"by": "stratified"}
    assert params(made)["data"]["key"] == "id"
    (key,) = yaml.safe_load(made.files["features.yaml"])["keys"]
    assert (key["name"], key["type"], key["required"]) == ("id", "integer", False)
    assert key["example"] == 9999  # git keeps it: no one's
    assert draft(TABLE, tmp_path, "size").choices.split.by == "random"
    without = params(draft(TIMED, tmp_path, time="none", key="none"))
    assert (without["dataset"]["time"], without["data"]["key"]) == (None, None)
    repeated = TABLE.with_columns(shop=pl.Series(range(N)) % 20)
    assert params(draft(repeated, tmp_path, key="shop"))["dataset"]["group"] == "shop"


@pytest.mark.parametrize(
    ("target", "task", "positive"),
    [
        (pl.Series(LEFT), "binary", None),
        (pl.Series(LEFT).cast(pl.Int8), "binary", None),
        (pl.Series(np.where(LEFT, "bad", "good")), "binary", "bad"),
        (pl.Series(np.where(LEFT, "nein", "ja")), "binary", "ja"),
        (pl.Series(np.where(LEFT, "нет", "Да")), "binary", "Да"),
        (pl.Series(np.where(LEFT, 2, 1)), "binary", "2"),
        (pl.Series(R.integers(0, 4, N)), "multiclass", None),
        (pl.Series(R.integers(0, 10, N)), "multiclass", None),
        (pl.Series(R.integers(0, 12, N)), "regression", None),
        (pl.Series([9, *R.integers(0, 5, N - 1)]), "regression", None),
        (pl.Series(R.choice(["a", "b", "c"], N)), "multiclass", None),
        (pl.Series(R.normal(size=N)), "regression", None),
        (pl.Series(R.integers(0, 400, N)), "regression", None),
    ],
)
def test_the_task_is_found_out(tmp_path: Path, target: pl.Series, task: str, positive: str | None):
    made = draft(TABLE.with_columns(target.alias("left")), tmp_path)
    assert params(made)["project"]["task"] == task
    assert params(made)["dataset"].get("positive") == positive


def test_the_column_that_the_stages_add_has_a_name_of_its_own(tmp_path: Path):
    taken = TIMED.with_columns(label_known_at=pl.Series(R.normal(size=N)))
    made = draft(taken, tmp_path, labels_after="2d")
    assert params(made)["dataset"]["label_known"] == "label_known_at_"
    assert "label_known_at" in [one.name for one in made.choices.features.chosen]


def test_what_is_said_is_taken(tmp_path: Path):
    scores = TABLE.with_columns(left=pl.Series(R.integers(0, 4, N)))
    assert params(draft(scores, tmp_path, task="regression"))["project"]["task"] == "regression"
    assert params(draft(TABLE, tmp_path, positive="no"))["dataset"]["positive"] == "no"


@pytest.mark.parametrize("number", ["{:019}", "1{:018}", "1{:024}"])
def test_numbers_that_stay_text_are_no_amounts(tmp_path: Path, number: str):
    long = TABLE.with_columns(left=pl.Series([number.format(7 * n) for n in range(N)]))
    long.write_csv(tmp_path / "t.csv")
    with pytest.raises(UsageError, match="left has numbers with zeros in front or of more than 18 digits"):
        draft_project("m", "t.csv", tmp_path, InitOptions("left", task="regression"))


def test_what_is_assumed_of_whole_numbers_is_said(tmp_path: Path):
    for numbers, said in (
        (12, "amounts; if they are classes: --task multiclass"),
        (4, "classes; if they are"),
    ):
        made = draft(TABLE.with_columns(left=pl.Series(range(N)) % numbers), tmp_path)
        [target] = [one.text for one in made.assumptions if one.subject == "target"]
        assert f"its {numbers} whole numbers are {said}" in target
    amounts = draft(TABLE.with_columns(left=pl.Series(range(N)) % 60), tmp_path)
    assert not any("whole numbers" in one.text for one in amounts.assumptions)


def test_what_is_ambiguous_is_asked(tmp_path: Path):
    asked = []

    def ask(question: str, options: Any, default: str) -> str:
        asked.append((question, tuple(options), default))
        return str(options[-1])

    table = TIMED.with_columns(left=pl.Series(R.integers(0, 4, N)), seen_at=pl.col("at"))
    made = draft(table, tmp_path, ask=ask)
    assert [options for _, options, _ in asked] == [
        ("multiclass", "regression"),
        ("at", "seen_at", "none"),
        ("id", "none"),
    ]
    assert params(made)["data"]["key"] is None
    assert params(made)["project"]["task"] == "regression"
    assert params(made)["dataset"]["time"] is None


def test_a_key_with_fewer_values_than_a_split_has_sides_is_refused(tmp_path: Path):
    flag = pl.Series([n % 2 for n in range(N)])
    for column, said in ((pl.lit(1), "has 1 value in"), (flag, "has 2 values in")):
        with pytest.raises(UsageError, match=f"--key: k {said} {N:,} rows, .*: it needs at least 3"):
            draft(TABLE.drop("id").with_columns(k=column), tmp_path, key="k")


def test_what_is_assumed_of_the_key_is_said(tmp_path: Path):
    [key] = [one.text for one in draft(TABLE, tmp_path).assumptions if one.subject == "key"]
    assert key == "id, one row each; assumed, else: --key COL or none"
    two = TABLE.with_columns(order_no=pl.Series(range(N)))
    [key] = [one.text for one in draft(two, tmp_path).assumptions if one.subject == "key"]
    assert "one of 2 columns with a value of its own in each row" in key
    assert draft(two, tmp_path, key="order_no").choices.key_assumed is None
    assert draft(two, tmp_path, ask=lambda *_: "none").choices.key is None


def test_free_text_is_no_key_and_what_reads_it_is_said(tmp_path: Path):
    made = draft(
        TABLE.drop("id").with_columns(message=pl.Series(f"my parcel {n} came too late" for n in range(N))),
        tmp_path,
    )
    said = {one.subject: one for one in made.assumptions}
    assert (made.choices.key, said["key"].text) == (None, "none")
    assert "message (free text: 100% of its values are distinct)" in said["left out"].text
    assert (said["words"].text.partition(":")[0], said["words"].where) == ("message", "docs/free-text.md")
    assert Path(__file__).parents[3].joinpath(said["words"].where).is_file()


def test_values_far_from_all_others_are_said(tmp_path: Path):
    prices = np.exp(R.normal(11, 1.5, N))  # a long tail is none
    age = [999 if n == 7 else n % 60 for n in range(N)]
    odd = TABLE.with_columns(price=pl.Series([*prices[1:], 1e12]), age=pl.Series(age), email=age)
    made = draft(odd, tmp_path, target="price")
    [far] = [one.text for one in made.assumptions if one.subject == "beware"]
    assert far == "price (1e+12), age (999): far from all others, are they right?"
    plain = draft(TABLE.with_columns(price=prices), tmp_path, target="price")
    assert "beware" not in {one.subject for one in plain.assumptions}


def test_the_target_the_key_and_the_delay_of_labels_are_asked_for_where_columns_offer_them(tmp_path: Path):
    asked = {}

    def ask(question: str, options: Any, default: str) -> str:
        asked[question] = (tuple(options), default)
        return str(options[1]) if "label" in question else default

    table = TIMED.with_columns(pl.lit("x").alias("same"), closed_at=pl.col("at") + pl.duration(days=3))
    draft_table = table.drop("id").with_columns(customer_id=pl.int_range(N) % 200)
    made = draft(draft_table, tmp_path, "", ask)
    names = ("size", "plan", "age", "left")
    assert asked["which column is to be predicted?"] == (names, "left")
    assert asked["which column says what a row is about?"] == (("customer_id", "none"), "none")
    [[delays, at_once]] = [found for question, found in asked.items() if "label known" in question]
    assert (delays, at_once) == (("at once", "3d"), "at once")
    assert made.choices.labels_after == "3d"
    assert params(made)["data"]["labels_after"] == "3d"
    assert draft(draft_table, tmp_path, time="at").choices.labels_after is None


def test_leaks_are_left_out_and_named(tmp_path: Path):
    made = draft(TABLE.with_columns(reason=np.where(LEFT, "moved", "-")), tmp_path)
    assert "determines the target" in made.choices.features.left_out["reason"]
    assert "reason" not in [
        column["name"] for column in yaml.safe_load(made.files["features.yaml"])["columns"]
    ]
    assert any("reason" in one.text for one in made.assumptions if one.subject == "left out")
    kept = draft(
        TABLE.with_columns(reason=np.where(LEFT, "moved", "-")),
        tmp_path,
        ask=lambda _, options, default: "no" if "no" in options else default,
    )
    assert "reason" in [one.name for one in kept.choices.features.chosen]


def test_moments_later_than_the_prediction_are_left_out(tmp_path: Path):
    made = draft(TIMED.with_columns(closed_at=pl.col("at") + pl.duration(days=3)), tmp_path, time="at")
    assert "not known yet" in made.choices.features.left_out["closed_at"]


def test_values_that_are_probably_one_are_said(tmp_path: Path):
    classes = pl.when(pl.int_range(N) % 9 == 0).then(pl.lit("Yes ")).otherwise("left")
    plans = pl.when(pl.int_range(N) % 7 == 0).then(pl.lit("Free")).otherwise("plan")
    [beware] = [
        one.text
        for one in draft(TABLE.with_columns(left=classes, plan=plans), tmp_path).assumptions
        if one.subject == "beware"
    ]
    assert beware.startswith("left: 'Yes ' (45 rows) and 'yes' (")
    assert beware.endswith("look like one class, plan: 'Free' and 'free'")


def test_what_is_assumed_of_moments_and_numbers_is_said(tmp_path: Path):
    table = TIMED.with_columns(
        size=pl.lit("1,234"),
        age=pl.when(pl.int_range(N) % 2 == 0).then(pl.lit("7 %")).otherwise(pl.lit("7 €")),
        fee=pl.lit("$ 3.50"),
    )
    said = {one.subject: one.text for one in draft(table, tmp_path).assumptions}
    assert said["written"] == "fee as 1,234.56 $, size as 1,234.56 (or 1.234,56?)"
    assert said["text"] == "age (numbers, but '7 %')"
    assert "it has no zone: taken as UTC" in said["time"]
    zoned = TIMED.with_columns(pl.col("at").dt.replace_time_zone("Asia/Tokyo"))
    assert "UTC" not in " ".join(one.text for one in draft(zoned, tmp_path).assumptions)


@pytest.mark.parametrize(
    ("shown", "form"),
    [(pl.col("at").dt.epoch("s"), "seconds"), (pl.col("at").dt.to_string("%Y%m%d"), "%Y%m%d")],
)
def test_whole_numbers_in_a_csv_are_moments_where_they_are_named_as_the_time(
    tmp_path: Path, shown: pl.Expr, form: str
):
    TIMED.with_columns(at=shown).write_csv(tmp_path / "t.csv")
    made = draft_project("m", "t.csv", tmp_path, InitOptions("left", time="at"), assume)
    assert params(made)["data"]["formats"] == {"at": form}
    assert made.choices.time.first == TIMED["at"].min().replace(tzinfo=made.choices.time.first.tzinfo)
    TIMED.with_columns(at=pl.lit("12").cast(pl.String)).write_csv(tmp_path / "t.csv")
    with pytest.raises(UsageError, match="cannot be read as moments"):
        draft_project("m", "t.csv", tmp_path, InitOptions("left", time="at"), assume)


def test_numbers_that_are_called_a_time_are_moments(tmp_path: Path):
    seconds = TIMED.select(pl.col("at").dt.epoch("s").alias("ts"), "size", "left")
    for table in (seconds, seconds.cast(pl.String)):
        time = draft(table, tmp_path).choices.time
        assert time is not None
        assert (time.column, time.format) == ("ts", "seconds")
    assert draft(seconds.rename({"ts": "offset"}), tmp_path).choices.time is None


def test_what_means_a_gap_is_no_class(tmp_path: Path):
    def classes(*words: str) -> tuple[str, ...]:
        rows = pl.Series(words).sample(N, with_replacement=True, seed=1)
        return draft(TABLE.with_columns(left=rows), tmp_path).choices.target.classes

    assert classes("FEMALE", "MALE", "NA", "?") == ("FEMALE", "MALE")
    assert classes("EU", "NA", "SA") == ("EU", "NA", "SA")
    assert classes("none", "mild") == ("mild", "none")


def test_what_means_a_gap_in_a_label_is_no_category_of_a_feature(tmp_path: Path):
    kinds = pl.Series(["mall", "corner", "NA", "?", "N/A", "none"]).sample(N, with_replacement=True, seed=1)
    zones = pl.Series(["EU", "NA", "SA"]).sample(N, with_replacement=True, seed=2)
    made = draft(TABLE.with_columns(kind=kinds, zone=zones), tmp_path).choices.features.chosen
    found = {one.name: (one.categories, one.required) for one in made}
    assert found["kind"] == (("corner", "mall", "none"), False)
    assert found["zone"] == (("EU", "NA", "SA"), True)


def test_moments_that_are_yet_to_come_or_stand_for_none_are_said(tmp_path: Path):
    now, hours = datetime.now(UTC).replace(microsecond=0), [timedelta(hours=n) for n in range(400)]

    def said(at: list[datetime], **options: Any) -> str:
        table = pl.DataFrame({"at": at, "size": np.arange(400) % 7, "late": np.arange(400) % 2})
        (told,) = [
            one.text
            for one in draft(table, tmp_path, target="late", **options).assumptions
            if one.subject == "time"
        ]
        return told

    coming = [now + timedelta(days=1) + each for each in hours]
    assert said(coming).startswith("none (at is later than now in all rows): rows are split at random")
    with pytest.raises(UsageError, match="all moments in at are later than now, from 20"):
        said(coming, time="at")
    past = [now - timedelta(days=20) + 2 * each for each in hours]
    assert "; 159 rows later than now: left out until then" in said(past)
    dirty = [datetime(1970, 1, 1, tzinfo=UTC) if n % 8 == 0 else now - each for n, each in enumerate(hours)]
    assert "; 50 rows of 1970-01-01, which often means that none is known" in said(dirty)


@pytest.mark.parametrize("form", ["{} €", "€ {}", "${}", "{} %", "CHF {}"])
def test_a_sign_before_or_after_all_numbers_is_no_hindrance(tmp_path: Path, form: str):
    target = pl.format(form, pl.int_range(N) + 0.5)
    made = draft(TABLE.with_columns(left=target), tmp_path)
    assert made.choices.target.task == "regression"
    assert params(made)["data"]["formats"] == {"left": f"1,234.56 {form.replace('{}', '').strip()}"}


def test_a_category_that_would_be_new_is_flagged(tmp_path: Path):
    rare = pl.when(pl.int_range(N) == 7).then(pl.lit("max")).otherwise("plan")
    table = TABLE.with_columns(rare=rare)
    unseen = {one["name"]: one.get("unseen") for one in read_columns_of(draft(table, tmp_path))}
    assert unseen == {"size": None, "plan": "flag", "age": None, "rare": "unknown"}


def test_why_a_column_of_another_type_is_no_feature_is_said_with_the_way_out(tmp_path: Path):
    odd = TABLE.with_columns(
        took=pl.duration(minutes=pl.int_range(N)),
        clock=pl.Series([time(number % 24) for number in range(N)]),
        raw=pl.Series([bytes([number % 9]) for number in range(N)]),
        words=pl.Series([["a", f"b{number % 9}"] for number in range(N)]),
    )
    left_out = draft(odd, tmp_path).choices.features.left_out
    assert left_out["took"] == "a duration: make it a number, as of minutes"
    assert left_out["clock"] == "a time of day: make it a number, as of hours"
    assert left_out["raw"] == "bytes: make them text, or a list of numbers"
    assert left_out["words"] == "a list of text: make it numbers, or a text for each"


def test_infinite_numbers_are_gaps(tmp_path: Path):
    some = pl.int_range(N) % 50 == 0
    table = TABLE.with_columns(size=pl.when(some).then(float("inf")).otherwise("size"))
    [size, *_] = read_columns_of(draft(table, tmp_path))
    assert size["required"] is False
    assert abs(size["example"]) < 1
    target = draft(table, tmp_path, "size")
    [monitor] = yaml.safe_load(target.files["monitoring/monitors.yaml"])["monitors"]
    assert 0 < monitor["quality"]["max_drop"] < 1
    assert "inf" not in " ".join(one.text for one in target.assumptions)


def test_no_person_s_value_comes_into_files_that_git_keeps(tmp_path: Path):
    many = [f"C-{n:04}" for n in range(N)]
    table = TABLE.drop("id").with_columns(
        client=pl.Series(many),
        name=pl.Series([f"Ada Love{chr(97 + n % 12)}" for n in range(N)]),
        face=pl.Series([[float(n), 1.0] for n in range(N)]),
    )
    made = draft(table, tmp_path, key="client")
    found = yaml.safe_load(made.files["features.yaml"])
    assert found["keys"] == [{"name": "client", "type": "text", "required": False, "example": "X-9999"}]
    columns = {one["name"]: one for one in found["columns"]}
    assert columns["name"] == {"name": "name", "type": "text", "personal": True, "example": "Xxx Xxxxx"}
    assert columns["face"]["example"] == [199.5, 1.0]
    text = "".join(made.files.values())
    assert not [value for value in (*many, *table["name"], *table["email"]) if value in text]
    by_mail = yaml.safe_load(draft(TABLE, tmp_path, key="email").files["features.yaml"])["keys"]
    assert by_mail[0] | {"personal": True, "example": "x9@xxxxxxx.xxx"} == by_mail[0]


def test_few_values_that_look_personal_are_said_and_marked(tmp_path: Path):
    """Years of birth and phones do; a truth about a phone and a number of phones do not."""
    count = pl.int_range(N, eager=True)
    table = TABLE.drop("email").with_columns(
        hotline=pl.Series([f"+49 30 12345{n % 9}" for n in range(N)]),
        birth_year=1950 + count % 15,
        has_phone=count % 3 == 0,
        phone_lines=count % 4,
    )
    made = draft(table, tmp_path)
    write_draft(made, tmp_path / "p")
    marked = {column.name: column.personal for column in read_columns(load_project(tmp_path / "p"))}
    assert {name for name, personal in marked.items() if personal} == {"hotline", "birth_year"}
    assert {"has_phone", "phone_lines"} < marked.keys()
    [said] = [one for one in made.assumptions if one.subject == "personal"]
    assert "hotline (looks like phone numbers)" in said.text
    assert "birth_year (looks like dates of birth)" in said.text
    assert "personal" not in [one.subject for one in draft(TABLE.drop("email"), tmp_path).assumptions]


def read_columns_of(made: ProjectDraft) -> list[dict[str, Any]]:
    return yaml.safe_load(made.files["features.yaml"])["columns"]


@pytest.mark.usefixtures("all_pieces")
def test_thresholds_come_from_the_table(tmp_path: Path):
    season = pl.Series(np.sin(np.arange(N) / N * 6) * 3 + R.normal(size=N))
    made = draft(TIMED.with_columns(season=season), tmp_path, time="at")
    [monitor] = yaml.safe_load(made.files["monitoring/monitors.yaml"])["monitors"]
    drift = monitor["data_drift"]
    assert drift["thresholds"]["season"] > 3 * drift["numerical"]
    assert "size" not in drift["thresholds"]
    assert drift["numerical"] == drift["categorical"] == 0.1
    assert all(value > 0.1 for value in drift["thresholds"].values())


@pytest.mark.usefixtures("all_pieces")
def test_a_unit_that_changed_in_the_last_periods_is_not_what_is_usual(tmp_path: Path):
    changed = pl.when(pl.int_range(N) > 0.92 * N).then(pl.col("size") * 1000 + 5000).otherwise("size")
    gone = pl.when(pl.int_range(N) < 0.3 * N).then(pl.col("size") + pl.int_range(N) % 7).otherwise(7.0)
    made = draft(TIMED.with_columns(size=changed, gone=gone), tmp_path, time="at")
    text, told = made.files["monitoring/monitors.yaml"], {one.subject: one.text for one in made.assumptions}
    [monitor] = yaml.safe_load(text)["monitors"]
    assert monitor["data_drift"]["thresholds"].get("size", 0.1) < 3
    assert "# size is far from all else in" in text
    assert told["beware"].startswith("size (in ")
    assert monitor["data_drift"]["exclude"] == ["gone"]
    assert re.match(r"gone \(in \d+ of \d+, the last time: .*\): broken in parts", told["unwatched"])


@pytest.mark.usefixtures("all_pieces")
def test_what_goes_with_the_season_is_watched_with_a_threshold_of_its_own(tmp_path: Path):
    """Winters seem to be multiplied beside the usual threshold, and a fault would hold each turn."""
    days, random = np.arange(900), np.random.default_rng(2)
    celsius = (12 + 10 * np.sin(2 * np.pi * (days - 110) / 365) + random.normal(0, 3, 900)).round(1)
    rows = {"at": [datetime(2022, 1, 1, tzinfo=UTC) + timedelta(days=int(day)) for day in days]}
    table = pl.DataFrame(rows | {"celsius": celsius, "sold": celsius * 2 + random.normal(0, 9, 900)})
    table = pl.concat([table] * 3).with_columns(shop=pl.int_range(2700) % 3)
    made = draft(table, tmp_path, target="sold", time="at", key="none")
    [monitor] = yaml.safe_load(made.files["monitoring/monitors.yaml"])["monitors"]
    assert monitor["data_drift"]["thresholds"]["celsius"] > 1
    assert "exclude" not in monitor["data_drift"]
    told = {one.subject: one.text for one in made.assumptions}
    assert "unwatched" not in told
    assert re.match(r"celsius \(1\.\d\): alarms only beyond so many standard deviations", told["wide"])


def test_weekends_that_no_feature_tells_are_named_and_those_that_one_tells_are_not(tmp_path: Path):
    random, days = (
        np.random.default_rng(3),
        [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(n) for n in range(300)],
    )
    table = pl.DataFrame({"at": days * 2, "shop": ["centre"] * 300 + ["harbour"] * 300}).sort("at", "shop")
    weekend, centre = table["at"].dt.weekday() > 5, table["shop"] == "centre"
    sold = 50 + 30 * (weekend & ~centre).cast(pl.Int8) - 30 * (weekend & centre).cast(pl.Int8)
    table = table.with_columns(rain=random.normal(size=600), sold=sold + random.normal(0, 9, 600))
    told = {one.subject: one.text for one in draft(table, tmp_path, target="sold", key="none").assumptions}
    assert re.fullmatch(
        r".* leave of sold goes with the weekday \(\d\d%\): no feature says it", told["calendar"]
    )
    for known in (
        table.with_columns(weekday=table["at"].dt.weekday()),
        table.with_columns(sold=pl.Series(random.normal(50, 9, 600))),
    ):
        made = draft(known, tmp_path, target="sold", key="none")
        assert "calendar" not in {one.subject for one in made.assumptions}


@pytest.mark.usefixtures("all_pieces")
@pytest.mark.parametrize("seed", range(3))
def test_few_periods_of_the_table_itself_alarm_and_a_steady_column_is_watched_closely(
    tmp_path: Path, seed: int
):
    random, rows = np.random.default_rng(seed), 5_000
    day = np.arange(rows) * 200 // rows
    table = pl.DataFrame(
        {
            "at": DAYS[day.tolist()],
            "season": np.sin(day / 30) * 3 + random.normal(size=rows),
            "bill": random.gamma(4, 15, rows),
            "outages": random.poisson(0.8, rows),
            "plan": random.choice(["free", "pro", "max"], rows),
            "left": random.integers(0, 2, rows),
        }
    )
    made = draft(table, tmp_path, time="at")
    write_draft(made, tmp_path / "p")
    [monitor] = load_monitors(load_project(tmp_path / "p"))
    drift = monitor.data_drift
    assert drift is not None

    def drifted(rows: pl.DataFrame) -> list[str]:
        found = [compare_column(name, table[name], rows[name], drift) for name in FOUR]
        return [one.name for one in found if one.drifted]

    weeks = [table.filter(pl.col("at").dt.ordinal_day() // 7 == week) for week in range(28)]
    false = [week for week in weeks if len(drifted(week)) >= drift.share * len(FOUR)]
    assert len(false) <= 0.05 * len(weeks)
    dearer = weeks[5].with_columns(pl.col("bill") * 1.4, pl.col("outages") * 2)
    assert {"bill", "outages"} <= set(drifted(dearer))


def without(rows: float) -> pl.Expr:
    return pl.when(pl.int_range(N) >= rows * N).then("left")


@pytest.mark.parametrize(
    ("change", "options", "message", "hint"),
    [
        ({}, {"target": "lft"}, "no column 'lft'", "did you mean left?"),
        ({}, {"time": "att"}, "--time: the table has no column 'att'", "columns: id"),
        ({}, {"key": "ID2"}, "--key: the table has no column 'ID2'", "did you mean id?"),
        ({"left": pl.lit("no")}, {}, "one value in all rows, 'no'", "rows with other values"),
        ({"left": pl.lit(None, pl.String)}, {}, "no value in any row", "another --target"),
        ({"left": without(0.95)}, {}, "missing in 95% of the rows: only 20 of 400", "right column"),
        (
            {"left": pl.when(pl.int_range(N) == 7).then(pl.lit("maybe")).otherwise("left")},
            {},
            "'maybe'",
            "merge",
        ),
        (
            {"left": pl.when(pl.int_range(N).is_in([7, 9])).then(pl.lit("maybe")).otherwise("left")},
            {},
            "fewer than 3 rows: 'maybe' (2)",
            "merge",
        ),
        ({"left": pl.col("email")}, {}, "400 different texts", "--task multiclass"),
        ({}, {"task": "regression"}, "holds text, not numbers", "for classes leave --task out"),
        ({"left": pl.col("email")}, {"task": "regression"}, "holds text, not numbers", "such as 12.5"),
        (
            {"left": pl.int_range(N) % 3},
            {"task": "binary"},
            "3 different values, not two",
            "leave --task out",
        ),
        ({}, {"positive": "maybe"}, "no class 'maybe'", "no, yes"),
        ({}, {"target": "size", "positive": "1"}, "the task is regression", "leave --positive out"),
        ({}, {"target": ""}, "--target is missing", "perhaps --target left. Its columns: id, size, plan"),
        (
            {"left": pl.lit(LEFT)},
            {"task": "regression"},
            "holds true and false, not numbers",
            "write 0 and 1",
        ),
        (
            {"left": pl.format("{} %", pl.int_range(N)).str.replace("^399 %$", "k.A.")},
            {},
            "most of its values are numbers, but 'k.A.' is not",
            "empty those that are no numbers",
        ),
        (
            {"at": pl.when(pl.int_range(N) == 7).then(pl.lit("soon")).otherwise(pl.lit("2024-01-01"))},
            {"time": "at"},
            "at cannot be read as moments: it has values such as 'soon'",
            "seconds since 1970",
        ),
        (
            {"at": pl.Series(["01.02.2024", "2024-02-01"] * 200)},
            {"time": "at"},
            "in at are written in several ways, as '2024-02-01' and '01.02.2024'",
            "write all alike",
        ),
        ({"left": pl.struct("size")}, {}, "the table has no column 'left'", "did you mean left_size?"),
        ({"left": pl.concat_list("size")}, {}, "of type List", "another --target"),
        ({}, {"time": "plan"}, "cannot be read as moments: it has values such as 'free'", "31.12.2013"),
        ({}, {"labels_after": "2d"}, "needs a time", "--time"),
        ({"at": pl.lit("2024-01-01")}, {"time": "at", "labels_after": "soon"}, "--labels-after soon", "2d"),
        (
            {"at": pl.lit("2024-01-01"), "k": pl.int_range(N) % 3},
            {"time": "at", "key": "k"},
            "400 rows have",
            "copies",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_way_out(
    tmp_path: Path, change: dict[str, pl.Expr], options: dict[str, Any], message: str, hint: str
):
    with pytest.raises(TidemillError) as raised:
        draft(TABLE.with_columns(**change), tmp_path, **{"target": "left", **options})
    assert isinstance(raised.value, UsageError) or not str(raised.value).startswith("--")
    assert message in str(raised.value)
    assert hint in (raised.value.hint or "")


def test_tables_without_rows_or_features(tmp_path: Path):
    with pytest.raises(DataError, match="no rows"):
        draft(TABLE.clear(), tmp_path)
    with pytest.raises(DataError, match="no column is left as a feature of left: email: looks like e-mail"):
        draft(TABLE.select("left", "email"), tmp_path)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match=r"empty\.csv"):
        draft_project("x", "empty.csv", tmp_path, InitOptions("left"))
    for absent in ("absent.csv", "**.csvs", "a" * 300 + ".csv"):
        with pytest.raises(UsageError, match="no such file"):
            draft_project("x", absent, tmp_path, InitOptions("left"))
    with pytest.raises(DataError, match="any:port/db is no address of a database: inv"):
        draft_project("x", "postgresql://any:port/db::t", tmp_path, InitOptions("left"))
    TABLE.write_csv(tmp_path / "here.csv")
    (tmp_path / "empty.csv").unlink()
    assert draft_project("x", "**.csv", tmp_path, InitOptions("left")).choices.profile.rows == N
    (tmp_path / "t.xlsx").write_text("PK")
    with pytest.raises(DataError, match="format that cannot be read"):
        draft_project("x", "t.xlsx", tmp_path, InitOptions("left"))


def test_a_custom_task_is_explained(tmp_path: Path):
    with pytest.raises(UsageError, match="a model and a metric of your own"):
        draft(TABLE, tmp_path, task="custom")
