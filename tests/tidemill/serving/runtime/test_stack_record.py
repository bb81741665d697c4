"""What is known about a stack belongs to the project that started it."""

import os
import shutil

import psutil
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
