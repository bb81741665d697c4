"""The candidate and the champion score the same rows."""

import re
import shutil
from dataclasses import replace

import polars as pl
import pytest

from tests.tidemill.training.small_project import Data
from tidemill.errors import RegistryError
from tidemill.registry.gates.champion_comparison import _own_figures, compare
from tidemill.registry.importing.mlflow_models import fetch_model
from tidemill.registry.importing.model_import import ImportRequest, ProjectState, import_version
from tidemill.registry.versions.model_versions import get_version, load_holdout, load_judged, load_scorer
from tidemill.training.tracking.mlflow_tracking import connect
from tidemill.training.tracking.run_files import log_table
from tidemill.training.tracking.training_result import HOLDOUT, JUDGED

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows.with_columns(late=pl.int_range(pl.len()) % 3), r"not 0 or 1: 2 \(\d+ rows\)"),
        (lambda rows: rows.with_columns(late=pl.lit(None)), "labels are null"),
        (lambda rows: rows.rename({"late": "delayed"}), "there is no column late"),
    ],
)
def test_rows_with_other_labels_are_a_reason_to_refuse(registered, change, reason):
    candidate = get_version(registered, "2")
    held = load_holdout(registered, "2")
    assert compare(registered, candidate, get_version(registered, "1")).numbers["rows"] == held.height
    log_table(connect(registered), candidate.run_id, change(held), HOLDOUT)
    verdict = compare(registered, candidate, get_version(registered, "1"))
    assert not verdict.passed
    assert re.search(reason, verdict.reasons[0])


def test_a_later_candidate_that_is_worse_than_one_answer_for_all_is_warned_of(registered):
    candidate, champion = get_version(registered, "2"), get_version(registered, "1")
    assert not any("warning" in reason for reason in compare(registered, candidate, champion).reasons)
    held = load_holdout(registered, "2").with_columns(late=1 - pl.col("late"))
    log_table(connect(registered), candidate.run_id, held, HOLDOUT)
    reasons = " ".join(compare(registered, candidate, champion).reasons)
    assert "warning: version 2 is worse than always answering the share of the positive class" in reasons


def test_versions_that_cannot_be_compared_are_told_with_their_own_figures(registered):
    versions = [get_version(registered, one) for one in ("2", "1")]
    two, one = (f"{version.metrics['holdout_roc_auc']:.4f}" for version in versions)
    said = f" (roc_auc {two} of version 2, roc_auc {one} of version 1, each on its own hold-out)"
    assert _own_figures(registered, *versions) == said
    assert _own_figures(registered, *(replace(version, tags={}) for version in versions)) == ""


def test_a_version_that_learnt_from_its_hold_out_is_judged_by_the_twin_that_did_not(registered):
    version, held = get_version(registered, "2"), load_holdout(registered, "2")
    truth = registered.task.truth(held, "late")
    judged, serving = (
        registered.task.evaluate(truth, one.predict(held.to_pandas()[list(one.features)]))["roc_auc"]
        for one in (load_judged(registered, version), load_scorer(registered, "2"))
    )
    assert judged == pytest.approx(version.metrics["holdout_roc_auc"]) != pytest.approx(serving)
    assert version.trained.refitted_on > held.height
    assert f"fitted on all {version.trained.refitted_on:,} rows with a label" in version.description
    verdict = compare(registered, version, get_version(registered, "1"))
    assert verdict.numbers["candidate"]["roc_auc"] == pytest.approx(judged)
    assert verdict.numbers["twins"] == ["2"]
    with pytest.raises(RegistryError, match="the judged twin of small-model 2 cannot be read"):
        load_judged(registered, replace(version, run_id="0" * 32))


def test_a_version_that_learnt_from_all_rows_is_known_when_it_is_imported_again(registered, tmp_path):
    version, rows = get_version(registered, "2"), load_holdout(registered, "2").height
    state = ProjectState(Data(), version.trained.features, "small_service", "77c2", ())
    [file] = fetch_model(registered, "models:/small-model/2", tmp_path, None).glob("*.skops")
    number, copied = "2", shutil.copy(file, tmp_path / "copied.bin")  # beside no description of MLflow
    for known_by in (None, None, file, copied):  # the import itself can be imported
        address = f"models:/small-model/{number}" if known_by is None else str(known_by)
        done = import_version(registered, ImportRequest(address, version.lineage.as_of), state)
        number = done.version
        assert done.learnt_rows == rows
        verdict = compare(registered, get_version(registered, number), get_version(registered, "1"))
        assert not verdict.passed
        assert f"it has learnt from {rows} of the hold-out's {rows} rows" in verdict.reasons[0]
    (tmp_path / "again").mkdir()
    [again] = fetch_model(registered, f"models:/small-model/{number}", tmp_path / "again", None).glob(
        "*.skops"
    )
    moved = shutil.copy(again, tmp_path / "moved.skops")
    assert (
        import_version(registered, ImportRequest(str(moved), version.lineage.as_of), state).learnt_rows
        == rows
    )


def test_the_judged_twin_is_imported_as_what_never_saw_the_hold_out(registered, tmp_path):
    version = get_version(registered, "2")
    state = ProjectState(Data(), version.trained.features, "small_service", "77c2", ())
    address = f"runs:/{version.run_id}/{JUDGED}"
    [file] = fetch_model(registered, address, tmp_path, None).glob("*.skops")
    moved = shutil.copy(file, tmp_path / "twin.skops")
    for one in (address, str(moved)):
        done = import_version(registered, ImportRequest(one, version.lineage.as_of), state)
        assert done.learnt_rows == 0
        assert done.metrics["holdout_roc_auc"] == pytest.approx(version.metrics["holdout_roc_auc"])
        verdict = compare(registered, get_version(registered, done.version), get_version(registered, "1"))
        reasons = " ".join(verdict.reasons)
        assert "the judged twin of version 2, which learnt from none of the hold-out's rows" in reasons
        assert "is not known" not in reasons
