"""Two models are the same within a limit by all numbers that they answer."""

import math

import polars as pl
import pytest

from tidemill.training.reproduction.verdict import compare_models
from tidemill.training.tracking.reference_rows import ReferenceRows


def answering(score, answer=None):
    answers = None if answer is None else pl.Series([answer])
    return ReferenceRows(pl.DataFrame(), pl.Series([]), pl.Series([score]), answers), {}


@pytest.mark.parametrize(
    ("before", "after", "verdict", "largest"),
    [
        ((0.5,), (0.5 + 1e-8,), "differs", 1e-8),
        ((2e6,), (2e6 + 1e-4,), "equal", 1e-4),  # no digit of such a number is that small
        ((2e6,), (2e6 + 1e-2,), "differs", 1e-2),
        ((0.5, '{"a": 0.5, "b": 0.25}'), (0.5, '{"a": 0.5, "b": 0.125}'), "differs", 0.125),
        ((0.5, '{"a": 0.5, "b": 0.25}'), (0.5, '{"a": 0.5, "b": 0.2500000000001}'), "equal", 1e-13),
        ((0.5, '["x", [1]]'), (0.5, '["x", [1]]'), "bit-equal", 0.0),
        ((0.5, '["x", [1]]'), (0.5, '["y", [1]]'), "differs", math.inf),
        ((math.nan,), (math.nan,), "bit-equal", 0.0),
        ((math.nan,), (0.5,), "differs", math.inf),
    ],
)
def test_scores_and_numbers_in_answers_are_compared_by_their_size(before, after, verdict, largest):
    found = compare_models(answering(*before), answering(*after))
    assert (found.verdict, found.largest) == (verdict, pytest.approx(largest, rel=1e-3))
