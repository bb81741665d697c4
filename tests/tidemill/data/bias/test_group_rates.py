"""Bias in data: what can be said of groups, and what cannot."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tidemill.data.bias.group_rates import compare, find_bias, proportion
from tidemill.data.expectations.rules import BiasConfig
from tidemill.data.personal.pseudonyms import Pseudonymiser
from tidemill.errors import DataError


def config(**changes):
    return BiasConfig.model_validate({"label": "late", "groups": ["carrier"], **changes})


@pytest.fixture
def flights():
    """Of 4 carriers: UA as the rest, B6 late twice as often, XX between the two, YY too small to say."""
    counts = {"UA": (10_000, 2000), "B6": (5000, 2000), "XX": (5000, 1200), "YY": (20, 20)}
    rows = [
        {"carrier": carrier, "late": int(n < positive), "distance": n % 3000}
        for carrier, (size, positive) in counts.items()
        for n in range(size)
    ]
    unknown = [{"carrier": None, "late": None, "distance": None}] * 80
    return pl.LazyFrame(rows + unknown)


def test_groups_are_told_apart(flights):
    report = find_bias(flights, config(), "flights")
    assert (report.rows, report.labelled) == (20_100, 20_020)
    groups = {group.group: group for group in report.groups["carrier"]}
    assert {name: group.verdict for name, group in groups.items()} == {
        "UA": "lower", "B6": "higher", "XX": "alike", "YY": "too small", "(missing)": "too small",
    }  # fmt: skip
    b6 = groups["B6"]
    assert b6.share.value == pytest.approx(5000 / 20_100)
    assert b6.rate.low < 0.4 < b6.rate.high
    assert b6.ratio.value == pytest.approx(0.4 / (3220 / 15_020))
    judged = [group for group in groups.values() if group.p_value is not None]
    corrected = stats.false_discovery_control([group.p_value for group in judged])
    assert [group.q_value for group in judged] == pytest.approx(corrected.tolist(), rel=1e-12)
    assert len(judged) == 3
    assert groups["YY"].q_value is None
    assert groups["(missing)"].rate.value is None
    assert sum(group.rows for group in groups.values()) == report.rows


def test_a_label_may_be_an_expression_and_numbers_are_cut_at_edges(flights):
    report = find_bias(
        flights,
        config(label="late = 1 AND distance > 100", groups=[{"column": "distance", "edges": [100, 1000]}]),
        "flights",
    )
    groups = report.groups["distance"]
    assert [group.group for group in groups] == ["below 100", "100 to 1000", "1000 and more", "(missing)"]
    assert groups[0].positive == 0
    assert groups[0].verdict == "lower"
    assert groups[0].ratio.value == 0
    counts = flights.select(
        pl.col("distance").is_between(100, 1000, closed="left").sum().alias("rows"),
    ).collect()
    assert groups[1].rows == counts["rows"][0]


def test_very_many_groups_are_put_together():
    table = pl.LazyFrame({"carrier": [f"C{n}" for n in range(300)] + ["C0"], "late": [True] * 301})
    groups = find_bias(table, config(), "x").groups["carrier"]
    assert len(groups) == 201
    assert (groups[0].group, groups[-1].group, groups[-1].rows) == ("C0", "(100 others)", 100)


@pytest.mark.parametrize("rows", [0, 1, 500])
def test_one_group_or_none_has_nothing_to_be_compared_with(rows):
    table = pl.LazyFrame({"carrier": ["UA"] * rows, "late": [1] * rows}, {"carrier": str, "late": int})
    groups = find_bias(table, config(min_rows=1), "x").groups["carrier"]
    assert [group.verdict for group in groups] == ["only group"][: min(rows, 1)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "distance"}, "neither 0 and 1 nor true and false"),
        ({"label": "nothing"}, "cannot be computed"),
        ({"groups": ["nothing"]}, "has no column 'nothing'"),
        ({"groups": [{"column": "carrier", "edges": [1]}]}, "edges divide numbers only"),
    ],
)
def test_what_cannot_be_compared_is_named(flights, changes, message):
    with pytest.raises(DataError, match=message):
        find_bias(flights, config(**changes), "flights")


@pytest.mark.slow
def test_chance_alone_is_seldom_called_bias():
    """Without any difference, at most about one analysis in twenty finds one, however many groups it has."""
    random = np.random.default_rng(0)
    found = 0
    for _ in range(100):
        table = pl.LazyFrame(
            {"carrier": random.integers(0, 30, 6000).astype(str), "late": random.random(6000) < 0.2}
        )
        report = find_bias(table, config(tolerance=1.0001), "x")
        found += any(group.verdict in ("higher", "lower") for group in report.groups["carrier"])
    assert found <= 12  # 5 expected; more than 12 by chance once in a thousand


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_the_test_is_that_of_chi_square_and_the_intervals_hold_the_estimate(n, m, data):
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    ratio, p_value = compare((a, n), (b, m))
    if 0 < a + b < n + m:
        table = [[a, n - a], [b, m - b]]
        assert p_value == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, abs=1e-9)
    if a and b:
        assert ratio.low <= ratio.value * (1 + 1e-12)
        assert ratio.value <= ratio.high * (1 + 1e-12)
    share = proportion(a, n)
    interval = stats.binomtest(a, n).proportion_ci(method="wilson")
    assert (share.low, share.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert 0 <= share.low <= share.value + 1e-12
    assert share.value - 1e-12 <= share.high <= 1


def test_groups_of_a_personal_column_are_called_by_their_pseudonyms(flights):
    hide = Pseudonymiser(b"a key of at least 16 bytes")
    open_, hidden = (find_bias(flights, config(), "x", each) for each in ({}, {"carrier": hide}))
    named = {hide.hide(group.group): group.rows for group in open_.groups["carrier"]}
    named["(missing)"] = named.pop(hide.hide("(missing)"))
    assert {group.group: group.rows for group in hidden.groups["carrier"]} == named
    assert all(carrier not in str(hidden.as_dict()) for carrier in ("'UA'", "'B6'", "'XX'", "'YY'"))
