"""Judges the policies of a project at a moment, and says what each rule says, without acting on it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tidemill.plurals import said_days
from tidemill.project import Project
from tidemill.registry.versions.registry_reader import read_champion
from tidemill.retraining.by_hand.past_facts import gather_then
from tidemill.retraining.policies import Policy, load_policies
from tidemill.retraining.policy_facts import Hold
from tidemill.retraining.policy_rules import explain, judge
from tidemill.retraining.situation import Facts, gather
from tidemill.retraining.triggers.policy_causes import lacking, too_old, unheard
from tidemill.retraining.triggers.untold_changes import untold_change
from tidemill.state import State

__all__ = ["judge_policies", "judge_policies_then"]


def judge_policies(project: Project, state: State, now: datetime) -> list[dict[str, Any]]:
    """Return of each policy when it asks, its verdict and why, and each rule's word; nothing is recorded.

    Raises:
        TidemillError: the records, the registry, the prediction log or the declarations cannot be read.
    """
    policies = load_policies(project)
    return _told(policies, gather(project, state, policies, read_champion(project), now), now)


def judge_policies_then(project: Project, state: State, then: datetime) -> list[dict[str, Any]]:
    """Return the same of a moment of the past, with the champion of then, and what of it is of today.

    Raises:
        TidemillError: as `judge_policies`.
    """
    policies = load_policies(project)
    past = gather_then(project, state, policies, then)
    said = {"champion": past.champion, "of_today": list(past.of_today)}
    return [each | said for each in _told(policies, past.facts, then)]


def _told(policies: Sequence[Policy], facts: Facts, now: datetime) -> list[dict[str, Any]]:
    seen = facts.alerts, facts.turns, now, facts.situation
    told = []
    for policy in policies:
        verdict = judge(policy, *seen)
        held = isinstance(verdict, Hold)
        told.append(
            {
                "policy": policy.name,
                "asks_when": policy.asks_when,
                "verdict": None if verdict is None else "hold" if held else "retrain",
                "rule": verdict.code if isinstance(verdict, Hold) else None,
                "reason": verdict.reason if verdict else None,
                "cause": verdict.cause.message if verdict else None,
                "rules": explain(policy, *seen),
                "untold": untold_change(policy.name, facts.turns, facts.situation),
                "lacking": lacking(policy, now, facts.situation),
                "too_old": [
                    f"{each.kind} of monitor {each.monitor}, last confirmed "
                    f"{each.last_seen_at:%Y-%m-%d %H:%M} UTC, is too old "
                    f"(max_age: {said_days(policy.max_age)})"
                    for each in too_old(policy, facts.alerts, now)
                ],
                "unheard": [
                    f"{each.kind} of monitor {each.monitor}: no condition of the policy names this kind"
                    for each in unheard(policy, facts.alerts, now)
                ],
            }
        )
    return told
