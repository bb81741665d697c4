"""Plays a project's policies over its past, beside never, always and an oracle."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from tidemill.clock import utc
from tidemill.errors import ConfigError, RetrainingError, TooManyFits, TrainingError
from tidemill.features.project_features import feature_names
from tidemill.monitoring.monitor_config import Monitor, load_monitors
from tidemill.plurals import counted
from tidemill.project import Project
from tidemill.registry.versions.model_versions import champion
from tidemill.retraining.backtest.conclusion import conclude
from tidemill.retraining.backtest.fitted_models import FittedModels, Recipe, known_by
from tidemill.retraining.backtest.past_monitors import never_heard
from tidemill.retraining.backtest.past_search import search_at
from tidemill.retraining.backtest.play import (
    months_of,
    play_always,
    play_never,
    play_oracle,
    play_policies,
)
from tidemill.retraining.backtest.play_notes import coarse, fitted, unasked, unplayed, unproven
from tidemill.retraining.backtest.played_facts import facts_of
from tidemill.retraining.backtest.played_past import Past
from tidemill.retraining.backtest.played_turns import Played
from tidemill.retraining.backtest.strategies import Gate, Proof, Strategy, rules_of, strategies_of
from tidemill.retraining.policies import Policy, load_policies
from tidemill.training.spec_loading import load_spec
from tidemill.training.splits import split_by_time
from tidemill.training.training_rows import read_labelled

__all__ = ["FAST_ROWS", "Backtest", "BacktestRequest", "Tell", "play_all", "run_backtest", "span_of"]

FAST_ROWS = 20_000
"""Rows that each model learns from with ``fast``."""
Tell = Callable[[str, str], None]


@dataclass(frozen=True)
class BacktestRequest:
    """What to play."""

    start: datetime | None = None
    """When the first model is made; default: the first day of a month after a quarter of the time by which
    enough is known to train, validate and hold out."""
    end: datetime | None = None
    policies: tuple[str, ...] = ()
    """Names; default: all."""
    fast: bool = False
    """Whether to fit on samples."""
    max_fits: int = 60
    """A strategy that would take more is not played."""
    gates: tuple[Gate, ...] = ()
    """Play each policy with each of them; default: with the one that params.yaml declares."""
    proofs: tuple[Proof, ...] = ()
    """Play each policy with each of them; default: with what params.yaml declares."""


@dataclass(frozen=True)
class Backtest:
    """What each strategy would have come to."""

    metric: str
    start: datetime
    end: datetime
    family: str
    fits: int
    played: tuple[Played, ...]
    notes: tuple[str, ...]
    not_played: tuple[str, ...] = ()
    """The strategies that would have taken more fits than were allowed."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "metric": self.metric,
            "start": self.start,
            "end": self.end,
            "family": self.family,
            "fits": self.fits,
            "strategies": facts_of(self.played),
            "conclusion": list(conclude(self.metric, self.played)),
            "notes": list(self.notes),
            "not_played": list(self.not_played),
        }


def run_backtest(
    project: Project, request: BacktestRequest, tell: Tell, given: Sequence[Policy] | None = None
) -> Backtest:
    """Play policies on the project's training set: the ``given`` ones, else the project's own, also together.

    Raises:
        ConfigError: rows have no time, or the project declares no policy of that name.
        TrainingError: too little is known at the start.
        TooManyFits: not even the first model could be made with the fits that are allowed.
        RetrainingError: the training set has no rows of that time.
    """
    policies = _chosen(project, request.policies) if given is None else tuple(given)
    rules = rules_of(request.gates, request.proofs)
    for rule in rules:
        rule.applied(project)  # before minutes of work: it says if one cannot be played
    strategies = strategies_of(policies, rules, together=given is None)
    monitors = load_monitors(project)
    if project.config.dataset.time is None:
        raise ConfigError(
            "a backtest needs rows with a time, and dataset.time in params.yaml is null",
            hint="name the column with the moment of each row",
        )
    features = feature_names(project)
    tell("rows", "reading the training set")
    rows = read_labelled(project, features, datetime.max.replace(tzinfo=UTC)).rows
    start, end = span_of(project, rows, request)
    most = FAST_ROWS if request.fast else None
    recipe, origin = _recipe(project, rows, features, start, most, tell)
    strategy = ""

    def on_fit(moment: datetime, count: int) -> None:
        tell(strategy, f"fitting {recipe.family.name} on {count:,} rows known at {moment:%Y-%m-%d}")

    models = FittedModels(project, rows, features, recipe, most, request.max_fits, on_fit)
    past = Past(project, rows, features, models, start, end)

    def tell_of(name: str, said: str) -> None:
        nonlocal strategy
        strategy = name
        tell(name, said)

    played, left_out = play_all(past, strategies, monitors, tell_of)
    return Backtest(
        project.task.metric,
        start,
        end,
        recipe.family.name,
        models.count,
        played,
        (
            *unplayed(left_out, request.max_fits),
            *fitted(origin, most, policies),
            *never_heard(policies),
            *unasked(policies, rules),
            *unproven(played),
            *coarse(monitors, start, end),
        ),
        left_out,
    )


def play_all(
    past: Past, strategies: Mapping[str, Strategy], monitors: Sequence[Monitor], tell: Tell
) -> tuple[tuple[Played, ...], tuple[str, ...]]:
    """Play all strategies, and return those that were played, and the names of those that take too many fits.

    What policies are compared with is played before them, lest they use up the fits.

    Raises:
        TooManyFits: the first one does.
    """
    played, left_out = list[Played](), list[str]()
    first = len(months_of(past.start, past.end)) <= past.models.most_fits
    for name in ("never", *(("always", *strategies) if first else (*strategies, "always")), "oracle"):
        tell(name, "playing")
        try:
            played.append(_play(name, past, strategies, monitors, played, tell))
        except TooManyFits as error:
            if not played:
                raise
            tell(name, f"left out: {error}")
            left_out.append(name)
    shown = ("never", *strategies, "always", "oracle")
    return tuple(sorted(played, key=lambda one: shown.index(one.name))), tuple(left_out)


def _play(
    name: str,
    past: Past,
    strategies: Mapping[str, Strategy],
    monitors: Sequence[Monitor],
    others: Sequence[Played],
    tell: Tell,
) -> Played:
    if name == "oracle":
        return play_oracle(past, others)
    if name in strategies:
        return play_policies(
            name, past, strategies[name], monitors, lambda now: tell(name, f"{now:%Y-%m-%d}")
        )
    return {"never": play_never, "always": play_always}[name](past)


def _chosen(project: Project, names: Sequence[str]) -> tuple[Policy, ...]:
    declared = load_policies(project)
    known = {policy.name for policy in declared}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"there is no policy {unknown[0]!r}",
            hint=f"monitoring/policies.yaml declares: {', '.join(sorted(known)) or 'none'}",
        )
    return tuple(policy for policy in declared if not names or policy.name in names)


def span_of(project: Project, rows: pl.DataFrame, request: BacktestRequest) -> tuple[datetime, datetime]:
    """Return when the first model is made, and the end, given the training set in order of time.

    Raises:
        RetrainingError: there are no such rows.
    """
    times = rows[project.config.dataset.time_column]
    first, last = utc(times[0]), utc(times[-1])
    end = min(request.end or last, last) + timedelta(microseconds=1)
    quarter = first + (end - first) / 4
    begins = [begin for begin, _ in months_of(quarter, end)[1:]] or [quarter]
    start = request.start or next((each for each in begins if _enough(project, rows, each)), begins[0])
    if not first < start < end:
        raise RetrainingError(
            f"the training set has rows from {first:%Y-%m-%d} to {last:%Y-%m-%d}: nothing can be played from "
            f"{start:%Y-%m-%d} to {end:%Y-%m-%d}",
            hint="choose other moments with --from and --to, or make a training set of a longer time",
        )
    return start, end


def _enough(project: Project, rows: pl.DataFrame, moment: datetime) -> bool:
    """Return whether what was known at a moment can be split."""
    times = known_by(project, rows, moment)[project.config.dataset.time_column]
    try:
        return len(times) > 0 and bool(split_by_time(moment, times[0], times[-1], project.config.split))
    except TrainingError:
        return False


def _recipe(
    project: Project,
    rows: pl.DataFrame,
    features: tuple[str, ...],
    start: datetime,
    most: int | None,
    tell: Tell,
) -> tuple[Recipe, str]:
    """Return how to fit every model, from nothing later than the start, and where that comes from.

    They are the champion's family and parameters if it was made by then, else those that a search finds.
    """
    spec, serving = load_spec(project), champion(project)
    trained = serving.trained if serving is not None else None
    made = serving.lineage.as_of if serving is not None and serving.lineage is not None else None
    names = {family.name for family in spec.families}
    if trained is not None and trained.family in names and made is not None and made <= start:
        recipe = Recipe(spec.family(trained.family), trained.params, trained.rounds, trained.schedule)
        return recipe, "the champion's"
    sample = min(filter(None, (most, project.config.train.search_rows)), default=None)
    known = f"by what was known at {start:%Y-%m-%d}"
    recipe = search_at(
        project, spec, rows, features, start, sample,
        lambda done, trials: tell("search", f"trial {done + 1} of {trials}, {known}"),
    )  # fmt: skip
    trials = counted(project.config.train.trials, "trial")
    return recipe, f"the best of {trials} {known}"
