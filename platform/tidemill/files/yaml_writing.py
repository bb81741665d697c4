"""Writes values as one line of YAML that versions 1.1 (PyYAML) and 1.2 (DVC) read alike."""

import json
import math
import re
from collections.abc import Mapping, Sequence

__all__ = ["flow_yaml"]

_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What JSON may hold as it is, but YAML refuses, or takes for the end of a line."""


def flow_yaml(value: object) -> str:
    """Return a value in one line: JSON, but for floats, which YAML 1.1 reads only with a point.

    Args:
        value: text, number, boolean, None, list or mapping of these. Keys become text.

    Raises:
        TypeError: it is, or holds, something else.

    >>> print(flow_yaml({"step": 1e-05, "of": ["no", None, True]}))
    {"step": 1.0e-05, "of": ["no", null, true]}
    """
    match value:
        case float():
            return _float(value)
        case None | bool() | str() | int():
            return _UNPRINTABLE.sub(
                lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False)
            )
        case Mapping():
            items = (f"{flow_yaml(str(key))}: {flow_yaml(item)}" for key, item in value.items())
            return f"{{{', '.join(items)}}}"
        case Sequence():
            return f"[{', '.join(map(flow_yaml, value))}]"
    raise TypeError(f"{type(value).__name__} has no place in YAML")


def _float(value: float) -> str:
    """Write a float as YAML 1.1 and 1.2 both read it.

    >>> [_float(value) for value in (0.5, 1e-05, 1e300, math.inf, -math.inf)]
    ['0.5', '1.0e-05', '1.0e+300', '.inf', '-.inf']
    """
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    digits, exponent, power = repr(value).partition("e")
    return f"{digits}.0{exponent}{power}" if exponent and "." not in digits else repr(value)
