"""The ready-made families by name, and what each needs installed."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

from tidemill.errors import ConfigError
from tidemill.tasks.task_names import TaskName
from tidemill.training.model_spec import Family, TrainingSpec

__all__ = ["DISTRIBUTED", "FAMILIES", "GO_ON", "ready_spec"]

FAMILIES: dict[str, str | None] = {
    "linear": None,
    "random_forest": None,
    "hist_gradient_boosting": None,
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "mlp": "torch",
}
"""The package of each family that does not come with scikit-learn, which is also the name of the extra that
installs it."""

GO_ON = frozenset({"lightgbm", "xgboost"})
"""Those that can go on from an earlier model."""

DISTRIBUTED = frozenset({"lightgbm", "mlp", "xgboost"})
"""Those that several workers can fit together."""


def ready_spec(names: Sequence[str], task: TaskName) -> TrainingSpec:
    """Return a training spec of ready-made families.

    Args:
        names: of `FAMILIES`, at least one.
        task: what is predicted.

    Raises:
        ConfigError: there is no such family, its package is not installed, or none answers for the task.

    >>> [family.name for family in ready_spec(["linear"], "multiclass").families]
    ['linear']
    """
    if task == "custom":
        raise ConfigError(
            "no ready-made family answers for the task custom",
            hint="name a training spec of the project's own: project.training in params.yaml",
        )
    return TrainingSpec(tuple(_family(name)(task) for name in names))


def _family(name: str) -> Callable[[TaskName], Family]:
    if name not in FAMILIES:
        raise ConfigError(
            f"there is no ready-made family {name!r}: choose {', '.join(FAMILIES)}",
            hint="train.families in params.yaml names the families",
        )
    package = FAMILIES[name]
    if package is not None and find_spec(package) is None:
        raise ConfigError(
            f"the family {name} needs the package {package}, which is not installed",
            hint=f"pip install 'tidemill[{package}]', or leave {name} out of train.families in params.yaml",
        )
    made: Callable[[TaskName], Family] = getattr(import_module(f"{__package__}.{name}"), name)
    return made
