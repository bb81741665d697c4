"""Files that wandb 0.31.0 and comet_ml 3.58.8 wrote offline are read; one has a note longer than a block."""

import shutil
from pathlib import Path

import pytest

from tidemill.errors import DataError
from tidemill.training.tracking.foreign_runs.run_import import find_foreign_runs

RECORDED = Path(__file__).parent / "recorded"
COMMIT = "fdaab62a988cabed9f54d352d669480d29ae9da6"


def values(run, metric):
    return [(point.step, round(point.value, 3)) for point in run.points if point.metric == metric]


def test_the_binary_file_of_wandb_has_settings_history_and_commit(tmp_path):
    folder = shutil.copytree(RECORDED / "wandb", tmp_path / "wandb") / "offline-run-1"
    (folder / "files").mkdir()
    (folder / "files/wandb-summary.json").write_text('{"loss": 0.2}')  # of the same run
    [run] = find_foreign_runs(tmp_path)
    assert (run.name, run.tool, run.commit, run.source) == ("brave-owl", "wandb", COMMIT, folder)
    assert run.params.pop("note") == "x" * 33_000
    assert run.params == {"lr": "0.1", "model.depth": "3", "columns": "['a', 'b']", "late": "True"}
    assert values(run, "loss") == [(0, 1.0), (2, 0.5), (4, 0.333), (6, 0.25), (8, 0.2)]
    assert values(run, "val.f1") == [(0, 0.5), (2, 0.6), (4, 0.7), (6, 0.8), (8, 0.9)]
    assert values(run, "best") == [(8, 0.9)]  # in the summary alone
    assert {point.metric for point in run.points} == {"loss", "val.f1", "best"}
    assert 1_796_083_852_000 <= run.points[0].milliseconds < 1_796_083_853_000


def test_tags_and_notes_are_read():
    [elk] = find_foreign_runs(RECORDED / "wandb_labels")
    assert elk.tags == {"tidemill_import.tags": "base, night", "mlflow.note.content": "first try"}
    [owl] = find_foreign_runs(RECORDED / "comet/offline.zip")
    assert (owl.tags, owl.began) == ({"tidemill_import.tags": "t"}, 1_796_083_854_621)


def test_a_file_of_wandb_that_was_cut_off_is_read_to_there_and_another_one_is_named(tmp_path):
    [file] = (shutil.copytree(RECORDED / "wandb", tmp_path / "wandb") / "offline-run-1").glob("*.wandb")
    whole = file.read_bytes()
    file.write_bytes(whole[:-700])
    [run] = find_foreign_runs(tmp_path)
    assert (len(run.params), 1 <= len(values(run, "loss")) < 5) == (4, True)
    for wrong in (b"", b":W&B\xe1\xbe\x07" + whole[7:], whole[:20] + b"\xff" * 40 + whole[60:]):
        file.write_bytes(wrong)
        with pytest.raises(DataError, match="offline-run-1 cannot be read as a run of Weights & Biases"):
            find_foreign_runs(tmp_path)


def test_an_offline_archive_of_comet_has_parameters_history_and_commit(tmp_path):
    shutil.copytree(RECORDED / "comet", tmp_path / "comet")
    (tmp_path / "other.zip").write_bytes(b"PK")
    [run] = find_foreign_runs(tmp_path)
    assert (run.name, run.tool, run.commit) == ("brave_owl", "comet", COMMIT)
    assert run.params == {"lr": "0.1", "depth": "3", "model|kind": "trees"}
    assert values(run, "f1") == [(1, 0.6), (2, 0.7), (3, 0.8), (4, 0.9)]
    assert values(run, "loss") == [(1, 1.0), (2, 0.5), (3, 0.333), (4, 0.25)]
    assert {point.metric for point in run.points} == {"f1", "loss", "final"}
