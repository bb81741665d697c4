"""What is assumed where a request for scores says nothing."""

from tidemill.scoring.execution.request_choices import at_column_of
from tidemill.scoring.scoring_job import ScoreRequest

ROWS = ("wind", "event_timestamp")


def test_a_feature_called_event_timestamp_is_no_moment():
    logged = ScoreRequest(("rows.csv",), "out.csv", log=True)
    assert at_column_of(logged, ROWS, "columns", ["wind"]) == "event_timestamp"
    assert at_column_of(logged, ROWS, "columns", ["wind", "event_timestamp"]) is None
