"""What DVC keeps no copy of (metrics with `cache: false`) belongs to a data version through git."""

import json

import pytest

from tests.tidemill.data.clean_check import is_clean
from tidemill.data.repository.git import git
from tidemill.data.validation.earlier_reports import earlier_reports
from tidemill.data.versioning.data_versions import reproduce
from tidemill.errors import DataError

pytestmark = pytest.mark.engine

STAGE = """\
stages:
  checked:
    cmd: python -m pipelines.checked
    params: [data.last_month, data.fail]
    metrics: [{report.json: {cache: false}}]
"""
CHECKED = """\
import json, pathlib, sys, yaml
data = yaml.safe_load(open("params.yaml"))["data"]
if data["fail"]:
    sys.exit("bad data")
pathlib.Path("report.json").write_text(json.dumps({"flights": {"rows": int(data["last_month"][-2:])}}))
"""


def test_a_validation_report_is_committed_with_its_version_and_comes_back_after_a_failure(tiny):
    (tiny.root / "dvc.yaml").write_text(STAGE)
    (tiny.root / "pipelines" / "checked.py").write_text(CHECKED)
    git(tiny.root, "add", "pipelines", "dvc.yaml")
    git(tiny.root, "commit", "--quiet", "--message", "another pipeline")
    reproduce(tiny, {}, "March")
    reproduce(tiny, {"data.last_month": "2013-04"}, "April")
    report = tiny.root / "report.json"
    assert git(tiny.root, "status", "--porcelain") == ""
    assert [found["flights"]["rows"] for found in earlier_reports(tiny.root, "report.json", 5)] == [4, 3]
    assert [found["flights"]["rows"] for found in earlier_reports(tiny.root, "report.json", 1)] == [4]

    with pytest.raises(DataError, match="bad data"):
        reproduce(tiny, {"data.fail": True}, "never")
    assert json.loads(report.read_text())["flights"]["rows"] == 4
    assert is_clean(tiny)


def test_without_git_there_are_no_earlier_reports(tmp_path):
    assert earlier_reports(tmp_path, "report.json", 3) == []
