"""MLflow's GraphQL, which its pages read by: how long a query may be, and what is said of a wrong one."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from tidemill.dashboard.error_pages import error_answer

__all__ = ["MOST", "QUERIES", "said_plainly"]

QUERIES: Final = "/graphql"
MOST: Final = 64 * 2**10
"""Bytes of a query; its pages send a few thousand. It bounds how deep one is, too."""


async def said_plainly(request: Request, answer: Response) -> Response:
    """Return MLflow's answer; it breaks at what it cannot read, which is no fault of the server."""
    if answer.status_code < 500:
        return answer
    if answer.background is not None:
        await answer.background()  # it closes the answer
    return error_answer(
        request, 400, "bad_request", "MLflow cannot read this query", "send one query, which its schema has"
    )
