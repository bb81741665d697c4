"""Files that people export from Weights & Biases and Comet are read as runs; what is wrong in them is named.

The forms of the table of runs and of charts are those of files in public repositories; those of the API are
written as its guide does, with pandas.
"""

import json

import pandas as pd
import pytest

from tidemill.errors import DataError, UsageError
from tidemill.training.tracking.foreign_runs.foreign_run import Point
from tidemill.training.tracking.foreign_runs.run_import import find_foreign_runs

TABLE = """\
"Name","State","Notes","User","Tags","Created","Runtime","Sweep","depth","kind","lr","loss","val_f1"
"owl","finished","-","ada","base, night","2026-05-21T21:36:53.000Z","60","x9","3","tree","0.1","0.25","0.8"
"elk","crashed","too, deep","ada","","2026-05-22T21:36:53.000Z","7","","9","tree","0.1","",""
"""
CHART = """\
"Step","owl - loss","owl - loss__MIN","owl - loss__MAX","a - b - loss","a - b - loss__MIN","a - b - loss__MAX"
"0","1.0","1.0","1.0","","",""
"5","0.25","0.25","0.25","0.5","0.4","0.6"
"""
HISTORY = [
    {
        "_step": 0,
        "_runtime": 1.5,
        "_timestamp": 1_790_000_000.5,
        "loss": 1.0,
        "val": float("nan"),
        "note": "a",
    },
    {"_step": 1, "_runtime": 2.5, "_timestamp": 1_790_000_001.5, "loss": 0.5, "val": 0.7, "note": "b"},
]


def values(run, metric):
    return [(point.step, point.value) for point in run.points if point.metric == metric]


def test_a_table_of_runs_has_settings_tags_and_last_values(tmp_path):
    (tmp_path / "export.csv").write_text("\ufeff" + TABLE)
    (tmp_path / "sales.csv").write_text("Name,Sum\nowl,3\n")  # other files are passed over
    with pytest.raises(UsageError, match="metrics: depth, lr, loss, val_f1") as refused:
        find_foreign_runs(tmp_path)
    assert refused.value.hint.endswith("--metric loss --metric val_f1")
    owl, elk = find_foreign_runs(tmp_path, ["loss", "val_*"])
    assert (owl.name, owl.tool, owl.status, owl.last_only) == ("owl", "wandb", "FINISHED", True)
    assert owl.params == {"depth": "3", "kind": "tree", "lr": "0.1"}
    assert owl.points == [Point("loss", 0.25, 0, owl.ended), Point("val_f1", 0.8, 0, owl.ended)]
    assert (owl.began, owl.ended - owl.began) == (1_779_399_413_000, 60_000)
    assert owl.tags["tidemill_import.tags"] == "base, night"
    assert owl.tags["tidemill_import.sweep"] == "x9"
    assert "mlflow.note.content" not in owl.tags
    assert (elk.status, elk.points, elk.tags["mlflow.note.content"]) == ("FAILED", [], "too, deep")
    assert find_foreign_runs(tmp_path / "export.csv", ["loss", "val_*"])[1].sha256 == elk.sha256


def test_metrics_are_proposed_by_their_names_where_somebody_moved_the_columns(tmp_path):
    (tmp_path / "export.csv").write_text(
        "Name,State,Created,lr,depth,val_mae,train_mae,test_size,epoch\nowl,finished,,0.1,6,22.4,18.2,0.3,30\n"
    )
    with pytest.raises(UsageError) as refused:
        find_foreign_runs(tmp_path)
    assert refused.value.hint.endswith(
        "By their names these may be metrics: --metric val_mae --metric train_mae"
    )


def test_a_chart_gives_its_points_to_the_run_of_the_table(tmp_path):
    (tmp_path / "export.csv").write_text(TABLE)
    (tmp_path / "loss.csv").write_text(CHART)
    owl, _, other = find_foreign_runs(tmp_path, ["loss", "val_f1"])
    assert (values(owl, "loss"), values(owl, "val_f1")) == ([(0, 1.0), (5, 0.25)], [(5, 0.8)])
    assert (owl.last_only, owl.params["lr"], other.name) == (False, "0.1", "a - b")
    assert [values(other, f"loss{end}") for end in ("", "__MIN", "__MAX")] == [
        [(5, 0.5)],
        [(5, 0.4)],
        [(5, 0.6)],
    ]
    assert {point.metric for point in owl.points} == {"loss", "val_f1"}  # whose least is the value itself
    (tmp_path / "loss (1).csv").write_text(CHART.replace('"0","1.0"', '"0","0.9"'))
    with pytest.raises(DataError, match=r"loss of owl at step 0 is 0\.9 in .*, but 1\.0 in "):
        find_foreign_runs(tmp_path, ["loss", "val_f1"])


def test_histories_of_the_api_are_read_from_csv_and_json(tmp_path):
    pd.DataFrame([{"Unnamed: 0": 7, **row} for row in HISTORY]).to_csv(tmp_path / "owl.csv")
    [run] = find_foreign_runs(tmp_path / "owl.csv")
    assert (run.name, run.last_only, {point.metric for point in run.points}) == (
        "owl",
        False,
        {"loss", "val"},
    )
    assert run.points[0] == Point("loss", 1.0, 0, 1_790_000_000_500)
    assert values(run, "val") == [(1, 0.7)]
    several = [{**row, "run_id": run_id} for run_id in ("r1", "r2") for row in HISTORY]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, several)))
    (tmp_path / "owl.json").write_text(json.dumps(HISTORY))
    both = find_foreign_runs(tmp_path)
    assert sorted(run.name for run in both) == ["all/r1", "all/r2", "owl", "owl"]
    assert len({run.sha256 for run in both}) == 3  # the same history in two files


def test_a_folder_of_an_old_wandb_has_its_history_beside_the_last_values(tmp_path):
    (tmp_path / "wandb-summary.json").write_text('{"loss": 0.5, "best": 0.4, "_step": 1}')
    (tmp_path / "wandb-history.jsonl").write_text("\n".join(map(json.dumps, HISTORY)))
    [run] = find_foreign_runs(tmp_path)
    assert [values(run, name) for name in ("loss", "best")] == [[(0, 1.0), (1, 0.5)], [(1, 0.4)]]
    assert not run.last_only


def test_the_project_file_of_the_guide_has_texts_of_dictionaries(tmp_path):
    summary = {
        "loss": 0.5,
        "best": float("inf"),
        "worst": float("nan"),
        "_step": 4,
        "_timestamp": 1_790_000_000,
    }
    media = {"picture": {"_type": "image-file", "width": 3}, "_runtime": 5}
    rows = {
        "summary": [summary | media],
        "config": [{"lr": 0.1, "net": {"depth": 3, 1: "a"}}],
        "name": ["owl"],
    }
    pd.DataFrame(rows).to_csv(tmp_path / "project.csv")
    [run] = find_foreign_runs(tmp_path)
    assert (run.name, run.params, run.last_only) == (
        "owl",
        {"lr": "0.1", "net.depth": "3", "net.1": "a"},
        True,
    )
    assert [tuple(point) for point in run.points] == [
        ("loss", 0.5, 4, 1_790_000_000_000), ("best", float("inf"), 4, 1_790_000_000_000),
    ]  # fmt: skip
    assert run.began == 1_790_000_000_000 - 5_000
    (tmp_path / "chart.csv").write_text(CHART)
    owl, _ = find_foreign_runs(tmp_path)
    assert (owl.params, values(owl, "loss")) == (run.params, [(0, 1.0), (5, 0.25)])


def test_metrics_and_charts_of_comet_are_read(tmp_path):
    rows = [
        {"metricName": "f1", "metricValue": "0.5", "timestamp": 1_790_000_000_000, "step": 1, "epoch": None},
        {"metricName": "f1", "metricValue": "0.7", "timestamp": 1_790_000_001_000, "step": 2, "epoch": None},
        {"metricName": "sys.cpu", "metricValue": "3", "timestamp": 1_790_000_001_000, "step": None},
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "owl.csv")
    curves = [{"x": [1, 2], "y": ["NaN", 0.5], "name": "elk"}, {"x": [1, 1], "y": [3, 4], "name": "owl"}]
    (tmp_path / "val_loss VS step_chart_data.json").write_text(json.dumps(curves))
    elk, chart, owl = find_foreign_runs(tmp_path)
    assert (values(elk, "val_loss"), values(chart, "val_loss")) == ([(2, 0.5)], [(1, 3.0), (1, 4.0)])
    assert (owl.tool, owl.name, values(owl, "f1")) == ("comet", "owl", [(1, 0.5), (2, 0.7)])
    (tmp_path / "table.csv").write_text(
        "Name,Experiment key,Tags,Duration,f1,lr\nroe,0f1e,base,00:01:30,0.5,1\n"
    )
    assert len(find_foreign_runs(tmp_path, ["f1"])) == 4
    [roe] = find_foreign_runs(tmp_path / "table.csv", ["f1"])
    assert (roe.tool, roe.params, roe.tags["tidemill_import.run"]) == ("comet", {"lr": "1"}, "0f1e")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", TABLE.replace('"0.25"', '"low"'), r"t\.csv, line 2, column 'loss': 'low' is no number"),
        ("t.csv", TABLE.replace("2026-05-22T", "last "), r"line 3, column 'Created': 'last .*' is no moment"),
        ("t.csv", TABLE.replace('"lr"', '"kind"'), "has the column 'kind' twice"),
        ("t.csv", TABLE + '"roe"\n', "line 4: 1 cells, but the first line has 13"),
        ("t.csv", TABLE.partition("\n")[0], "has columns of runs, but no row"),
        ("c.csv", CHART.replace('"5"', '"0.5"'), "line 3, column 'Step': '0.5' is not the number of a step"),
        ("h.csv", "_step,loss\n0,1\n1,high\n", "line 3, column 'loss': 'high' is no number, but others"),
        ("h.csv", "_step,_timestamp,loss\n0,1e30,1\n", "line 2, column '_timestamp': 1e.30 s since 1970"),
        ("h.jsonl", '{"_step": 0, "loss": 1}\n{"_step": ', r"h\.jsonl, line 2: it is not JSON"),
        ("p.csv", "summary,config,name\n{},open('x'),owl\n", "line 2, column 'config': it is no value of Py"),
        ("p.csv", "summary,config,name\n[1],{},owl\n", r"line 2, column 'summary': '\[1\]' is no dictionary"),
        ("p.csv", f"summary,config,name\n{'[' * 999},{{}},owl\n", "column 'summary': it is no value"),
        ("m.csv", "metricName,metricValue,step\nf1,0.5,1\nf1,x,2\n", "line 3, column 'metricValue': 'x' is"),
        ("loss VS epoch_chart_data.json", '[{"name": "owl", "x": [0.5], "y": [1]}]', "0.5 of the curve"),
        ("data.csv", "a,b\n1,2\n", "has no run of TensorBoard"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_an_exported_file_is_named(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        find_foreign_runs(tmp_path / name, ["loss"] if name == "t.csv" else [])
