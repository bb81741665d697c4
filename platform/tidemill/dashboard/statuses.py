"""Gives each error its HTTP status and the code that the JSON answer names it by."""

import re

from tidemill import errors

__all__ = ["code_of", "status_of"]

_STATUSES: tuple[tuple[type[errors.TidemillError], int], ...] = (
    (errors.AlertNotFound, 404),
    (errors.JobNotFound, 404),
    (errors.ModelNotFound, 404),
    (errors.PredictionNotFound, 404),
    (errors.RecordNotFound, 404),
    (errors.RunNotFound, 404),
    (errors.VersionNotFound, 404),
    (errors.TooManyLogins, 429),
    (errors.LoginRefused, 401),
    (errors.WindowNotFound, 404),
    (errors.NotAllowed, 403),
    (errors.ConfigError, 409),
    (errors.UsageError, 422),
    (errors.GateRefused, 409),
    (errors.TurnInProgress, 409),
    (errors.RegistryError, 409),
    (errors.MonitoringError, 409),
    (errors.RetrainingError, 409),
    (errors.StackNotRunning, 503),
    (errors.ServingError, 409),
    (errors.StateError, 503),
    (errors.NotWritable, 503),
    (errors.BeingComputed, 202),
    (errors.NotAnswering, 503),
    (errors.DataError, 503),
)


def status_of(error: errors.TidemillError) -> int:
    """Return the status of an error: the first that fits of the table above; 500 for the rest.

    >>> status_of(errors.AlertNotFound("no")), status_of(errors.StateError("away"))
    (404, 503)
    """
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def code_of(error: errors.TidemillError) -> str:
    """Return an error's name in the style of the prediction API's codes.

    >>> code_of(errors.AlertNotFound("no"))
    'alert_not_found'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
