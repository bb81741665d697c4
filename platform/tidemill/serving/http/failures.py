"""Map errors to failures, and log those that the client did not cause."""

import logging

from tidemill.errors import FeatureError, ServingError, StateError, TidemillError, WrongKey
from tidemill.serving.inference.calls import Failure, Overloaded, Refused, TimedOut
from tidemill.serving.inference.predictor import ModelFailed, NoChampion

__all__ = ["failure_of"]

_log = logging.getLogger(__name__)


def failure_of(error: Exception) -> Failure:
    """Return the failure for an error, and log it unless the client caused it.

    >>> failure_of(Overloaded("too many requests are under way"))[:2]
    ('overloaded', 'too many requests are under way')
    >>> failure_of(WrongKey("key 'depot' is INT64, and str 'north' is not")).kind
    'malformed'
    """
    match error:
        case Refused():
            return error.failure
        case Overloaded():
            return Failure("overloaded", str(error))
        case TimedOut():
            return Failure("timeout", str(error))
        case WrongKey():
            return Failure("malformed", str(error))
        case NoChampion():
            return Failure("no_model", str(error))
        case TidemillError():
            _log.error("%s", error, exc_info=error)
            if isinstance(error, ModelFailed):
                return Failure("model", str(error), version=error.version)
            if isinstance(error, FeatureError):
                return Failure("features", str(error))
            away = isinstance(error, ServingError | StateError)
            return Failure("unavailable" if away else "internal", str(error))
        case _:
            _log.error("internal error", exc_info=error)
            name = type(error).__name__
            return Failure("internal", f"internal error: {name}; the replica's log says more")
