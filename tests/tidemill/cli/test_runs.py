"""``tidemill runs`` on real runs of MLflow in SQLite."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.tidemill.dashboard.conftest import PARAMS
from tests.tidemill.dashboard.pages.mlflow_store import open_store
from tidemill.cli.main import app
from tidemill.cli.models.runs import _render_diff
from tidemill.data.repository.git import git
from tidemill.errors import UsageError
from tidemill.project import load_project
from tidemill.training.tracking.mlflow_tracking import artifact_location
from tidemill.training.tracking.origins.origin_capture import origin_tags
from tidemill.training.tracking.run_files import write_file
from tidemill.training.tracking.run_values import FRONT, ROLE
from tidemill.training.tracking.showing.run_differences import Compared, Section
from tidemill.training.tracking.showing.stored_runs import read_project_front
from tidemill.training.tracking.whole_runs import read_front

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with two plain runs, between which the code was changed and not committed."""
    root = tmp_path_factory.mktemp("runs")
    for name, text in {
        "params.yaml": PARAMS, "features.yaml": "features: {weight: {type: float}}\n",
        "train.py": "SPEED = 1\n", ".gitignore": ".tidemill\n",
    }.items():  # fmt: skip
        (root / name).write_text(text)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "First")
    project = load_project(root)
    client = open_store(project)
    experiment, ids = client.create_experiment("parcels", artifact_location(project)), []
    for depth in (3, 4):
        (root / "train.py").write_text(f"SPEED = {depth}\nFENCE = '```'\n")
        run = client.create_run(experiment, tags=origin_tags(root), run_name=f"depth {depth}").info.run_id
        client.log_param(run, "depth", depth)
        client.log_param(run, "rounds", "a|b")
        values = {
            "holdout_roc_auc": depth / 10,
            "holdout_roc_auc_low": depth / 20,
            "holdout_roc_auc_high": 0.9,
        }
        for name, value in values.items():
            client.log_metric(run, name, value)
        client.set_terminated(run)
        ids.append(run)
    return root, ids


def run(*arguments, root):
    done = CliRunner().invoke(app, ["runs", *arguments, "-p", str(root)], env={"COLUMNS": "100"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_the_list_has_both_the_best_first_if_asked(made):
    root, ids = made
    found = json.loads(run("list", "--json", root=root))
    assert [(one["run_id"], one["score"]) for one in found] == [(ids[1], 0.4), (ids[0], 0.3)]
    assert json.loads(run("list", "--best", "--limit", "1", "--json", root=root))[0]["run_id"] == ids[1]
    assert json.loads(run("list", "--status", "failed", "--json", root=root)) == []
    shown = run("list", root=root)
    assert ids[0][:8] in shown
    assert "with code that no commit holds" in shown


def test_show_says_what_a_run_is_made_from(made):
    root, ids = made
    shown = run("show", ids[0][:10], root=root)
    features = shown.partition("\nfeatures")[2].partition("\ncode ")[0].splitlines()
    digest = next(line for line in features if "Files of definitions" in line).split()[-1]
    assert len(digest) == 10, "a whole one would turn the table into blocks"
    assert "In no commit" in shown
    assert "train.py" in shown
    assert "0.3 (0.15 to 0.9)" in shown
    assert "+SPEED = 3" in json.loads(run("show", ids[0], "--json", root=root))["patch"]


def test_show_has_the_trials_of_a_search_that_no_other_one_beats(made):
    root, ids = made
    project, client = load_project(root), open_store(load_project(root))
    search = client.create_run("1", tags={ROLE: "search"}, run_name="search").info.run_id
    assert json.loads(run("show", search, "--json", root=root))["front"] == []
    trial = {
        "run_id": ids[0],
        "family": "trees",
        "params": {"rate": 0.028443749, "depth": 3},
        "metrics": {"neg_log_loss": -0.25, "accuracy": 0.75},
    }
    write_file(client, search, FRONT, json.dumps([trial]).encode())
    assert read_front(project, search) == [trial]  # of a store elsewhere
    write_file(client, search, "lineage.json", b"{}")
    assert read_project_front(project, search) == [trial]
    assert json.loads(run("show", search, "--json", root=root))["front"] == [trial]
    lines = [" ".join(line.split()) for line in run("show", search, root=root).splitlines()]
    assert "no other beats it log_loss accuracy parameters" in lines
    assert f"{ids[0][:8]} 0.2500 0.7500 trees, rate 0.02844, depth 3" in lines


def test_only_what_differs_is_shown_with_the_lines_of_code(made):
    root, ids = made
    found = json.loads(run("diff", ids[0][:10], ids[1], "--json", root=root))
    sections = {one["title"]: one for one in found["sections"]}
    assert [(row["name"], row["values"]) for row in sections["Parameters"]["rows"]] == [("depth", ["3", "4"])]
    assert sections["Parameters"]["equal"] == 1
    assert sections["Metrics"]["rows"][0]["values"] == ["0.3 (0.15 to 0.9)", "0.4 (0.2 to 0.9)"]
    assert sections["Environment"]["rows"] == []
    assert sections["Environment"]["equal"] > 20
    [code] = found["code"]
    assert code["files"] == ["train.py"]
    assert "-SPEED = 3\n+SPEED = 4" in code["text"]
    shown = run("diff", *ids, root=root)
    assert "-SPEED = 3" in shown
    assert "rounds" not in shown
    assert "rounds" in run("diff", *ids, "--all", root=root)
    assert "SPEED" not in run("diff", *ids, "--no-code", root=root)


def test_markdown_survives_what_stands_in_values_and_code(made):
    root, ids = made
    shown = run("diff", *ids, "--md", "--all", root=root)
    assert "| rounds | a\\|b | a\\|b |" in shown
    assert "\n````diff\n" in shown


def test_a_run_is_not_compared_with_itself(made):
    root, ids = made
    with pytest.raises(UsageError, match="two different runs"):
        run("diff", ids[0], ids[0], root=root)


def test_of_very_many_columns_the_farthest_are_shown():
    rows = [Compared(f"column {number} of t", ["a", "b"], True) for number in range(14)]
    console = Console(record=True, width=80)
    moment = datetime(2013, 4, 1, tzinfo=UTC)
    runs = [
        SimpleNamespace(run_id=one * 32, name=one, status="FINISHED", end=None, started_at=moment)
        for one in "ab"
    ]
    found = [SimpleNamespace(run=one, versions=(), trouble=None) for one in runs]
    _render_diff(console, found, [Section("Columns", rows, 0)], [])
    shown = console.export_text()
    assert "column 11 of t" in shown
    assert "column 12 of t" not in shown
    assert "2 more columns: --md or --json" in shown
