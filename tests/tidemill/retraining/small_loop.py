"""A project whose turns take seconds, and what must hold of its records however often it was killed."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

from sqlalchemy import select

from tests.tidemill.lineage.small_world import write_project
from tidemill.data.repository.git import git
from tidemill.data.repository.revisions import list_versions as data_versions
from tidemill.project import Project, load_project
from tidemill.registry.versions.model_versions import champion_version, list_versions
from tidemill.settings import Settings
from tidemill.state import State
from tidemill.state.tables import GateDecision, Promotion, Turn
from tidemill.training.tracking.mlflow_tracking import connect, experiment_id


def write_loop(root: Path) -> Project:
    """Write the project of the lineage's tests, with a gate that lets every version pass."""
    root.mkdir(parents=True)
    write_project(root)
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("min_rows: 20", "min_rows: 20\n  min_gain: -1.0"))
    git(root, "add", "--", "params.yaml")
    git(root, "commit", "--quiet", "--message", "Let every version pass")
    return load_project(root, Settings(num_cpus=1))


def faults(project: Project, state: State) -> list[str]:
    """Return what is wrong with a project on which no turn is running, one sentence each."""
    with state.transaction() as session:
        turns = list(session.scalars(select(Turn).order_by(Turn.requested_at)))
        moves = list(session.scalars(select(Promotion).order_by(Promotion.requested_at, Promotion.id)))
        decisions = list(session.scalars(select(GateDecision)))
    return [
        *_faults_of_turns(turns, moves, decisions),
        *_faults_of_history(project, moves),
        *_faults_of_runs(project, turns),
        *_faults_of_data(project, turns),
    ]


def _faults_of_turns(turns: list[Turn], moves: list[Promotion], decisions: list[GateDecision]) -> list[str]:
    found = []
    known = {decision.id: decision for decision in decisions}
    for turn in turns:
        mine = [move for move in moves if move.turn_id == turn.id]
        if turn.status not in ("promoted", "refused") or turn.finished_at is None or turn.step != "end":
            found.append(f"{turn.id} is {turn.status} at {turn.step}: {turn.error}")
            continue
        if len(mine) != (turn.status == "promoted"):
            found.append(f"{turn.id} is {turn.status}, with {len(mine)} promotions")
        if any((move.to_version, move.decision_id) != (turn.version, turn.decision_id) for move in mine):
            found.append(f"{turn.id} promoted another version than its own")
        decision = known.get(turn.decision_id or "")
        if decision is None or decision.passed != (turn.status == "promoted"):
            found.append(f"{turn.id} is {turn.status} against the gate's decision")
        if not all((turn.data_revision, turn.run_id, turn.version)):
            found.append(f"{turn.id} lost a result")
    asked = Counter((one.candidate, one.champion, one.decided_at) for one in decisions)
    found += [f"the gate was asked {n} times about {pair}" for pair, n in asked.items() if n > 1]
    versions = Counter(turn.version for turn in turns)
    return found + [f"version {one} belongs to {n} turns" for one, n in versions.items() if n > 1]


def _faults_of_history(project: Project, moves: list[Promotion]) -> list[str]:
    found = [f"{move.id} is {move.status}" for move in moves if move.status != "done"]
    found += [
        f"{later.id} replaced {later.from_version}, but {earlier.to_version} was champion"
        for earlier, later in pairwise(moves)
        if later.from_version != earlier.to_version
    ]
    recorded = moves[-1].to_version if moves else None
    if champion_version(project) != recorded:
        found.append(f"the alias points to {champion_version(project)}, the record to {recorded}")
    return found


def _faults_of_runs(project: Project, turns: list[Turn]) -> list[str]:
    client, found = connect(project), []
    versions = list_versions(project)
    for turn in turns:
        mine = [one.version for one in versions if one.run_id == turn.run_id]
        if mine != [turn.version]:
            found.append(f"{turn.id} has version {turn.version}, the registry has {mine} of its run")
        tagged = [one for one in versions if one.version == turn.version and one.decision]
        if [(one.decision or {})["decision"] for one in tagged] != [turn.decision_id]:
            found.append(f"version {turn.version} does not carry the decision of {turn.id}")
    if extra := {one.version for one in versions} - {turn.version for turn in turns}:
        found.append(f"no turn has versions {sorted(extra)}")
    runs = client.search_runs([experiment_id(client, project)], max_results=5000)
    if running := [run.info.run_id for run in runs if run.info.status == "RUNNING"]:
        found.append(f"runs {running} are said to be running")
    searches = Counter(
        run.data.tags["tidemill.turn"]
        for run in runs
        if run.data.tags.get("tidemill.role") == "search" and run.info.status == "FINISHED"
    )
    found += [f"{turn} has {n} finished searches" for turn, n in searches.items() if n > 1]
    results = project.home / "ray_results"
    if results.exists() and (left := [path.name for path in results.iterdir()]):
        found.append(f"Ray's results of {left} were left behind")
    return found


def _faults_of_data(project: Project, turns: list[Turn]) -> list[str]:
    root, found = project.root, []
    if status := git(root, "status", "--porcelain").strip():
        found.append(f"git: {status}")
    if (note := root / ".dvc" / "tmp" / "tidemill-attempt.json").exists():
        found.append(f"{note} was left behind")
    kept = {path.parent.name + path.name for path in (root.parent / "remote").rglob("*") if path.is_file()}
    versions = {version.revision: version for version in data_versions(project)}
    for turn in turns:
        version = versions.get(turn.data_revision or "")
        if version is None:
            found.append(f"{turn.id} has a data version that git does not know: {turn.data_revision}")
            continue
        missing = [path for path, md5 in version.outputs.items() if md5.removesuffix(".dir") not in kept]
        if missing:
            found.append(f"the remote lacks {missing} of {turn.data_revision}")
    return found
