"""What is wrong with the declarations is found once for each content of the files."""

import json

import pytest

from tidemill.project import open_folder
from tidemill.retraining.declaration_record import known_problems


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "params.yaml").write_text("project: {name: p, model: m}\n")
    (tmp_path / ".tidemill").mkdir()
    return open_folder(tmp_path)


class Check:
    """Counts its calls."""

    def __init__(self, *problems):
        self.problems, self.calls = list(problems), 0

    def __call__(self, folder):
        self.calls += 1
        return self.problems


def test_files_that_did_not_change_are_checked_once(folder):
    check = Check("monitors.yaml: no such monitor")
    assert [known_problems(folder, check) for _ in range(3)] == [check.problems] * 3
    assert check.calls == 1


@pytest.mark.parametrize(
    "name",
    ["params.yaml", "dvc.yaml", "webhooks.yaml", "monitoring/monitors.yaml", "monitoring/routes.yaml"],
)
def test_a_changed_file_is_checked_again(folder, name):
    known_problems(folder, Check("before"))
    (folder.root / name).parent.mkdir(exist_ok=True)
    (folder.root / name).write_text("project: {name: p, model: m}\nmore: 1\n")
    assert known_problems(folder, Check("after")) == ["after"]


def test_a_file_that_appears_empty_is_another_one(folder):
    known_problems(folder, Check("before"))
    (folder.root / "dvc.yaml").touch()
    assert known_problems(folder, Check("after")) == ["after"]


@pytest.mark.parametrize("content", ["", "[]", "{", json.dumps({"digest": 3})])
def test_a_broken_record_is_no_record(folder, content):
    known_problems(folder, Check("before"))
    (folder.home / "declarations.json").write_text(content)
    assert known_problems(folder, Check("after")) == ["after"]


def test_a_project_without_records_is_checked_and_gets_no_folder(folder):
    folder.home.rmdir()
    assert known_problems(folder, Check("found")) == ["found"]
    assert not folder.home.exists()
