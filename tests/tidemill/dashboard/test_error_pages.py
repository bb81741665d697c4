import errno
import json

import pytest
from starlette.requests import Request

from tidemill.dashboard.error_pages import answer_for
from tidemill.errors import BeingComputed


def asked(method):
    scope = {"type": "http", "method": method, "path": "/api/v1/models/m/silences", "headers": []}
    return Request({**scope, "query_string": b"", "path_params": {}, "state": {}})


def test_an_act_that_must_wait_is_refused_and_a_reading_goes_on():
    error = BeingComputed("the registry is being read", ticket="t")
    reading, act = answer_for(asked("GET"), error), answer_for(asked("POST"), error)
    assert (reading.status_code, act.status_code) == (202, 503)
    assert json.loads(act.body)["error"]["message"].endswith("nothing was done")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_place_without_room_is_named(number):
    answer = answer_for(asked("POST"), OSError(number, "no room", "/data/logs/turns.log"))
    said = json.loads(answer.body)["error"]
    assert (answer.status_code, said["code"]) == (503, "no_room")
    assert "/data/logs/turns.log" in said["message"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_place_that_may_not_be_used_is_named(number):
    answer = answer_for(asked("POST"), OSError(number, "read-only", "/data/logs/turns.log"))
    said = json.loads(answer.body)["error"]
    assert (answer.status_code, said["code"]) == (503, "not_permitted")
    assert "/data/logs/turns.log: read-only" in said["message"]


def test_other_errors_of_files_are_our_own():
    answer = answer_for(asked("GET"), OSError(errno.EBADF, "bad file"))
    assert (answer.status_code, b"bad file" in answer.body) == (500, False)
