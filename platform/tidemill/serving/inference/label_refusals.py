"""Refuse labels by keys that no prediction has, and labels from the future."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from tidemill.clock import CLOCKS_APART
from tidemill.prediction_log.labels.label_matching import GivenLabel
from tidemill.serving.inference.calls import Failure, Refused
from tidemill.serving.routing.loaded_version import FeatureReader

__all__ = ["refuse_future", "refuse_unknown_keys"]

_MOST = 100  # problems in one answer


def refuse_future(labels: Sequence[GivenLabel], now: datetime) -> None:
    """Refuse labels that are to become known only later: no later one could ever replace them.

    Raises:
        Refused: there are some; each is named.
    """
    problems = [
        {
            "loc": ["body", "labels", place, "at"],
            "msg": "Input should not lie in the future: it is when the label became known",
            "type": "datetime_future",
        }
        for place, label in enumerate(labels)
        if label.at is not None and label.at > now + CLOCKS_APART
    ]
    if problems:
        raise Refused(Failure("malformed", problems[:_MOST]))


def refuse_unknown_keys(
    labels: Sequence[GivenLabel], request: type[BaseModel], reader: FeatureReader
) -> None:
    """Refuse labels whose keys have names that predictions do not have.

    Args:
        labels: as they were sent.
        request: the schema of a request, whose fields may be keys.
        reader: of the features: says by which keys they are looked up, and from what else they are made.

    Raises:
        Refused: some have; each is named, with those that there are.
    """
    fields = [field.alias or name for name, field in request.model_fields.items()]
    known = list(dict.fromkeys([*reader.keys, *fields, *reader.inputs]))
    problems = [
        {
            "loc": ["body", "labels", place, "keys", name],
            "msg": f"Input should be a key of predictions: {', '.join(known)}",
            "type": "unknown_key",
        }
        for place, label in enumerate(labels)
        for name in label.keys or ()
        if name not in known
    ]
    if problems:
        raise Refused(Failure("malformed", problems[:_MOST]))
