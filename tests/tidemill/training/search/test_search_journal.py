"""What another process finds of a search that was killed: without a trial."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.tidemill.training.search.test_proposals import SPEC
from tidemill.project.train_config import TrainConfig
from tidemill.training.search.proposals import Proposals
from tidemill.training.search.resumed_trials import take_up
from tidemill.training.search.schedulers.trial_schedulers import make_scheduler, replay
from tidemill.training.search.search_budget import SearchSpent
from tidemill.training.search.search_journal import KnownTrial, SearchOrigin, begin_journal, find_journals
from tidemill.training.search.trial_records import TrialLog, TrialRecord

ORIGIN = SearchOrigin("turn_1", "run_1", {"data": "9a"}, (("line", {"c": 1.0}),))


@pytest.fixture
def journal(tmp_path):
    made = begin_journal(tmp_path, ORIGIN)
    made.begin(0, "svm", {"kernel": 0, "degree": 3, "layers": 1}, "child_0")
    made.begin(1, "line", {"c": 0.5}, "child_1")
    for value in (0.6, 0.8):
        made.add_round(1, {"roc_auc": value}, cpu_seconds=2.0, gpu_seconds=3.0)
    made.end(1, "FINISHED", None)
    made.begin(2, "svm", {"kernel": 1, "gamma": 0.3, "layers": 0}, "child_2")
    made.end(0, "FAILED", "ValueError: no")
    made.add_round(2, {"roc_auc": 0.7}, cpu_seconds=1.0)
    return made


def taken_up(tmp_path, told=None):
    [found] = find_journals(tmp_path)
    config = TrainConfig(trials=6, search="tpe")
    log = TrialLog(None, "", "run_1", "turn_1", config, ("roc_auc",), told, found)
    scheduler = make_scheduler("asha", "roc_auc", rounds=4)
    return take_up(Proposals(SPEC, config), scheduler, log, SPEC), log, found


def test_trials_that_ended_are_not_made_again(journal, tmp_path, caplog):
    told = []
    todo, log, found = taken_up(tmp_path, told.append)
    assert todo == [2, 3, 4, 5]
    assert found.origin == ORIGIN
    assert {number: record.run_id for number, record in log.records.items()} == {0: "child_0", 1: "child_1"}
    assert log.records[0].params == {"kernel": "poly", "degree": 3, "layers": (8, 8)}
    assert log.records[1].best("roc_auc") == (0.8, 2)
    assert (told[0].done, told[0].best, told[0].best_trial) == (2, 0.8, 1)
    assert log.spent.values == (0.8, None), "in the order in which they ended"
    assert log.spent.cpu_seconds == 2.0
    assert log.records[1].gpu_seconds == 3.0
    assert caplog.messages == ["trial 2 begins anew after 1 round: family 'svm' keeps no checkpoints"]


def test_a_line_that_a_kill_cut_off_is_left_out(journal, tmp_path):
    whole = journal.path.read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole)):
        journal.path.write_bytes(whole[:cut])
        [found] = find_journals(tmp_path)
        found.add_round(0, {"roc_auc": 0.5}, cpu_seconds=0.0) if 0 in found.trials else None
        [again] = find_journals(tmp_path)
        lines = whole[:cut].count(b'"end_of"') - (b'"end_of"' in whole[:cut].rpartition(b"\n")[2])
        assert sum(one.end is not None for one in again.trials.values()) in (lines, lines + 1)
        assert 0 not in again.trials or again.trials[0].rounds[-1] == {"roc_auc": 0.5}
    journal.path.write_bytes(whole[:5])
    assert find_journals(tmp_path) == []


@pytest.mark.parametrize(
    "said",
    [
        "The actor died: its worker process has died",
        "The actor 5b is unavailable: RPC error. The task may or may not have been executed on the actor.",
    ],
)
def test_rounds_of_a_trial_whose_process_died_are_not_counted_again(journal, tmp_path, said):
    _, log, found = taken_up(tmp_path)
    point, error = found.trials[2].point, tmp_path / "error.txt"
    error.write_text(f"ray: {said}")
    log.records[2] = TrialRecord(2, "svm", {}, rounds=4, run_id="child_2", history=[{"roc_auc": 0.7}])
    log.points = lambda family, params: point
    proposed = {"number": 2, "family": "svm", "params": {}, "rounds": 4}
    log.on_trial_error(
        0, [], SimpleNamespace(config={"trial": proposed}, error_file=str(error), path=str(tmp_path))
    )
    assert log.take_begun_again() == [2]
    found.add_round(2, {"roc_auc": 0.7}, cpu_seconds=1.0)
    [again] = find_journals(tmp_path)
    assert (again.trials[2].rounds, again.trials[2].point) == ([{"roc_auc": 0.7}], point)


def test_rounds_are_told_but_not_each_of_quick_ones(journal, tmp_path):
    told = []
    _, log, _ = taken_up(tmp_path, told.append)
    log.records[2] = TrialRecord(2, "svm", {}, rounds=4, run_id="child_2")
    trial = SimpleNamespace(config={"trial": {"number": 2, "family": "svm", "params": {}, "rounds": 4}})
    log.on_trial_result(0, [], trial, {"roc_auc": 0.7})
    assert told[-1].running == {}
    log._told_at -= 2.0
    log.on_trial_result(0, [], trial, {"roc_auc": 0.8})
    assert (told[-1].done, told[-1].running) == (2, {2: (2, 4)})


def test_time_goes_on_from_where_it_was(journal, tmp_path):
    text = journal.path.read_text()
    last = text.rpartition('"seconds": ')
    journal.path.write_text(f"{last[0]}{last[1]}90.0}}\n")
    _, log, _ = taken_up(tmp_path)
    assert 90 <= log.seconds < 95
    assert isinstance(log.spent, SearchSpent)


def test_what_changed_is_named():
    now = {"data": "9a", "packages": {"ray": "3"}, "settings": {"trials": 8, "seed": 0}}
    before = replace(ORIGIN, made_from=now | {"data": "9b", "settings": {"trials": 6, "seed": 0}})
    assert before.changed(now) == ["data", "settings (trials: 6, now 8)"]
    assert before.changed(before.made_from) == []


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
def test_a_scheduler_that_was_told_the_past_stops_the_trials_that_it_would_have(kind):
    class Live:
        def __init__(self, number):
            self.trial_id, self.config = f"live_{number}", {"trial": {"number": number}}

    past = [
        (place, number, {"roc_auc": (number * 7 % 5) / 10 + place / 100})
        for first in (0, 4)  # four at a time, which took turns
        for place in range(1, 5)
        for number in range(first, first + 4)
    ]

    def decisions(scheduler):
        found = []
        for number in range(8, 16):
            trial = Live(number)
            scheduler.on_trial_add(None, trial)
            for place in range(1, 4):
                result = {"training_iteration": place, "roc_auc": (number * 3 % 7) / 10}
                found.append(scheduler.on_trial_result(None, trial, result))
                if found[-1] == "STOP":
                    break
        return found

    lived, resumed, fresh = (make_scheduler(kind, "roc_auc", rounds=16) for _ in range(3))
    trials, known = [Live(number) for number in range(8)], {}
    for trial in trials:
        lived.on_trial_add(None, trial)
    for line, (place, number, metrics) in enumerate(past):
        found = known.setdefault(number, KnownTrial(number, "svm", {}, ""))
        if found.end is not None:
            continue
        result = {"training_iteration": place, **metrics}
        found.rounds.append(metrics)
        found.lines.append(line)
        if lived.on_trial_result(None, trials[number], result) == "STOP" or place == 4:
            lived.on_trial_complete(None, trials[number], result)
            found.end = "KILLED"
    replay(resumed, known.values())
    expected = decisions(lived)
    assert decisions(resumed) == expected
    assert "STOP" in expected
    assert decisions(fresh) != expected
    assert make_scheduler("none", "roc_auc", rounds=16) is None
