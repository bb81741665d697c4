"""API keys at rest, in the command line, and on their way to the replicas."""

import json
import sqlite3
import stat
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from typer.testing import CliRunner

from tests.tidemill.recorded import list_keys
from tests.tidemill.serving.small_project import PARAMS
from tidemill.accounts.api_keys import (
    active_keys,
    create_key,
    record_use,
    revoke_key,
    rotate_key,
)
from tidemill.accounts.key_format import SCOPES
from tidemill.accounts.users import add_user, disable_user
from tidemill.cli.main import app
from tidemill.errors import ConfigError, UsageError
from tidemill.project import load_project
from tidemill.serving.http.admission import Admission, Admitted
from tidemill.serving.http.keyring import Keyring
from tidemill.serving.routing.replicas import record_status
from tidemill.serving.routing.version_watcher import Status
from tidemill.serving.runtime.bind_policy import require_safe_start
from tidemill.settings import Settings
from tidemill.state import expect_state, open_state
from tidemill.state.tables import KnownProject

NOW = datetime(2013, 4, 1, 12, 34, 56, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.moment = NOW

    def now(self):
        return self.moment


@pytest.fixture
def url(request, tmp_path):
    """In SQLite; a test may ask for ``postgres`` as well."""
    if getattr(request, "param", "sqlite") == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'state.db'}"


both = pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def state(url):
    return open_state(url)


def make(state, name="shop", scopes=("predict",), **more):
    return create_key(state, name=name, scopes=scopes, actor="me", now=NOW, **more)


def admits(admission, secret):
    sent = {b"authorization": b"Bearer " + secret.get_secret_value().encode()}
    return isinstance(admission.admit("POST", "/predict", sent), Admitted)


def test_a_key_is_nowhere_but_in_the_hands_of_who_made_it(state, tmp_path):
    made = make(state)
    _, name, secret = made.secret.get_secret_value().split("_", 2)
    assert name == made.info.id
    assert len(secret) == 43  # 256 bits
    assert secret not in repr(made)
    assert secret not in str(list_keys(state, NOW)) + str(active_keys(state, NOW))
    state.close()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert made.info.id.encode() in content
    assert secret.encode() not in content


@both
def test_two_keys_in_use_never_share_a_name(state):
    first = make(state)
    with pytest.raises(UsageError, match="named 'shop' in use"):
        make(state)
    revoke_key(state, "shop", actor="ann", now=NOW)
    second = make(state)
    assert [key.status for key in list_keys(state, NOW)].count("active") == 1
    with pytest.raises(UsageError, match="no key in use"):
        rotate_key(state, first.info.id, actor="ann", overlap=timedelta(0), now=NOW)
    assert rotate_key(state, second.info.id, actor="ann", overlap=timedelta(0), now=NOW).info.name == "shop"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scopes": ("predict", "fly")}, "no scope fly"),
        ({"scopes": ()}, "needs a scope"),
        ({"name": ""}, "name of a key"),
        ({"name": "a\nb"}, "name of a key"),
    ],
)
def test_what_is_no_key_is_refused(state, wrong, said):
    with pytest.raises(UsageError, match=said):
        make(state, **wrong)
    assert list_keys(state, NOW) == []


def test_a_whole_key_that_is_pasted_as_a_name_is_not_repeated(state):
    made = make(state)
    with pytest.raises(UsageError) as refused:
        revoke_key(state, made.secret.get_secret_value(), actor="ann", now=NOW)
    assert made.secret.get_secret_value() not in str(refused.value) + str(refused.value.hint)


@both
def test_an_expired_key_is_rotated_only_with_another_life(state):
    make(state, lifetime=timedelta(days=1))
    later = NOW + timedelta(days=2)
    assert active_keys(state, later) == []
    with pytest.raises(UsageError, match="expired 2013-04-02"):
        rotate_key(state, "shop", actor="ann", overlap=timedelta(hours=1), now=later)
    rotated = rotate_key(
        state, "shop", actor="ann", overlap=timedelta(hours=1), now=later, lifetime=timedelta(days=1)
    )
    (key,) = active_keys(state, later)
    secret = rotated.secret.get_secret_value().split("_", 2)[2]
    assert key.digests == ((sha256(secret.encode()).digest(), None),)  # what has expired stays so
    assert rotated.info.overlap_until is None


@both
def test_the_last_use_is_on_record_to_ten_minutes_and_never_goes_back(state):
    made = make(state)
    record_use(state, {made.info.id: NOW, "gone": NOW})
    record_use(state, {made.info.id: NOW - timedelta(hours=1)})
    (info,) = list_keys(state, NOW)
    assert info.last_used_at == NOW.replace(minute=30, second=0)


@pytest.fixture
def ring(state, url, tmp_path):
    def of(where=None):
        admission = Admission(True, 1000, lambda: NOW.timestamp())
        return admission, Keyring(
            admission, expect_state(where or url, 0.1), "m", tmp_path / "keys.json", Clock()
        )

    return of


@both
def test_replicas_hear_of_new_rotated_and_revoked_keys_by_polling(state, ring):
    admission, keyring = ring()
    keyring.refresh()
    made = make(state)
    assert not admits(admission, made.secret)
    keyring.refresh()
    assert admits(admission, made.secret)
    rotated = rotate_key(state, "shop", actor="ann", overlap=timedelta(hours=1), now=NOW)
    keyring.refresh()
    assert admits(admission, made.secret)
    assert admits(admission, rotated.secret)
    keyring._clock.moment = NOW + timedelta(minutes=2)
    keyring.refresh()
    assert list_keys(state, NOW)[0].last_used_at is not None
    revoke_key(state, "shop", actor="ann", now=NOW)
    keyring.refresh()
    assert not admits(admission, made.secret)
    assert not admits(admission, rotated.secret)


def test_a_rate_is_shared_by_the_replicas_that_live(state, ring):
    admission, keyring = ring()
    made = make(state, rate=4.0)
    record_status(state, "m", "r1", Status("1", "1"), NOW)
    record_status(state, "m", "killed", Status("1", "1"), NOW - timedelta(seconds=30))
    record_status(state, "another model", "r9", Status("1", "1"), NOW)
    keyring.refresh()
    assert [admits(admission, made.secret) for _ in range(5)] == [True] * 4 + [False]


def test_keys_stay_known_while_the_records_are_away_also_across_a_restart(state, ring, tmp_path):
    made = make(state)
    admission, keyring = ring()
    keyring.refresh()
    file = tmp_path / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert made.secret.get_secret_value().split("_", 2)[2] not in file.read_text()

    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    keyring.refresh()
    assert "locked" in keyring.problem
    assert admits(admission, made.secret)
    again, restarted = ring()
    restarted.refresh()
    assert "locked" in restarted.problem
    assert admits(again, made.secret)
    other.execute("ROLLBACK")
    other.close()
    for one in (keyring, restarted):
        one.refresh()
        assert one.problem is None
    nowhere, lost = ring("sqlite:////proc/no/state.db")
    lost.refresh()
    assert "/proc/no" in lost.problem
    assert admits(nowhere, made.secret)


def write_project(root, **serve):
    import yaml

    root.mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "serve": serve}))
    return root


def run(root, *words):
    result = CliRunner().invoke(
        app, ["keys", *words, "--project", str(root), "--json"], catch_exceptions=False
    )
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_the_commands_make_list_rotate_and_revoke(tmp_path):
    root = write_project(tmp_path / "project")
    scopes = ("--scope", "predict", "--scope", "feedback")
    made = run(root, "create", "--name", "shop", *scopes, "--rate", "600/m", "--expires", "90d")
    assert made["key"]["rate"] == 10
    assert made["key"]["scopes"] == ["predict", "feedback"]
    rotated = run(root, "rotate", "shop", "--overlap", "2h")
    assert rotated["secret"].startswith(f"tmk_{made['key']['id']}_")
    assert rotated["secret"] != made["secret"]
    assert rotated["key"]["overlap_until"] is not None
    listed = run(root, "list")
    assert [key["name"] for key in listed["keys"]] == ["shop"]
    assert made["secret"] not in json.dumps(listed)
    assert run(root, "revoke", made["key"]["id"])["key"]["status"] == "revoked"
    shown = CliRunner().invoke(app, ["keys", "list", "--project", str(root)])
    assert "revoked" in shown.stdout


@pytest.mark.parametrize("words", [("--rate", "fast"), ("--expires", "soon"), ("--scope", "fly")])
def test_wrong_words_are_refused_before_anything_is_made(tmp_path, words):
    root = write_project(tmp_path / "project")
    asked = ["keys", "create", "--name", "n", "--scope", "predict", *words, "--project", str(root)]
    with pytest.raises(UsageError):
        CliRunner().invoke(app, asked, catch_exceptions=False)
    assert run(root, "list") == {"keys": []}


def test_beyond_this_machine_only_with_keys_and_with_plain_http_accepted(tmp_path):
    root = write_project(tmp_path / "project")
    require_safe_start(load_project(root, Settings()))
    public = load_project(root, Settings(host="0.0.0.0"))
    with pytest.raises(ConfigError, match=r"listen on 0\.0\.0\.0.* no API key that may predict") as refused:
        require_safe_start(public)
    assert "tidemill keys create" in refused.value.hint
    run(root, "create", "--name", "watcher", "--scope", "metrics")
    with pytest.raises(ConfigError, match="no API key"):
        require_safe_start(public)
    run(root, "create", "--name", "shop", "--scope", "predict")
    with pytest.raises(ConfigError, match="without TLS") as refused:
        require_safe_start(public)
    assert "TIDEMILL_PLAIN_HTTP=accepted" in refused.value.hint
    require_safe_start(load_project(root, Settings(host="0.0.0.0", plain_http="accepted")))


def test_on_loopback_keys_may_be_required_too(tmp_path):
    root = write_project(tmp_path / "project", require_keys="always")
    with pytest.raises(ConfigError, match="require_keys is always"):
        require_safe_start(load_project(root, Settings()))
    run(root, "create", "--name", "shop", "--scope", "admin")
    require_safe_start(load_project(root, Settings()))


@pytest.mark.parametrize("name", ["ci ", "\u0441i", "c\u200bi", "\uff43\uff49", " ci", "c\ni", ""])
def test_a_name_that_looks_like_anothers_is_refused(state, name):
    make(state, "ci")
    with pytest.raises(UsageError, match="cannot be the name of a key"):
        make(state, name)


READING = {"predict", "feedback", "metrics"}


@pytest.mark.parametrize(
    ("roles", "left"),
    [
        ({}, set()),
        ({"parcels": ["viewer"]}, READING),
        ({"parcels": ["data-scientist"]}, READING | {"alerts"}),
        ({"parcels": ["ml-engineer"]}, READING | {"alerts"}),
        ({"parcels": ["operator"]}, READING | {"alerts", "admin"}),
        ({"flights": ["admin"]}, set()),  # of another team
        ({"*": ["viewer"]}, READING),
        ({"*": ["admin"]}, set(SCOPES)),
    ],
)
def test_what_a_key_may_is_what_its_scopes_and_its_owners_roles_both_allow(state, roles, left):
    with state.transaction() as session:
        session.add(KnownProject(model="parcel-delay", name="parcels", root="/x", seen_at=NOW))
    owner = add_user(state, name="bob", password=None, actor="me", now=NOW, roles=roles)
    # Its own roles are for the dashboard, and add nothing here.
    make(state, "all", SCOPES, owner=owner.id, roles={"*": ["admin"]})
    make(state, "one", ("metrics",), owner=owner.id)
    found = {frozenset(one.scopes) for one in active_keys(state, NOW, "parcel-delay")}
    assert found == {frozenset(each) for each in (left, left & {"metrics"}) if each}
    disable_bob(state, roles)
    assert active_keys(state, NOW, "parcel-delay") == []


def disable_bob(state, roles):
    if "admin" in roles.get("*", ()):  # never the last one
        add_user(state, name="root", password=None, actor="me", now=NOW, roles={"*": ["admin"]})
    disable_user(state, "bob", actor="me", now=NOW)
