"""Users and roles in the records, in both databases; nothing here needs a server."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.accounts.passwords import hash_password, is_outdated, verify_password
from tidemill.accounts.user_facts import identity_of
from tidemill.accounts.user_names import folded
from tidemill.accounts.users import (
    add_user,
    disable_user,
    enable_user,
    grant_role,
    has_admin,
    revoke_role,
    set_password,
)
from tidemill.errors import UsageError
from tidemill.state import open_state
from tidemill.state.tables import AuditEntry

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)
WORDS = "four words in a row"


@pytest.fixture(autouse=True)
def cheap_argon(monkeypatch):
    """One pass over little memory: the real parameters are tested once, below."""
    from argon2 import PasswordHasher

    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr("tidemill.accounts.passwords._hasher", lambda: hasher)


@pytest.fixture
def state(tmp_path):
    made = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    yield made
    made.close()


def add(state, name, **roles):
    given = {project.replace("everywhere", "*"): [role] for project, role in roles.items()}
    return add_user(state, name=name, password=WORDS, actor="me", now=NOW, roles=given)


@pytest.mark.parametrize(
    ("one", "other"),
    [("ada", "ADA"), ("Straße", "STRASSE"), ("ａｄａ", "ada"), ("İnci", "i̇nci"), ("ﬁona", "FIONA")],
)
def test_names_are_the_same_whatever_their_case_and_width(state, one, other):
    assert folded(one) == folded(other)
    add(state, one)
    if other != "i̇nci":  # whose dot is a letter of its own, which no name may have
        with pytest.raises(UsageError, match="already"):
            add(state, other)
    assert grant_role(state, other, "viewer", project="flights", actor="me", now=NOW).roles == {
        "flights": ["viewer"]
    }


def test_the_dotless_i_is_another_letter(state):
    add(state, "ılgaz")
    assert add(state, "ILGAZ").name == "ILGAZ"


@settings(max_examples=40)
@given(st.text(max_size=30))
def test_folding_twice_is_folding_once(text):
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize("name", ["", " ", "token:ci", "a b", "<b>", "a/../b", "\u202eada", "x" * 65, "a\nb"])
def test_what_is_no_name_is_refused(state, name):
    with pytest.raises(UsageError, match="name of a user"):
        add(state, name)


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "x" * 257, "Ada.Lovelace"])
def test_a_password_that_is_easy_to_guess_is_refused(state, password):
    with pytest.raises(UsageError, match="password"):
        add_user(state, name="ada.lovelace", password=password, actor="me", now=NOW)


def test_the_password_itself_is_nowhere(state, tmp_path):
    add(state, "ada")
    state.close()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert b"$argon2id$" in content
    assert WORDS.encode() not in content


@pytest.mark.parametrize("undo", ["disable", "demote"])
def test_the_last_admin_stays(state, undo):
    add(state, "ada", everywhere="admin")
    add(state, "bob", flights="admin")  # of one project: no help
    assert has_admin(state)

    def remove(name):
        if undo == "disable":
            return disable_user(state, name, actor="me", now=NOW)
        return revoke_role(state, name, "admin", project="*", actor="me")

    with pytest.raises(UsageError, match="last admin"):
        remove("ADA")
    grant_role(state, "bob", "admin", project="*", actor="ada", now=NOW)
    remove("ada")
    with pytest.raises(UsageError, match="last admin"):
        remove("bob")
    assert has_admin(state)


@pytest.mark.slow
@pytest.mark.parametrize("undo", ["disable", "demote"])
def test_two_admins_who_remove_each_other_at_once_leave_one(any_state_url, undo):
    state = open_state(any_state_url)
    for name in ("ada", "bob"):
        add(state, name, everywhere="admin")
    start, refused = threading.Barrier(2), []

    def remove(name):
        mine = open_state(any_state_url)
        start.wait()
        try:
            if undo == "disable":
                disable_user(mine, name, actor="me", now=NOW)
            else:
                revoke_role(mine, name, "admin", project="*", actor="me")
        except UsageError as error:
            refused.append(str(error))
        mine.close()

    threads = [threading.Thread(target=remove, args=(name,)) for name in ("ada", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert has_admin(state)
    state.close()


def test_a_disabled_user_comes_back_with_their_roles(state):
    add(state, "ada", flights="viewer")
    assert disable_user(state, "ada", actor="me", now=NOW).status == "disabled"
    back = enable_user(state, "ada", actor="me")
    assert (back.status, identity_of(back).roles) == ("active", {"flights": frozenset({"viewer"})})


def test_unknown_users_and_roles_are_named(state):
    with pytest.raises(UsageError, match="no user 'eve'"):
        grant_role(state, "eve", "viewer", project="*", actor="me", now=NOW)
    with pytest.raises(UsageError, match="no role 'king'"):
        add(state, "eve", everywhere="king")
    add(state, "eve")
    with pytest.raises(UsageError, match="does not have the role viewer in flights"):
        revoke_role(state, "eve", "viewer", project="flights", actor="me")


def test_a_new_password_replaces_the_old_one(state):
    add(state, "ada")
    set_password(state, "ada", "another set of words", actor="me", now=NOW + timedelta(days=1))
    from tidemill.state.tables import User

    with state.transaction() as session:
        digest = session.query(User).one().password
    assert verify_password(digest, "another set of words")
    assert not verify_password(digest, WORDS)


def test_the_real_parameters_are_those_of_the_standard_and_nothing_is_left_of_a_wrong_digest(monkeypatch):
    monkeypatch.undo()
    digest = hash_password(WORDS)
    assert digest.startswith("$argon2id$v=19$m=65536,t=3")
    assert verify_password(digest, WORDS)
    assert not is_outdated(digest)
    assert is_outdated("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNo")
    assert not verify_password("nonsense", WORDS)


def test_what_is_refused_leaves_no_entry_and_what_is_done_leaves_one(state):
    add(state, "ada", everywhere="admin")
    with pytest.raises(UsageError, match="last admin"):
        revoke_role(state, "ada", "admin", project="*", actor="eve")
    grant_role(state, "ada", "viewer", project="flights", actor="root", now=NOW)
    grant_role(state, "ada", "viewer", project="flights", actor="root", now=NOW)  # changes nothing
    with state.transaction() as session:
        entries = session.query(AuditEntry).order_by(AuditEntry.seq).all()
        assert [(one.actor, one.action) for one in entries] == [("me", "add"), ("root", "grant")]
        assert '"role":"viewer"' in entries[1].details.replace(" ", "")


@pytest.mark.parametrize(
    ("taken", "wanted", "said"),
    [
        ("ada", "\u0430da", "mixes letters of Cyrillic and Latin"),
        ("cop", "\u0441\u043e\u0440", "looks like the user 'cop'"),  # all Cyrillic
        ("Bob", "\u0412\u041e\u0412", "looks like the user 'Bob'"),
        ("nova", "\u03bd\u03bf\u03bd\u03b1", None),  # all Greek: "vova"
        ("\u0441\u043e\u0440", "cop", "looks like the user"),
        ("ada", "ada\u3164", "cannot be the name"),  # a letter that shows nothing
        ("ada", "a\u200bda", "cannot be the name"),
        ("ada", "ada\u0301\u0301", "cannot be the name"),
        ("ada", "\u202eada", "cannot be the name"),
        ("ada", "ada ", "already"),
        ("\u0430\u043d\u043d\u0430", "anna", None),  # whose n is another letter
        ("adà", "ada", None),
    ],
)
def test_a_name_that_looks_like_anothers_is_refused(state, taken, wanted, said):
    add(state, taken)
    if said is None:
        add(state, wanted)
        return
    with pytest.raises(UsageError, match=said):
        add(state, wanted)
