"""Says who did something, and why, without telling the name of a policy twice."""

__all__ = ["reason_beside", "told", "who"]

_POLICY = "policy:"
_KINDS = (_POLICY, "monitor:")


def who(actor: str) -> str:
    """Return who did something, in words.

    >>> who("policy:keep-fresh"), who("monitor:weekly"), who("ada")
    ('policy keep-fresh', 'monitor weekly', 'ada')
    """
    return actor.replace(":", " ", 1) if actor.startswith(_KINDS) else actor


def reason_beside(actor: str, reason: str) -> str:
    """Return a reason as it is read beside the actor: one that begins with the policy's name, without it.

    >>> reason_beside("policy:keep-fresh", "keep-fresh: 9 of 29 features have drifted")
    '9 of 29 features have drifted'
    >>> reason_beside("ada", "keep-fresh: I like it")
    'keep-fresh: I like it'
    """
    if not actor.startswith(_POLICY):
        return reason
    return reason.removeprefix(f"{actor.removeprefix(_POLICY)}: ")


def told(actor: str, reason: str) -> str:
    """Return who did something, and why.

    >>> told("policy:keep-fresh", "keep-fresh: 9 of 29 features have drifted"), told("ada", "")
    ('policy keep-fresh: 9 of 29 features have drifted', 'ada')
    """
    because = reason_beside(actor, reason)
    return f"{who(actor)}: {because}" if because else who(actor)
