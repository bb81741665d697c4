"""Who may ask for what: every branch of the decision, without server, database or clock."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.accounts.key_format import ADMIN, FEEDBACK, METRICS, PREDICT, Key, parse_key
from tidemill.serving.http.admission import Admission, Admitted, Bucket, scope_of
from tidemill.serving.http.replies import reply_to, status_of
from tidemill.serving.inference.calls import Failure
from tidemill.serving.protocols.predict_codec import PLAIN

SECRET = "s3cr3t_with-both"


class Time:
    now = 1000.0

    def __call__(self):
        return self.now


def digest(secret):
    return hashlib.sha256(secret.encode()).digest()


def key(scopes=(PREDICT,), name="abc", **more):
    return Key(name, frozenset(scopes), more.pop("digests", ((digest(SECRET), None),)), **more)


def admission(*keys, required=True, replicas=1, time=None):
    made = Admission(required, 1000, time or Time())
    made.use(keys, replicas)
    return made


def headers(secret=SECRET, name="abc", **more):
    sent = {b"authorization": f"Bearer tmk_{name}_{secret}".encode(), b"host": b"models.example.com"}
    return sent | {field.encode().replace(b"_", b"-"): value.encode() for field, value in more.items()}


def status(decided):
    return status_of(decided.kind) if isinstance(decided, Failure) else 200


def test_a_key_passes_by_either_header_and_names_its_caller():
    who = admission(key())
    assert who.admit("POST", "/predict", headers()) == Admitted("abc")
    sent = {b"x-api-key": f"tmk_abc_{SECRET}".encode()}
    assert who.admit("POST", "/predict", sent) == Admitted("abc")
    assert who.used == {"abc": 1000.0}
    for other in (b"Basic dXNlcjpwYXNz", b"Bearer of-something-else"):  # a proxy in between wants that one
        assert who.admit("POST", "/predict", sent | {b"authorization": other}) == Admitted("abc")
    assert who.admit("POST", "/predict", headers() | {b"x-api-key": b"of-something-else"}) == Admitted("abc")


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Basic dXNlcjpwYXNz"},
        {b"authorization": b"Bearer tmk_abc_wrong"},
        {b"authorization": b"Bearer tmk_abd_s3cr3t_with-both"},
        {b"authorization": b"Bearer tmk_abc"},
        {b"authorization": b"Bearer tmk__s3cr3t_with-both"},
        {b"authorization": b"Bearer \xff\xfe"},
        {b"x-api-key": b"tmk_abc_" + b"x" * 10_000},
    ],
)
def test_no_key_and_wrong_ones_are_401_and_hear_nothing_else(sent):
    decided = admission(key()).admit("POST", "/predict", sent)
    assert decided.kind == "unauthenticated"
    assert (b"www-authenticate", b'Bearer realm="tidemill"') in reply_to(decided, PLAIN).headers
    assert "abc" not in decided.detail


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ((PREDICT,), {"/predict", "/docs"}),
        ((FEEDBACK,), {"/feedback", "/docs"}),
        ((METRICS,), {"/metrics", "/docs"}),
        ((ADMIN,), {"/predict", "/feedback", "/metrics", "/docs", "/surprise", "/v2/repository/index"}),
        ((PREDICT, FEEDBACK), {"/predict", "/feedback", "/docs"}),
    ],
)
def test_a_scope_opens_its_paths_and_admin_all(scopes, allowed):
    who = admission(key(scopes))
    paths = {"/predict", "/feedback", "/metrics", "/docs", "/surprise", "/v2/repository/index"}
    assert {path for path in paths if status(who.admit("POST", path, headers())) == 200} == allowed
    assert {status(who.admit("POST", path, headers())) for path in paths - allowed} <= {403}


def test_what_is_open_is_open_and_only_to_look():
    who = admission()
    for path in ("/healthz", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready"):
        assert who.admit("GET", path, {}) == Admitted()
        assert status(who.admit("POST", path, {})) == 401


@given(st.text())
def test_a_path_nobody_declared_needs_admin(path):
    assert scope_of("GET", f"/~{path}") == ADMIN


def test_a_key_ends_when_it_expires_and_an_old_secret_when_the_overlap_does():
    time = Time()
    digests = ((digest("new"), None), (digest("old"), 1010.0))
    who = admission(key(digests=digests, expires=1020.0), time=time)
    seen = []
    for time.now in (1009.0, 1011.0, 1021.0):
        seen.append([status(who.admit("POST", "/predict", headers(each))) for each in ("new", "old")])
    assert seen == [[200, 200], [200, 401], [401, 401]]


def test_a_rate_is_shared_by_the_replicas_refills_and_survives_a_poll():
    time = Time()
    who = admission(key(rate=4.0), replicas=2, time=time)
    decided = [who.admit("POST", "/predict", headers()) for _ in range(3)]
    assert [status(one) for one in decided] == [200, 200, 429]
    assert reply_to(decided[2], PLAIN).headers == ((b"retry-after", b"1"),)
    who.use([key(rate=4.0)], 2)
    assert status(who.admit("POST", "/predict", headers())) == 429
    time.now += 0.5
    assert [status(who.admit("POST", "/predict", headers())) for _ in range(2)] == [200, 429]


@given(st.floats(0.01, 1000), st.lists(st.floats(0, 5), max_size=50))
def test_a_bucket_never_grants_more_than_its_rate_and_one_second_ahead(rate, waits):
    bucket, now, granted = Bucket(rate, 0.0), 0.0, 0
    for wait in waits:
        now += wait
        granted += bucket.take(now) == 0.0
    assert granted <= max(rate, 1.0) + rate * now + 1e-6


def test_a_clock_that_is_set_back_takes_no_token_away():
    bucket = Bucket(10.0, 5000.0)
    assert [bucket.take(now) for now in (5000.0, 1000.0, 1000.1)] == [0.0, 0.0, 0.0]


def test_before_the_keys_are_known_it_says_try_again():
    decided = Admission(True, 1000).admit("POST", "/predict", headers())
    reply = reply_to(decided, PLAIN)
    assert (reply.status, reply.headers) == (503, ((b"retry-after", b"1"),))


def test_a_body_that_says_it_is_too_large_is_refused_unread_but_not_before_the_key():
    who = admission(key())
    assert status(who.admit("POST", "/predict", headers(content_length="1000"))) == 200
    assert status(who.admit("POST", "/predict", headers(content_length="1001"))) == 413
    assert status(who.admit("POST", "/predict", headers(content_length="9" * 400))) == 413
    assert status(who.admit("POST", "/predict", {b"content-length": b"1001"})) == 401


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({b"host": b"127.0.0.1:8000"}, 200),
        ({b"host": b"localhost:8000"}, 200),
        ({b"host": b"[::1]:8000"}, 200),
        ({}, 200),
        ({b"host": b"localhost:8000", b"origin": b"http://localhost:8000"}, 200),
        ({b"host": b"localhost:8000", b"origin": b"https://evil.example"}, 403),
        ({b"host": b"localhost:8000", b"origin": b"null"}, 403),
        ({b"host": b"rebound.evil.example:8000"}, 421),
        ({b"host": b"10.0.0.7:8000"}, 421),
        ({b"authorization": b"Bearer of-something-else"}, 200),
        (headers(host="localhost"), 200),
        (headers("wrong", host="localhost"), 401),
    ],
)
def test_without_keys_only_this_machine_is_answered(sent, expected):
    decided = admission(key(), required=False).admit("POST", "/predict", sent)
    assert status(decided) == expected
    if sent == headers(host="localhost"):
        assert decided == Admitted("abc")


def test_nothing_of_a_secret_is_shown():
    assert SECRET not in repr(key())
    assert digest(SECRET).hex() not in repr(key())


@given(st.binary())
def test_whatever_is_sent_is_taken_apart_without_an_error(sent):
    parsed = parse_key(sent)
    assert parsed is None or (sent.startswith(b"tmk_") and all(parsed))
    assert admission(key()).admit("POST", "/predict", {b"authorization": b"Bearer " + sent}).kind == (
        "unauthenticated"
    )
