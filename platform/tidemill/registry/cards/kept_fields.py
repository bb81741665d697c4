"""Keeps with a version what people say about it, as ``card.yaml`` has it at that moment."""

import json
import logging
from datetime import UTC, datetime

from mlflow import MlflowException

from tidemill.accounts import audit
from tidemill.errors import ConfigError, RegistryError
from tidemill.project import Project
from tidemill.registry.cards.card_fields import CARD_FILE, KEPT, CardFields, read_fields
from tidemill.registry.versions.artifacts import CHECK_REGISTRY
from tidemill.registry.versions.model_versions import get_version
from tidemill.state import State
from tidemill.training.tracking.mlflow_tracking import connect, store_words

__all__ = ["keep_at_promotion", "keep_fields"]

_LOG = logging.getLogger(__name__)


def keep_fields(project: Project, state: State, version: str, *, actor: str, reason: str) -> str:
    """Keep what ``card.yaml`` says with a version, in place of what was kept before; return its number.

    Raises:
        ModelNotFound: there is no such version.
        ConfigError: the file is wrong, or says nothing.
        RegistryError: the registry refused.
    """
    found, fields = get_version(project, version), read_fields(project.root)
    said = fields.model_dump(exclude_none=True)
    if not said:
        raise ConfigError(
            f"{project.root / CARD_FILE} says nothing: there is nothing to keep",
            hint="docs/model-card.md has an example",
        )
    with state.transaction() as session:
        act = audit.Act(actor, "keep-card", "version", found.version, found.model, reason, {"card": said})
        audit.append(session, act)
    try:
        _write(project, found.version, fields)
    except MlflowException as error:
        raise RegistryError(
            f"the card of {found.model} {found.version} cannot be kept: {store_words(error)}",
            hint=CHECK_REGISTRY,
        ) from error
    return found.version


def keep_at_promotion(project: Project, version: str) -> None:
    """Keep what ``card.yaml`` says with a version that is about to become champion.

    A file that is wrong, or a registry that takes no such tag, holds up no promotion: it is logged.
    """
    try:
        fields = read_fields(project.root)
        if fields.model_dump(exclude_none=True):
            _write(project, version, fields)
    except (ConfigError, MlflowException) as error:
        _LOG.warning("what %s says is not kept with %s %s: %s", CARD_FILE, project.model, version, error)


def _write(project: Project, version: str, fields: CardFields) -> None:
    kept = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "said": fields.model_dump(exclude_none=True),
    }
    text = json.dumps(kept, ensure_ascii=False)
    connect(project).set_model_version_tag(project.model, version, KEPT, text)
