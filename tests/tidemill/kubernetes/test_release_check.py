"""One prediction that is read back from the log, as `helm test` makes it."""

import pytest

from tests.tidemill.serving.http_server import listening
from tidemill.errors import UsageError
from tidemill.kubernetes import release_check
from tidemill.kubernetes.release_check import main
from tidemill.prediction_log.prediction_log import read_latest
from tidemill.project import Project
from tidemill.serving.runtime.replica.wiring import build_api

pytestmark = pytest.mark.engine


def test_a_prediction_is_found_in_the_log_marked_as_a_test(
    served_parcels: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.delenv("TIDEMILL_API_KEY", raising=False)
    caplog.set_level("INFO")
    given = ["--project", str(served_parcels.root), "--instance", '{"depot": "rome"}']
    with listening(build_api(served_parcels, "r1")) as url:
        assert main([*given, "--url", url]) == 0
    assert "version 1 answered, and the log has it: pred_" in caplog.text
    [row] = read_latest(served_parcels.predictions, served_parcels.model, 10, ["test"]).rows(named=True)
    assert row["test"] is True
    assert main([*given, "--url", url]) == 1, "the API is gone"


def test_what_is_sent_must_be_an_object(served_parcels: Project):
    for text in ("[1]", "{"):
        with pytest.raises(UsageError, match=r"test\.instance is n"):
            release_check._instance(served_parcels, text)
    with pytest.raises(UsageError, match=r"features\.yaml"):
        release_check._instance(served_parcels, None)
