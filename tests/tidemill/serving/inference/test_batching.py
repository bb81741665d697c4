"""Batching on the event loop, with an `answer` written by hand instead of a predictor."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tidemill.serving.inference.batching import Batcher
from tidemill.serving.inference.calls import Answer, Call, Overloaded, Prediction, TimedOut


class Recorder:
    """Answers every call by its request id, and remembers the batches."""

    def __init__(self, seconds=0.0):
        self.batches, self.threads, self.seconds = [], [], seconds

    def __call__(self, calls):
        self.batches.append([call.request_id for call in calls])
        self.threads.append(threading.current_thread())
        time.sleep(self.seconds)
        return [self.answer(call) for call in calls]

    def answer(self, call):
        if call.request_id == "bad":
            return ValueError("bad")
        prediction = Prediction(call.request_id, "1", "champion", 0.5, {}, ())
        return Answer((prediction,) * call.rows)


def call(name, rows=1):
    return Call(features=np.zeros((rows, 2)), request_id=name)


def ids(answers):
    return [answer.predictions[0].prediction_id for answer in answers]


def run(scenario, answer=None, **choices):
    """Run a scenario with an engine; return the recorder."""
    recorder = answer or Recorder()

    async def main():
        with ThreadPoolExecutor(2) as pool:
            await scenario(Batcher(recorder, pool, **choices))

    asyncio.run(main())
    return recorder


def test_calls_given_up_before_a_thread_is_free_are_not_worked_on():
    async def scenario(engine):
        began = time.perf_counter()
        busy = [engine.submit(call(f"busy{n}", 2), began) for n in range(2)]
        await asyncio.sleep(0)
        late = engine.submit(call("late", 2), began)
        await asyncio.sleep(0)
        late.cancel()
        assert ids(await asyncio.gather(*busy)) == ["busy0", "busy1"]

    batches = run(scenario, Recorder(0.05), max_rows=2, loop_rows=1).batches
    assert sorted(batches) == [["busy0"], ["busy1"]]


def test_a_pool_that_is_shut_down_refuses_and_keeps_nobody_waiting():
    async def main():
        with ThreadPoolExecutor(1) as pool:
            engine = Batcher(Recorder(), pool, loop_rows=0)
        with pytest.raises(Overloaded):
            await asyncio.wait_for(engine.submit(call("c"), time.perf_counter()), 1)

    asyncio.run(main())


def test_calls_of_one_turn_are_one_batch_and_each_gets_its_own_answer():
    async def scenario(engine):
        for _ in range(2):
            names = [f"c{n}" for n in range(5)]
            answers = await asyncio.gather(
                *(engine.submit(call(name), time.perf_counter()) for name in names)
            )
            assert ids(answers) == names

    recorder = run(scenario)
    assert recorder.batches == [[f"c{n}" for n in range(5)]] * 2
    assert set(recorder.threads) == {threading.current_thread()}


def test_a_batch_has_bounded_rows_and_a_larger_call_goes_alone():
    async def scenario(engine):
        calls = [call("a", 3), call("b", 3), call("c", 20), call("d", 1)]
        answers = await asyncio.gather(*(engine.submit(each, time.perf_counter()) for each in calls))
        assert [len(answer.predictions) for answer in answers] == [3, 3, 20, 1]

    assert run(scenario, max_rows=8).batches == [["a", "b"], ["c"], ["d"]]


def test_it_waits_as_long_as_it_may_for_others():
    async def scenario(engine):
        first = engine.submit(call("a"), time.perf_counter())
        await asyncio.sleep(0.01)
        second = engine.submit(call("b"), time.perf_counter())
        assert ids(await asyncio.gather(first, second)) == ["a", "b"]

    assert run(scenario, wait_seconds=0.1).batches == [["a", "b"]]


def test_a_large_batch_leaves_the_loop_free():
    async def scenario(engine):
        large = engine.submit(call("large", 100), time.perf_counter())
        await asyncio.sleep(0.05)
        assert not large.done()  # and we are here
        await large

    recorder = run(scenario, Recorder(seconds=0.2), loop_rows=64)
    assert recorder.threads[0] is not threading.current_thread()


def test_explanations_hold_up_nobody():
    async def scenario(engine):
        calls = [call("a"), call("why")._replace(explain=True), call("b")]
        answers = await asyncio.gather(*(engine.submit(each, time.perf_counter()) for each in calls))
        assert ids(answers) == ["a", "why", "b"]

    recorder = run(scenario)
    assert sorted(recorder.batches) == [["a"], ["b"], ["why"]]
    where = dict(zip([names[0] for names in recorder.batches], recorder.threads, strict=True))
    assert where["why"] is not where["a"] is threading.current_thread()


def test_a_call_that_fails_fails_alone():
    async def scenario(engine):
        futures = [engine.submit(call(name), time.perf_counter()) for name in ("a", "bad", "b")]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert ids([results[0], results[2]]) == ["a", "b"]
        assert isinstance(results[1], ValueError)

    run(scenario)


def test_a_batch_that_breaks_as_a_whole_leaves_nobody_waiting():
    def broken(calls):
        raise RuntimeError("broken")

    async def scenario(engine):
        for rows in (1, 100):
            with pytest.raises(RuntimeError, match="broken"):
                await engine.submit(call("a", rows), time.perf_counter())

    run(scenario, broken)


def test_who_has_gone_costs_nothing():
    async def scenario(engine):
        gone = engine.submit(call("gone"), time.perf_counter())
        gone.cancel()
        await engine.submit(call("here"), time.perf_counter())

    assert run(scenario).batches == [["here"]]


@pytest.mark.parametrize("rows", [1, 100])
def test_what_came_too_late_is_not_worked_on(rows):
    async def scenario(engine):
        with pytest.raises(TimedOut):
            await engine.submit(call("old", rows), time.perf_counter() - 11)

    assert run(scenario, timeout_seconds=10).batches == []


def test_an_explanation_that_comes_too_late_says_that_later_ones_are_quicker():
    async def scenario(engine):
        with pytest.raises(TimedOut, match=r"first explanation of a version takes seconds.*: ask again"):
            await engine.submit(call("old")._replace(explain=True), time.perf_counter() - 11)
        with pytest.raises(TimedOut, match=r"in time$"):
            await engine.submit(call("old"), time.perf_counter() - 11)

    run(scenario, timeout_seconds=10)


def test_an_answer_that_takes_too_long_is_given_up():
    go = threading.Event()

    class Held(Recorder):
        def __call__(self, calls):
            go.wait(60)
            return super().__call__(calls)

    async def scenario(engine):
        with pytest.raises(TimedOut):  # while it is worked on
            await engine.submit(call("slow", 100), time.perf_counter())
        go.set()
        await asyncio.sleep(0.1)  # its result comes, and disturbs nobody

    run(scenario, Held(), timeout_seconds=0.1)


def test_an_answer_is_delivered_within_the_turn_that_made_it_and_one_that_fails_stops_no_other():
    told = []

    async def scenario(engine):
        def deliver(outcome):
            told.append(outcome)
            if len(told) == 1:
                raise ValueError("this client's connection is broken")

        began = time.perf_counter()
        for name in ("a", "b"):
            engine.submit_to(call(name), began, deliver)
        engine.submit_to(call("late"), began - 11, deliver)
        await asyncio.sleep(0)  # one turn
        assert len(told) == 3

    run(scenario)
    assert isinstance(told[0], TimedOut)
    assert ids(told[1:]) == ["a", "b"]
