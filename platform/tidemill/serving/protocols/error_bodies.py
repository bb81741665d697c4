"""Choose the protocol that formats the errors of a path."""

from tidemill.serving.inference.calls import ErrorCodec
from tidemill.serving.protocols.mlflow_scoring import MlflowErrors
from tidemill.serving.protocols.open_inference import OpenInferenceErrors
from tidemill.serving.protocols.predict_codec import PLAIN

__all__ = ["error_codec"]

_OPEN_INFERENCE = OpenInferenceErrors()
_MLFLOW = MlflowErrors()


def error_codec(path: str) -> ErrorCodec:
    """Return the protocol that formats an error at ``path``.

    >>> error_codec("/v2/models/nobody").name, error_codec("/invocations").name, error_codec("/feedback").name
    ('open_inference', 'mlflow', 'http')
    """
    if path == "/v2" or path.startswith("/v2/"):
        return _OPEN_INFERENCE
    return _MLFLOW if path == "/invocations" else PLAIN
