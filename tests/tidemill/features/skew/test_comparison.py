"""The comparison and the naming of causes, on plain frames."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.features.offline.asof import History
from tidemill.features.skew.comparison import compare_batch, differences
from tidemill.features.skew.logged_keys import Resolver, read_keys
from tidemill.features.skew.provenance import OnDemandSource, Provenance, Source
from tidemill.features.skew.skew_summary import summarise

START = datetime(2013, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MOMENT = pl.Datetime("us", "UTC")


def hours(count):
    return START + timedelta(hours=count)


def weather(rows, ttl=None, created=False):
    """Rows: origin, hour, wind, rain, and the hour at which the row was written."""
    table = pl.DataFrame(
        [(origin, hours(at), wind, rain, hours(made)) for origin, at, wind, rain, made in rows],
        schema={
            "origin": pl.String, "time": MOMENT, "wind": pl.Float64, "rain": pl.Float64, "made": MOMENT,
        },
        orient="row",
    )  # fmt: skip
    features = {"wind": "wind", "rain": "rain"}
    history = History(
        "weather", table.lazy(), {"origin": "origin"}, features, "time", "made" if created else None, ttl
    )
    source = Source("weather", ("wind", "rain"), history, table["time"].max())
    return Provenance((source,), (), {"origin": pl.String()})


def batch(*rows):
    """Rows: origin, hour, served wind and rain, expected wind and rain, flags."""
    frame = pl.DataFrame(
        [
            (f"p{index}", "1", hours(at), hours(at), flags, False, [], origin, *served, *expected)
            for index, (origin, at, served, expected, flags) in enumerate(rows)
        ],
        schema={
            "prediction_id": pl.String,
            "version": pl.String,
            "at": MOMENT,
            "served_at": MOMENT,
            "flags": pl.List(pl.String),
            "other_definition": pl.Boolean,
            "unresolved": pl.List(pl.String),
            "key.origin": pl.String,
            "feature.wind": pl.Float64,
            "feature.rain": pl.Float64,
            "expected.wind": pl.Float64,
            "expected.rain": pl.Float64,
        },
        orient="row",
    )
    return frame.sort("at")


def compare(rows, origins, threshold=0.01):
    found = summarise([compare_batch(rows, origins, 1e-6)], origins.features, threshold)
    return {each.feature: each for each in found}


values = st.none() | st.floats(-1e9, 1e9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(values, st.booleans()), min_size=1, max_size=20))
def test_a_value_differs_from_none_and_from_what_is_further_than_the_tolerance(pairs):
    near = [value if value is None or same else value * (1 + 1e-8) for value, same in pairs]
    far = [0.5 if value is None else value * 1.01 + (value == 0) for value, _ in pairs]
    rows = pl.DataFrame(
        {"feature.f": [value for value, _ in pairs], "expected.f": near, "feature.g": far},
        schema_overrides=dict.fromkeys(("feature.f", "expected.f", "feature.g"), pl.Float64),
    ).with_columns(pl.col("feature.f").alias("expected.g"))
    found = differences(rows, ["f", "g"], 1e-6)
    assert not found["f"].any()
    assert found.filter(pl.lit(pl.Series([v is None or abs(v) > 1e-9 for v, _ in pairs])))["g"].all()


def test_special_numbers():
    nan, infinity = float("nan"), float("inf")
    rows = pl.DataFrame(
        {
            "feature.f": [nan, nan, infinity, infinity, infinity, 0.0, 0.0],
            "expected.f": [None, 1.0, infinity, -infinity, 1.0, -0.0, 1e-13],
        }
    )
    assert differences(rows, ["f"], 1e-6)["f"].to_list() == [False, True, False, True, True, False, False]


HISTORY = [
    ("JFK", 0, 1.0, 0.1, 0), ("JFK", 1, 2.0, 0.2, 1), ("JFK", 2, 3.0, 0.3, 2),
    ("EWR", 0, 5.0, 0.5, 0), ("EWR", 2, 6.0, 0.6, 2),
    ("LGA", 9, 7.0, 0.7, 9),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([("JFK", 2.5, (2.0, 0.2), (3.0, 0.3), [])], "stale materialisation"),
        ([("JFK", 2.5, (2.0, 0.2), (3.0, 0.3), []), ("EWR", 2.5, (6.0, 0.6), (6.0, 0.6), [])], "late data"),
        ([("EWR", 2.6, (6.0, 0.6), (6.0, 0.6), []), ("JFK", 2.5, (2.0, 0.2), (3.0, 0.3), [])],
         "stale materialisation"),
        ([("JFK", 2.5, (0.0, 0.2), (3.0, 0.3), ["expired:weather", "default:wind"])], "expired"),
        ([("JFK", 2.5, (None, None), (3.0, 0.3), ["missing:weather"])], "missing"),
        ([("JFK", 0.5, (3.0, 0.3), (1.0, 0.1), ["future:weather"])], "from the future"),
        ([("JFK", 2.5, (9.0, 0.3), (3.0, 0.3), [])], "transformation changed"),
        ([("JFK", 2.5, (9.0, 0.9), (3.0, 0.3), [])], "unknown"),
    ],
)  # fmt: skip
def test_each_cause_has_its_evidence(rows, cause):
    found = compare(batch(*rows), weather(HISTORY))["wind"]
    assert [(each.name, each.rows, each.view) for each in found.causes] == [(cause, 1, "weather")]
    assert found.causes[0].evidence
    assert found.examples == (f"p{[row[2] != row[3] for row in rows].index(True)}",)


def test_a_row_says_itself_that_it_came_late():
    origins = weather([("JFK", 0, 1.0, 0.1, 0), ("JFK", 1, 2.0, 0.2, 6), ("JFK", 9, 0.0, 0.0, 9)], None, True)
    (cause,) = compare(batch(("JFK", 3, (1.0, 0.1), (2.0, 0.2), [])), origins)["wind"].causes
    assert cause.name == "late data"
    corrected = [("JFK", 0, 1.0, 0.1, 0), ("JFK", 0, 2.0, 0.2, 6), ("JFK", 9, 0.0, 0.0, 9)]
    rows = batch(("JFK", 3, (1.0, 0.1), (2.0, 0.2), []))
    (cause,) = compare(rows, weather(corrected, None, True))["wind"].causes
    assert cause.name == "late data"


def test_what_was_served_past_its_ttl_has_expired():
    origins = weather(HISTORY, timedelta(hours=1))
    (cause,) = compare(batch(("JFK", 4, (3.0, 0.3), (None, None), [])), origins)["wind"].causes
    assert cause.name == "expired"


def test_an_on_demand_feature_has_the_cause_of_its_input_or_its_own():
    origins = weather(HISTORY)
    origins = Provenance(
        origins.sources, (OnDemandSource("force", ("squared",), ("weather",), ()),), origins.types
    )
    rows = batch(
        ("JFK", 2.5, (2.0, 0.2), (3.0, 0.3), []),
        ("JFK", 2.6, (3.0, 0.3), (3.0, 0.3), []),
        ("JFK", 2.7, (3.0, 0.3), (3.0, 0.3), []),
    ).with_columns(
        pl.Series("feature.squared", [4.0, 18.0, 9.0]), pl.Series("expected.squared", [9.0, 9.0, 9.0])
    )
    found = compare(rows, origins)["squared"]
    assert {(each.name, each.view) for each in found.causes} == {
        ("stale materialisation", "weather"),
        ("transformation changed", "force"),
    }
    changed = rows.with_columns(other_definition=pl.lit(True))
    assert ("definition changed", "force") in {
        (each.name, each.view) for each in compare(changed, origins)["squared"].causes
    }


def test_what_is_later_than_the_offline_store_or_unresolved_is_no_skew():
    rows = batch(
        ("LGA", 8, (7.0, 0.7), (None, None), []),
        ("LGA", 9, (7.0, 0.7), (7.0, 0.7), []),
        ("LGA", 9.5, (7.5, 0.7), (7.0, 0.7), []),
        ("LGA", 3, (7.5, 0.7), (None, None), []),
    ).with_columns(
        unresolved=pl.when(pl.col("at") == hours(3)).then(pl.lit(["origin"])).otherwise(pl.col("unresolved"))
    )
    ttl = weather(HISTORY, timedelta(hours=3))
    found = compare(rows, ttl)["wind"]
    assert (found.rows, found.differing, found.not_comparable_yet, found.unresolved) == (2, 1, 1, 1)
    assert found.expected_null == 1


def test_a_view_whose_values_never_expire_is_judged_later_than_its_newest_row_by_what_was_served():
    rows = batch(
        ("JFK", 90, (9.0, 0.9), (9.0, 0.9), []),  # the newest there is
        ("JFK", 89, (8.0, 0.8), (9.0, 0.9), []),  # an older one
        ("JFK", 92, (None, None), (9.0, 0.9), ["missing:weather"]),
        ("JFK", 93, (9.5, 0.9), (9.0, 0.9), []),  # perhaps of a row that is still to come
    )
    history = [("JFK", 1, 8.0, 0.8, 1), ("JFK", 2, 9.0, 0.9, 2)]
    found = compare(rows, weather(history))["wind"]
    assert (found.rows, found.differing, found.not_comparable_yet) == (3, 2, 1)
    assert {cause.name for cause in found.causes} == {"stale materialisation", "missing"}
    found = compare(rows, weather(history, timedelta(hours=300)))["wind"]
    assert (found.rows, found.differing, found.not_comparable_yet) == (0, 0, 4)


def test_the_beginning_is_that_of_the_latest_stretch_of_days():
    def day(number, differing, rows=10):
        return [
            ("JFK", 24 * number + 1 + index / 10, ((9.0 if index < differing else 3.0), 0.3), (3.0, 0.3), [])
            for index in range(rows)
        ]

    history = weather([*HISTORY, ("JFK", 24 * 9, 3.0, 0.3, 24 * 9)])

    def since(*days):
        rows = [row for number, differing in enumerate(days, 1) for row in day(number, differing)]
        return compare(batch(*rows), history, 0.2)["wind"]

    found = since(0, 5, 0, 3, 5)
    assert (found.since, found.ongoing) == (hours(24 * 4 + 1), True)
    assert [(each.day, each.differing) for each in found.daily][-2:] == [
        (date(2013, 1, 5), 3),
        (date(2013, 1, 6), 5),
    ]
    found = since(0, 5, 5, 0, 1)
    assert (found.since, found.until, found.ongoing) == (hours(49), hours(72 + 1.4), False)
    found = since(0, 1, 1)
    assert (found.since, found.ongoing) == (hours(49), True)
    assert since(0, 0).since is None


def test_keys_come_back_in_their_types():
    types = {
        "carrier": pl.String(),
        "gate": pl.Int64(),
        "night": pl.Boolean(),
        "share": pl.Float64(),
        "at": MOMENT,
    }
    logged = pl.Series(
        [
            '{"carrier":"U\\"A","gate":7,"night":true,"share":0.5,"at":"2013-04-01T10:15:00-04:00"}',
            '{"carrier":"","gate":null,"night":false,"share":1,"at":"2013-04-01T10:15:00.25"}',
            '{"carrier":"UA","gate":"x","at":"2013-04-01T10:15:00Z"}',
        ]
    )
    keys, unresolved = Resolver(Provenance((), (), types), lambda series: series).resolve(
        read_keys(logged, types)
    )
    assert keys.schema == types
    assert keys.rows() == [
        ('U"A', 7, True, 0.5, datetime(2013, 4, 1, 14, 15, tzinfo=UTC)),
        ("", None, False, 1.0, datetime(2013, 4, 1, 10, 15, 0, 250000, tzinfo=UTC)),
        ("UA", None, None, None, datetime(2013, 4, 1, 10, 15, tzinfo=UTC)),
    ]
    assert unresolved.to_list() == [[], [], []]


def test_text_and_moments_and_truth_values_are_compared_as_models_take_them():
    table = pl.DataFrame(
        {
            "origin": ["JFK"] * 2,
            "time": [hours(0), hours(2)],
            "sky": ["clear", "fog"],
            "seen": [hours(0), hours(1)],
            "open": [True, False],
        },
        schema_overrides={"time": MOMENT, "seen": MOMENT},
    )
    names = ("sky", "seen", "open")
    history = History(
        "weather",
        table.lazy(),
        {"origin": "origin"},
        dict(zip(names, names, strict=True)),
        "time",
        None,
        None,
    )
    origins = Provenance((Source("weather", names, history, hours(9)),), (), {"origin": pl.String()})
    plain = batch(*[("JFK", at, (None, None), (None, None), []) for at in (1, 3, 4)])
    rows = plain.drop("^(feature|expected).*$").with_columns(
        pl.Series("feature.sky", ["clear", "clear", "fog"]),
        pl.Series("expected.sky", ["clear", "fog", "fog"]),
        pl.Series("feature.seen", [one.timestamp() for one in (hours(0), hours(0), hours(1))]),
        pl.Series("expected.seen", [hours(0), hours(1), hours(1)], dtype=MOMENT),
        pl.Series("feature.open", [1.0, 1.0, 0.0]),
        pl.Series("expected.open", [True, False, False]),
    )
    found = compare(rows, origins)
    assert {name: (one.share, one.causes[0].name) for name, one in found.items()} == dict.fromkeys(
        names, (pytest.approx(1 / 3), "stale materialisation")
    )
    assert not any(
        one.share for one in compare(rows.filter(pl.col("prediction_id") != "p1"), origins).values()
    )


def test_a_value_that_the_request_brought_is_no_skew():
    origins = weather([("JFK", 0, 1.0, 0.0, 0)])
    load = OnDemandSource("load", ("rain",), ("weather",), ())  # computed from the view's wind
    [source] = origins.sources
    computed = replace(origins, sources=(replace(source, features=("wind",)),), computed=(load,))
    own = batch(("JFK", 0, (5.0, 5.0), (1.0, 1.0), ["request:wind"]))
    looked_up = batch(("JFK", 0, (5.0, 5.0), (1.0, 1.0), []))
    assert [compare(own, computed)[name].differing for name in ("wind", "rain")] == [0, 0]
    assert [compare(looked_up, computed)[name].differing for name in ("wind", "rain")] == [1, 1]
    assert compare(own, origins)["rain"].differing == 1  # of the store, whatever else was brought
