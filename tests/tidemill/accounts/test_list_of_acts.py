"""Which commands and forms change what serves, who may, or what is kept, and where each is put on record.

A command or a form that is in no table fails here: whoever adds one says where it is on record, or why not.
"""

import ast
from pathlib import Path

import pytest
import typer

import tidemill
from tidemill.cli.main import app
from tidemill.dashboard.app import make_pages
from tidemill.dashboard.page import permissions

LIBRARY = Path(tidemill.__file__).parent
TURN, MOVE = "retraining/turns/turn_begin.py:record_begin", "registry/history/alias_journal.py:move_alias"
CANCEL = "retraining/cancelling/cancelled_turns.py:cancel_turn"
DEPLOY, END = "registry/deployments.py:deploy", "registry/history/reconciliation.py:end_deployment"
ROLLOUT, ANSWER = "rollouts/rollout_begin.py:begin", "retraining/questions.py:_record"
APPROVAL = "registry/second_person.py:decide_approval"
ALERT, SILENCE = "alerting/alert_actions.py", "alerting/silences.py"
KEYS, USERS, SESSIONS = "accounts/api_keys.py", "accounts/users.py", "accounts/login_sessions.py"
STAGES = "registry/history/stage_journal.py"
JOBS = "serving/jobs/job_records.py"
COMMANDS = {
    "run": TURN,
    "retrain": TURN,
    "turns cancel": CANCEL,
    "runs stop": "retraining/by_hand/resumed_turn.py:stop_search",
    "promote": MOVE,
    "rollback": MOVE,
    "deploy canary": DEPLOY,
    "deploy shadow": DEPLOY,
    "deploy challenger": DEPLOY,
    "deploy ab": DEPLOY,
    "deploy stop": END,
    "deploy rollout": ROLLOUT,
    "policies approve": ANSWER,
    "policies refuse": ANSWER,
    "approve": APPROVAL,
    "reject": APPROVAL,
    "approvals approve": APPROVAL,
    "approvals refuse": APPROVAL,
    "models import": "cli/models/model_import.py:import_",
    "runs import": "cli/models/run_import.py:import_",
    "models keep-card": "registry/cards/kept_fields.py:keep_fields",
    "models archive": "registry/version_removal.py:_put_on_record",
    "models unarchive": "registry/version_removal.py:_put_on_record",
    "models delete": "registry/version_removal.py:_put_on_record",
    "models compile": "cli/models/versions.py:models_compile",
    "alerts ack": f"{ALERT}:acknowledge",
    "alerts resolve": f"{ALERT}:resolve",
    "alerts unmark": f"{ALERT}:withdraw_noise",
    "alerts comment": f"{ALERT}:comment_on",
    "alerts silence": f"{SILENCE}:add_silence",
    "alerts unsilence": f"{SILENCE}:end_silence",
    "jobs cancel": f"{JOBS}:cancel",
    "jobs retry": f"{JOBS}:retry",
    "keys create": f"{KEYS}:create_key",
    "keys rotate": f"{KEYS}:rotate_key",
    "keys revoke": f"{KEYS}:revoke_key",
    "users add": f"{USERS}:add_user",
    "users grant": f"{USERS}:grant_roles",
    "users revoke": f"{USERS}:_revoke",
    "users disable": f"{USERS}:disable_user",
    "users enable": f"{USERS}:enable_user",
    "users password": f"{USERS}:set_password",
    "audit prune": "accounts/auditing/audit_retention.py:prune",
    "data add": "cli/data/versions.py:add",
    "data labels import": "cli/data/labels.py:import_",
    "data erase": "privacy/erasure/erasure_record.py:put_on_record",
    "log prune": "cli/serving/log.py:prune",
    "log labels": "cli/serving/log.py:labels",
    "up": "cli/serving/stack.py:up",
    "down": "cli/serving/stack.py:down",
    "backup make": "cli/operations/backups.py:_record",
    "restore": "cli/operations/backups.py:restore",
}
"""Command → where it is put on record."""
FREE = {
    "nothing is changed": (
        "monitor list", "monitor explain", "alerts list", "alerts show", "alerts silences", "alerts route",
        "policies list", "policies explain", "policies history", "models list",
        "models show", "models export", "models history", "models card", "models export-record",
        "models compare",
        "models search", "deploy show", "deploy report",
        "score schedule list", "approvals list", "status", "predict", "jobs list", "jobs show", "jobs dead",
        "keys list", "users list", "audit list", "audit verify", "audit head", "audit export", "data log",
        "data show", "data diff", "data checkout", "data validate", "data bias", "data privacy",
        "features status", "features skew", "log status", "log show", "lineage", "backup verify",
        "cluster check", "runs list", "runs show", "runs diff",
        "runs explain", "runs logs", "reproduce",
    ),
    "what would have been, of which the latest are kept": ("policies backtest",),
    "a new folder, or one of its own": ("init", "demo", "replay"),
    "an image, or manifests, which serve nothing before somebody runs them": ("image", "manifests"),
    "a declaration in a file, which git keeps": ("data infer", "monitor calibrate"),
    "what a monitor finds is no act, and its alerts are on record": ("monitor run",),
    "a table of answers, as its request says": ("score schedule run",),
    "how rows lie on the disk, or in the store": ("log compact", "features materialise", "db upgrade"),
}  # fmt: skip
"""Why others are not."""
MODEL = "/models/{model}"
FORMS = {
    "/account/password": f"{USERS}:set_password",
    "/account/sessions/end": f"{SESSIONS}:end_session_by_id",
    "/account/tokens": f"{KEYS}:create_key",
    "/account/tokens/revoke": f"{KEYS}:revoke_key",
    "/people": f"{USERS}:add_user",
    "/people/disable": f"{USERS}:disable_user",
    "/people/enable": f"{USERS}:enable_user",
    "/people/password": f"{USERS}:set_password",
    "/people/grant": f"{USERS}:grant_roles",
    "/people/revoke": f"{USERS}:_revoke",
    "/tokens": f"{KEYS}:create_key",
    "/tokens/rotate": f"{KEYS}:rotate_key",
    "/tokens/revoke": f"{KEYS}:revoke_key",
    f"{MODEL}/approvals/{{approval}}/approve": APPROVAL,
    f"{MODEL}/approvals/{{approval}}/refuse": APPROVAL,
    f"{MODEL}/alerts/{{alert_id}}/acknowledge": f"{ALERT}:acknowledge",
    f"{MODEL}/alerts/{{alert_id}}/comment": f"{ALERT}:comment_on",
    f"{MODEL}/alerts/{{alert_id}}/resolve": f"{ALERT}:resolve",
    f"{MODEL}/alerts/{{alert_id}}/noise": f"{ALERT}:mark_as_noise",
    f"{MODEL}/alerts/{{alert_id}}/unmark": f"{ALERT}:withdraw_noise",
    f"{MODEL}/silences": f"{SILENCE}:add_silence",
    f"{MODEL}/silences/{{silence_id}}/end": f"{SILENCE}:end_silence",
    f"{MODEL}/jobs/{{job_id}}/cancel": f"{JOBS}:cancel",
    f"{MODEL}/jobs/{{job_id}}/retry": f"{JOBS}:retry",
    f"{MODEL}/promote": MOVE,
    f"{MODEL}/roll-back": MOVE,
    f"{MODEL}/rollouts/{{rollout_id}}/stop": END,
    f"{MODEL}/retrain": TURN,
    f"{MODEL}/turns/{{turn_id}}/answer": ANSWER,
    f"{MODEL}/turns/{{turn_id}}/cancel": CANCEL,
}
"""Form of the dashboard, whose JSON twin does the same → where it is put on record."""
OTHERS = (
    f"{SESSIONS}:log_in",
    f"{SESSIONS}:end_session",
    f"{SESSIONS}:_record_refusal",
    "accounts/sign_on/single_sign_on.py:log_in_vouched",
    "accounts/sign_on/single_sign_on.py:record_refused",
    "dashboard/tracking_proxy/recorded_requests.py:put_on_record",
    "registry/history/outside_moves.py:_tell_deleted",
    "registry/history/outside_moves.py:record_outside_move",
    "registry/history/outside_versions.py:record_outside_versions",
    f"{STAGES}:move_stage",
    f"{STAGES}:_record_outside",
    f"{STAGES}:_end",
    "rollouts/rollout.py:_take",
    "retraining/turns/turn_steps.py:record_registration",
    "rollouts/rollout_ending.py:_end_locked",
    "registry/second_person.py:_ask",
    "registry/second_person.py:_expire",
)
"""What is neither: logins, MLflow's API, moves outside, ``promote --stage``, what rollouts decide alone."""


def commands(command, path=()):
    below = getattr(command, "commands", None)
    if not below:
        yield " ".join(path)
    for name in below or ():
        yield from commands(below[name], (*path, name))


def test_every_command_and_form_is_in_a_table():
    free = [name for names in FREE.values() for name in names]
    # A group that is a command too, such as `score`, answers as that command.
    assert set(commands(typer.main.get_command(app))) == COMMANDS.keys() | set(free)
    assert len(free) == len(set(free))
    assert not COMMANDS.keys() & set(free)
    posted = {name for name in permissions(make_pages()) if name.startswith("POST ")}
    assert posted == {f"POST {path}" for path in FORMS}


@pytest.mark.parametrize("place", sorted({*COMMANDS.values(), *FORMS.values(), *OTHERS}))
def test_where_an_act_is_put_on_record_it_is(place):
    file, _, function = place.partition(":")
    found = [
        node
        for node in ast.walk(ast.parse((LIBRARY / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    assert found, "there is no such function"
    written = ast.unparse(found[0])
    assert "append(session" in written or "own_act(" in written
