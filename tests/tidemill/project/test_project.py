import math
import os
import sys
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from tidemill.errors import ConfigError, ProjectNotFound, UsageError
from tidemill.files.sqlite_urls import sqlite_file
from tidemill.project import find_project, load_project, open_folder
from tidemill.project.project_config import ProjectConfig
from tidemill.settings import Settings

PARAMS = {
    "project": {"name": "toys", "model": "toy", "training": "mine:spec", "application": "mine:application"},
    "dataset": {"path": "data/set.parquet", "label": "y"},
    "features": {"service": "toy"},
}


def write(folder: Path, params: object) -> Path:
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def test_a_project_is_found_from_a_folder_inside_it(tmp_path: Path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    write(tmp_path, PARAMS)
    assert load_project(tmp_path / "a" / "b").root == tmp_path


def test_a_folder_that_does_not_exist_stands_for_no_project_above_it(tmp_path: Path):
    write(tmp_path, PARAMS)
    with pytest.raises(ProjectNotFound, match=r"there is no folder .*train\.search"):
        load_project(tmp_path / "train.search=grid")


def test_a_folder_that_is_no_project(tmp_path: Path):
    write(tmp_path, {"train": 1})
    with pytest.raises(ProjectNotFound, match=str(tmp_path)) as caught:
        load_project(tmp_path)
    assert "tidemill init" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "is empty"), ("- project\n", "is not a mapping of sections"), ("train: {}\n", "has none")],
)
def test_a_params_file_without_a_project_is_named(tmp_path: Path, text: str, says: str):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ProjectNotFound, match=rf"project section \({tmp_path}/params\.yaml {says}\)"):
        load_project(tmp_path)


def test_a_params_file_that_is_no_ordinary_file(tmp_path: Path):
    os.mkfifo(tmp_path / "params.yaml")
    with pytest.raises(ConfigError, match=r"params\.yaml cannot be read: it is a named pipe"):
        load_project(tmp_path)
    (tmp_path / "params.yaml").unlink()
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"params\.yaml cannot be read: it is a folder"):
        load_project(tmp_path)


@pytest.mark.parametrize("find", [load_project, open_folder, find_project])
def test_a_folder_whose_name_is_not_utf8_is_to_be_renamed(tmp_path: Path, find):
    folder = tmp_path / os.fsdecode(b"l\xe9tin")
    folder.mkdir()
    write(folder, PARAMS)
    with pytest.raises(UsageError, match=r"path is not in UTF-8: .*l\\xe9tin") as caught:
        find(folder)
    assert "rename the folder" in caught.value.hint


def test_every_wrong_field_is_named(tmp_path: Path):
    wrong = PARAMS | {"split": {"holdout_days": 0}, "gate": {"mode": "maybe"}, "features": {}}
    with pytest.raises(ConfigError) as caught:
        load_project(write(tmp_path, wrong))
    for field in ("split.holdout_days", "gate.mode", "features.service", "params.yaml"):
        assert field in str(caught.value)


def test_a_wrong_field_is_named_with_its_line(tmp_path: Path):
    path = write(tmp_path, PARAMS) / "params.yaml"
    path.write_text(path.read_text() + "gate:\n  mode: maybe\n")
    line = len(path.read_text().splitlines())
    with pytest.raises(ConfigError, match=rf"gate\.mode: .* \(line {line}\)"):
        load_project(tmp_path)


def test_a_share_may_be_a_percentage_as_on_the_command_line(tmp_path: Path):
    steps = [{"share": "20%", "minutes": 1}, {"share": "100 %"}]
    rest = {"split": {"holdout": "12.5%"}, "serve": {"rollout": {"steps": steps, "max_errors": "2%"}}}
    config = load_project(write(tmp_path, PARAMS | rest)).config
    assert [step.share for step in config.serve.rollout.steps] == [0.2, 1.0]
    assert (config.serve.rollout.max_errors, config.split.holdout) == (0.02, 0.125)
    steps[0]["share"] = "120%"
    with pytest.raises(ConfigError, match=r"serve\.rollout\.steps\.0\.share"):
        load_project(write(tmp_path, PARAMS | rest))


def numbers(section: type[BaseModel], *keys: str) -> Iterator[tuple[str, ...]]:
    for name, field in section.model_fields.items():
        listed = get_origin(field.annotation) is tuple
        kinds = {field.annotation} if listed else {field.annotation, *get_args(field.annotation)}
        if kinds & {int, float}:
            yield *keys, name
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from numbers(kind, *keys, name)


def test_no_number_is_infinite_or_none_at_all(tmp_path: Path):
    found = [keys for keys in numbers(ProjectConfig) if keys[0] in ("split", "train", "gate", "serve")]
    assert {("gate", "floor"), ("train", "trials"), ("serve", "batch", "wait_ms")} < set(found)
    for keys in found:
        for value in (math.nan, math.inf, -math.inf):
            wrong = reduce(lambda inner, key: {key: inner}, reversed(keys), value)
            with pytest.raises(ConfigError, match=rf"{'.'.join(keys)}: .* \(line \d+\)"):
                load_project(write(tmp_path, PARAMS | wrong))


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_a_wrong_cost_is_named_with_its_place(tmp_path: Path, value: float):
    wrong = PARAMS | {"train": {"metric": "neg_cost", "costs": [[0, 1], [value, 0]]}}
    with pytest.raises(ConfigError, match=r"train\.costs\.1\.0: .* \(line \d+\)"):
        load_project(write(tmp_path, wrong))


def test_a_search_and_a_gate_for_different_things(tmp_path: Path):
    with pytest.raises(ConfigError, match="set both to the same metric"):
        load_project(write(tmp_path, PARAMS | {"gate": {"metric": "neg_brier"}}))


def test_broken_yaml(tmp_path: Path):
    (tmp_path / "params.yaml").write_text("project: [")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_project(tmp_path)


def test_addresses_are_embedded_unless_set(tmp_path: Path):
    project = load_project(write(tmp_path, PARAMS), Settings(tracking_uri="http://127.0.0.1:5000"))
    assert project.tracking_uri == "http://127.0.0.1:5000"
    assert sqlite_file(project.state_url) == tmp_path / ".tidemill" / "state.db"


def test_what_a_project_names_is_imported_from_the_project(tmp_path: Path):
    (tmp_path / "mine_here.py").write_text("spec = 42\n")
    project = load_project(write(tmp_path, PARAMS))
    assert project.load("mine_here:spec") == 42
    with pytest.raises(ConfigError, match="has no 'other'"):
        project.load("mine_here:other")
    with pytest.raises(ConfigError, match="cannot be imported"):
        project.load("nowhere_at_all:spec")


def test_two_projects_in_one_process_have_modules_of_the_same_name(tmp_path: Path):
    projects = []
    for name, answer in (("first", 1), ("second", 2)):
        (tmp_path / name / "parts").mkdir(parents=True)
        (tmp_path / name / "parts" / "number.py").write_text(f"number = {answer}\n")
        (tmp_path / name / "named_alike.py").write_text("from parts.number import number\n")
        projects.append(load_project(write(tmp_path / name, PARAMS)))
    assert [one.load("named_alike:number") for one in projects] == [1, 2]
    assert [one.load("parts.number:number") for one in projects] == [1, 2]
    (tmp_path / "first" / "only_here.py").write_text("number = 3\n")
    assert projects[0].load("only_here:number") == 3
    with pytest.raises(ConfigError, match="No module named 'only_here'"):
        projects[1].load("only_here:number")
    inner = tmp_path / "second" / "inner"
    inner.mkdir()
    (inner / "named_alike.py").write_text("number = 4\n")
    nested = load_project(write(inner, PARAMS))
    assert [one.load("named_alike:number") for one in (nested, projects[1], nested)] == [4, 2, 4]


def test_a_projects_modules_are_imported_once_though_another_project_is_read_between(tmp_path: Path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "with_a_class.py").write_text("class Family: pass\n")
    one, other = (load_project(write(tmp_path / name, PARAMS)) for name in ("one", "other"))
    family = one.load("with_a_class:Family")
    assert other.load("with_a_class:Family") is not family
    assert one.load("with_a_class:Family") is family


def test_a_signal_ends_the_process_while_it_imports(tmp_path: Path):
    code = (
        "import signal\nfrom tidemill.cli.main import _Termination\n"
        "try:\n    _Termination()(15, None)\nfinally:\n    signal.setitimer(signal.ITIMER_REAL, 0)\n"
    )
    (tmp_path / "slow_to_import.py").write_text(code)
    with pytest.raises(SystemExit) as ended:
        load_project(write(tmp_path, PARAMS)).load("slow_to_import:spec")
    assert ended.value.code == 143


def test_secrets_of_addresses_are_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TIDEMILL_STATE_URL", "postgresql://me:secret@db/tidemill")
    assert "secret" not in repr(Settings())
    assert Settings().state_url == "postgresql://me:secret@db/tidemill"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_like_it\n", r"ModuleNotFoundError: No module .* \(.*broken_\d\.py, line 1\)"),
        ("x = 1\nspec = x / 0\n", r"ZeroDivisionError: division by zero \(.*broken_\d\.py, line 2\)"),
        ("x = 1\nspec = (\n", r"SyntaxError: .*\(broken_\d\.py, line 2\)"),
        ("import sys\n\nsys.exit(4)\n", r"SystemExit: 4 \(.*broken_\d\.py, line 3\)"),
    ],
)
def test_a_module_of_the_project_that_fails_is_named_with_file_and_line(tmp_path, monkeypatch, code, said):
    name = f"broken_{len(code) % 10}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(
        ConfigError, match=rf"params\.yaml: '{name}:spec' cannot be imported: {said}"
    ) as failed:
        load_project(write(tmp_path, PARAMS)).load(f"{name}:spec")
    assert str(tmp_path) in failed.value.hint
