"""What commands that only read import, and whether they show what the engines would."""

import ast
import json
import os
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from typer.testing import CliRunner

import tidemill.state
from tests.tidemill.cli.one_process import run_each
from tests.tidemill.serving.small_project import add_version, make_project
from tests.warm_python import COMMAND, run_warm
from tidemill.cli.main import app
from tidemill.data.repository.repository_setup import init_workspace
from tidemill.data.versioning.add import add
from tidemill.errors import NotWritable
from tidemill.ids import new_id
from tidemill.project import load_project, open_folder
from tidemill.registry.versions.alias_names import CHAMPION
from tidemill.registry.versions.aliases import read_aliases, set_alias
from tidemill.registry.versions.model_versions import compiled_record, get_version, list_versions
from tidemill.registry.versions.registry_reader import (
    put_away,
    read_alias_names,
    read_champion,
    read_registered,
    read_version,
)
from tidemill.state import open_state
from tidemill.state.tables import (
    Alert,
    ApiKey,
    GateDecision,
    Job,
    MonitorRun,
    Promotion,
    Rollout,
    StageMove,
    Turn,
)

pytestmark = pytest.mark.engine

NOW = datetime(2013, 5, 1, 12, tzinfo=UTC)
MIGRATIONS = Path(tidemill.state.__file__).parent / "migrations"
MODEL = "parcel-delay"
WHY = "the model has fallen far below what it reached on the hold-out, and nobody knows the reason yet " * 2
COMMANDS = {
    "status": {"pydantic"},  # it checks the files that the controller reads
    "alerts list --all": set(),
    "alerts show alert_01kg72": set(),
    "models list": set(),
    f"models show {MODEL} champion": set(),
    "models show mine": set(),
    "models search --metric roc_auc>0 --param family=none": {"pydantic"},  # Typer asks for it, for lists
    "models history": set(),
    "monitor list": set(),
    "monitor explain": set(),
    "policies history": set(),
    "jobs list": set(),
    "jobs dead": set(),
    "keys list": set(),
    "audit list": set(),
    "audit verify": set(),
    "users list": set(),
    "approvals list": set(),
    "deploy show": set(),
    "score schedule list": set(),
    "data log": set(),
    "data show": set(),
    "features status": set(),
}
HEAVY = {
    "alembic", "dvc", "evidently", "feast", "mlflow", "numpy", "pandas", "polars", "pyarrow", "pydantic",
    "ray", "sklearn", "sqlalchemy",
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("what now") / "parcels [v2]"
    project = make_project(root)
    init_workspace(root, root.parent / "remote")
    assert [add_version(project, 0.2), add_version(project, 0.8)] == ["1", "2"]
    set_alias(project, CHAMPION, "2")
    set_alias(project, "mine", "1")
    (root / "data").mkdir(exist_ok=True)
    (root / "data" / "depots.csv").write_text("depot,city\nd0,Here\nd1,There\n")
    add(project, "data/depots.csv", "Add the depots")
    state = open_state(project.state_url)
    with state.transaction() as session:
        fill(session)
    state.close()
    return root


unwritable = pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write anywhere"
)


def fill(session):
    of = {"model": MODEL, "version": "2"}
    turn = Turn(
        id="turn_01kg7a", model=MODEL, trigger="manual", reason="the first", actor="ada", promote=True,
        overrides={}, as_of=NOW, status="promoted", step="done", seconds={"train": 1.5}, requested_at=NOW,
    )  # fmt: skip
    run = MonitorRun(
        id="run_01kg7a", monitor="weekly-quality-of-all-the-depots", **of, window_start=NOW,
        window_end=NOW + timedelta(days=7), rows=1200, labelled=900, verdict="alert",
        results={
            "findings": [{"kind": "quality", "message": WHY}],
            "quality": {"metric": "roc_auc", "value": 0.70341, "expected": 0.75124},
            "kpi": {"name": "profit", "value": 3.25, "standard_error": 0.125, "rows": 1200},
            "unjudged": {"estimated_quality": WHY},
        },
        report_path="reports/weekly/2013-05-08.html", at=NOW,
    )  # fmt: skip
    gate = GateDecision(
        id="gate_1", model=MODEL, candidate="2", champion="1", mode="enforce", passed=True,
        reasons=[WHY], numbers={"gain": 0.0158}, decided_at=NOW,
    )  # fmt: skip
    refused = GateDecision(
        id="gate_2", model=MODEL, candidate="3", champion="2", mode="enforce", passed=False,
        reasons=["it is worse"], numbers={"gain": -0.01}, decided_at=NOW + timedelta(days=3), actor="bob",
    )  # fmt: skip
    tried = GateDecision(
        id="gate_3", model=MODEL, candidate="4", champion="2", mode="dry_run", passed=False,
        reasons=["it is worse"], numbers={"gain": -0.01}, decided_at=NOW + timedelta(days=3),
    )  # fmt: skip
    staged = StageMove(
        id="stage_1", model=MODEL, stage="staging", from_version=None, to_version="1", kind="promotion",
        status="done", champion=None, mode="enforce", passed=True, reasons=["it is fast enough"], numbers={},
        digest=None, actor="ada", reason="to be tried", at=NOW - timedelta(days=30), requested_at=NOW,
    )  # fmt: skip
    session.add_all([turn, run, gate, refused, tried, staged])
    session.flush()
    for number in range(3):
        session.add(
            Alert(
                id=f"alert_01kg7{number}zzzxyz",
                monitor=run.monitor,
                **of,
                kind="quality",
                severity="high",
                message=WHY,
                details={},
                monitor_run_id=run.id,
                status="firing" if number else "resolved",
                raised_at=NOW + timedelta(hours=number),
                last_seen_at=NOW,
            ),
        )
        session.add(
            Job(
                id=f"job_01kg7{number}zzzxyz",
                **of,
                caller="",
                digest="d",
                status="dead" if number else "done",
                at=NOW,
                test=False,
                rows=10,
                rows_done=4,
                attempts=3,
                error=WHY,
                cancel_requested=False,
                requested_at=NOW + timedelta(hours=number),
                due_at=NOW,
            ),
        )
        session.add(
            Promotion(
                id=f"prom_{number}",
                model=MODEL if number else "another",
                alias=CHAMPION,
                from_version=None,
                to_version=str(number),
                kind="promotion",
                status="done",
                actor="policy:keep-fresh",
                reason=WHY,
                decision_id="gate_1",
                at=NOW + timedelta(days=number),
                requested_at=NOW + timedelta(days=number),
            ),
        )
    session.add(
        ApiKey(
            id="0123456789ab",
            name="shop",
            scopes=["predict"],
            digest="d",
            rate=10.0,
            created_at=NOW,
            created_by="ada",
            expires_at=NOW,
        )
    )
    other = {"id": new_id("turn"), "model": "another", "trigger": "manual", "reason": "", "actor": "ada"}
    late = {
        "as_of": NOW,
        "status": "failed",
        "step": "data",
        "seconds": {},
        "promote": True,
    }
    session.add(Turn(**other, **late, overrides={}, requested_at=NOW + timedelta(days=1)))


def run(root: Path, command: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    return run_warm(COMMAND, *command.split(), cwd=root, env={**os.environ, "COLUMNS": str(columns)})


@pytest.fixture(scope="module")
def shown(root: Path) -> dict[tuple[str, int], subprocess.CompletedProcess[str]]:
    """What each command shows on a terminal of each width."""
    return {
        (done.args, columns): done
        for columns in (60, 80, 200)
        for done in run_each(root, list(COMMANDS), columns)
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_reading_imports_no_engine(root: Path, command: str):
    code = f"""
import atexit, sys
atexit.register(lambda: print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr))
{COMMAND}
"""
    done = run_warm(code, *command.split(), cwd=root, modules=["tidemill.cli.main"])  # and no engine
    assert done.returncode == 0, done.stderr
    assert set(ast.literal_eval(done.stderr.splitlines()[-1])) == COMMANDS[command]


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("command", COMMANDS)
def test_reading_fits_the_terminal(
    root: Path, shown: dict[tuple[str, int], subprocess.CompletedProcess[str]], command: str, columns: int
):
    done = shown[command, columns]
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    path = str(root)  # a path that is longer than the terminal goes on in the next line
    assert max(len(line) for line in lines if path not in line) <= columns, done.stdout
    words = [word for line in lines for word in line.split()]
    assert sum(map(len, words)) / len(words) > 3, done.stdout  # no column of one to four letters


def test_reading_writes_nothing(root: Path, tmp_path: Path):
    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text())
    commands = [
        command
        for command in COMMANDS
        if not command.startswith(("alerts show", "models show", "data", "features"))
    ]
    for done in run_each(tmp_path, commands):
        assert done.returncode == 0, done
    shown = run(tmp_path, f"models show {MODEL} 1")
    assert shown.returncode == 2
    said = " ".join(shown.stderr.split())
    assert "nothing is registered in" in said
    assert "hint: `tidemill run` trains a model" in said
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_a_version_is_shown_without_python(root: Path):
    done = run(root, f"models show {MODEL} champion")
    assert run(root, "models show").stdout == done.stdout
    assert run(root, f"models show {MODEL}").stdout == done.stdout
    assert not set("{}'") & set(done.stdout), done.stdout
    assert "holdout end 2013" in " ".join(done.stdout.split())


def test_the_registry_is_read_as_mlflow_tells_it(root: Path):
    folder, project = open_folder(root), load_project(root)
    assert read_alias_names(folder) == read_aliases(project) == {"champion": "2", "mine": "1"}
    assert read_champion(folder) == "2"
    assert put_away(folder) == {"2": False, "1": False}
    told = list_versions(project)
    assert [one.version for one in read_registered(folder)] == [one.version for one in told] == ["2", "1"]
    for one, version in zip(read_registered(folder), told, strict=True):
        assert (one.model, one.aliases, one.run_id) == (version.model, version.aliases, version.run_id)
        assert one.registered_at == version.registered_at
        assert dict(one.metrics) == dict(version.metrics)
        assert (dict(one.tags), one.archived) == (dict(version.tags), False)
        assert one.params == {"family": version.trained.family, **version.trained.params}
        assert json.dumps(one.lineage, sort_keys=True) == json.dumps(
            version.lineage.as_dict(), sort_keys=True
        )
        record = compiled_record(project, version)
        assert json.dumps(read_version(folder, one.version).compiled) == json.dumps(record.facts())
    assert read_version(folder, "mine").version == get_version(project, "mine").version == "1"


def test_a_moved_project_is_read(root: Path, tmp_path: Path):
    moved = shutil.copytree(root, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("*.lock"))
    assert [one.version for one in read_registered(open_folder(moved))] == ["2", "1"]
    assert read_champion(open_folder(moved)) == "2"


def test_a_version_is_shown_with_its_stages(root: Path):
    shown, as_json = run_each(root, ["models show 1", "models show 1 --json"])
    said = "staging 2013-04-01 12:00: promotion, by ada: to be tried\n  it is fast enough"
    assert said in shown.stdout
    [stage] = json.loads(as_json.stdout)["stages"]
    assert (stage["stage"], stage["to_version"], stage["passed"]) == ("staging", "1", True)


def test_a_version_is_shown_with_its_kpis(root: Path):
    assert "profit: 3.25 (± 0.12), 1,200 rows to 2013-05-08 12:00" in run(root, "models show champion").stdout
    [kpi] = json.loads(run(root, "models show 2 --json").stdout)["kpis"]
    assert (kpi["name"], kpi["value"], kpi["monitor"]) == ("profit", 3.25, "weekly-quality-of-all-the-depots")


def test_versions_are_compared_side_by_side(root: Path):
    shown, told, same = run_each(
        root, ["models compare mine 2", "models compare 1 2 --all --json", "models compare 2 champion"], 60
    )
    assert max(map(len, shown.stdout.splitlines())) <= 60
    assert "version 2 champion" in shown.stdout
    assert "passed" in shown.stdout  # the gate's verdict, though only one has any
    found = json.loads(told.stdout)
    assert [(one["version"], one["aliases"]) for one in found["versions"]] == [
        ("1", ["mine"]),
        ("2", ["champion"]),
    ]
    parameters = next(one for one in found["sections"] if one["title"] == "Parameters")
    assert parameters["rows"]
    assert "needs two different versions" in same.stderr


def test_an_unknown_model_or_version_is_said_to_be_so(root: Path):
    version, model = run_each(root, [f"models show {MODEL} 7", "models list nobody"])
    assert version.returncode == 2
    assert "has no version '7'" in " ".join(version.stderr.split())
    assert "there is no model 'nobody'" in " ".join(model.stderr.split())


def test_json_has_whole_ids_and_lists_short_ones(root: Path):
    told = json.loads(run(root, "alerts list --json").stdout)
    assert [alert["id"] for alert in told] == ["alert_01kg72zzzxyz", "alert_01kg71zzzxyz"]
    assert told[0]["raised_at"] == "2013-05-01T14:00:00+00:00"
    listed = run(root, "alerts list").stdout
    assert "alert_01kg72zz\n" in listed
    assert {"severity", "monitor"} <= set(listed.split())
    jobs = json.loads(run(root, "jobs list --json").stdout)
    assert jobs["counts"] == {"queued": 0, "running": 0, "done": 1, "dead": 2, "cancelled": 0}
    assert jobs["jobs"][0]["cancel_requested"] is False


def test_an_alert_is_shown_with_its_evidence(root: Path):
    told = json.loads(run(root, "alerts show alert_01kg72 --json").stdout)
    assert (told["id"], told["status"], told["kind"]) == ("alert_01kg72zzzxyz", "firing", "quality")
    assert told["measured"]["quality"] == "roc_auc 0.7034; 0.7512 on the hold-out"
    assert told["first_window"] == ["2013-05-01T12:00:00+00:00", "2013-05-08T12:00:00+00:00"]
    assert told["next"][0] == "tidemill alerts ack alert_01kg72zzzxyz"
    assert run(root, "alerts show alert_9").returncode == 2


def test_silences_are_kept_and_a_route_is_explained(root: Path):
    commands = [
        "alerts silence kind=qual* --until 2d --reason moving --json",
        "alerts silences",
        "alerts route alert_01kg72 --json",
        "alerts silence =ada --until 2d --reason moving",
        "alerts silence kind=quality --until yesterday --reason moving",
    ]
    made, listed, explained, *refused = run_each(root, commands)
    assert json.loads(made.stdout)["matchers"] == {"kind": "qual*"}
    assert "kind=qual*" in listed.stdout
    told = json.loads(explained.stdout)
    assert (told["labels"]["kind"], told["receivers"], told["messages"]) == ("quality", [], [])
    assert told["withheld"] == "nobody is told: the project has no monitoring/routes.yaml, which names who is"
    assert [each.returncode for each in refused] == [2, 2]


def test_the_list_of_monitor_runs_has_their_figures(root: Path):
    commands = ["monitor list", "monitor explain --json", "monitor explain --as-of 2001-02-03"]
    listed, explained, earlier = run_each(root, commands)
    assert earlier.stdout.strip() == "no run up to 2001-02-03: tidemill monitor run --as-of"
    said = " ".join(listed.stdout.split())
    assert "quality: roc_auc 0.7034; 0.7512 on the hold-out" in said
    assert f"not judged: estimated quality: {WHY.strip()}" in said
    kinds = json.loads(explained.stdout)[0]["kinds"]
    assert kinds["quality"] == f"alert: {WHY}"
    assert kinds["estimated_quality"] == f"not judged: {WHY}"


def test_a_monitor_that_is_declared_no_more_is_said_to_be(root: Path, tmp_path: Path):
    copy = shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    (copy / "monitoring").mkdir(exist_ok=True)
    said = []
    for text in ("monitors: 5", "monitors: [{name: other}]"):
        (copy / "monitoring" / "monitors.yaml").write_text(text)
        said.append("declares it no more" in run(copy, "monitor explain").stdout)
    assert said == [False, True]


def test_a_single_id_is_listed_with_what_later_ones_will_not_have(root: Path, tmp_path: Path):
    copy = shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    with closing(sqlite3.connect(copy / ".tidemill" / "state.db")) as database, database:
        database.execute("DELETE FROM alerts WHERE id NOT LIKE 'alert_01kg72%'")
    assert "alert_01kg72zz" in run(copy, "alerts list").stdout.split()


def test_promote_and_rollback_mean_the_projects_model(root: Path, tmp_path: Path):
    copy = shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    lines = [f"promote {MODEL} 7", "promote 7", f"promote {MODEL}", "promote", "promote other 1"]
    with_model, without, alone, nothing, other, back = run_each(copy, [*lines, "rollback mine --json"])
    assert (without.returncode, without.stderr) == (2, with_model.stderr)
    assert "has no version '7'" in " ".join(without.stderr.split())
    assert alone.returncode == 2
    assert f"promote needs a version of {MODEL}" in " ".join(alone.stderr.split())
    assert nothing.stderr == alone.stderr
    assert other.returncode == 2  # which a shared registry may have
    assert f"promote moves the champion of {MODEL}, this project's model" in " ".join(other.stderr.split())
    done = json.loads(back.stdout)
    assert done == {"model": MODEL, "from": "2", "to": "1"}
    state = open_state(f"sqlite:///{copy / '.tidemill' / 'state.db'}")
    with state.transaction() as session:
        session.add(
            Rollout(
                id="roll_1", model=MODEL, version="3", champion="1", plan={}, status="running", step=0,
                baseline={}, checks=[], decision_id="gate_1", actor="ada", reason="r", at=NOW,
                stepped_at=NOW, requested_at=NOW,
            )
        )  # fmt: skip
    state.close()
    again, staged = run_each(copy, ["rollback 2", "rollback 1 --stage staging"])
    assert "leave 1 out: tidemill rollback --stage staging" in staged.stderr
    assert "the rollout of version 3 ends with that: it was against version 1" in " ".join(
        again.stdout.split()
    )


def test_an_alert_about_a_version_that_serves_no_more_says_so(root: Path, tmp_path: Path):
    told = json.loads(run(root, "alerts list --json").stdout)
    assert {alert["serves"] for alert in told} == {True}
    assert "not the champion" not in run(root, "alerts list").stdout
    copy = shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    database = sqlite3.connect(copy / ".tidemill" / "state.db")
    with database:
        database.execute("UPDATE promotions SET to_version = '3' WHERE to_version = '2'")
    database.close()
    assert {alert["serves"] for alert in json.loads(run(copy, "alerts list --json").stdout)} == {False}
    shown = run(copy, "alerts list --all", columns=60).stdout
    assert shown.count("2, not the champion") == 2  # and not for the one that is resolved


def test_records_of_other_models_are_not_shown(root: Path):
    status = json.loads(run(root, "status --json").stdout)
    assert (status["turn"]["id"], status["alerts"]) == ("turn_01kg7a", {"firing": 2})
    history = json.loads(run(root, f"models history {MODEL} --json").stdout)
    assert [service["version"] for service in history] == ["1", "1", "2", "3"]
    assert (history[0]["kind"], history[0]["until"]) == ("staging", None)
    assert history[2]["until"] is None
    assert history[2]["gain"] == 0.0158


def test_the_history_has_what_the_gate_refused(root: Path):
    refused = json.loads(run(root, f"models history {MODEL} --json").stdout)[-1]
    assert {name: refused[name] for name in ("version", "kind", "actor", "passed", "gain", "reason")} == {
        "version": "3",
        "actor": "bob",
        "kind": "refused",
        "passed": False,
        "gain": -0.01,
        "reason": "it is worse",
    }
    shown = run(root, f"models history {MODEL}", columns=160).stdout
    assert "refused" in shown
    assert "it is worse" in shown


def test_a_version_alone_is_one_of_the_projects_model(root: Path):
    commands = [
        "models history 2 --json",
        f"models history {MODEL} mine",
        "models history 7",
        "models list 2",
    ]
    second, first, seventh, listed = run_each(root, commands)
    assert {each["version"] for each in json.loads(second.stdout)} == {"2"}
    assert "refused" not in first.stdout
    assert (seventh.returncode, listed.returncode) == (2, 2)
    assert "has no version '7'" in " ".join(seventh.stderr.split())
    assert "tidemill models show 2" in listed.stderr


def test_the_first_characters_of_an_id_are_enough(root: Path, tmp_path: Path):
    copy = shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    done = run(copy, "alerts ack alert_01kg71 --json")
    assert json.loads(done.stdout)["id"] == "alert_01kg71zzzxyz"
    several = run(copy, "alerts ack alert_01kg7")
    assert several.returncode == 2
    assert "is the beginning of 3 ids of alerts" in " ".join(several.stderr.split())
    assert json.loads(run(copy, "jobs show job_01kg71 --json").stdout)["id"] == "job_01kg71zzzxyz"
    assert json.loads(run(copy, "jobs retry job_01kg72 --json").stdout)["status"] == "queued"
    assert run(copy, "jobs show job_99").returncode == 2


def make_earlier(root: Path) -> None:
    """Undo in a project's records what the migrations after 0006 did."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(f"sqlite:///{root / '.tidemill' / 'state.db'}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0006")
    engine.dispose()


def test_records_of_an_earlier_version_are_migrated_first(root: Path, tmp_path: Path):
    copy = shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    make_earlier(copy)
    jobs = json.loads(run(copy, "jobs list --json").stdout)
    assert [job["erased_at"] for job in jobs["jobs"]] == [None] * 3
    alert = json.loads(run(copy, "alerts show alert_01kg72 --json").stdout)
    assert (alert["status"], alert["fired_at"]) == ("firing", alert["raised_at"])
    assert [(each["step"], each["at"]) for each in alert["steps"]] == [("firing", alert["raised_at"])]


def run_without_writing(root: Path, *commands: str) -> list[subprocess.CompletedProcess[str]]:
    """Run commands in a project that cannot be written to, not by root either; there is no home either."""
    drop = "-dac_override,-dac_read_search,-fowner"
    bounded = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}"] if os.geteuid() == 0 else []
    homeless = ["env", "HOME=/proc/none", "LC_ALL=C"]
    subprocess.run(["chmod", "-R", "a-w,a+rX", str(root)], check=True)
    try:
        return run_each(root, commands, 200, [*bounded, *homeless])
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(root)], check=True)


def words(text: str) -> list[str]:
    """Return the words of a text in one order: the registry and its reader order lineage differently.

    Without ages, as a minute may end between two commands.
    """
    return sorted(re.findall(r"[\w.-]+", re.sub(r"\d+ d( \d+ (h|min))?", "", text)))


@unwritable
def test_a_moved_project_that_cannot_be_written_to_is_read_without_a_home(root: Path, tmp_path: Path):
    copy = shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    wanted = run_each(root, list(COMMANDS), 200)
    for done, here in zip(run_without_writing(copy, *COMMANDS), wanted, strict=True):
        assert done.returncode == 0, (done.args, done.stderr)
        assert words(done.stdout.replace(str(copy), str(root))) == words(here.stdout), done.args


@unwritable
def test_records_of_an_earlier_version_are_read_where_nothing_can_be_written(root: Path, tmp_path: Path):
    copy = shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    make_earlier(copy)
    (jobs,) = run_without_writing(copy, "jobs list --json")
    assert jobs.returncode == 0, jobs.stderr
    assert [job["erased_at"] for job in json.loads(jobs.stdout)["jobs"]] == [None] * 3


@unwritable
def test_an_alias_that_cannot_be_adopted_leaves_the_deployments_shown(root: Path, tmp_path: Path):
    copy = shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    with closing(sqlite3.connect(copy / ".tidemill" / "mlflow.db")) as database, database:
        aliases = "INSERT INTO registered_model_aliases (name, alias, version) VALUES (?, 'canary', 1)"
        database.execute(aliases, (MODEL,))
    shown, promoted = run_without_writing(copy, "deploy show --json", f"promote {MODEL} 1")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["champion"] == "2"
    assert json.loads(shown.stdout)["deployments"] == []
    assert promoted.returncode == 1
    assert "cannot be opened: Permission denied" in promoted.stderr


def test_a_card_is_shown_written_as_a_page_and_given_as_values(root: Path, tmp_path: Path):
    def card(*options):
        return CliRunner().invoke(app, ["models", "card", *map(str, options), "-p", str(root)])

    shown = card("champion")
    assert (shown.exit_code, shown.stdout.splitlines()[0]) == (0, f"# Model card: {MODEL} 2")
    assert "**Gain in its metric:** +0.0158" in shown.stdout
    assert "has no reference/reference.parquet" in shown.stdout
    values = json.loads(card("mine", "--json").stdout)
    assert (values["version"], values["gate"], values["said"]["owner"]) == ("1", None, None)
    written = card(2, "--html", tmp_path / "card.html")
    assert f"✓ {MODEL} 2" in written.stdout
    assert f"<h1>Model card: {MODEL} 2</h1>" in (tmp_path / "card.html").read_text()
    refused = card("--html", tmp_path)  # a folder
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert isinstance(refused.exception, NotWritable)
