"""Columns of any type as the numbers that a model takes."""

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa

from tidemill.scoring.execution.feature_values import FeatureKinds, given_values
from tidemill.scoring.input.column_values import is_numeric


def test_moments_become_seconds_as_in_training():
    moment = datetime(1970, 1, 1, 1, tzinfo=UTC)
    table = pa.table({"booked": [moment, None], "born": [date(1970, 1, 2), None]})
    found = given_values(table, FeatureKinds(("booked", "born"), (), {}), {}).matrix
    assert found.tolist()[0] == [3600.0, 86400.0]
    assert np.isnan(found[1]).all()
    assert all(is_numeric(field.type) for field in table.schema)
