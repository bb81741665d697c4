"""Reads values that Python wrote as text, as pandas does with dictionaries in CSV; nothing of them is run."""

import ast
from typing import Any

__all__ = ["value_of_text"]

_LONGEST = 1 << 20
_NAMED = {"nan": float("nan"), "inf": float("inf")}


def value_of_text(text: str) -> Any:
    """Return the value of a literal of Python, in which ``nan`` and ``inf`` stand for numbers.

    Raises:
        ValueError: it is something else, or longer than 1 MiB.

    >>> value_of_text("{'loss': 0.5, 'best': inf, 'worst': -inf}")
    {'loss': 0.5, 'best': inf, 'worst': -inf}
    >>> value_of_text("__import__('os')")
    Traceback (most recent call last):
      ...
    ValueError: it is no value of Python
    """
    if len(text) > _LONGEST:
        raise ValueError(f"it has {len(text):,} characters, more than {_LONGEST:,}")
    try:
        return ast.literal_eval(_Numbers().visit(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("it is no value of Python") from error


class _Numbers(ast.NodeTransformer):
    """Puts numbers where their names stand."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(_NAMED[node.id]) if node.id in _NAMED else node
