import httpx

from tests.tidemill.dashboard.live.test_metric_samples import TEXT
from tidemill.dashboard.live.serving_watch import ServingWatch
from tidemill.settings import Secret


def answering(status=200, text=None):
    shown = TEXT.format(requests=1, errors=0, overloaded=0, fast=1) if text is None else text
    seen = []

    def answer(request):
        seen.append(request)
        return httpx.Response(status, text=shown)

    return httpx.MockTransport(answer), seen


def test_it_reads_each_api_with_the_key_and_keeps_the_last_half_hour():
    watch = ServingWatch(Secret("tmk_1_2"))
    transport, seen = answering()
    for _ in range(400):
        watch.look({"m": "http://api"}, transport)
    assert (str(seen[0].url), seen[0].headers["authorization"]) == ("http://api/metrics", "Bearer tmk_1_2")
    assert len(watch.samples("m")) == 360
    assert watch.of("m").problem is None
    assert watch.of("other") is None


def test_what_is_wrong_is_said_and_the_next_reading_clears_it():
    watch = ServingWatch()
    for status, text, expected in [
        (403, "", "key"),
        (500, "", "status 500"),
        (200, "<html>", "cannot be read"),
    ]:
        watch.look({"m": "http://api"}, answering(status, text)[0])
        assert expected in watch.of("m").problem

    def away(request):
        raise httpx.ConnectError("gone", request=request)

    watch.look({"m": "http://api"}, httpx.MockTransport(away))
    assert "does not answer" in watch.of("m").problem
    watch.look({"m": "http://api"}, answering()[0])
    assert watch.of("m").problem is None


def test_an_api_at_another_address_begins_anew_and_one_that_ended_is_forgotten():
    watch = ServingWatch()
    watch.look({"m": "http://one"}, answering()[0])
    watch.look({"m": "http://two"}, answering()[0])
    assert len(watch.samples("m")) == 1
    watch.look({}, answering()[0])
    assert watch.of("m") is None
