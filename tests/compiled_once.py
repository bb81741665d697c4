"""What SQLAlchemy makes for each database, and FastAPI for each application, made once a process of tests.

SQLAlchemy keeps the SQL of a statement for each engine, FastAPI a validator for each answer of each
route. Programs open one database and make one application; tests do so many hundred times, with the same
statements and answers. They also ask for the versions of the same packages with each model.
"""

import importlib.metadata
import sys
from functools import cache, lru_cache
from typing import Any

import importlib_metadata
from sqlalchemy import URL, Engine, Pool
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

_statements: LRUCache[Any, Any] = LRUCache(3000)
_make_engine = Engine.__init__


def share_statements() -> None:
    """Let all engines of a dialect use the SQL that one of them has compiled."""

    def make_engine(self: Engine, pool: Pool, dialect: Dialect, url: URL, **rest: Any) -> None:
        _make_engine(self, pool, dialect, url, **rest)
        self._compiled_cache = _statements

    Engine.__init__ = make_engine  # type: ignore[assignment,method-assign]
    DefaultDialect.__eq__ = _alike  # type: ignore[assignment,method-assign]
    DefaultDialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]


def _alike(one: DefaultDialect, other: object) -> bool:
    """What a compiled statement takes from its dialect."""
    return type(one) is type(other) and all(
        getattr(one, name, None) == getattr(other, name, None)
        for name in ("paramstyle", "_json_serializer", "_json_deserializer")
    )


def share_answers() -> None:
    """Make the fields of FastAPI's answers once, if it is imported by now."""
    routing: Any = sys.modules.get("fastapi.routing")
    if hasattr(routing, "APIRoute") and not hasattr(routing.create_model_field, "cache_info"):
        routing.create_model_field = lru_cache(maxsize=3000)(routing.create_model_field)


def share_versions() -> None:
    """Read the description of an installed package once: each takes a millisecond, a model a dozen."""
    importlib.metadata.version = cache(importlib.metadata.version)
    importlib_metadata.version = cache(importlib_metadata.version)
