"""The candidate and the champion score the same rows."""

import re

import polars as pl
import pytest

from tidemill.registry.gates.champion_comparison import compare
from tidemill.registry.versions.model_versions import get_version, load_holdout
from tidemill.training.tracking.mlflow_tracking import connect
from tidemill.training.tracking.run_files import log_table
from tidemill.training.tracking.training_result import HOLDOUT

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows.with_columns(late=pl.int_range(pl.len()) % 3), r"not 0 or 1: 2 \(\d+ rows\)"),
        (lambda rows: rows.with_columns(late=pl.lit(None)), "labels are null"),
        (lambda rows: rows.rename({"late": "delayed"}), "there is no column late"),
    ],
)
def test_rows_with_other_labels_are_a_reason_to_refuse(registered, change, reason):
    candidate = get_version(registered, "2")
    held = load_holdout(registered, "2")
    assert compare(registered, candidate, get_version(registered, "1")).numbers["rows"] == held.height
    log_table(connect(registered), candidate.run_id, change(held), HOLDOUT)
    verdict = compare(registered, candidate, get_version(registered, "1"))
    assert not verdict.passed
    assert re.search(reason, verdict.reasons[0])


def test_a_later_candidate_that_is_worse_than_one_answer_for_all_is_warned_of(registered):
    candidate, champion = get_version(registered, "2"), get_version(registered, "1")
    assert not any("warning" in reason for reason in compare(registered, candidate, champion).reasons)
    held = load_holdout(registered, "2").with_columns(late=1 - pl.col("late"))
    log_table(connect(registered), candidate.run_id, held, HOLDOUT)
    reasons = " ".join(compare(registered, candidate, champion).reasons)
    assert "warning: version 2 is worse than always answering the share of the positive class" in reasons
