"""Reads the monitors that a project declares in ``monitoring/monitors.yaml``. Imports no engine."""

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from tidemill.errors import ConfigError, UsageError
from tidemill.files.declaration_files import read_declaration
from tidemill.monitoring.kind_sections import (
    TASKS,
    CalibrationConfig,
    ConceptDriftConfig,
    DataDriftConfig,
    DataQualityConfig,
    FairnessConfig,
    FeatureSkewConfig,
    HealthConfig,
    KpiConfig,
    MultivariateDriftConfig,
    PredictionDriftConfig,
    QualityConfig,
    RiverDetector,
    Section,
    StalenessConfig,
)
from tidemill.monitoring.slice_config import SliceDeclaration, SliceDriftConfig, SliceQualityConfig
from tidemill.monitoring.window_config import Against, Duration, LatestRows, Season, WindowLength
from tidemill.plurals import said_days
from tidemill.project import ProjectFolder

__all__ = [
    "Duration",
    "Kind",
    "Monitor",
    "SectionName",
    "chosen_monitors",
    "load_monitors",
    "unknown_features",
]

Kind = Literal[
    "data_drift",
    "feature_drift",
    "prediction_drift",
    "quality",
    "estimated_quality",
    "feature_skew",
    "multivariate_drift",
    "slice_quality",
    "slice_drift",
    "concept_drift",
    "calibration",
    "fairness",
    "data_quality",
    "staleness",
    "kpi",
    "health",
]
"""What a monitor can find."""

SectionName = Literal[
    "data_drift",
    "prediction_drift",
    "quality",
    "estimated_quality",
    "feature_skew",
    "multivariate_drift",
    "slice_quality",
    "slice_drift",
    "concept_drift",
    "calibration",
    "fairness",
    "data_quality",
    "staleness",
    "kpi",
    "health",
]
"""The sections of a monitor, each of which is watched if it is there."""


def _settings_of(section: object) -> dict[str, object] | None:
    """Return what a section of quality sets; None if it is not a section, which its validation reports."""
    if isinstance(section, QualityConfig):
        return section.model_dump(exclude_unset=True)
    if not isinstance(section, Mapping):
        return None
    known = {name: section[name] for name in QualityConfig.model_fields if name in section}
    return known if known.keys() == section.keys() else None


class Monitor(Section):
    """One monitor: its comparisons, its window, its schedule, and its thresholds.

    >>> monitor = Monitor.model_validate({"name": "weekly", "window": "14d", "every": "7d", "quality": {}})
    >>> monitor.every.days, monitor.quality.max_drop, monitor.data_drift
    (7, 0.03, None)
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    window: WindowLength
    """How far back a run looks: a length of time, or ``{rows: 5000}`` for the latest predictions."""
    every: Duration
    """How often it runs, on a grid of the UTC calendar (see ``windows``)."""
    against: Against = "training"
    """What drift is measured from: training rows, the window before, or ``{season: 365d}`` earlier."""
    slices: tuple[SliceDeclaration, ...] = ()
    """Segments that ``slice_quality`` and ``slice_drift`` judge."""
    min_rows: int = Field(default=500, ge=10)
    """With fewer predictions in the window nothing is judged, and the verdict is ``too_few``."""
    min_labelled: int = Field(default=500, ge=10)
    """With fewer labels quality is not judged."""
    data_drift: DataDriftConfig | None = None
    """None: not watched."""
    prediction_drift: PredictionDriftConfig | None = None
    """None: not watched."""
    quality: QualityConfig | None = None
    """None: not watched."""
    feature_skew: FeatureSkewConfig | None = None
    """None: not watched."""
    multivariate_drift: MultivariateDriftConfig | None = None
    """None: not watched."""
    slice_quality: SliceQualityConfig | None = None
    """None: not watched."""
    slice_drift: SliceDriftConfig | None = None
    """None: not watched."""
    estimated_quality: QualityConfig | None = None
    """Quality before labels are known (`monitoring.quality.estimated_quality`). None: not watched.

    Judged as ``quality`` is, where that is declared for the same metric and this sets nothing else.
    """
    concept_drift: ConceptDriftConfig | None = None
    calibration: CalibrationConfig | None = None
    fairness: FairnessConfig | None = None
    data_quality: DataQualityConfig | None = None
    staleness: StalenessConfig | None = None
    kpi: KpiConfig | None = None
    health: HealthConfig | None = None
    severity: Literal["info", "warning", "critical"] = "warning"
    """Severity of its alerts."""
    persistence: int = Field(default=1, ge=1)
    """An alert fires when it was found in so many runs in a row; until then it is pending."""
    reopen_within: Duration | None = None
    """An alert that comes back less than this after it was resolved is reopened. None: ``every``."""
    report: Literal["alert", "always"] = "alert"
    """Which runs make an HTML report by themselves: those that find something, or all that judged rows."""
    raise_on_noise: float | None = Field(default=None, ge=1, le=10)
    """How many times its declared value alerts marked as noise may raise a threshold. None: only proposed."""

    @property
    def reopens_within(self) -> timedelta:
        """Return ``reopen_within``, or what stands in for it."""
        return self.every if self.reopen_within is None else self.reopen_within

    @model_validator(mode="before")
    @classmethod
    def _estimate_as_quality(cls, given: Any) -> Any:
        """Take what ``estimated_quality`` does not set from ``quality``; limits only of the same metric."""
        if not isinstance(given, Mapping):
            return given
        quality, estimated = (_settings_of(given.get(name)) for name in ("quality", "estimated_quality"))
        if quality is None or estimated is None:
            return given
        if estimated.get("metric", quality.get("metric")) != quality.get("metric"):
            return given
        return {**given, "estimated_quality": {**quality, **estimated}}

    @model_validator(mode="after")
    def _window_can_be_judged(self) -> "Monitor":
        if isinstance(self.window, LatestRows):
            if self.window.rows < self.min_rows:
                raise ValueError(
                    f"a window of {self.window.rows} rows never has the {self.min_rows} of min_rows: "
                    f"set min_rows to at most {self.window.rows}"
                )
        elif isinstance(self.against, Season) and self.against.season < self.window:
            raise ValueError(
                f"a window of {said_days(self.window)} overlaps itself a season of "
                f"{said_days(self.against.season)} earlier: "
                "declare a shorter window"
            )
        return self

    @model_validator(mode="after")
    def _slices_are_declared(self) -> "Monitor":
        if self.slice_drift is not None and not self.slices:
            raise ValueError("slice_drift is set, and no slices are declared: add slices")
        if self.slice_quality is not None and not self.slices and not self.slice_quality.search:
            raise ValueError("slice_quality has no slices: declare slices, or leave search out")
        return self

    @model_validator(mode="after")
    def _something_to_watch(self) -> "Monitor":
        sections = [name for name in get_args(SectionName) if getattr(self, name) is not None]
        if not sections:
            *names, last = get_args(SectionName)
            raise ValueError(f"nothing to watch: set {', '.join(names)} or {last} ({{}} for the defaults)")
        return self


class _MonitorsFile(Section):
    monitors: tuple[Monitor, ...]


def load_monitors(project: ProjectFolder) -> tuple[Monitor, ...]:
    """Read ``monitoring/monitors.yaml``; a project without that file has no monitors.

    Raises:
        ConfigError: the file is wrong; the message names file, monitor, field, and what is expected.
    """
    file = read_declaration(_path(project))
    if file is None:
        return ()
    hint = "docs/project.md describes every field"
    monitors = file.as_model(_MonitorsFile, hint, item="monitor").monitors
    file.refuse_doubled("monitors", [monitor.name for monitor in monitors], hint)
    if wrong := [problem for monitor in monitors for problem in _misfits(project, monitor)]:
        raise ConfigError(f"{_path(project)} is wrong: {'; '.join(wrong)}", hint=hint)
    return monitors


def _misfits(project: ProjectFolder, monitor: Monitor) -> Iterator[str]:
    """Yield a message for each section of a monitor that is not for such a project."""
    declared = project.params.get("project")
    task = declared.get("task", "binary") if isinstance(declared, Mapping) else "binary"
    for name, tasks in TASKS.items():
        if getattr(monitor, name) is not None and task not in tasks:
            fitting = ", ".join(tasks)
            yield f"monitor {monitor.name!r}: {name} is for the tasks {fitting}, and this one is {task}"
    if task == "custom" and monitor.calibration is not None and monitor.calibration.interval is None:
        yield (
            f"monitor {monitor.name!r}: calibration.interval must name two numbers of an answer, such as "
            "[low, high]: a custom task has no probabilities"
        )
    concept = monitor.concept_drift
    if concept is not None and isinstance(concept.detector, RiverDetector) and find_spec("river") is None:
        yield (
            f"monitor {monitor.name!r}: concept_drift.detector {concept.detector.name} needs the package "
            "river, which is not installed: pip install 'tidemill[online]', or set the detector to sum"
        )
    if monitor.staleness is not None and not project.has_store:
        yield f"monitor {monitor.name!r}: staleness is for projects with a feature store"


def chosen_monitors(project: ProjectFolder, name: str | None) -> tuple[Monitor, ...]:
    """Return the monitor of that name, or all monitors if no name is given.

    Raises:
        ConfigError: ``monitors.yaml`` is wrong, or declares no monitor at all.
        UsageError: it declares none of that name.
    """
    monitors = load_monitors(project)
    if not monitors:
        raise ConfigError(
            f"the project has no monitors: {_path(project)} is missing or declares none",
            hint="docs/project.md shows how to declare one",
        )
    chosen = tuple(monitor for monitor in monitors if name in (None, monitor.name))
    if not chosen:
        declared = ", ".join(monitor.name for monitor in monitors)
        raise UsageError(f"{_path(project)} declares no monitor {name!r}", hint=f"it declares: {declared}")
    return chosen


def unknown_features(
    monitor: Monitor, features: Collection[str], name: SectionName = "data_drift"
) -> list[str]:
    """Return a message for each feature that a section names and that is not among ``features``.

    >>> drift = {"exclude": ["month"]}
    >>> each = Monitor.model_validate({"name": "weekly", "window": "14d", "every": "7d", "data_drift": drift})
    >>> unknown_features(each, ["wind"])
    ["monitor 'weekly': data_drift.exclude names 'month', not a feature of the version (it has: wind)"]
    """
    section = getattr(monitor, name)
    there = ", ".join(sorted(features))
    return [
        f"monitor {monitor.name!r}: {name}.{field} names {each!r}, not a feature of the version "
        f"(it has: {there})"
        for field in ("thresholds", "exclude")
        for each in getattr(section, field, ())
        if each not in features
    ]


def _path(project: ProjectFolder) -> Path:
    return project.root / "monitoring" / "monitors.yaml"
