"""What is said to be wrong with a pipeline is what DVC refuses, and the other way round."""

from pathlib import Path

import pytest
from dvc.exceptions import DvcException
from dvc.repo import Repo

from tidemill.data.repository.git import git
from tidemill.data.repository.pipeline_file import pipeline_problems


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    git(folder, "init", "--quiet")
    Repo.init(str(folder)).close()
    return folder


CASES = {
    "": None,
    "stages: {}\n": None,
    "stages: {a: {cmd: echo, deps: [x], outs: [{y: {cache: false}}], params: [p]}}\n": None,
    "stages: {a: {cmd: [echo, ls], wdir: b, frozen: true, meta: {x: 1}, desc: d}}\n": None,
    "stages: {a: {foreach: [1, 2], do: {cmd: 'echo ${item}'}}}\n": None,
    "stages: {a: {matrix: {x: [1, 2]}, cmd: 'echo ${item.x}'}}\n": None,
    "vars: [{a: 1}]\nstages: {}\nplots: []\nartifacts: {}\n": None,
    "stages: [a\n": "cannot be read: line 2, column 1",
    "stages: {a: {cmd: x}, a: {cmd: y}}\n": "'a' stands twice",
    "- a\n": "must be a mapping with stages",
    "stages: 5\n": "stages: must be a mapping",
    "stage: {}\n": "stage: there is no such section",
    "stages: {a: echo}\n": "stages.a: must be a mapping with cmd",
    "stages: {a: {deps: [x]}}\n": "stages.a.cmd: is missing",
    "stages: {a: {cmd: x, dep: [x]}}\n": "stages.a.dep: there is no such field",
    "stages: {a: {cmd: x, deps: x}}\n": "stages.a.deps: must be a list",
}


@pytest.mark.engine
@pytest.mark.parametrize(("text", "says"), CASES.items())
def test_what_dvc_refuses_is_said(root: Path, text: str, says: str | None):
    (root / "dvc.yaml").write_text(text)
    with Repo(str(root)) as repo:
        if says is None:
            assert pipeline_problems(root) == []
            assert repo.index.stages is not None  # reads the file
            return
        with pytest.raises(DvcException):
            repo.index.stages  # noqa: B018
    (problem,) = pipeline_problems(root)
    assert problem.startswith(str(root / "dvc.yaml"))
    assert says in problem


def test_a_project_without_a_pipeline_has_no_problem(tmp_path: Path):
    assert pipeline_problems(tmp_path) == []
