"""Does what a person asks for on the dashboard, in a process of its own: ``python -m`` with its name.

It reads one request as JSON from its standard input, and writes one answer as JSON to its standard output,
and to the record of the act, if it has one.
The engines that it needs take seconds to import and hundreds of megabytes, and comparing two versions keeps a
processor busy: none of that shall happen in the process that shows pages. What has begun goes on if the
dashboard ends.
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import Any

from tidemill.accounts.caller import Caller, calling
from tidemill.errors import DecisionOutdated, GateRefused, TidemillError
from tidemill.files.locks import locked
from tidemill.project import Project, load_project
from tidemill.retraining.by_hand.asked_act_record import act_lock, end_record
from tidemill.state import State, open_state

__all__ = ["ACTS", "do"]

Asked = Mapping[str, Any]
_log = logging.getLogger(__name__)


def do(project: Project, state: State, asked: Asked) -> dict[str, Any]:
    """Do what is asked for, and return the answer: ``done``, or ``error`` with kind, message and hint.

    Args:
        project: whose model it is.
        state: the records.
        asked: ``act`` (one of `ACTS`), ``actor``, ``reason``, ``now`` (ISO 8601), ``caller`` (of the
            request, for the audit log; may be none), ``record`` (id of its record, if it has one), and what
            the act needs.
    """
    try:
        with ExitStack() as stack:
            if asked.get("caller"):
                stack.enter_context(calling(Caller(**asked["caller"])))
            return {"done": ACTS[asked["act"]](project, state, asked)}
    except TidemillError as error:
        notes = getattr(error, "__notes__", [])
        facts = {"kind": type(error).__name__, "message": str(error), "hint": error.hint}
        return {"error": {**facts, "decision": next(iter(notes), None)}}


def _promote(project: Project, state: State, asked: Asked) -> dict[str, Any]:
    from tidemill.registry.promotion import evaluate_gate, promote
    from tidemill.registry.stage_promotion import StageRequest, put_into_stage
    from tidemill.registry.versions.model_versions import get_version

    version, now = get_version(project, asked["version"]).version, _now(asked)
    _refuse_other_champion(project, asked)
    if asked.get("stage"):
        wanted = StageRequest(asked["stage"], asked["actor"], asked["reason"], now)
        moved = put_into_stage(project, state, version, wanted)
        return {"from": moved.from_version, "to": moved.to_version, "stage": moved.stage}
    decision = evaluate_gate(project, state, version, now, asked["actor"])
    by = {"actor": asked["actor"], "reason": asked["reason"], "now": now}
    try:
        done = promote(project, state, version, **by, decision=decision)
    except GateRefused as error:
        error.add_note(decision.id)
        raise
    return {"from": done.from_version, "to": done.to_version, "decision": decision.id}


def _roll_back(project: Project, state: State, asked: Asked) -> dict[str, Any]:
    from tidemill.registry.promotion import rollback

    if asked.get("stage"):
        return _take_back(project, state, asked)
    _refuse_other_champion(project, asked)
    by = {"actor": asked["actor"], "reason": asked["reason"], "now": _now(asked)}
    done = rollback(project, state, **by, to=asked["version"])
    return {"from": done.from_version, "to": done.to_version}


def _take_back(project: Project, state: State, asked: Asked) -> dict[str, Any]:
    from tidemill.registry.stage_promotion import StageRequest, take_back

    wanted = StageRequest(asked["stage"], asked["actor"], asked["reason"], _now(asked))
    moved = take_back(project, state, wanted, asked["version"])
    return {"from": moved.from_version, "to": moved.to_version, "stage": moved.stage}


def _stop_rollout(project: Project, state: State, asked: Asked) -> dict[str, Any]:
    from tidemill.registry.deployments import stop
    from tidemill.rollouts.rollout_begin import running

    found = running(state, project.model)
    if found is None or found.id != asked["rollout"]:
        raise DecisionOutdated(
            f"rollout {asked['rollout']} is not under way any more", hint="its page says how it ended"
        )
    said = f"{asked['reason']} (stopped by {asked['actor']})"
    stop(project, state, ["canary"], said, asked["actor"])
    return {"version": found.version}


def _answer(project: Project, state: State, asked: Asked) -> dict[str, Any]:
    from tidemill.retraining.questions import answer, is_served

    served = not asked["at_once"] and is_served(state, project.model)
    said: Any = "refuse" if not asked["approve"] else "rollout" if served else "promote"
    turn = answer(
        project, state, said, asked["actor"], asked["reason"], _now(asked), asked["version"], _listen
    )
    return {"version": turn.version, "status": turn.status}


def _retrain(project: Project, state: State, asked: Asked) -> dict[str, Any]:
    from tidemill.clock import parse_moment
    from tidemill.retraining.by_hand.moment_by_hand import moment_by_hand
    from tidemill.retraining.handed_over.recorded_turns import begin_turn, hands_over
    from tidemill.retraining.turns.turn import make_turn
    from tidemill.retraining.turns.turn_begin import TurnRequest

    given = parse_moment(asked["as_of"]) if asked.get("as_of") else None
    at = moment_by_hand(project, state, given)
    request = TurnRequest(at, asked["reason"], asked["actor"])
    if hands_over(project):
        turn = begin_turn(project, state, request)
    else:
        turn = make_turn(project, state, request, _listen)
    return {"turn": turn.id, "status": turn.status}


def _judge_policies(project: Project, state: State, asked: Asked) -> dict[str, Any]:
    from tidemill.retraining.by_hand.policy_judgement import judge_policies

    return {"policies": judge_policies(project, state, _now(asked))}


def _carry_out(project: Project, state: State, asked: Asked) -> dict[str, Any]:
    from tidemill.registry.second_person import approved_request
    from tidemill.retraining.by_hand.approved_acts import carry_out

    approved = approved_request(state, project.model, asked["approval"])
    return {"said": carry_out(project, state, approved, _now(asked))}


ACTS: dict[str, Callable[[Project, State, Asked], dict[str, Any]]] = {
    "promote": _promote,
    "roll-back": _roll_back,
    "stop-rollout": _stop_rollout,
    "answer": _answer,
    "carry-out": _carry_out,
    "retrain": _retrain,
    "judge-policies": _judge_policies,
}
"""What can be asked for."""


def _refuse_other_champion(project: Project, asked: Asked) -> None:
    """Refuse a move that was asked for while another version served: somebody else was first."""
    from tidemill.registry.versions.model_versions import champion_version

    serving = champion_version(project)
    if (serving or "") != asked["champion"]:
        raise DecisionOutdated(
            f"version {serving or 'none'} of {project.model} serves by now, not version "
            f"{asked['champion'] or 'none'} as when you were asked",
            hint="look at the decisions once more, and decide again",
        )


def _now(asked: Asked) -> datetime:
    return datetime.fromisoformat(asked["now"])


def _listen(event: Any) -> None:
    _log.info("%s %s: %s", event.turn_id, event.step, event.message)


@contextmanager
def _lock(project: Project, act_id: str) -> Iterator[None]:
    """Hold the lock by which others see that an act goes on."""
    path = act_lock(project.home, act_id)
    with locked(path):
        yield
    path.unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    """Read a request, do it, and write the answer."""
    parser = argparse.ArgumentParser(prog="tidemill-act", description=main.__doc__)
    parser.add_argument("--project", type=Path, required=True, help="folder of the project")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    asked = json.load(sys.stdin)
    with redirect_stdout(sys.stderr):  # engines print
        from tidemill.serving.runtime.local_stack import attach

        project = load_project(options.project)
        with ExitStack() as stack:
            if asked.get("record"):
                stack.enter_context(_lock(project, asked["record"]))
            if asked["act"] in ("answer", "carry-out", "retrain"):
                project = attach(project)
            state = open_state(project.state_url)
            stack.callback(state.close)
            answer = do(project, state, asked)
            if asked.get("record"):
                end_record(state, asked["record"], answer)
    if "error" in answer:
        _log.error("%s", answer["error"]["message"])
    print(json.dumps(answer, default=str))  # noqa: T201 - the answer
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
