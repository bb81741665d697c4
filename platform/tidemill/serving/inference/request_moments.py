"""Moments in requests: with their offset from UTC, in a year that can be meant."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

from tidemill.clock import FIRST_YEAR, LAST_YEAR, is_number

__all__ = ["Moment"]

_GIVEN = {type(None): "null", bool: "a truth value", list: "a list", dict: "an object"}


def _no_number(value: object) -> object:
    # Pydantic takes numbers, and digits as text, for seconds or milliseconds since 1970, by their size.
    if not isinstance(value, str | datetime) or (isinstance(value, str) and is_number(value)):
        raise PydanticCustomError(
            "datetime_type",
            "Input should be a moment such as 2013-04-01T10:15:00Z, not {given}",
            {"given": _GIVEN.get(type(value), "a number")},
        )
    return value


def _bounded(moment: datetime) -> datetime:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise PydanticCustomError(
            "datetime_range",
            "Input should lie in the years {first} to {last}",
            {"first": FIRST_YEAR, "last": LAST_YEAR},
        )
    return moment


Moment = Annotated[AwareDatetime, BeforeValidator(_no_number), AfterValidator(_bounded)]
"""A moment with its offset from UTC, in a year that can be meant: for fields of requests."""
