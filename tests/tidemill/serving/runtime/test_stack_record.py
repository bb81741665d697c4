"""What is known about a stack belongs to the project that started it."""

import dataclasses
import json
import os
import shutil

import psutil
import pytest
import yaml

from tests.tidemill.serving.small_project import PARAMS
from tidemill.project import load_project
from tidemill.serving.runtime import stack_record
from tidemill.serving.runtime.stack_record import StackInfo


def test_a_copy_of_a_project_does_not_take_the_stack_of_the_original_for_its_own(tmp_path):
    (tmp_path / "one" / ".tidemill").mkdir(parents=True)
    (tmp_path / "one" / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    original = load_project(tmp_path / "one")
    process = psutil.Process(os.getpid())
    stack_record.write(original, StackInfo("ready", "up", process.pid, process.create_time()))
    assert stack_record.status(original) is not None

    shutil.copytree(original.root, tmp_path / "copy")
    assert stack_record.status_in(tmp_path / "copy") is None
    assert stack_record.read(load_project(tmp_path / "copy")) is None
    original.root.rename(tmp_path / "moved")
    assert stack_record.status_in(tmp_path / "moved") is not None


@pytest.mark.parametrize(
    "damage",
    [
        {"pid": -5},
        {"pid": "5"},
        {"pid": True},
        {"created": "now"},
        {"state": "gone"},
        {"url": 5},
        {"dashboard_url": None},
        {"logs": None},
        {"companions": [1]},
        {"companions": 7},
        {"another": 1},
    ],
)
def test_a_record_that_was_changed_by_hand_is_none(tmp_path, damage):
    process = psutil.Process(os.getpid())
    info = dataclasses.asdict(StackInfo("ready", "up", process.pid, process.create_time()))
    (tmp_path / ".tidemill").mkdir()
    file = tmp_path / ".tidemill" / "stack.json"
    file.write_text(json.dumps(info))
    assert stack_record.status_in(tmp_path) is not None
    file.write_text(json.dumps(info | damage))
    assert stack_record.status_in(tmp_path) is None
