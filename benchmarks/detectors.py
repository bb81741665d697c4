"""The detectors that `benchmarks.detection` compares: ours, and those of river, Evidently and NannyML."""

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl

from benchmarks.detection_worlds import AT, VERSION, Champion, Table, Window
from tidemill.monitoring.kind_sections import ConceptDriftConfig, DdmDetector, PageHinkleyDetector
from tidemill.monitoring.kinds.kind_table import gather, judge_window
from tidemill.monitoring.quality.error_changes import error_rise
from tidemill.monitoring.quality.held_out import HeldOut
from tidemill.monitoring.quality.mistake_changes import mistakes_of, said_changes
from tidemill.monitoring.windows.time_windows import window_before
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.prediction_log.log_records import FEATURE_PREFIX

__all__ = ["ERROR_DETECTORS", "Seconds", "by_errors", "by_evidently", "by_nannyml", "by_us", "nannyml_python"]

KINDS = frozenset({"data_drift", "prediction_drift", "quality"})
"""What `tidemill init` declares."""
SPAN = window_before(AT, timedelta(days=7))
ERROR_DETECTORS = (
    "concept_drift",
    "its sum of errors",
    "PageHinkley, losses",
    "PageHinkley, mistakes",
    "DDM",
    "DDM, as many rows",
    "concept_drift, page_hinkley",
    "concept_drift, ddm",
)
Seconds = defaultdict[str, list[float]]
"""Detector → the time of each window."""


def by_us(champion: Champion, table: Table, window: Window, spent: Seconds) -> dict[str, bool]:
    """Return whether the monitor alarms, by what kinds, and which features it holds to be broken."""
    began = time.perf_counter()
    found = gather(judge_window(_seen(champion, table, window), only=KINDS)).found
    spent["Tidemill"].append(time.perf_counter() - began)
    faults = [name for each in found for name in each.details.get("faults", ())]
    return {
        "Tidemill": bool(found),
        **{f"Tidemill {each.kind}": True for each in found},
        **{f"fault {name}": True for name in faults},
    }


def _seen(champion: Champion, table: Table, window: Window) -> WindowRows:
    features = window.features.rename(lambda name: f"{FEATURE_PREFIX}{name}")
    rows = pl.concat([window.logged, features], how="horizontal")
    metrics = {**champion.metrics, "rows": float(champion.holdout.height)}
    return WindowRows(
        table.project, table.monitor, VERSION, metrics.get, SPAN, champion.reference, rows, rows
    )


def by_errors(champion: Champion, table: Table, window: Window, spent: Seconds) -> dict[str, bool]:
    """Return whether errors tell of other labels: to `concept_drift`, its sum of errors alone, and river's.

    River's detectors come as they are, and see the hold-out's errors one by one before the window's.
    Page-Hinkley gets losses, in the hold-out's standard deviations, or like DDM whether the class is wrong,
    or a number further off than half of the hold-out's. DDM's mean hardly moves after thousands of rows:
    beside the whole hold-out it gets as many of its rows as the window has. Last, `concept_drift` with either
    as its ``detector``, without what it asks of the window's labels.
    """
    known = HeldOut.of(champion.reference, champion.task)
    assert known is not None
    task, config = champion.task, ConceptDriftConfig()
    truth, answers = task.truth_of_log(window.logged), task.given_in_log(window.logged)
    before, now = task.losses(known.truth, known.answers), task.losses(truth, answers)
    spread = float(before.std())
    wrong, mistakes = mistakes_of(task, known, truth, answers)
    page_hinkley, ddm = PageHinkleyDetector(), DdmDetector()

    def by_kind(config: ConceptDriftConfig) -> bool:
        monitor = table.monitor.model_copy(update={"concept_drift": config})
        seen = _seen(champion, replace(table, monitor=monitor), window)
        return bool(gather(judge_window(seen, only=frozenset({"concept_drift"}))).found)

    def by_sum() -> bool:
        rise = error_rise(before, now)
        return rise.significant and rise.share >= config.max_rise

    asked: tuple[Callable[[], bool], ...] = (
        lambda: by_kind(config),
        by_sum,
        lambda: bool(said_changes(page_hinkley, before / spread, now / spread)),
        lambda: bool(said_changes(page_hinkley, wrong, mistakes)),
        lambda: bool(said_changes(ddm, wrong, mistakes)),
        lambda: bool(said_changes(ddm, wrong[-len(mistakes) :], mistakes)),
        lambda: by_kind(ConceptDriftConfig(detector=page_hinkley, explained=1.0)),
        lambda: by_kind(ConceptDriftConfig(detector=ddm, explained=1.0)),
    )
    said = {}
    for name, ask in zip(ERROR_DETECTORS, asked, strict=True):
        began = time.perf_counter()
        said[name] = ask()
        spent[name].append(time.perf_counter() - began)
    return said


def _flat(window: Window, numbers: bool) -> pl.DataFrame:
    """Return features, score and label as one table."""
    label = pl.coalesce(pl.col("target"), pl.col("label").cast(pl.String))
    about = window.logged.select(prediction="score", target=label.cast(pl.Float64) if numbers else label)
    return pl.concat([window.features, about], how="horizontal")


def by_evidently(champion: Champion, reference: Window, window: Window, spent: Seconds) -> dict[str, bool]:
    """Return whether Evidently's ``DataDriftPreset`` finds drift in the data set, and in any column."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    began, numbers = time.perf_counter(), champion.task.kind == "regression"
    sides = [_flat(side, numbers) for side in (window, reference)]
    texts = [name for name, kind in sides[1].schema.items() if kind == pl.String]
    others = [name for name in sides[1].columns if name not in texts]
    definition = DataDefinition(numerical_columns=others, categorical_columns=texts)
    now, before = (Dataset.from_pandas(side.to_pandas(), data_definition=definition) for side in sides)
    try:
        snapshot = Report([DataDriftPreset()], include_tests=True).run(now, before)
        failed = [test.name for test in snapshot.tests_results if test.status.value == "FAIL"]
    except Exception as error:  # noqa: BLE001 - a column that it cannot take
        spent["Evidently"].append(time.perf_counter() - began)
        return {
            "Evidently": False,
            "Evidently, a column": False,
            f"Evidently fails: {type(error).__name__}": True,
        }
    spent["Evidently"].append(time.perf_counter() - began)
    columns = [name for name in failed if name.startswith("Value Drift")]
    return {"Evidently": len(failed) > len(columns), "Evidently, a column": bool(columns)}


def nannyml_python(folder: Path) -> Path:
    """Return the Python of an environment with NannyML in ``folder``, made if need be.

    Raises:
        SystemExit: it cannot be made, and why.
    """
    import venv

    python = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "-q", "nannyml==0.13.1", "statsmodels", "pandas<3"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"NannyML cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        (folder / ".complete").touch()
    return python


def by_nannyml(
    python: Path,
    champion: Champion,
    reference: Window,
    windows: Sequence[Window],
    folder: Path,
    classes: Sequence[str],
) -> list[dict[str, bool]]:
    """Return for each window whether a column drifts, and whether quality, estimated or known, alarms."""
    numbers = champion.task.kind == "regression"
    for name, some in (("reference", [reference]), ("windows", windows)):
        table = pl.concat([_for_nannyml(champion, each, numbers, classes) for each in some])
        table.write_parquet(folder / f"{name}.parquet")
    asked = {
        "task": champion.task.kind,
        "features": list(champion.features),
        "classes": list(classes),
        "size": windows[0].features.height,
    }
    (folder / "asked.json").write_text(json.dumps(asked))
    script = Path(__file__).with_name("nannyml_windows.py")
    done = subprocess.run([python, script, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"NannyML failed:\n{done.stdout[-500:]}{done.stderr[-3000:]}")
    return json.loads((folder / "found.json").read_text())


def _for_nannyml(champion: Champion, window: Window, numbers: bool, classes: Sequence[str]) -> pl.DataFrame:
    flat = _flat(window, numbers).rename({"prediction": "__score", "target": "__truth"})
    answers = champion.task.given_in_log(window.logged)
    if numbers:
        return flat
    chances = answers if answers.ndim == 2 else answers[:, None]
    given = [str(classes[place]) for place in chances.argmax(axis=1)] if answers.ndim == 2 else None
    said = pl.Series("__given", given if given is not None else [str(int(one >= 0.5)) for one in answers])
    each = [pl.Series(f"__chance_{place}", chances[:, place]) for place in range(chances.shape[1])]
    return flat.with_columns(said, *each)
