"""The flights API with two models: champion and challenger vote, and a rule says when.

To try it, with a version that has the alias ``challenger``: ``project.application`` in params.yaml becomes
``examples.composition.application:application``, then ``tidemill up``.
"""

from dataclasses import replace

from serving.application import HIGH_RISK, MEDIUM_RISK
from serving.application import application as alone
from tidemill import Composition, CompositionRequest, Part, PartFailed, Scores

__all__ = ["application", "score"]


async def score(request: CompositionRequest) -> Scores:
    """Return the champion's score; where it is about to advise something costly, the mean of both models'.

    Rebooking passengers costs, so a second opinion is asked for where the champion's score is around the
    threshold. Without a challenger, the champion decides alone, and the answers say so.
    """
    made = request.own.copy()
    close = (made >= MEDIUM_RISK) & (made < HIGH_RISK + (HIGH_RISK - MEDIUM_RISK))
    request.flag("second-opinion", close)
    try:
        made[close] = (made[close] + await request.ask("challenger", where=close)) / 2
    except PartFailed:
        request.flag("alone", close)
    return made


application = replace(
    alone,
    composition=Composition({"challenger": Part("flight-delay", alias="challenger")}, score),
)
