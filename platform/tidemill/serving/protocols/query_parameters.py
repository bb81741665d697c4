"""Query parameters of requests: those of predictions, and which there are at all."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl

from tidemill.serving.inference.calls import Failure, Refused

__all__ = ["refuse_unknown", "wants_explanation"]

_EXPLAIN = "explain"
_WORDS = {"true": True, "1": True, "false": False, "0": False}
_MOST = 20
"""Unknown parameters that one answer names."""
_LONGEST = 100


def wants_explanation(query: bytes, moment: str) -> bool:
    """Return whether the query of a request for predictions asks for explanations (``explain=true``).

    Args:
        query: of the request.
        moment: where in the body the protocol takes the moment of the prediction.

    Raises:
        Refused: its value is neither true nor false, or there is another parameter.

    >>> wants_explanation(b"explain=true", "at"), wants_explanation(b"", "at")
    (True, False)
    """
    if not query:
        return False
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    elsewhere = {
        "at": f"the moment goes into the body: {moment}",
        "test": "send the header X-Tidemill-Test: 1",
    }
    refuse_unknown([name for name, _ in pairs], [_EXPLAIN], elsewhere)
    asked = False
    for _, value in pairs:
        if value.lower() not in _WORDS:
            raise _refused([_problem(_EXPLAIN, "Input should be true or false", "bool_parsing")])
        asked = _WORDS[value.lower()]
    return asked


def refuse_unknown(given: Iterable[str], known: Iterable[str], elsewhere: Mapping[str, str]) -> None:
    """Refuse query parameters that nothing reads: what they ask for would silently not be done.

    Args:
        given: names of those of the request.
        known: names that are read.
        elsewhere: name → where the request has to say it instead.

    Raises:
        Refused: there are others.

    >>> refuse_unknown(["limit"], ["limit", "status"], {})
    >>> try:
    ...     refuse_unknown(["limits"], ["limit", "status"], {})
    ... except Refused as error:
    ...     print(error.failure.detail[0]["msg"])
    There is no such query parameter; is 'limit' meant?
    """
    names = list(known)
    unknown = [name for name in dict.fromkeys(given) if name not in names][:_MOST]
    if unknown:
        raise _refused(
            [_problem(name, _what_else(name, names, elsewhere), "extra_forbidden") for name in unknown]
        )


def _what_else(name: str, known: list[str], elsewhere: Mapping[str, str]) -> str:
    if name in elsewhere:
        return f"There is no such query parameter; {elsewhere[name]}"
    near = get_close_matches(name[:_LONGEST].lower(), known, n=1)
    if near:
        return f"There is no such query parameter; is {near[0]!r} meant?"
    there = f"there are: {', '.join(known)}" if known else "this path takes none"
    return f"There is no such query parameter; {there}"


def _problem(name: str, message: str, kind: str) -> dict[str, Any]:
    return {"loc": ["query", name], "msg": message, "type": kind}


def _refused(problems: list[dict[str, Any]]) -> Refused:
    return Refused(Failure("malformed", problems))
