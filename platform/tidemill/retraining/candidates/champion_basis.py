"""Says where a turn looks for its model, beginning with the champion, or going on from it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tidemill.errors import RegistryError
from tidemill.privacy.erasure.erasure_record import erased_after_learning
from tidemill.project import Project
from tidemill.registry.versions.model_versions import champion, load_judged, load_original
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.retraining.recipes import Recipe
from tidemill.state import State
from tidemill.training.search.search_plan import Basis, ParentModel, SearchPlan

__all__ = ["check_search", "find_parent", "plan_of"]


def plan_of(project: Project, state: State, declared: Mapping[str, Any] | None) -> SearchPlan:
    """Return where a turn looks for its model, by the recipe on its record."""
    plan, serving = _declared(project, declared)
    if plan.search != "warm" or plan.basis is None or serving is None:
        return plan
    return replace(plan, basis=replace(plan.basis, parent=find_parent(project, state, serving)))


def check_search(project: Project, declared: Mapping[str, Any] | None) -> None:
    """Refuse a turn whose search could not be made, before any step of it.

    Args:
        project: with the parameters of the turn.
        declared: the recipe on its record.

    Raises:
        ConfigError: the search cannot be made, or the training spec is not one.
        RegistryError: the search is to begin with the champion, and the registry does not answer.
    """
    from tidemill.training.search.planned_search import check_plan  # Ray takes seconds
    from tidemill.training.spec_loading import load_spec

    plan, _ = _declared(project, declared)
    check_plan(plan, load_spec(project), project.config.train)


def _declared(project: Project, declared: Mapping[str, Any] | None) -> tuple[SearchPlan, ModelVersion | None]:
    """Return a recipe's plan without its parent, and the champion, where it begins with that."""
    if declared is None:
        return SearchPlan(), None
    recipe = Recipe.model_validate(declared)
    serving = champion(project) if recipe.search != "full" else None
    trained = serving.trained if serving is not None else None
    basis = None if trained is None else Basis(*trained.chosen[:3], schedule=trained.schedule)
    return SearchPlan(recipe.search, recipe.windows, basis), serving


def find_parent(project: Project, state: State, serving: ModelVersion) -> ParentModel | str:
    """Return the champion's estimator, or why no model may go on from it.

    With ``train.refit`` it is the twin, which did not learn from its hold-out; so a model that goes on from
    it can be judged.
    """
    whose = f"version {serving.version}"
    if serving.lineage is None or serving.trained is None:
        return f"Tidemill did not train {whose}"
    if serving.lineage.imported is not None:
        return f"{whose} was imported, so what it learnt from is not known"
    if (erasure := erased_after_learning(state, serving)) is not None:
        return f"{whose} learnt, or may have, from a subject that was erased since ({erasure})"
    try:
        twin = serving.trained.refitted_on is not None
        scorer = load_judged(project, serving) if twin else load_original(project, serving.version)
    except RegistryError as error:
        return f"{whose} cannot be loaded: {error}"
    return ParentModel(
        serving.version, serving.run_id, scorer.estimator, serving.trained.features, serving.lineage.split
    )
