"""Load a project's training spec: its own, or one of ready-made families."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tidemill.errors import ConfigError
from tidemill.tasks.task_names import TaskName
from tidemill.training.model_spec import TrainingSpec

if TYPE_CHECKING:
    from tidemill.project import Project

__all__ = ["SpecSource", "imports_of", "load_spec", "spec_source"]


@dataclass(frozen=True)
class SpecSource:
    """Where a training spec comes from; plain values, so that any process can make it."""

    reference: str | None
    """``module:object`` of the project's own; None for one of ``families``."""
    families: tuple[str, ...]
    """Names of ready-made families."""
    task: TaskName

    def open(self, load: Callable[[str], Any]) -> TrainingSpec:
        """Return the spec.

        Args:
            load: imports ``module:object`` of the project.

        Raises:
            ConfigError: the object is missing or no TrainingSpec, or a family needs a missing package.
        """
        if self.reference is None:
            from tidemill.training.families.ready_families import ready_spec  # scikit-learn takes seconds

            return ready_spec(self.families, self.task)
        spec = load(self.reference)
        if not isinstance(spec, TrainingSpec):
            raise ConfigError(
                f"{self.reference!r} is a {type(spec).__name__}, not a TrainingSpec",
                hint="project.training in params.yaml must name a tidemill.training.model_spec.TrainingSpec",
            )
        return spec


def imports_of(root: str) -> Callable[[str], Any]:
    """Return what imports ``module:object`` of a project in a worker, which does not know its folder.

    >>> imports_of(".")("json:dumps")({})
    '{}'
    """
    if root not in sys.path:
        sys.path.insert(0, root)
    return _import


def _import(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


def spec_source(project: "Project") -> SpecSource:
    """Return where the project's training spec comes from."""
    config = project.config
    return SpecSource(config.project.training, config.train.families, config.project.task)


def load_spec(project: "Project") -> TrainingSpec:
    """Return the project's training spec.

    Raises:
        ConfigError: the object is missing or no TrainingSpec, or a family needs a missing package.
    """
    return spec_source(project).open(project.load)
