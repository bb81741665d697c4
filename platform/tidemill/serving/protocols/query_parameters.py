"""Query parameters of requests for predictions."""

from tidemill.serving.inference.calls import Failure, Refused

__all__ = ["wants_explanation"]

_WORDS = {b"true": True, b"1": True, b"false": False, b"0": False}


def wants_explanation(query: bytes) -> bool:
    """Return whether a request's query asks for explanations (``explain=true``).

    Raises:
        Refused: its value is neither true nor false.

    >>> wants_explanation(b"explain=true"), wants_explanation(b"")
    (True, False)
    """
    if b"explain" not in query:
        return False
    asked = False
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"explain":
            if value.lower() not in _WORDS:
                problem = {
                    "loc": ["query", "explain"],
                    "msg": "Input should be true or false",
                    "type": "bool_parsing",
                }
                raise Refused(Failure("malformed", [problem]))
            asked = _WORDS[value.lower()]
    return asked
