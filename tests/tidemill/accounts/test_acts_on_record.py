"""Every function that changes the records for somebody writes an audit entry in the same transaction."""

import ast
from collections.abc import Iterator

from tests.tidemill.library_source import LIBRARY, nodes

MACHINERY = {
    "accounts/audit.py": "the log itself",
    "accounts/auditing/audit_retention.py": "the log itself",
    "state/": "opens the records, and takes alerts that another system tells",
}
"""Modules whose functions are not looked at."""
UNATTENDED = {
    "registry/second_person.py:withdraw": "the answer that refuses the version is on record",
    "registry/second_person.py:_use": "the promotion or the rollout that it lets through is on record",
    "accounts/login_sessions.py:start_session": "who logs somebody in puts it on record",
    "accounts/sign_on/single_sign_on.py:begin_sign_on": "an attempt; a login is on record",
    "accounts/sign_on/single_sign_on.py:_make_room": "attempts that nobody finished",
    "accounts/sign_on/single_sign_on.py:finish_sign_on": "an attempt; a login is on record",
    "accounts/sign_on/single_sign_on.py:_replace_roles": "a part of a login, whose entry names the roles",
    "accounts/login_sessions.py:keep_alive": "when a session was used last",
    "accounts/login_limits.py:forget_failures": "counts failed logins",
    "accounts/login_limits.py:record_failure": "counts failed logins",
    "accounts/login_limits.py:_count": "counts failed logins, and those begun at a provider",
    "accounts/login_limits.py:forget_begun": "counts logins begun at a provider",
    "alerting/alert_states.py:_raise": "what a monitor found",
    "alerting/alert_states.py:record_alerts": "what a monitor found",
    "alerting/undeclared_alerts.py:resolve_undeclared": "follows from the declarations, which git keeps",
    "alerting/undeclared_alerts.py:resolve_outlived": "follows from a promotion that is on record",
    "alerting/missed_runs.py:raise_missed": "what a monitor found",
    "monitoring/monitor.py:evaluate": "what a monitor found",
    "monitoring/monitor.py:forget_failures": "what a monitor found",
    "monitoring/monitoring_round.py:_record_failure": "what a monitor found",
    "alerting/alert_states.py:record_step": "a part of an act of `alert_actions`, or what a monitor found",
    "alerting/notifying.py:_claim": "what was sent, or withheld",
    "alerting/notifying.py:_settle": "what was sent, or withheld",
    "alerting/notifying.py:decide_due": "what was sent, or withheld",
    "alerting/webhooks/registry_events.py:_cursor": "what was sent",
    "alerting/webhooks/registry_events.py:_settle": "what was sent",
    "alerting/webhooks/registry_events.py:_postpone": "what was sent",
    "dashboard/installation.py:record_project": "which projects there are; nobody decides it",
    "registry/gates/gate_decisions.py:ask_gate": "the gate's answer; who acts on it is on record",
    "registry/stage_promotion.py:_keep": "what a stage's gates said; a request for approval is on record",
    "registry/history/reconciliation.py:go_live": "follows from a deployment that is on record",
    "registry/history/reconciliation.py:reconcile_deployments": "follows from a deployment that is on record",
    "rollouts/rollout.py:_reshare": "follows from a deployment that is on record",
    "retraining/turns/turn_begin.py:_name_in_decision": "what a policy decided; its turn is on record",
    "retraining/backtest/backtest_record.py:keep_backtest": "what policies would have done",
    "retraining/by_hand/asked_act_record.py:begin_record": "progress of an act, which puts itself on record",
    "retraining/by_hand/asked_act_record.py:end_record": "progress of an act, which puts itself on record",
    "retraining/decision_record.py:record_decisions": "what a policy decided; its turn is on record",
    "retraining/turns/turn.py:_hold": "progress of a turn whose start is on record",
    "retraining/turns/turn.py:_record": "progress of a turn whose start is on record",
    "scoring/schedules/scheduled_runs.py:_claim": "runs of a schedule",
    "scoring/schedules/scheduled_runs.py:_give_up_the_dead": "runs of a schedule",
    "scoring/schedules/scheduled_runs.py:_record": "runs of a schedule",
    "accounts/api_keys.py:record_use": "when a key was used last",
    "serving/jobs/job_erasure.py:_cancel": "a part of an erasure, which is on record",
    "serving/jobs/job_erasure.py:_put_on_record": "a part of an erasure, which is on record",
    "serving/jobs/job_records.py:_change": "progress of a job",
    "serving/jobs/job_records.py:advance": "progress of a job",
    "serving/jobs/job_records.py:claim": "progress of a job",
    "serving/jobs/job_records.py:fail": "progress of a job",
    "serving/jobs/job_records.py:forget": "progress of a job",
    "serving/jobs/job_records.py:postpone": "progress of a job",
    "serving/jobs/job_records.py:submit": "a prediction that a program asks for; the job says whose",
    "serving/observability/version_counters.py:record_counts": "counts and heartbeats of replicas",
    "serving/routing/replicas.py:forget_replica": "counts and heartbeats of replicas",
    "serving/routing/replicas.py:record_status": "counts and heartbeats of replicas",
}
"""Functions that write by themselves, or a part of an act that another function puts on record, and why."""


def _writes(function: ast.AST) -> bool:
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("session"), attr=name)) if name in (
                "add",
                "add_all",
                "merge",
                "delete",
            ):
                return True
            case ast.Call(
                func=ast.Attribute(value=ast.Name("session"), attr="execute" | "scalar" | "scalars"),
                args=[given, *_],
            ) if any(
                isinstance(one, ast.Call)
                and isinstance(one.func, ast.Name)
                and one.func.id in ("update", "insert", "delete")
                for one in ast.walk(given)
            ):
                return True
            case ast.With(items=items, body=body) if any(
                isinstance(one, ast.Attribute) and one.attr == "transaction"
                for item in items
                for one in ast.walk(item)
            ):
                if any(_assigns(each) for each in body):
                    return True
    if isinstance(function, ast.FunctionDef) and any(one.arg == "session" for one in function.args.args):
        return _assigns(function)
    return False


def _assigns(block: ast.AST) -> bool:
    """Return whether a field of a record is set."""
    for node in ast.walk(block):
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AugAssign)
            else []
        )
        for target in targets:
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            if any(isinstance(each, ast.Attribute) for each in parts):
                return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
            return True
    return False


def _functions() -> Iterator[tuple[str, ast.FunctionDef, str]]:
    """Yield the name, the tree and the text, without spaces, of each function that has a session."""
    for place, parts in nodes().items():
        text = (LIBRARY / place).read_text(encoding="utf-8")
        if "session" not in text or any(place.startswith(each) for each in MACHINERY):
            continue
        lines = text.splitlines()
        for node in parts:
            if isinstance(node, ast.FunctionDef):
                written = "".join("".join(lines[node.lineno - 1 : node.end_lineno]).split())
                if "session" in written:
                    yield f"{place}:{node.name}", node, written


def test_every_function_that_changes_records_is_on_record_or_says_why_not():
    functions = list(_functions())
    writing = {name for name, node, _ in functions if _writes(node)}
    recorded = {name for name, _, written in functions if "audit.append(session" in written}
    assert writing - recorded - set(UNATTENDED) == set()
    assert set(UNATTENDED) - (writing - recorded) == set(), "these write no more, or are on record"
    assert len(recorded) > 20
