from datetime import UTC, date, datetime

import pytest

from pipelines.span import read_span
from tidemill.errors import DataError


def span(**data):
    return read_span({"data": {"first_month": "2013-01", "last_month": "2013-03", **data}})


def test_whole_months_in_new_york():
    assert span(last_month="2013-12").end == date(2014, 1, 1)
    assert span(last_month="2013-12").as_of == datetime(2014, 1, 1, 5, tzinfo=UTC)
    assert span(last_month="2013-07").as_of == datetime(2013, 8, 1, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    "as_of", ["2013-02-10T00:00:00-05:00", "2013-02-10 05:00", datetime(2013, 2, 10, 5, tzinfo=UTC)]
)
def test_a_moment_is_read_as_utc(as_of):
    assert span(as_of=as_of).as_of == datetime(2013, 2, 10, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"last_month": "2014-01"}, "data.last_month 2014-01 is outside the data"),
        ({"first_month": "2012-12"}, "data.first_month 2012-12 is outside the data"),
        ({"first_month": "2013-04"}, "data.first_month 2013-04 is after data.last_month 2013-03"),
        ({"first_month": "2013-13"}, "not a month"),
        ({"first_month": "March"}, "not a month"),
        ({"first_month": None}, "not a month"),
        ({"as_of": "soon"}, "data.as_of is 'soon', not a moment"),
        ({"as_of": "2012-12-31"}, "nothing of 2013-01 is known yet"),
    ],
)
def test_what_cannot_be_meant_is_refused(data, message):
    with pytest.raises(DataError, match=message) as caught:
        span(**data)
    assert caught.value.hint


def test_a_missing_section_is_refused():
    with pytest.raises(DataError, match="first_month"):
        read_span({})
