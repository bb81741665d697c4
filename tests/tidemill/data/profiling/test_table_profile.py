import polars as pl

from tidemill.data.profiling.table_profile import profile_table, sample_rows

N = 200


def test_ids_constants_and_personal_columns():
    profile = profile_table(
        pl.LazyFrame(
            {
                "order_id": [100 + n for n in range(N)],
                "row": list(range(N)),
                "income": [37 * n * n % 10007 for n in range(N)],
                "email": [f"u{n}@example.org" for n in range(N)],
                "city": ["Rome", "Oslo"] * (N // 2),
                "comment": [f"said {n} things" for n in range(N)],
                "version": ["v1"] * N,
                "empty": pl.Series([None] * N, dtype=pl.String),
                "gaps": [1.0, None] * (N // 2),
            }
        )
    ).columns
    assert [name for name, one in profile.items() if one.looks_like_id] == [
        "order_id",
        "row",
        "email",
        "comment",
    ]
    assert [name for name, one in profile.items() if one.is_constant] == ["version", "empty"]
    assert [name for name, one in profile.items() if one.identifies] == ["email"]
    assert profile["city"].values == ("Oslo", "Rome")
    assert (profile["gaps"].nulls, profile["gaps"].is_constant) == (N // 2, False)


def test_an_empty_table_has_a_profile():
    assert profile_table(pl.LazyFrame({"a": []})).rows == 0


def test_a_sample_is_spread_over_the_table():
    found = sample_rows(pl.LazyFrame({"a": range(1000)}), 1000, most=100)
    assert found["a"].to_list() == list(range(0, 1000, 10))


def test_lists_that_are_all_the_same_are_constant():
    found = profile_table(
        pl.LazyFrame({"same": [[1, 2]] * 9, "each": [[1, n] for n in range(9)], "gap": [[1]] * 8 + [None]})
    )
    assert [one.is_constant for one in found.columns.values()] == [True, False, False]
