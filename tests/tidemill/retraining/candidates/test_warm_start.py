"""A turn that goes on from the champion's twin: from which rows, how it is judged, and when it does not."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest
import yaml

from tests.tidemill.training.conftest import empty_mlflow  # noqa: F401
from tests.tidemill.training.small_project import FEATURES, Data, day, make_project
from tidemill.data.tables.known_rows import known_at
from tidemill.errors import TrainingError
from tidemill.lineage.graph.chain import trace
from tidemill.lineage.graph.chain_graph import as_dict
from tidemill.privacy.erasure.erasure_record import ErasureOrder, put_on_record
from tidemill.project import load_project
from tidemill.registry.gates.champion_comparison import compare
from tidemill.registry.versions.aliases import set_alias
from tidemill.registry.versions.model_versions import champion, get_version, load_judged, load_original
from tidemill.registry.versions.new_versions import register
from tidemill.retraining.candidates.champion_basis import find_parent, plan_of
from tidemill.settings import Settings
from tidemill.state import open_state
from tidemill.training.fitting.final_fit import finish
from tidemill.training.fitting.split_rows import read_split
from tidemill.training.fitting.warm_start import begin_warm
from tidemill.training.model_spec import TrainingSpec
from tidemill.training.search.proposals import candidates
from tidemill.training.search.search_plan import ParentModel
from tidemill.training.search.trial_records import TrialRecord
from tidemill.training.search.tuning import SearchResult
from tidemill.training.spec_loading import load_spec
from tidemill.training.splits import not_learnt
from tidemill.training.tracking import mlflow_tracking
from tidemill.training.tracking.run_lineage import Lineage, installed
from tidemill.training.tracking.training_record import log_lineage
from tidemill.training.train import train

pytest.importorskip("xgboost")
pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def project(tmp_path_factory, empty_mlflow):  # noqa: F811
    """A project of XGBoost alone, whose champion was fitted once more on all rows."""
    root = tmp_path_factory.mktemp("warm")
    make_project(root)
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["project"]["training"] = None
    params["train"] |= {"families": ["xgboost"], "refit": True}
    path.write_text(yaml.safe_dump(params))
    project = load_project(root, Settings())
    project.home.mkdir()
    shutil.copy(empty_mlflow, project.home / "mlflow.db")
    spec, client = load_spec(project), mlflow_tracking.connect(project)
    rows, best = read_split(project, FEATURES, day(70)), candidates(spec, 1, seed=0)[0]
    found = SearchResult(TrialRecord(0, "xgboost", best["params"], 2, "none"), 0.8, 2, trials=1, failed=0)
    lineage = Lineage(
        Data().revision, Data().outputs, "small_service", "77c2", rows.split, day(70), installed()
    )
    with mlflow_tracking.parent_run(client, mlflow_tracking.experiment_id(client, project), "1", {}) as run:
        log_lineage(client, run, lineage)
        finish(project, client, spec, rows, run, found)
    assert register(project, run) == "1"
    set_alias(project, "champion", "1")
    return project


@pytest.fixture(scope="module")
def state(project):
    opened = open_state(project.state_url)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def warm(project, state):
    """The version of a turn a month later."""
    about = {"features": FEATURES, "service": "small_service", "definition": "77c2"}
    trained = train(project, Data(), day(100), "turn_2", plan=plan(project, state), **about)
    assert register(project, trained.run_id, "turn_2") == "2"
    return trained


def plan(project, state):
    return plan_of(project, state, {"search": "warm"})


def trees(scorer):
    return scorer.estimator["model"].get_booster().get_dump()


def test_it_goes_on_from_the_twin_with_the_rows_that_are_new_to_it(project, warm):
    twins = [trees(load_judged(project, get_version(project, version))) for version in "12"]
    served = [trees(load_original(project, version)) for version in "12"]
    assert len(twins[0]) == len(served[0]) == 100
    assert len(twins[1]) == len(served[1]) == 120
    assert twins[1][:100] == served[1][:100] == twins[0]
    assert served[0] != twins[0], "the champion learnt from its hold-out, and nothing goes on from that"
    rows = pl.read_parquet(project.dataset_path).filter(
        known_at(day(100), "event_timestamp", "label_known_at")
    )
    end = get_version(project, "1").lineage.split.fit.end
    new = rows.filter((pl.col("event_timestamp") >= end) | (pl.col("label_known_at") > end))
    assert warm.warm_start == f"gone on from version 1 with {new.height:,} new rows"
    assert (warm.trials, warm.rounds) == (0, 2), "another turn may still make it anew with the same rounds"


def test_the_gate_compares_it_with_the_twin_that_it_goes_on_from(project, warm):
    verdict = compare(project, get_version(project, "2"), get_version(project, "1"))
    assert verdict.numbers["twins"] == ["2", "1"]
    assert not any("has seen" in reason or "learnt from" in reason for reason in verdict.reasons)
    assert any("of champion 1" in reason for reason in verdict.reasons), verdict.reasons


def test_lineage_and_description_name_the_version(project, warm):
    version = get_version(project, "2")
    assert version.lineage.parent == {"version": "1", "run_id": get_version(project, "1").run_id}
    assert "xgboost, gone on from version 1, fitted on" in version.description
    up = as_dict(trace(project, "version:small-model/2", ["up"]))
    assert ("version:small-model/1", f"run:{warm.run_id}", "goes on from") in edges(up)
    down = as_dict(trace(project, "version:small-model/1", ["down"]))
    assert ("version:small-model/1", f"run:{warm.run_id}", "goes on from") in edges(down)
    assert "version:small-model/2" in [node["id"] for node in down["nodes"]]


def edges(graph):
    return {(edge["from"], edge["to"], edge["relation"]) for edge in graph["edges"]}


def test_what_would_not_be_fair_is_made_anew_and_says_why(project, state):
    spec, given = load_spec(project), plan(project, state)
    late, early = (read_split(project, FEATURES, day(moment)) for moment in (100, 69))

    def said(rows, **other):
        changed = replace(given.basis, parent=replace(given.basis.parent, **other))
        found, start, words = begin_warm(project, spec, replace(given, basis=changed), rows)
        assert (found.search, start) == ("full", None)
        return words

    assert "made anew: version 1 learnt from rows up to 2013-02-" in said(early)
    assert "version 1 has other features" in said(late, features=("wind",))
    few = replace(late, fit=late.fit.filter(pl.col("late") == 1))
    assert "new to version 1, and" in said(few)
    none = replace(late, fit=late.fit.head(0))
    assert "0 rows before the hold-out are new to version 1" in said(none)
    other = replace(given, basis=replace(given.basis, family="gone"))
    assert "no champion of a family" in begin_warm(project, spec, other, late)[2]


def test_a_family_that_cannot_is_named(project, state):
    spec, given = load_spec(project), plan(project, state)
    cannot = TrainingSpec((replace(spec.families[0], go_on=None),))
    with pytest.raises(TrainingError, match="family 'xgboost' cannot go on from version 1"):
        begin_warm(project, cannot, given, read_split(project, FEATURES, day(100)))


@pytest.mark.parametrize(("knew", "goes_on"), [("yes", False), ("unknown", False), ("no", True)])
def test_nothing_goes_on_from_a_version_that_learnt_from_a_subject_that_was_erased(
    project, tmp_path, knew, goes_on
):
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    found = {"models": [{"model": "small-model", "version": "1", "trained_on": knew}]}
    order = ErasureOrder("erasure_1", {"carrier": "UA"}, "ada", "asked", False, datetime.now(UTC), found)
    put_on_record(state, order, {"carrier": "p"}, "done", finished_at=datetime.now(UTC))
    parent = find_parent(project, state, champion(project))
    state.close()
    assert isinstance(parent, ParentModel) == goes_on, parent
    if not goes_on:
        assert parent == "version 1 learnt, or may have, from a subject that was erased since (erasure_1)"


def test_rows_whose_label_came_late_are_new(project):
    rows = pl.read_parquet(project.dataset_path)
    period = get_version(project, "1").lineage.split.fit
    new = not_learnt(rows, period, project.config.dataset)
    late = new.filter(pl.col("event_timestamp") < period.end)
    assert 0 < late.height < 100
    assert (late["label_known_at"] > period.end).all()
