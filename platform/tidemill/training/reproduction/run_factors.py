"""Says in which respects two trainings differ that can be exchanged one at a time. Pure.

A recipe names, for each respect, from which of the two runs it is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from tidemill.training.tracking.run_lineage import Lineage
from tidemill.training.tracking.training_result import TrainedModel, schedule_words

__all__ = ["PARAMETER", "Factor", "Recipe", "RunSide", "Which", "factors_between", "model_of", "recipe"]

Which = Literal["a", "b"]
Recipe = Mapping[str, Which]
"""Factor → the run that it is taken from; what does not differ is in none."""
PARAMETER: Final = "parameter "
"""How the name of a single parameter's factor begins."""
_OWN_SECTIONS = ("dataset", "split", "train", "project", "features")
"""Sections of ``params.yaml`` that a fit reads; the others act on the data, or later."""
_OF_SEARCHES = frozenset(
    f"train.{name}"
    for name in (
        "checkpoint_seconds", "cpu_hours", "families", "grid_points", "max_concurrent", "metrics", "minutes",
        "patience", "resources", "scheduler", "search", "search_rows", "seed", "trials", "warm_start",
    )
)  # fmt: skip
"""What a fit does not read: its parameters are on record. The seed is a difference of its own."""


@dataclass(frozen=True)
class RunSide:
    """What is on record of one of the two runs."""

    run_id: str
    lineage: Lineage
    trained: TrainedModel
    patch: bytes
    params: Mapping[str, Any]
    """``params.yaml`` of its code, parsed."""

    @property
    def seed(self) -> int:
        """The seed of splits and draws."""
        return int((self.params.get("train") or {}).get("seed") or 0)


@dataclass(frozen=True)
class Factor:
    """A respect in which two runs differ."""

    name: str
    values: tuple[str, str]
    """Of both runs, in words."""


def factors_between(
    a: RunSide, b: RunSide, code_files: Sequence[str], *, each_parameter: bool = False
) -> list[Factor]:
    """Return the respects in which two runs differ, those first that usually matter most.

    Args:
        a: the run to begin with.
        b: the run whose gain is to be explained.
        code_files: files of code that differ between them.
        each_parameter: whether each parameter of the family is a factor of its own; default: all are one.
    """
    found = [*_of_model(a.trained, b.trained, each_parameter)]
    data = tuple(_data_of(side) for side in (a, b))
    if _rows_differ(a, b):
        found.append(Factor("data", (data[0], data[1])))
    if a.trained.features != b.trained.features:
        mine, other = set(a.trained.features), set(b.trained.features)
        found.append(Factor("features", (_only(mine - other, mine), _only(other - mine, other))))
    if a.trained.window != b.trained.window:
        found.append(Factor("window", (a.trained.window or "all", b.trained.window or "all")))
    if code := [name for name in code_files if name not in ("params.yaml", "dvc.lock")]:
        shown = f"{', '.join(code[:3])}" + (f" and {len(code) - 3} more" if len(code) > 3 else "")
        commits = [f"{side.lineage.git_commit[:10]}{' +' if side.patch else ''}" for side in (a, b)]
        found.append(Factor("code", (commits[0], f"{commits[1]}: {shown}")))
    if changed := _settings(a.params, b.params):
        found.append(Factor("settings", (_written(changed, a.params), _written(changed, b.params))))
    if a.seed != b.seed:
        found.append(Factor("seed", (str(a.seed), str(b.seed))))
    return found


def recipe(factors: Sequence[Factor], all_of: Which, but: str | None = None) -> Recipe:
    """Return a recipe that takes everything from one run, but one factor from the other.

    >>> recipe([Factor("data", ("1", "2")), Factor("seed", ("0", "1"))], "a", "seed")
    {'data': 'a', 'seed': 'b'}
    """
    other: Which = "b" if all_of == "a" else "a"
    return {factor.name: other if factor.name == but else all_of for factor in factors}


def model_of(a: TrainedModel, b: TrainedModel, chosen: Recipe) -> TrainedModel:
    """Return family, parameters, rounds, features and window of a recipe, as a record."""
    sides = {"a": a, "b": b}

    def of(name: str) -> TrainedModel:
        return sides[chosen.get(name, "a")]

    model = of("family")
    found = replace(model, features=of("features").features, window=of("window").window)
    if a.family != b.family:
        return found
    params = dict(of("parameters").params)
    for name, which in chosen.items():
        if name.startswith(PARAMETER):
            key, source = name.removeprefix(PARAMETER), sides[which].params
            params.pop(key, None)
            params |= {key: source[key]} if key in source else {}
    schedule = of("parameters").schedule
    return replace(found, params=params, rounds=of("rounds").rounds, schedule=schedule)


def _of_model(a: TrainedModel, b: TrainedModel, each: bool) -> list[Factor]:
    if a.family != b.family:
        return [Factor("family", (a.family, b.family))]
    names = [name for name in {**a.params, **b.params} if a.params.get(name) != b.params.get(name)]
    found = []
    scheduled = a.schedule != b.schedule
    if names and each and not scheduled:
        found = [
            Factor(f"{PARAMETER}{name}", (_short(a.params.get(name)), _short(b.params.get(name))))
            for name in names
        ]
    elif names or scheduled:
        sides = [", ".join(f"{name} {_short(of.params.get(name))}" for name in names) for of in (a, b)]
        if scheduled:
            sides = [schedule_words(of.schedule or ((1, of.params),)) for of in (a, b)]
        found = [Factor("parameters", (sides[0], sides[1]))]
    if a.rounds != b.rounds:
        found.append(Factor("rounds", (str(a.rounds), str(b.rounds))))
    return found


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows_differ(a: RunSide, b: RunSide) -> bool:
    """Return whether the runs had other rows; another moment alone may have shown them the same ones."""
    if a.lineage.data != b.lineage.data:
        return True
    if a.lineage.as_of == b.lineage.as_of:
        return False
    known = a.trained.labels is not None
    return not known or (a.lineage.split, a.trained.labels) != (b.lineage.split, b.trained.labels)


def _data_of(side: RunSide) -> str:
    return f"{side.lineage.git_commit[:10]} as of {side.lineage.as_of:%Y-%m-%d %H:%M}"


def _only(own: set[str], all_of: set[str]) -> str:
    return f"{len(all_of)}, only here: {', '.join(sorted(own)) or 'none'}" if own else f"{len(all_of)}"


def _settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of the settings of a fit that differ, without those of the search."""
    found = []
    for section in _OWN_SECTIONS:
        mine, theirs = one.get(section) or {}, other.get(section) or {}
        names = dict.fromkeys([*mine, *theirs])
        found += [f"{section}.{name}" for name in names if mine.get(name) != theirs.get(name)]
    return [name for name in found if name not in _OF_SEARCHES]


def _written(names: Sequence[str], params: Mapping[str, Any]) -> str:
    pairs = (name.split(".", 1) for name in names)
    return ", ".join(f"{section}.{name} {(params.get(section) or {}).get(name)}" for section, name in pairs)
