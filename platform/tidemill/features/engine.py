"""What Feast and the engines below it may raise, as our own errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pyarrow as pa
from feast.errors import FeastError
from pydantic import ValidationError
from yaml import YAMLError

from tidemill.errors import FeatureError

__all__ = ["feast_errors"]

_ENGINE_ERRORS = (
    FeastError,
    ValidationError,
    YAMLError,
    sqlite3.Error,
    pl.exceptions.PolarsError,
    pa.ArrowException,
    AssertionError,  # Feast checks its input with asserts and bare built-ins
    AttributeError,
    KeyError,
    LookupError,
    NameError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
)


@contextmanager
def feast_errors(doing: str, hint: str | None = None) -> Iterator[None]:
    """Translate what Feast raises inside the block.

    Raises:
        FeatureError: Feast failed; says what was being done.

    >>> with feast_errors("reading the registry"):
    ...     raise ValueError("no such view")
    Traceback (most recent call last):
    ...
    tidemill.errors.FeatureError: reading the registry failed: no such view
    """
    try:
        yield
    except _ENGINE_ERRORS as error:
        message = str(error) or type(error).__name__
        raise FeatureError(f"{doing} failed: {message}", hint=hint) from error
