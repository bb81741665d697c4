"""A data version is shown from records, and from its content where a record does not hold."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict

import pytest

from tidemill.data.expectations.expectations_file import expectations_digest
from tidemill.data.repository.git import git
from tidemill.data.repository.revisions import current
from tidemill.data.versioning.content_reading import record_shapes
from tidemill.data.versioning.content_records import read_summaries
from tidemill.data.versioning.data_versions import reproduce
from tidemill.data.versioning.show import show
from tidemill.project import Project

pytestmark = pytest.mark.engine

SHOW = """
import json, sys; from dataclasses import asdict; from pathlib import Path
from tidemill.data.versioning.show import show
from tidemill.project import open_folder
shown = asdict(show(open_folder(Path(sys.argv[1])), sys.argv[2]))
print(json.dumps([shown, sorted({"dvc", "polars", "pydantic"} & set(sys.modules))], default=str))
"""


def look(project: Project, revision: str = "HEAD"):
    """Return what is shown, and the engines that it took."""
    line = [sys.executable, "-c", SHOW, str(project.root), revision]
    shown, engines = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    return shown, engines


def folder_of(project: Project):
    return project.home / "contents"


@pytest.mark.parametrize("revision", ["HEAD", "HEAD~1", "HEAD~3"])
def test_records_made_with_a_version_show_what_its_content_shows(project: Project, revision: str):
    by_record, _ = look(project, revision)
    shutil.rmtree(folder_of(project), ignore_errors=True)
    by_content = show(project, revision)
    assert json.loads(json.dumps(asdict(by_content), default=str)) == by_record
    again, engines = look(project, revision)
    assert (again, engines) == (by_record, [])


def test_a_new_version_has_records(project: Project):
    record_shapes(project, current(project))
    wanted = {output.md5 for output in show(project).outputs if output.rows is not None}
    assert wanted
    assert wanted <= {file.stem for file in folder_of(project).iterdir()}
    types = expectations_digest(project.root)
    for output in show(project).outputs:
        if output.rows is not None:
            found = read_summaries(project, output.md5, output.path, types)
            assert {name: column.dtype for name, column in found.items()} == dict(output.schema)
            assert {column.rows for column in found.values()} == {output.rows}


def test_content_that_is_gone_is_said_to_be_so_despite_its_record(project: Project):
    before = show(project)
    assert look(project)[1] == []
    md5 = next(output.md5 for output in before.outputs if output.path == "data/flights.parquet")
    shutil.rmtree(project.root.parent / "remote")
    (file,) = project.root.glob(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    file.unlink()
    shown = {output.path: output for output in show(project).outputs}
    assert shown["data/flights.parquet"].rows is None
    assert "in neither DVC's cache nor its remote" in str(shown["data/flights.parquet"].note)
    assert shown["data/weather"].rows == 6


def test_content_that_was_changed_in_the_cache_is_not_taken_from_the_record(project: Project):
    md5 = next(output.md5 for output in show(project).outputs if output.path == "data/flights.parquet")
    (file,) = project.root.glob(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}")
    content = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(content[:-1] + b"x")
    assert show(project).outputs == show(project).outputs
    assert file.read_bytes() == content  # it was fetched again, as without a record


def test_types_declared_since_then_count(project: Project):
    assert dict(show(project).outputs[3].schema or {}) == {"day": "Int64", "rain": "Int64"}
    (project.root / "expectations.yaml").write_text(
        "datasets: {w: {source: data/weather, columns: {day: {type: string}, rain: {type: int64}}}}\n"
    )
    assert dict(show(project).outputs[3].schema or {}) == {"day": "String", "rain": "Int64"}
    assert look(project)[1] == []


STAGE = """\
stages:
  checked:
    cmd: python -m pipelines.checked
    params: [data.last_month]
    outs: [{report.json: {cache: CACHED}}, {kept.csv: {cache: false}}]
"""
CHECKED = """\
import json, pathlib, yaml
month = int(yaml.safe_load(open("params.yaml"))["data"]["last_month"][-2:])
pathlib.Path("report.json").write_text(json.dumps({"flights": {"rows": month}}))
pathlib.Path("kept.csv").write_text("a,b\\n" + "1,2\\n" * month)
"""


@pytest.mark.parametrize("cached", ["true", "false"])
def test_reports_and_tables_that_git_keeps_are_on_record_too(tiny: Project, cached: str):
    (tiny.root / "dvc.yaml").write_text(STAGE.replace("CACHED", cached))
    (tiny.root / "expectations.yaml").write_text("report: report.json\n")
    (tiny.root / "pipelines" / "checked.py").write_text(CHECKED)
    git(tiny.root, "add", "pipelines", "dvc.yaml", "expectations.yaml")
    git(tiny.root, "commit", "--quiet", "--message", "another pipeline")
    reproduce(tiny, {}, "March")
    reproduce(tiny, {"data.last_month": "2013-04"}, "April")
    for revision, rows in (("HEAD", 4), ("HEAD~1", 3)):
        shown, engines = look(tiny, revision)
        assert engines == []
        assert shown["validation"] == {"flights": {"rows": rows}}
        kept = next(output for output in shown["outputs"] if output["path"] == "kept.csv")
        assert (kept["rows"], kept["schema"]) == (rows, {"a": "Int64", "b": "Int64"})
