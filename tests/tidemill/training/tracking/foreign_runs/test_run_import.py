"""Runs of other tools become runs of MLflow, once: event files of tensorboardX, and folders of W&B."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboardX import SummaryWriter

from tests.tidemill.training.small_project import make_project
from tidemill.errors import DataError
from tidemill.training.tracking.foreign_runs import run_import
from tidemill.training.tracking.foreign_runs.run_import import find_foreign_runs, import_runs
from tidemill.training.tracking.foreign_runs.tensorboard_events import scalars
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
from tidemill.training.tracking.showing.run_facts import facts_of, made_from
from tidemill.training.tracking.whole_runs import read_whole_runs

pytestmark = pytest.mark.engine


def tensor_event(step: int, value: bytes, varint: bytes = b"") -> bytes:
    """An event as TensorFlow 2 and PyTorch's new style write it: the scalar is a tensor of one float."""
    tensor = b"\x08\x01\x12\x00" + b"\x22\x04" + value
    one = b"\x0a\x04loss" + b"\x42" + bytes([len(tensor)]) + tensor
    summary = b"\x0a" + bytes([len(one)]) + one
    event = (
        b"\x09" + bytes(8) + b"\x10" + (varint or bytes([step])) + b"\x2a" + bytes([len(summary)]) + summary
    )
    return len(event).to_bytes(8, "little") + bytes(4) + event + bytes(4)


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    with SummaryWriter(str(folder / "lr_01")) as writer:
        for step in range(1200):
            writer.add_scalar("loss/train", 1 / (step + 1), step, walltime=1_700_000_000 + step)
        writer.add_text("note", "not a scalar", 1)
    files = folder / "run-1" / "files"
    files.mkdir(parents=True)
    (files / "wandb-summary.json").write_text(
        json.dumps({"acc": 0.9, "val": {"f1": 0.8}, "_step": 7, "_timestamp": 1_700_000_000.5, "best": "NaN"})
    )
    (files / "config.yaml").write_text(
        "wandb_version: 1\n_wandb: {value: {}}\nlr: {desc: null, value: 0.1}\n"
    )
    (files / "wandb-metadata.json").write_text('{"git": {"commit": "4f1d"}}')
    return folder


def test_runs_are_recorded_once_with_all_their_values(logs, tmp_path, empty_mlflow, monkeypatch):
    (tmp_path / "project").mkdir()
    project = make_project(tmp_path / "project")
    project.home.mkdir()
    shutil.copy(empty_mlflow, project.home / "mlflow.db")
    client = connect(project)
    found = find_foreign_runs(logs)
    with monkeypatch.context() as patched:
        patched.setattr(run_import, "log_points", interrupt)
        with pytest.raises(KeyboardInterrupt):
            import_runs(project, found)
    [half] = client.search_runs([experiment_id(client, project)])
    board, bias = import_runs(project, find_foreign_runs(logs))
    assert client.get_run(half.info.run_id).info.status == "KILLED"
    history = client.get_metric_history(board.run_id, "loss/train")
    assert [(point.step, point.value) for point in history[:2]] == [(0, 1.0), (1, 0.5)]
    assert (len(history), history[-1].timestamp) == (1200, 1_700_001_199_000)
    run = client.get_run(bias.run_id)
    assert (run.info.run_name, run.info.status) == ("run-1", "FINISHED")
    assert run.data.metrics == {"acc": 0.9, "val.f1": 0.8}
    assert run.data.params == {"lr": "0.1"}
    assert run.data.tags["mlflow.source.git.commit"] == "4f1d"
    assert (board.last_only, bias.last_only) == (False, True)
    again = import_runs(project, find_foreign_runs(logs))
    assert [(one.run_id, one.known) for one in again] == [(board.run_id, True), (bias.run_id, True)]
    many = ",".join(f"p{number}" for number in range(120))
    (logs / "export.csv").write_text(
        f"Name,State,Tags,Created,Runtime,{many},f1\n"
        f"elk,crashed,base,2026-05-21T21:36:53Z,60,{many},0.5\n"
        f"roe,finished,,2026-05-21T21:36:53Z,60,{many},\n"
    )
    told = list[int]()
    elk, roe = import_runs(project, find_foreign_runs(logs / "export.csv", ["f1"]), told.append)
    run = client.get_run(elk.run_id)
    assert (run.info.status, run.info.start_time, run.info.end_time) == (
        "FAILED", 1_779_399_413_000, 1_779_399_473_000,
    )  # fmt: skip
    assert (len(run.data.params), run.data.metrics, told) == (120, {"f1": 0.5}, [1, 2])
    assert run.data.tags["tidemill_import.tags"] == "base"
    [whole] = read_whole_runs(project, [elk.run_id])
    assert facts_of(project, whole)["Imported"] == made_from(project, whole)
    assert made_from(project, whole)["Row"] == "line 2"
    assert import_runs(project, find_foreign_runs(logs / "export.csv", ["f1"]))[1] == replace(roe, known=True)


def test_tensors_of_one_number_are_scalars_and_half_a_record_is_left_out():
    whole = tensor_event(3, b"\x00\x00\x00\x3f")
    assert [(point.metric, point.value, point.step) for point in scalars(whole + whole[:20])] == [
        ("loss", 0.5, 3)
    ]


def test_a_step_below_zero_is_one():
    [point] = scalars(tensor_event(0, b"\x00\x00\x00\x3f", b"\xff" * 9 + b"\x01"))
    assert point.step == -1


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(DataError, match="has no run of TensorBoard"):
        find_foreign_runs(tmp_path)
    (tmp_path / "events.out.tfevents.1").write_bytes(b"not an event file at all, but long enough")
    with pytest.raises(DataError, match=r"tfevents\.1 cannot be read as events"):
        find_foreign_runs(tmp_path)


@pytest.mark.parametrize(
    ("summary", "config", "about"),
    [
        ('{"_timestamp": Infinity}', "{}", "{}"),
        ('{"_timestamp": 1e30}', "{}", "{}"),
        ('{"_step": 1e30}', "{}", "{}"),
        ('{"loss": 1' + "0" * 400 + "}", "{}", "{}"),
        ("{}", "- a", "{}"),
        ("{}", "{}", "[]"),
        ("{}", "{}", '{"git": "x"}'),
        ("[" * 100_000, "{}", "{}"),
    ],
)
def test_what_cannot_be_read_of_a_run_of_wandb_is_named(tmp_path, summary, config, about):
    for name, text in (
        ("wandb-summary.json", summary), ("config.yaml", config), ("wandb-metadata.json", about),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match="cannot be read as a run of Weights & Biases: "):
        find_foreign_runs(tmp_path)


def test_a_run_is_named_by_its_place_in_characters_that_records_hold(tmp_path, monkeypatch):
    for name in ("l\udce9tin", "d" * 150 + "/" + "e" * 150):
        (tmp_path / "logs" / name).mkdir(parents=True)
        (tmp_path / "logs" / name / "wandb-summary.json").write_text("{}")
    long, latin = find_foreign_runs(tmp_path / "logs")
    assert latin.name == r"l\xe9tin"
    assert (len(long.name), long.name[:1], long.name[-1:]) == (200, "…", "e")
    monkeypatch.chdir(tmp_path / "logs" / ("d" * 150))
    assert find_foreign_runs(Path("e" * 150))[0].name == "e" * 150
    monkeypatch.chdir("e" * 150)
    assert find_foreign_runs(Path())[0].name == "e" * 150
