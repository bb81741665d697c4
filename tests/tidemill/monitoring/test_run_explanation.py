"""What is said of a monitor run: of each kind, how near it came to an alert."""

import pytest

from tidemill.monitoring.run_explanation import explain_run


def column(name: str, value: float | None, threshold: float = 0.1) -> dict[str, object]:
    return {"name": name, "value": value, "threshold": threshold, "broken": None}


def test_the_features_nearest_to_their_thresholds_are_named_first():
    columns = [
        column("a", 0.02),
        column("b", None),
        column("c", 0.4, 0.5),
        column("d", 0.09),
        column("e", 0.01),
    ]
    drift = {"share": 0.2, "threshold": 0.3, "drifted": ["d"], "columns": columns}
    assert explain_run("ok", 500, {"data_drift": drift})["data_drift"] == (
        "1 of 5 features has drifted (20%), alert at 30%; nearest: d 0.09 of 0.1; c 0.4 of 0.5; a 0.02 of 0.1"
    )


def test_a_distance_beyond_its_threshold_that_chance_may_bring_is_said_to_be_one():
    rain = column("rain", 0.104) | {"drifted": False}
    drift = {"share": 0.0, "threshold": 0.3, "drifted": [], "columns": [rain, column("wind", 0.02)]}
    score = column("score", 0.31, 0.2) | {"drifted": False}
    said = explain_run("ok", 500, {"data_drift": drift, "prediction_drift": score})
    assert said["data_drift"].endswith("nearest: rain 0.104 of 0.1, within chance; wind 0.02 of 0.1")
    assert said["prediction_drift"] == "score 0.31 of 0.2, within chance"


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        (
            {"value": -29.9, "expected": -22.0, "drop": 7.9, "max_drop": 2.5, "standard_error": 4.0},
            "mae 29.9000, 7.9000 worse than on the hold-out; allowed: 2.5; chance alone may bring about "
            "that much (standard error 4)",
        ),
        (
            {"value": -21.0, "expected": -22.0, "drop": -1.0, "max_drop": 2.5, "standard_error": 4.0},
            "mae 21.0000, 1.0000 better than on the hold-out; allowed: 2.5",
        ),
        ({"value": -21.0, "expected": None, "drop": None}, "mae 21; no value on the hold-out is on record"),
    ],
)
def test_quality_is_told_in_the_units_of_the_metric(quality: dict, said: str):
    found = explain_run("ok", 500, {"quality": {"metric": "neg_mae", **quality}})["quality"]
    assert found == said


def test_what_was_not_judged_says_why_and_an_alert_its_message():
    results = {
        "prediction_drift": column("score", 0.31, 0.2),
        "unjudged": {"quality": "12 labels, 500 are needed"},
        "findings": [{"kind": "prediction_drift", "message": "the predictions have drifted"}],
    }
    assert explain_run("alert", 500, results) == {
        "quality": "not judged: 12 labels, 500 are needed",
        "prediction_drift": "alert: the predictions have drifted",
    }


def test_a_run_that_judged_nothing_says_so():
    assert explain_run("too_few", 12, {"min_rows": 500}) == {
        "run": "nothing was judged: 12 predictions in the window, 500 are needed"
    }
    assert explain_run("failed", 0, {"error": "the log cannot be read"}) == {"run": "the log cannot be read"}
