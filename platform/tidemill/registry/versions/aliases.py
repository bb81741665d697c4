"""Read, set and delete the aliases of a model in MLflow's registry."""

from mlflow import MlflowException

from tidemill.errors import RegistryError, TrainingError
from tidemill.project import Project
from tidemill.registry.versions.artifacts import CHECK_REGISTRY
from tidemill.training.tracking.mlflow_tracking import connect, store_words

__all__ = ["drop_alias", "read_aliases", "set_alias"]


def read_aliases(project: Project) -> dict[str, str]:
    """Return alias → version of the project's model; empty if there is no such model. Cheap enough to poll.

    Raises:
        RegistryError: the registry does not answer.
    """
    try:
        found = connect(project).get_registered_model(project.model)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise RegistryError(
            f"the registry cannot say which version of {project.model} serves: {store_words(error)}",
            hint=CHECK_REGISTRY,
        ) from error
    except TrainingError as error:
        raise RegistryError(str(error), hint=error.hint) from error
    return {alias: str(version) for alias, version in found.aliases.items()}


def set_alias(project: Project, alias: str, version: str) -> None:
    """Point an alias to a version.

    Raises:
        RegistryError: the registry refused.
    """
    try:
        connect(project).set_registered_model_alias(project.model, alias, version)
    except MlflowException as error:
        raise RegistryError(
            f"{project.model} {version} cannot be made {alias}: {store_words(error)}",
            hint="it is on record as pending; the next start or deployment finishes or drops it",
        ) from error


def drop_alias(project: Project, alias: str) -> None:
    """Delete an alias, if it exists.

    Raises:
        RegistryError: the registry refused.
    """
    try:
        connect(project).delete_registered_model_alias(project.model, alias)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return
        raise RegistryError(
            f"the alias {alias} of {project.model} cannot be removed: {store_words(error)}",
            hint="the version no longer serves; the next deployment removes the alias",
        ) from error
