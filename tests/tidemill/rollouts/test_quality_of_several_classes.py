"""Rollouts of several classes are decided by the losses of logged answers and their labels."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss

from tidemill.prediction_log.log_records import LabelRecord, PredictionRecord
from tidemill.prediction_log.prediction_log import PredictionLog
from tidemill.project.project_config import ProjectConfig
from tidemill.project.serve_config import RolloutConfig
from tidemill.rollouts.rollout_metrics import gather
from tidemill.rollouts.step_checks import Verdict, judge
from tidemill.state import open_state
from tidemill.state.tables import Alert, MonitorRun, Rollout
from tidemill.tasks.multiclass import Multiclass

CLASSES = ("on time", "late", "early")  # not in the order of the alphabet
BEGAN = datetime(2026, 4, 1, tzinfo=UTC)
ROWS = 900
PLAN = RolloutConfig(min_labels=200)
CONFIG = ProjectConfig.model_validate(
    {
        "project": {"name": "p", "model": "m", "task": "multiclass", "training": "a:b", "application": "a:b"},
        "dataset": {"path": "d", "label": "outcome", "classes": list(CLASSES)},
        "features": {"service": "s"},
    }
)


@dataclass(frozen=True)
class Parcels:
    """As much of a project as the metrics of a rollout need."""

    root: Path
    task: Multiclass
    model: str = "m"
    config: ProjectConfig = CONFIG

    @property
    def predictions(self) -> Path:
        """The folder of the log."""
        return self.root / "log"

    def load_application(self) -> Any:
        """Return an application without a key of its own: each answer is on its own."""
        return SimpleNamespace(routing_key=None)


def truths(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of the classes of some rows, and what came true."""
    draw = np.random.default_rng(seed)
    chances = draw.dirichlet([1.5, 1.0, 0.7], ROWS)
    return chances, (chances.cumsum(axis=1) > draw.random((ROWS, 1))).argmax(axis=1)


def log_answers(
    log: PredictionLog, task: Multiclass, role: str, given: np.ndarray, truth: np.ndarray
) -> None:
    """Log answers, and their labels by name; a first label of each tenth was another, and corrected."""
    version = "2" if role == "canary" else "1"
    moments = [BEGAN + timedelta(seconds=n + 1) for n in range(len(given))]
    log.append(
        [
            PredictionRecord(
                f"{role}{n}", "m", version, moments[n], moments[n], "r1", {}, {}, float(one.max()), {},
                role=role, answer=task.logged(one),
            )
            for n, one in enumerate(given)
        ]
    )  # fmt: skip
    labels = [
        LabelRecord(f"{role}{n}", None, moments[n] + timedelta(hours=2), moments[n], target=CLASSES[one])
        for n, one in enumerate(truth)
    ]
    wrong = [replace(one, target="early", at=one.at - timedelta(hours=1)) for one in labels[::10]]
    log.append_labels([*labels, *wrong])


def begun() -> Rollout:
    """Return a rollout of version 2 in place of version 1."""
    return Rollout(
        id="roll_1", model="m", version="2", champion="1", plan=PLAN.recorded(), status="running", step=0,
        baseline={}, checks=[], at=BEGAN, requested_at=BEGAN, stepped_at=BEGAN,
    )  # fmt: skip


def decide(folder: Path, metric: str, worsened: Any) -> tuple[Verdict, Any, np.ndarray, np.ndarray]:
    """Return the verdict on a canary that answers ``worsened`` probabilities; the champion's are blunt."""
    task = Multiclass(metric, classes=CLASSES)
    project = Parcels(folder, task)
    log = PredictionLog(project.predictions, "m")
    chances, truth = truths(1)
    log_answers(log, task, "champion", 0.4 * chances + 0.2, truth)
    chances, truth = truths(2)
    given = worsened(chances)
    log_answers(log, task, "canary", given, truth)
    log.close()
    rollout = begun()
    state = open_state(f"sqlite:///{folder}/state.db")
    try:
        facts = gather(project, state, rollout, PLAN, BEGAN + timedelta(hours=9))  # type: ignore[arg-type]
    finally:
        state.close()
    return judge(PLAN, 0, facts), facts.quality, given, truth


def test_a_better_version_stays_and_its_loss_is_that_of_the_named_classes(tmp_path: Path):
    verdict, found, given, truth = decide(tmp_path, "neg_log_loss", lambda chances: chances)
    assert found.ours == pytest.approx(-log_loss(truth, given, labels=[0, 1, 2]), abs=1e-9)
    chances, before = truths(1)
    assert found.theirs == pytest.approx(-log_loss(before, 0.4 * chances + 0.2, labels=[0, 1, 2]), abs=1e-9)
    assert (found.answers, found.low > 0) == ((ROWS, ROWS), True)
    assert verdict.action == "wait", "only the requests of the step are missing"
    assert any(one.startswith(f"log_loss {-found.ours:.4f}") for one in verdict.checks)


@pytest.mark.parametrize(
    ("metric", "worsened", "action"),
    [
        ("neg_log_loss", lambda one: one[:, [0, 2, 1]], "roll_back"),
        ("accuracy", lambda one: one[:, [0, 2, 1]], "roll_back"),
        # As often right, and far too sure of it.
        ("neg_log_loss", lambda one: one**5 / (one**5).sum(axis=1, keepdims=True), "roll_back"),
        ("accuracy", lambda one: one**5 / (one**5).sum(axis=1, keepdims=True), "wait"),
        # Knows nothing of one class.
        ("f1_macro", lambda one: one * [1.0, 1.0, 0.0] + [0.0, 0.0, 1e-9], "roll_back"),
    ],
    ids=["two swapped", "two swapped, by hits", "too sure", "too sure, by hits", "a class forgotten"],
)
def test_a_worse_version_goes_back_by_the_metric_of_the_gate(tmp_path: Path, metric, worsened, action):
    verdict, found, _, _ = decide(tmp_path, metric, worsened)
    assert verdict.action == action, verdict.reason
    assert (found.high < 0) == (action == "roll_back")
    if action == "roll_back":
        assert verdict.reason.startswith(f"{metric.removeprefix('neg_')} ")
        assert "is allowed" in verdict.reason


@pytest.mark.parametrize(
    ("kind", "version", "status", "known"),
    [
        ("concept_drift", "1", "acknowledged", "concept_drift"),
        ("concept_drift", "1", "resolved", None),
        ("quality", "2", "firing", None),
        ("data_drift", "1", "firing", None),
    ],
)
def test_open_alerts_by_which_labels_contradict_the_champion_are_known(
    tmp_path: Path, kind: str, version: str, status: str, known: str | None
):
    state, of = open_state("sqlite://"), {"monitor": "weekly", "model": "m", "version": version}
    with state.transaction() as session:
        session.add(
            MonitorRun(
                id="mon_1", **of, window_start=BEGAN, window_end=BEGAN, rows=1, labelled=0, verdict="alert",
                results={}, report_path=None, at=BEGAN,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            Alert(
                id="alert_1", **of, kind=kind, severity="info", message="", details={}, status=status,
                monitor_run_id="mon_1", raised_at=BEGAN, last_seen_at=BEGAN, fired_at=BEGAN,
            )
        )  # fmt: skip
    project = Parcels(tmp_path, Multiclass("accuracy", classes=CLASSES))
    assert gather(project, state, begun(), PLAN, BEGAN).contradicted == known  # type: ignore[arg-type]
    state.close()
