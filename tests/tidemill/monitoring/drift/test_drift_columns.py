import math

import numpy as np
import polars as pl
import pytest

from tidemill.monitoring.drift.drift_columns import (
    ColumnDrift,
    Comparison,
    compare,
    compare_column,
    compare_scores,
)
from tidemill.monitoring.drift.list_values import norms
from tidemill.monitoring.kind_sections import DataDriftConfig

CONFIG = DataDriftConfig()
ROOMY = DataDriftConfig(numerical=0.5)
WIDE = DataDriftConfig(severe=100)
MANY = [float(number) for number in range(100)]
VECTORS = np.random.default_rng(0).normal([2.0, 0.0, 0.0], size=(200, 3))


def described(before: object, now: object, config: DataDriftConfig = CONFIG) -> ColumnDrift:
    """Compare column ``a``; None: the side does not have it."""
    old, new = (None if values is None else pl.Series(values, strict=False) for values in (before, now))
    return compare_column("a", old, new, config)


@pytest.mark.parametrize(
    ("before", "now", "method"),
    [
        (MANY, MANY, "wasserstein"),
        (list(range(100)), MANY, "wasserstein"),
        ([1, 2, 3], MANY, "jensenshannon"),
        ([1.0, 1.0], [1.0, 1.0], "jensenshannon"),
        (["x", "y"], ["y", "z"], "jensenshannon"),
        ([True, False], [True, True], "jensenshannon"),
        (["x"], [1.0], None),
        ([None, None], [1.0, 2.0], None),
        (None, [1.0], None),
        ([1.0], None, None),
    ],
)
def test_the_method_follows_from_the_reference(before: object, now: object, method: str | None):
    assert described(before, now).method == method


@pytest.mark.parametrize(
    ("before", "now", "drifted", "note"),
    [
        (None, [1.0], True, "not in the reference"),
        ([1.0], None, True, "not in the window"),
        (None, None, False, "not in the reference and the window"),
        ([None] * 20, [1.0] * 20, True, "no value in the reference"),
        ([1.0] * 20, [None] * 20, True, "no value in the window"),
        ([1.0] + [None] * 99, [None] * 50, False, "no value in the window"),
        ([1.0] * 50 + [None] * 50, [None] * 3, False, "no value in the window"),
        ([1.0] * 50 + [None] * 50, [None] * 50, True, "no value in the window"),
        ([None], [None], False, "no value in the reference and the window"),
        ([1.0], ["x"], True, "numbers in the reference, text in the window"),
        (MANY, MANY, False, None),
        (MANY, MANY[:50] + [None] * 50, True, "missing: 0.0% before, 50.0% now"),
        ([None] * 50 + MANY[:50], MANY, True, "missing: 50.0% before, 0.0% now"),
        (MANY, MANY[:95] + [None] * 5, False, None),
    ],
)
def test_what_no_distance_can_say_is_said_in_a_note(
    before: object, now: object, drifted: bool, note: str | None
):
    column = described(before, now)
    assert (column.drifted, column.note) == (drifted, note)


def test_what_is_not_a_finite_number_counts_as_missing():
    column = described([1.0, math.nan, math.inf, None], [1.0, 2.0, 3.0, 4.0])
    assert column.reference_missing == 0.75
    assert column.reference_mean == 1.0
    assert column.current_missing == 0.0


def test_a_column_may_have_a_threshold_of_its_own():
    config = DataDriftConfig(numerical=0.2, categorical=0.3, thresholds={"a": 0.7})
    assert described(MANY, MANY, config).threshold == 0.7
    assert described(MANY, MANY, DataDriftConfig(numerical=0.2)).threshold == 0.2
    assert described(["x"], ["x"], DataDriftConfig(categorical=0.3)).threshold == 0.3


def test_the_columns_that_moved_furthest_come_first():
    def moved(name: str, value: float | None, threshold: float, drifted: bool) -> ColumnDrift:
        return ColumnDrift(name, "wasserstein", value, threshold, drifted, None, None, 0.0, 0.0, None)

    columns = (
        moved("still", 0.05, 0.1, False),
        moved("far", 0.9, 0.1, True),
        moved("gone", None, 0.1, True),
        moved("near", 0.5, 0.4, True),
    )
    comparison = Comparison(columns, None, 4, 4)
    assert comparison.drifted == ("gone", "far", "near")
    assert comparison.share == 0.75
    assert Comparison((), None, 4, 4).share == 0.0


NORMAL = np.random.default_rng(1).normal(0, 1, 2000)
SCALES = [1e-300, 1e-12, 1e-6, 1e-3, 1.0, 1e6, 1e15, 1e300]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("offset", [0.0, 5.0, -1e3])
def test_a_shift_counts_in_standard_deviations_whatever_the_unit(scale: float, offset: float):
    column = described((NORMAL + offset) * scale, (NORMAL + offset + 3 * NORMAL.std()) * scale)
    assert column.value == pytest.approx(3.0, rel=1e-6)
    assert column.drifted
    assert column.broken
    assert all(math.isfinite(mean) for mean in (column.reference_mean, column.current_mean))
    still = described((NORMAL + offset) * scale, (NORMAL[::-1] + offset) * scale)
    assert still.value == pytest.approx(0.0, abs=1e-9)
    assert not still.drifted


@pytest.mark.parametrize("constant", [0.0, 1e-12, -3.5, 0.1, 1e15, 1e300, 10**18])
def test_a_constant_is_compared_like_a_category(constant: float):
    assert described([constant] * 600, [constant] * 500).value == 0.0
    moved = described([constant] * 600, [constant * 2 + 1.0] * 500)
    assert moved.value == pytest.approx(math.sqrt(math.log(2)))
    assert (moved.drifted, bool(moved.broken)) == (True, True)


def test_fractions_may_come_back_in_single_precision():
    assert described([0.1] * 600, [float(np.float32(0.1))] * 500).value == 0.0


def test_huge_integers_and_infinities_end_nothing():
    huge = [2**63 - 1 - number for number in range(100)]
    assert described(pl.Series(huge, dtype=pl.UInt64), pl.Series(huge, dtype=pl.UInt64)).value == 0.0
    wide = [10**17 * number for number in range(90)]
    assert described(wide, [value + 3 * 10**17 for value in wide]).value == pytest.approx(
        3e17 / np.std(np.array(wide, float))
    )
    away = described(MANY, [1.7e308, -1.7e308] * 50)
    assert away.value is not None
    assert math.isfinite(away.value)
    assert away.broken
    tiny = [1e-200 + number * 1e-202 for number in range(90)]
    assert described(tiny, [number * 1e200 * 1e200 for number in tiny]).broken
    everywhere = described([1.7e308, -1.7e308, *MANY], [1.7e308, -1.7e308, *MANY])
    assert everywhere.value == 0.0
    assert everywhere.reference_mean is not None
    infinite = described(MANY, [math.inf, -math.inf] * 50)
    assert (infinite.note, infinite.current_missing) == ("no value in the window", 1.0)
    assert described(MANY, [*MANY, math.inf]).value == 0.0


def test_values_that_cannot_be_compared_are_named_and_end_nothing():
    lists = pl.Series([["a"], ["b"]])
    objects = pl.Series([object(), object()], dtype=pl.Object)
    before = pl.DataFrame({"odd": objects, "listed": lists, "wind": [1.0, 2.0]})
    columns = compare(before, before, CONFIG, pl.Series(["1", "1"]), "1")
    found = Comparison(columns, None, 2, 2)
    assert found.not_compared == {
        "odd": "values of type Object cannot be compared",
        "listed": "values of type List(String) cannot be compared",
    }
    assert not found.drifted
    (odd, *_) = compare(before, before.with_columns(odd=1.0), CONFIG, pl.Series(["1", "1"]), "1")
    assert odd.broken == "values of type Object cannot be compared"


def test_lists_drift_by_their_norms_and_their_elements():
    def drift(now, before=VECTORS):
        found = compare_column("e", pl.Series(before.tolist()), pl.Series(now.tolist()), CONFIG)
        return found.value, found.drifted, found.note

    value, drifted, _ = drift(VECTORS[::-1])
    assert (value, drifted) == (0.0, False)
    turned = drift(VECTORS * [-1, 1, 1])  # the norms stay
    assert turned[0] > 1
    assert turned[1]
    assert drift(VECTORS * 3)[0] > 1
    constant = np.ones((50, 2))
    assert drift(constant, constant)[:2] == (0.0, False)
    places = np.arange(len(VECTORS))[:, None]  # of gaps: no list is whole, so none has a norm
    before, now = (np.where((places + side) % 3 == np.arange(3), np.nan, VECTORS) for side in (0, 1))
    assert drift(now, before)[1] is False
    assert drift(now + 1.0, before)[2].startswith("distance")
    assert drift(np.ones((50, 3)), before)[1]
    other_length = drift(VECTORS[:, :2])
    assert other_length == (None, True, "lists of 3 numbers in the reference, of 2 in the window")


def test_lists_may_differ_in_length_hold_gaps_and_be_huge():
    assert norms(pl.Series([[3.0, 4.0], None, [5.0], [], [1.0, None]])).to_list() == [
        5.0,
        None,
        5.0,
        0.0,
        None,
    ]
    assert norms(pl.Series([[3, 4], None, [6, 8]])).to_list() == [5.0, None, 10.0]
    assert norms(pl.Series([[1e200, 1e200], [math.nan, 1.0], [3.0, 4.0]])).to_list() == [None, None, 5.0]


@pytest.mark.slow
def test_lists_that_turn_are_found_where_norms_and_elements_look_as_before():
    random = np.random.default_rng(5)
    embeddings = random.normal(size=(2000, 24))
    before = pl.Series(embeddings.tolist())

    def drifted(now):
        return compare_column("e", before, pl.Series(now.tolist()), CONFIG).drifted

    ordinary = [drifted(random.normal(size=(800, 24))) for _ in range(10)]
    assert sum(ordinary) <= 1
    shift = random.normal(size=24)
    moved = random.normal(size=(800, 24)) + 0.38 * shift / np.linalg.norm(shift)
    moved *= np.linalg.norm(embeddings, axis=1).mean() / np.linalg.norm(moved, axis=1).mean()
    assert drifted(moved), "0.08 standard deviations in each element, and the norms stay"
    one = random.normal(size=(800, 24))
    one[:, 7] += 2
    assert drifted(one), "a twelfth of a standard deviation an element"
    pairs = random.normal(size=(800, 24))
    pairs[:, 1] = 0.9 * pairs[:, 0] + np.sqrt(1 - 0.81) * pairs[:, 1]
    assert drifted(pairs), "each element is as before; two go together"


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ([None] * 100, "no value in the window"),
        (None, "not in the window"),
        (["x"] * 100, "numbers in the reference, text in the window"),
        ([7.0] * 100, "constant: 7.0 in every row"),
        ([value + 120 for value in MANY], "distance 4.16, alert at 0.4"),
        (MANY[:50] + [None] * 50, "missing: 0.0% before, 50.0% now"),
    ],
)
def test_one_broken_feature_is_alarming_alone(now: object, why: str):
    column = described(MANY, now)
    assert (column.broken, column.drifted) == (why, True)


def test_new_categories_are_alarming_alone():
    before = ["UA"] * 300 + ["B6"] * 200
    assert described(before, ["UA"] * 270 + ["B6"] * 180 + ["ZZ"] * 50).broken == (
        "10.0% of the rows have new values"
    )
    assert described(before, ["UA"] * 290 + ["B6"] * 190 + ["ZZ"] * 20).broken is None
    assert described([1, 2, 3] * 100, [4] * 60 + [1, 2, 3] * 80).broken == "20.0% of the rows have new values"


def test_where_most_values_are_new_anyway_new_ones_are_not_alarming():
    names = [f"n{number}" for number in range(2000)]
    assert described(names[:1000], names[1000:]).broken is None


def test_a_value_that_most_rows_have_anyway_may_fill_a_window():
    assert described([0.0] * 93 + [float(n) for n in range(1, 22)], [0.0] * 60, ROOMY).broken is None


def test_a_few_equal_values_are_not_constant_by_chance():
    before = [0.0] * 60 + [float(n) for n in range(1, 41)]
    assert described(before, [0.0] * 3, ROOMY).broken is None
    assert described(before, [0.0] * 60, ROOMY).broken == "constant: 0.0 in every row"


@pytest.mark.parametrize("unit", [1e-3, 1e3])
@pytest.mark.parametrize("values", ["lognormal", "standard_cauchy", "normal"])
def test_another_unit_is_found_where_a_few_great_values_hide_it_from_the_distance(values: str, unit: float):
    draw = getattr(np.random.default_rng(3), values)
    before, same, now = draw(size=1000), draw(size=200), draw(size=200) * unit
    assert described(before.tolist(), same.tolist(), ROOMY).broken is None
    found = described(before.tolist(), now.tolist(), ROOMY.model_copy(update={"numerical": 1e9}))
    assert found.broken is not None
    assert found.broken.startswith("typical size")
    assert 0.5 < float(found.broken.split()[2]) / unit < 2
    assert found.at_fault


def test_a_season_hides_no_factor_that_each_number_tells():
    """Hundredths of summer are 60 times as large as units of winter: that is not what was done to them."""
    draw = np.random.default_rng(3)
    before, now = draw.gamma(2, 5, 2000).round(1), draw.gamma(2, 3, 500).round(1)
    found = described(before.tolist(), (now * 100).round().tolist(), ROOMY)
    assert found.broken is not None
    assert found.broken.startswith("typical size")
    assert found.broken.endswith("times that of the reference: its own numbers times 100")
    assert 50 < float(found.broken.split()[2]) < 70
    smooth = described(draw.gamma(2, 5, 2000).tolist(), (draw.gamma(2, 3, 500) * 100).tolist(), ROOMY)
    assert smooth.broken is not None
    assert smooth.broken.endswith("times that of the reference: by medians")


OTHER_UNITS = {
    "around zero": lambda draw, size: draw.normal(size=size),
    "far tails": lambda draw, size: draw.lognormal(0, 1.8, size),
    "farther tails": lambda draw, size: draw.pareto(1.5, size) * 100,
    "mostly zero": lambda draw, size: np.where(draw.random(size) < 0.5, 0, draw.gamma(2, 20, size)),
}


@pytest.mark.parametrize("factor", [1.609, 2.54, 1 / 2.54])
@pytest.mark.parametrize("kind", OTHER_UNITS)
def test_numbers_times_a_small_factor_are_in_another_unit(kind: str, factor: float):
    """Below the distance that alarms by itself: only the shape tells, which stays as it was."""
    draw, made = np.random.default_rng(3), OTHER_UNITS[kind]
    before, windows = made(draw, 4000), [made(draw, 1000) for _ in range(2)]
    assert not any(described(before.tolist(), now.tolist()).broken for now in windows)
    found = [described(before.tolist(), (now * factor).tolist(), WIDE).broken for now in windows]
    assert any(note is not None and note.startswith("spread as in the reference times") for note in found)


def test_another_unit_is_a_fault_of_the_data_however_far_it_moves_a_column():
    draw = np.random.default_rng(3)
    before, same, now = draw.gamma(3, 20, 3000), draw.gamma(3, 20, 250), draw.gamma(3, 20, 250) * 2.54
    found = described(before.tolist(), now.tolist())
    assert found.broken is not None
    assert found.broken.startswith("spread as in the reference times 2.")
    assert found.value is not None
    assert found.value > 2, "alarming by its distance alone, too"
    assert found.at_fault
    far = described(before.tolist(), (same + 150).tolist())
    assert far.broken is not None
    assert far.broken.startswith("distance")
    assert not far.at_fault
    spring, summer = draw.normal(15, 6, 3000), draw.normal(25, 6, 250)
    warm = described(spring.tolist(), summer.tolist())
    assert warm.broken is not None
    assert warm.broken.startswith("distance"), "all have gained ten degrees"
    fahrenheit = described(spring.tolist(), (draw.normal(15, 6, 250) * 1.8 + 32).tolist())
    assert fahrenheit.broken == "spread as in the reference in another unit: °F for °C?"
    assert fahrenheit.at_fault


def test_numbers_that_grow_spread_or_lean_are_in_the_same_unit():
    draw = np.random.default_rng(4)
    for made in (
        lambda size: draw.normal(0.8, 1, size),  # from around zero
        lambda size: draw.normal(0, 1.3, size),
        lambda size: draw.normal(0, 1, size) ** 3,
    ):
        found = described(draw.normal(size=4000).tolist(), made(1000).tolist(), WIDE)
        assert found.broken is None
        assert found.drifted


def test_shares_double_by_themselves_and_are_in_another_unit_beyond_one():
    draw = np.random.default_rng(5)
    before, now = draw.beta(2, 8, 4000), draw.beta(2, 8, 1000)
    assert described(before.tolist(), (now / 2).tolist(), WIDE).broken is None
    assert described(before.tolist(), (now * 2.54).tolist(), WIDE).broken is not None


def test_a_factor_within_the_threshold_is_usual():
    draw = np.random.default_rng(6)
    before, now = (draw.lognormal(0, 1.8, size).tolist() for size in (4000, 1000))
    now = [2 * value for value in now]
    assert described(before, now, DataDriftConfig(numerical=0.3, severe=100)).broken is not None
    assert described(before, now, DataDriftConfig(numerical=0.5, severe=100)).broken is None


def winds(draw: np.random.Generator, size: int, speed: float = 4.0) -> np.ndarray:
    """Return how fast it blows from the north, from tens of degrees; east winds give 1e-16."""
    bearings = np.radians(10.0 * draw.integers(0, 36, size))
    return -np.cos(bearings) * 1.15078 * draw.poisson(speed, size)


def rain(draw: np.random.Generator, size: int) -> np.ndarray:
    return np.where(draw.random(size) < 0.93, 0.0, draw.gamma(0.8, 0.12, size).round(2))


@pytest.mark.parametrize("factor", [2.54, 1 / 2.54])
@pytest.mark.parametrize("made", [winds, rain])
def test_numbers_that_recur_tell_the_unit_however_far_they_move_by_themselves(made, factor: float):
    draw, ever = np.random.default_rng(7), DataDriftConfig(numerical=5, missing=1)
    before, now = made(draw, 8000), made(draw, 1000)
    assert described(before.tolist(), now.tolist(), ever).broken is None
    found = described(before.tolist(), (now * factor).tolist(), ever)
    assert found.broken == f"spread as in the reference times {factor:.3g}: another unit?"
    assert found.at_fault


def test_sums_that_should_be_zero_hide_no_unit():
    """An east wind's north is 1e-16, fifteen powers of ten below the others; rounded numbers are new ones."""
    draw = np.random.default_rng(7)
    before, now = winds(draw, 8000), (2.54 * winds(draw, 1000)).round(1)
    found = described(before.tolist(), now.tolist(), DataDriftConfig(numerical=0.5, severe=100))
    assert (found.broken or "").startswith("spread as in the reference times ")


def test_a_season_of_light_winds_is_no_other_unit():
    """Its shape has stayed, which tells nothing where the numbers are the reference's own."""
    draw = np.random.default_rng(7)
    before, now = winds(draw, 8000, 6.0), winds(draw, 300, 3.5)
    light = described(before.tolist(), now.tolist(), WIDE)
    assert (light.broken or "").startswith("sizes 0.")
    assert not light.at_fault
    continuous = before + draw.normal(0, 1e-3, 8000), now + draw.normal(0, 1e-3, 300)
    assert described(*(side.tolist() for side in continuous), WIDE).at_fault


def test_temperatures_in_another_unit_are_a_fault_within_the_threshold_too():
    draw, ever = np.random.default_rng(8), DataDriftConfig(numerical=5)
    celsius = (draw.normal(12, 9, size).round(1) for size in (6000, 600))
    before, now = (degrees * 1.8 + 32 for degrees in celsius)
    found = described(before.tolist(), ((now - 32) / 1.8).tolist(), ever)
    assert found.broken == "spread as in the reference in another unit: °C for °F?"
    assert found.at_fault
    assert found.value is not None
    assert found.value < 5


SOURCES = {
    "normal": lambda draw, size: draw.normal(size=size),
    "lognormal": lambda draw, size: draw.lognormal(0, 2, size),
    "mostly zero": lambda draw, size: np.where(draw.random(size) < 0.9, 0, draw.lognormal(3, 2, size)),
    "mostly missing": lambda draw, size: np.where(draw.random(size) < 0.98, np.nan, draw.normal(size=size)),
    "counts": lambda draw, size: draw.poisson(0.05, size).astype(float),
    "codes": lambda draw, size: (draw.zipf(1.4, size) % 1000).astype(str),
    "rare words": lambda draw, size: np.where(draw.random(size) < 0.97, None, draw.choice(["a", "b"], size)),
}


@pytest.mark.slow
def test_windows_of_the_same_source_hardly_ever_alarm_however_few_rows_they_have():
    """The alarms that chance may bring are 1 % of the windows; a column alone may bring its share of them."""
    config = DataDriftConfig()
    for rows, size in ((150, 30), (600, 100)):
        alarms = dict.fromkeys(SOURCES, 0)
        for window in range(25):
            draw = np.random.default_rng((rows, window))
            before, now = (
                pl.DataFrame(
                    {name: made(draw, each).tolist() for name, made in SOURCES.items()}, strict=False
                )
                for each in (rows, size)
            )
            for found in compare(before, now, config, pl.Series(["1"] * size), "1"):
                alarms[found.name] += found.broken is not None
        assert sum(alarms.values()) <= 1, (rows, alarms)


def test_another_versions_rows_are_not_missing_what_it_does_not_take():
    before = pl.DataFrame({"wind": MANY, "rain": MANY})
    now = pl.DataFrame({"wind": MANY * 2, "rain": [None] * 100 + MANY})
    versions = pl.Series(["1"] * 100 + ["2"] * 100)
    assert not any(column.drifted for column in compare(before, now, CONFIG, versions, "2"))
    rain = compare(before, now, CONFIG, versions, "1")[1]
    assert rain.broken == "missing: 0.0% before, 50.0% now"


def test_scores_are_numbers_however_few_they_are():
    assert compare_scores(pl.Series([0.1, 0.2, 0.3]), pl.Series([0.2, 0.3, 0.4]), 0.1).value == pytest.approx(
        0.1 / np.std([0.1, 0.2, 0.3])
    )
    assert compare_scores(pl.Series([0.2] * 9), pl.Series([0.2] * 9), 0.1).value == 0.0


def test_numbers_of_which_few_stray_far_do_not_drift_by_these_few():
    def drifted(seed: int, times: float) -> bool:
        rng = np.random.default_rng(seed)
        before, now = pl.Series(rng.pareto(1.2, 2000)), pl.Series(times * rng.pareto(1.2, 3000))
        return compare_column("x", before, now, DataDriftConfig(), columns=9).drifted

    assert [drifted(seed, 1.0) for seed in (16, 17)] == [False, False]
    assert drifted(0, 4.0)
