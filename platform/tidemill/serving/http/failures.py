"""Which HTTP status an error is answered with: decided here, for every protocol."""

import logging

from tidemill.errors import FeatureError, ServingError, TidemillError
from tidemill.serving.inference.calls import Failure, Overloaded, Refused, TimedOut
from tidemill.serving.inference.predictor import ModelFailed, NoChampion

__all__ = ["RETRY", "failure_of"]

RETRY = ((b"retry-after", b"1"),)
_log = logging.getLogger(__name__)


def failure_of(error: Exception) -> Failure:
    """Return how an error is answered; what is not the client's doing is logged.

    >>> failure_of(Overloaded("too many requests are under way"))[:3]
    (503, 'overloaded', 'too many requests are under way')
    """
    match error:
        case Refused():
            return error.failure
        case Overloaded():
            return Failure(503, "overloaded", str(error), RETRY)
        case TimedOut():
            return Failure(504, "timeout", str(error))
        case NoChampion():
            return Failure(503, "no_model", str(error), RETRY)
        case TidemillError():
            _log.error("%s", error, exc_info=error)
            if isinstance(error, ModelFailed):
                return Failure(500, "model", str(error), version=error.version)
            if isinstance(error, FeatureError):
                return Failure(503, "features", str(error))
            return Failure(503 if isinstance(error, ServingError) else 500, "internal", str(error))
        case _:
            _log.error("internal error", exc_info=error)
            name = type(error).__name__
            return Failure(500, "internal", f"internal error: {name}; the replica's log says more")
