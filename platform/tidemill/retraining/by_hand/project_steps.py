"""The steps of a turn one by one, for notebooks and scripts: data, training, registry, gate, production."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill.clock import SystemClock, utc
from tidemill.data.repository.uncommitted_code import find_uncommitted
from tidemill.errors import UsageError
from tidemill.features.project_features import feature_names
from tidemill.ids import new_id
from tidemill.project import Project, load_project
from tidemill.project.moments import declared_moment
from tidemill.retraining.by_hand.shown_hints import with_hint
from tidemill.retraining.candidates.current_training import train_current

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from tidemill.state.tables import GateDecision, Promotion, StageMove
    from tidemill.tasks.task import Answers
    from tidemill.training.search.search_budget import Progress
    from tidemill.training.search.search_plan import SearchPlan
    from tidemill.training.tracking.training_result import TrainedModel

__all__ = ["OpenProject", "open_project"]


@with_hint
def open_project(folder: str | Path = ".") -> "OpenProject":
    """Open the project in a folder, or above it, to make its steps one by one.

    Raises:
        ProjectNotFound: there is none.
        ConfigError: its ``params.yaml`` is wrong.
    """
    return OpenProject(load_project(Path(folder)))


@dataclass(frozen=True)
class OpenProject:
    """A project whose steps are made one by one: what `tidemill run` does in one go.

    Each step leaves the same records as the command. The data's stages are those of ``tidemill run`` and
    ``dvc repro``: what they wrote last is what is learnt from.
    """

    project: Project

    @with_hint
    def training_set(self, as_of: datetime | None = None) -> "pl.DataFrame":
        """Return the labelled rows: time, label, group; then the features as a model takes them.

        Args:
            as_of: labels that became known later are left out; default: what ``params.yaml`` declares.

        Raises:
            TrainingError: there is no training set yet, or it lacks a column.
        """
        from tidemill.training.training_rows import read_labelled

        return read_labelled(self.project, feature_names(self.project), self._moment(as_of)).rows

    @with_hint
    def tune(
        self,
        *,
        trials: int | None = None,
        as_of: datetime | None = None,
        on_progress: "Progress | None" = None,
    ) -> "TrainedModel":
        """Search for the best model, fit it, and judge it on the hold-out.

        Args:
            trials: how many; default: ``train.trials``.
            as_of: as for `training_set`.
            on_progress: called after each trial with how far the search is.

        Raises:
            UsageError: ``trials`` is less than 1.
            ConfigError: no search can be made as it is declared, such as a grid that is too large.
            TrainingError: too little data, or no trial succeeded.
        """
        from tidemill.training.search.search_plan import FULL_SEARCH

        train = self.project.config.train
        _require_some("trials", trials)
        if trials is not None:
            train = train.model_copy(update={"trials": trials})
        config = self.project.config.model_copy(update={"train": train})
        return self._train(replace(self.project, config=config), as_of, FULL_SEARCH, on_progress)

    @with_hint
    def fit(
        self,
        family: str,
        params: Mapping[str, Any] | None = None,
        *,
        rounds: int | None = None,
        as_of: datetime | None = None,
    ) -> "TrainedModel":
        """Fit one model without a search, and judge it on the hold-out.

        Args:
            family: one of the project's families.
            params: its parameters; those with a fixed value in its space may be left out.
            rounds: for how many it is fitted; default: the most that the family has.
            as_of: as for `training_set`.

        Raises:
            UsageError: there is no such family, a parameter is missing or unknown, or ``rounds`` is below 1.
            TrainingError: it cannot be fitted.
        """
        from tidemill.training.search.search_plan import SearchPlan, basis_of
        from tidemill.training.spec_loading import load_spec

        _require_some("rounds", rounds)
        known = {each.name: each for each in load_spec(self.project).families}
        if family not in known:
            raise UsageError(f"there is no family {family!r}", hint=f"the project has {', '.join(known)}")
        basis = basis_of(known[family], params or {}, rounds)
        return self._train(self.project, as_of, SearchPlan("same", basis=basis), None)

    @with_hint
    def register(self, trained: "TrainedModel") -> str:
        """Make a trained model a version, and return its number; asked again, the same.

        Raises:
            RegistryError: its run is not complete, or MLflow refused.
        """
        from tidemill.accounts import audit
        from tidemill.registry.versions.new_versions import register
        from tidemill.retraining.turns.turn_steps import record_registration
        from tidemill.state import open_state

        version, model = register(self.project, trained.run_id), self.project.model
        details, who = {"run_id": trained.run_id}, self.project.settings.who
        act = audit.Act(who, "register", "version", version, model, "step by step in Python", details)
        record_registration(open_state(self.project.state_url), act)
        return version

    @with_hint
    def evaluate(self, version: str | int) -> "GateDecision":
        """Let the gate compare a version with the champion, and record its decision.

        Raises:
            ModelNotFound: there is no such version.
            RegistryError: it is champion already.
        """
        from tidemill.registry.promotion import evaluate_gate
        from tidemill.state import open_state

        state = open_state(self.project.state_url)
        now, who = SystemClock().now(), self.project.settings.who
        return evaluate_gate(self.project, state, str(version), now, who)

    @with_hint
    def predict(self, rows: "pl.DataFrame | pd.DataFrame", version: str | int = "champion") -> "Answers":
        """Return the answers of a version to rows with its features, one a row, as `Application` gets them.

        Raises:
            ModelNotFound: there is no such version.
            RegistryError: a feature is missing.
        """
        import polars as pl

        from tidemill.registry.versions.model_versions import load_scorer

        frame = rows.to_pandas() if isinstance(rows, pl.DataFrame) else rows
        return load_scorer(self.project, str(version)).predict(frame)

    @with_hint
    def promote(self, model: "TrainedModel | str | int", reason: str) -> "Promotion":
        """Bring a model to production, if the gate agrees: it is registered if need be, and becomes champion.

        If its code is in no commit, a warning says so, and the reason on record too: its patch is kept with
        its run, but nobody has reviewed it.

        Args:
            model: a trained model, or the number of a version.
            reason: why, for the record.

        Raises:
            GateRefused: the gate refused it, and is enforced.
            ApprovalNeeded: the project wants a second person's approval.
            ModelNotFound: there is no such version.
        """
        from tidemill.registry.promotion import promote
        from tidemill.state import open_state

        version, said = self._reviewed(model)
        state, who = open_state(self.project.state_url), self.project.settings.who
        done = promote(self.project, state, version, who, _with(reason, said), SystemClock().now())
        _warn(version, "to production", said)
        return done

    @with_hint
    def put_into_stage(self, model: "TrainedModel | str | int", stage: str, reason: str) -> "StageMove":
        """Bring a model into a stage before production, if the stage's gates agree; otherwise as `promote`.

        Args:
            model: a trained model, or the number of a version.
            stage: one of ``stages`` in ``params.yaml``.
            reason: why, for the record.

        Raises:
            UsageError: there is no such stage.
            GateRefused: a gate refused it, and is enforced.
            ApprovalNeeded: the stage wants a second person's approval.
            ModelNotFound: there is no such version.
            RegistryError: it is there already, the champion, or archived.
        """
        from tidemill.registry.stage_promotion import StageRequest, put_into_stage
        from tidemill.state import open_state

        version, said = self._reviewed(model)
        asked = StageRequest(stage, self.project.settings.who, _with(reason, said), SystemClock().now())
        done = put_into_stage(self.project, open_state(self.project.state_url), version, asked)
        _warn(version, f"into {stage}", said)
        return done

    def _reviewed(self, model: "TrainedModel | str | int") -> tuple[str, str | None]:
        """Return a version, and what is to be said of code that nobody has reviewed."""
        from tidemill.registry.versions.model_versions import get_version

        found = get_version(
            self.project, str(model) if isinstance(model, str | int) else self.register(model)
        )
        unheld, said = None if found.lineage is None else found.lineage.uncommitted, None
        if unheld is None or unheld:
            said = "it is not on record whether its code was committed"
            if unheld:
                said = (
                    f"of code that no commit holds: {', '.join(unheld[:5])}{' …' if len(unheld) > 5 else ''}"
                )
        return found.version, said

    def _train(
        self, project: Project, as_of: datetime | None, plan: "SearchPlan", on_progress: "Progress | None"
    ) -> "TrainedModel":
        from tidemill.training.search.planned_search import check_plan
        from tidemill.training.spec_loading import load_spec

        check_plan(plan, load_spec(project), project.config.train)
        return train_current(
            project,
            self._moment(as_of),
            new_id("notebook"),
            uncommitted=find_uncommitted(project.root),
            plan=plan,
            on_progress=on_progress,
        )

    def _moment(self, as_of: datetime | None) -> datetime:
        return declared_moment(self.project) if as_of is None else utc(as_of)


def _require_some(name: str, count: int | None) -> None:
    if count is not None and count < 1:
        raise UsageError(f"{name} is {count}, but must be at least 1", hint=f"leave {name} out, or give more")


def _with(reason: str, said: str | None) -> str:
    return reason if said is None else f"{reason} ({said})"


def _warn(version: str, where: str, said: str | None) -> None:
    """Warn of code that nobody has reviewed, once the version is there: a gate may refuse it before."""
    if said is not None:
        warnings.warn(f"version {version} went {where}, {said}", stacklevel=4)
