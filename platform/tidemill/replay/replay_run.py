"""Runs ``tidemill replay``: the later rows of a project as traffic for models that know the earlier ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tidemill.clock import SystemClock, parse_moment, utc
from tidemill.data.versioning.data_versions import reproduce
from tidemill.errors import ConfigError, UsageError
from tidemill.plurals import counted
from tidemill.project import Project, load_project
from tidemill.project.moments import moment_parameters
from tidemill.replay.replay_loop import ReplayLoop, Tell, TrafficDensity, run_scenes
from tidemill.replay.replay_periods import Facts
from tidemill.replay.replay_request import ReplayRequest, require_replayable
from tidemill.replay.replay_workspace import paths_elsewhere, prepare_workspace, project_files
from tidemill.replay.table_history import TableHistory, read_history

if TYPE_CHECKING:
    from tidemill.replay.traffic_replay import History

__all__ = ["run_replay"]

_LEARNT = 0.6
"""Share of the rows that lie before a replay whose beginning is not said."""
_MOST_REQUESTS = 20_000
"""Requests of a replay whose rate is not said."""
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)


@dataclass(frozen=True)
class _Period:
    start: datetime
    end: datetime

    @property
    def step(self) -> timedelta:
        """Time between two rounds of monitors and policies: an hour, a day or a week, by the length."""
        length = self.end - self.start
        return _HOUR if length < 5 * _DAY else _DAY if length <= 400 * _DAY else 7 * _DAY


def run_replay(source: Path, target: Path, wanted: ReplayRequest, tell: Tell) -> Facts:
    """Replay rows of the project at ``source`` in the workspace ``target``, a copy of it.

    The first champion knows what was known when the replay begins. Nothing in the project itself changes.

    Returns:
        The facts, which are also written to ``replay.json`` in the workspace.

    Raises:
        ConfigError: the project's rows have no time, or no history can be made of them.
        UsageError: the period is empty, or an option does not fit the project.
        TidemillError: a part of the loop failed; all started processes are stopped.
    """
    asked = load_project(source)
    require_replayable(asked, wanted)
    _check_paths(asked, target)
    tell("workspace", str(target), None, None)
    project = prepare_workspace(source, target, project_files(source))
    if project.config.project.replay is not None:
        history: History = project.load(project.config.project.replay)
        period, rate = _declared(project, wanted)
    else:
        project, table = _whole_history(project, wanted, tell)
        history, period = table, _period_of(table, wanted)
        rate = wanted.rate or max(1, int(_MOST_REQUESTS / max(1.0, (period.end - period.start) / _DAY)))
        _tell_sample(table, period, rate, tell)
    return run_scenes(
        project,
        history,
        period.start,
        TrafficDensity(rate),
        "replay",
        tell,
        lambda loop: _scenes(loop, period),
    )


def _scenes(loop: ReplayLoop, period: _Period) -> None:
    loop.first_champion()
    loop.play(period.start, period.end, watched=True, step=period.step)


def _check_paths(project: Project, target: Path) -> None:
    """Refuse paths that lead out of the project's folder, and in a copy of it to other files."""
    if found := paths_elsewhere(project, target):
        raise UsageError(
            f"{', '.join(found)} in {project.root} would be another file in the workspace {target}",
            hint="write the whole path in params.yaml and dvc.yaml, or name a workspace beside the project: "
            f"--workspace {project.root.parent / f'{project.root.name}-replay'}",
        )


def _declared(project: Project, wanted: ReplayRequest) -> tuple[_Period, int]:
    """Return the period and rate of a project with a history of its own: as given, else as for the demo."""
    section = project.params.get("demo")
    scenario = section if isinstance(section, dict) else {}
    start = wanted.start or _moment(scenario, "start")
    end = wanted.end or _moment(scenario, "end")
    if start is None or end is None:
        raise UsageError(
            "--from and --to are needed: project.replay does not say how long its history is",
            hint="tidemill replay --from 2013-04-01 --to 2013-05-01",
        )
    if start >= end:
        raise UsageError(
            f"the replay would end on {end:%Y-%m-%d %H:%M}, before it begins on {start:%Y-%m-%d %H:%M}",
            hint="give --from and --to",
        )
    return _Period(utc(start), utc(end)), wanted.rate or int(scenario.get("requests_per_day", 100))


def _moment(scenario: Mapping[str, object], name: str) -> datetime | None:
    """Return a moment of the project's ``demo``.

    Raises:
        ConfigError: it is none.
    """
    value = scenario.get(name)
    try:
        return None if value is None else parse_moment(str(value))
    except ValueError as error:
        raise ConfigError(
            f"params.yaml: demo.{name} is {value!r}, not a moment", hint="write it like 2013-04-01"
        ) from error


def _whole_history(project: Project, wanted: ReplayRequest, tell: Tell) -> tuple[Project, TableHistory]:
    """Run the stages once with all that will be known, and return the rows."""
    overrides: dict[str, object] = {}
    if wanted.labels_after is not None:
        declared = project.config.dataset.label_known if project.params["data"].get("labels_after") else None
        known = declared or "label_known_at"
        overrides = {"data.labels_after": wanted.labels_after, "dataset.label_known": known}
    now = SystemClock().now()
    late = now if wanted.end is None else max(now, utc(wanted.end) + 31 * _DAY)
    tell("history", "running the stages on all rows", None, None)
    reproduce(
        project,
        {**moment_parameters(project, late), **overrides},
        "All rows, to be replayed",
        lambda line: tell("history", line, None, None),
    )
    project = load_project(project.root, project.settings)
    return project, read_history(project)


def _period_of(table: TableHistory, wanted: ReplayRequest) -> _Period:
    """Return the period asked for; by default it begins after 60 % of the rows and ends after the last."""
    first, last = table.first, table.last
    end = utc(wanted.end) if wanted.end else _floor(last, _DAY) + _DAY
    start = utc(wanted.start) if wanted.start else table.after(_LEARNT)
    if wanted.start is None:
        start = _floor(start, _DAY if last - first >= 5 * _DAY else _HOUR)
    if not first < start < end or not table.requests(start, end, 1, 0).height:
        raise UsageError(
            f"there is nothing to play from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}: the rows lie "
            f"between {first:%Y-%m-%d %H:%M} and {last:%Y-%m-%d %H:%M}",
            hint="--from must leave rows before it, which the first model learns from, and rows to play",
        )
    return _Period(start, end)


def _floor(moment: datetime, unit: timedelta) -> datetime:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // unit * unit


def _tell_sample(table: TableHistory, period: _Period, rate: int, tell: Tell) -> None:
    whole = table.requests(period.start, period.end, table.rows.height, 0).height
    played = table.requests(period.start, period.end, rate, 0).height
    few = "" if played == whole else f" of {whole:,}, at most {rate:,} a day"
    tell(
        "history",
        f"{counted(played, 'row')}{few}, "
        f"from {period.start:%Y-%m-%d %H:%M} to {period.end:%Y-%m-%d %H:%M} UTC",
        None,
        None,
    )
