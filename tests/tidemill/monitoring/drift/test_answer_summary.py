import json

import numpy as np
import polars as pl
import pytest

from tidemill.monitoring.drift.answer_summary import known_quantiles, quantiles_of, summary_of
from tidemill.prediction_log.reading.window_sketch import WindowSketch
from tidemill.prediction_log.storage.part_sketches import sketch_of
from tidemill.tasks.custom import Custom
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.training.tracking.reference_rows import ReferenceRows

NOBODY = pl.DataFrame({"a": [1.0]})


def reference(scores, answers=None):
    return ReferenceRows(NOBODY, pl.Series([1]), scores, answers)


def test_numbers_have_quantiles_and_no_classes():
    scores = pl.Series("score", np.arange(1001, dtype=np.float64))
    own = pl.DataFrame({"score": scores + 1000, "answer": pl.Series([None] * 1001, dtype=pl.String)})
    found = summary_of(Regression("neg_mae"), reference(scores), own)
    assert found.keys() == {"quantiles_now", "quantiles_before"}
    assert found["quantiles_now"] == pytest.approx(
        {name: each + 1000 for name, each in found["quantiles_before"].items()}
    )
    assert found["quantiles_before"]["0.5"] == 500.0


def test_classes_have_shares_and_rare_ones_no_name():
    task = Multiclass("neg_log_loss", {}, ("a", "b", "c"))
    rows = [[0.9, 0.05, 0.05]] * 60 + [[0.1, 0.8, 0.1]] * 30 + [[0.0, 0.1, 0.9]] * 10
    answers = pl.Series("answer", [task.logged(np.array(row)) for row in rows])
    scores = pl.Series("score", [0.9] * 100)
    own = pl.DataFrame({"score": scores, "answer": answers})
    found = summary_of(task, reference(scores, answers[:60]), own)
    assert found["classes_now"] == {"a": 0.6, "b": 0.3, "others": 0.1}
    assert found["classes_before"] == {"a": 1.0}


def test_answers_without_numbers_are_classes_by_their_text():
    scores = pl.Series("score", [None] * 50, dtype=pl.Float64)
    own = pl.DataFrame({"score": scores, "answer": [json.dumps({"a": "x"})] * 50})
    found = summary_of(Custom("metrics:profit"), reference(scores), own)
    assert found == {"classes_now": {'{"a": "x"}': 1.0}}


def test_a_sketch_gives_about_the_quantiles_of_its_rows():
    scores = pl.Series("score", np.random.default_rng(3).beta(2, 5, 20_000))
    rows = pl.DataFrame({"version": ["1"] * 20_000, "score": scores, "test": [False] * 20_000})
    sketch = WindowSketch(pl.concat([sketch_of(part) for part in rows.iter_slices(7_000)]))
    found = known_quantiles(reference(scores), sketch.column("score", "1", others=False))
    assert found["quantiles_now"] == pytest.approx(quantiles_of(scores), abs=0.01)
    assert known_quantiles(reference(scores), None).keys() == {"quantiles_before"}
