import asyncio

import pytest

from tidemill.dashboard.live.record_changes import Change, RecordChanges, TooManyListeners
from tidemill.errors import StateError


def test_a_change_is_told_to_every_listener_and_the_first_look_is_none():
    state = {Change("alerts", "m"): 1, Change("decisions", "m"): 1}
    looks = []

    def look():
        looks.append(1)
        return dict(state)

    async def scene():
        changes = RecordChanges(look, every=0.01)
        async with changes.listen() as one, changes.listen() as two:
            while len(looks) < 2:
                await asyncio.sleep(0.01)
            assert one.empty()
            state[Change("alerts", "m")] = 2
            found = [await asyncio.wait_for(each.get(), 60) for each in (one, two)]
            assert found == [Change("alerts", "m")] * 2
            assert one.empty()
        async with asyncio.timeout(60):  # a look may be under way when the last listener goes
            seen = 0
            while len(looks) != seen:
                seen = len(looks)
                await asyncio.sleep(0.1)

    asyncio.run(scene())


def test_who_listens_anew_is_told_what_changed_meanwhile():
    state, looks = {Change("alerts", "m"): 1}, []

    def look():
        looks.append(1)
        return dict(state)

    async def until(ready):
        while not ready():
            await asyncio.sleep(0.001)

    async def scene():
        changes = RecordChanges(look, every=0.02)
        async with changes.listen():
            await until(lambda: len(looks) > 1)
            place = changes.place
            assert changes.missed(place) == []
        state[Change("alerts", "m")] = 2
        await until(lambda: changes.place != place)
        async with changes.listen():
            assert changes.missed(place) == [Change("alerts", "m")]
            assert changes.missed(changes.place) == []
            for strange in ("", "x-0", place + "9", place.replace("-", "-x")):
                assert changes.missed(strange) is None
        await until(lambda: changes._task.done())
        async with changes.listen():
            assert changes.missed(place) is None, "nobody looked for a while"

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_records_that_are_away_for_a_moment_end_nothing():
    answers = [{Change("alerts", "m"): 1}, StateError("away"), {Change("alerts", "m"): 2}]

    def look():
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def scene():
        async with RecordChanges(look, every=0.01).listen() as one:
            assert await asyncio.wait_for(one.get(), 60) == Change("alerts", "m")

    asyncio.run(scene())


def test_there_are_only_so_many_listeners():
    async def scene():
        changes = RecordChanges(dict, every=0.01)
        listening = [changes.listen() for _ in range(200)]
        for one in listening:
            await one.__aenter__()
        with pytest.raises(TooManyListeners):
            await changes.listen().__aenter__()
        await listening[0].__aexit__(None, None, None)
        async with changes.listen():
            pass
        for one in listening[1:]:
            await one.__aexit__(None, None, None)

    asyncio.run(scene())
