"""One's own account, people, tokens and projects: what is shown, and what the forms do."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.tidemill.dashboard.test_login import WORDS, browser, cheap_argon, csrf_of, enter_by, log_in, people
from tidemill.dashboard import page
from tidemill.dashboard.error_pages import API
from tidemill.dashboard.page import secret_fields
from tidemill.dashboard.pages.people.account_page import PasswordForm
from tidemill.dashboard.pages.people.people_page import AddForm, NewPasswordForm
from tidemill.state.tables import KnownProject

__all__ = ["browser", "cheap_argon", "people"]
TEMPLATES = Path(page.__file__).parent / "templates"


@pytest.fixture
def admin(browser):
    log_in(browser)
    return browser


def send(client, path, **fields):
    csrf = csrf_of(client)
    return client.post(path, data={**fields, "csrf": csrf})


def user(client, name):
    return next(one for one in client.get(f"{API}/people").json()["users"] if one["name"] == name)


def test_an_admin_adds_somebody_who_then_comes_in(admin, people):
    done = send(admin, "/people", name="Cy", password="their first words", role="operator", project="parcels")
    assert (done.status_code, done.headers["location"]) == (303, "/people")
    assert "Cy is added" in admin.get("/people").text
    assert user(admin, "Cy")["roles"] == {"parcels": ["operator"]}
    with enter_by(people) as other:
        assert log_in(other, "cy", "their first words").status_code == 303
        assert other.get("/people").status_code == 403
        assert send(other, "/people", name="dee", password=WORDS).status_code == 403


def test_roles_are_given_and_taken_and_people_kept_out(admin):
    send(admin, "/people/grant", name="BOB", role="ml-engineer", project="*")
    assert user(admin, "bob")["roles"] == {"*": ["ml-engineer"], "parcels": ["viewer"]}
    send(admin, "/people/revoke", name="bob", role="viewer", project="parcels")
    send(admin, "/people/disable", name="bob")
    assert (user(admin, "bob")["status"], list(user(admin, "bob")["roles"])) == ("disabled", ["*"])
    send(admin, "/people/enable", name="bob")
    assert user(admin, "bob")["status"] == "active"


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("/people/disable", {"name": "ada"}, "last admin"),
        ("/people/revoke", {"name": "ada", "role": "admin", "project": "*"}, "last admin"),
        ("/people/grant", {"name": "bob", "role": "viewer", "project": "elsewhere"}, "no project"),
        ("/people/grant", {"name": "bob", "role": "king", "project": "parcels"}, "no role"),
        ("/people", {"name": "ADA", "password": WORDS}, "already"),
        ("/people", {"name": "x", "password": "short"}, "12 are the least"),
        ("/people/password", {"name": "nobody", "password": WORDS}, "no user"),
        ("/tokens", {"name": "empty"}, "a scope or a role"),
    ],
)
def test_what_cannot_be_done_is_a_page_that_says_so(admin, path, fields, said):
    answer = send(admin, path, **fields)
    assert answer.status_code in (409, 422)
    assert said in answer.text


def test_two_admins_at_once_see_each_others_changes_and_one_stays(admin, people):
    send(admin, "/people/grant", name="bob", role="admin", project="*")
    with enter_by(people) as other:
        log_in(other, "bob")
        assert send(other, "/people/revoke", name="ada", role="admin", project="*").status_code == 303
        assert send(admin, "/people/revoke", name="bob", role="admin", project="*").status_code == 403
        assert send(other, "/people/disable", name="bob").status_code == 422


def test_an_admin_of_one_project_sees_its_people_alone(admin, people):
    send(admin, "/people/grant", name="bob", role="admin", project="parcels")
    send(admin, "/people", name="stranger", password=WORDS)
    with enter_by(people) as other:
        log_in(other, "bob")
        shown = other.get(f"{API}/people").json()["users"]
        assert [one["name"] for one in shown] == ["bob"]
        page = other.get("/people").text
        assert "Add somebody" not in page
        assert "Give somebody roles" in page
        assert "every project</option>" not in page
        assert send(other, "/people/grant", name="bob", role="admin", project="*").status_code == 403
        for path in ("", "/disable", "/password"):
            fields = {"name": "stranger", "password": WORDS}
            assert send(other, f"/people{path}", **fields).status_code == 403


def test_an_admin_of_one_project_gives_and_takes_roles_there_alone(admin, people):
    send(admin, "/people/grant", name="bob", role="admin", project="parcels")
    send(admin, "/people", name="new", password=WORDS)
    with people.state.transaction() as session:
        session.add(KnownProject(model="m", name="other", root="/x", seen_at=people.clock.now()))
    with enter_by(people) as other:
        log_in(other, "bob")
        roles = {"name": "new", "role": ["operator", "viewer"]}
        assert send(other, "/people/grant", project="parcels", **roles).status_code == 303
        assert user(admin, "new")["roles"] == {"parcels": ["viewer", "operator"]}
        for path in ("grant", "revoke"):
            for place in ("other", "*", "nowhere"):
                answer = send(other, f"/people/{path}", project=place, **roles)
                assert answer.status_code == 403
                assert "may not give or take roles" in answer.text
        assert send(other, "/people/revoke", project="parcels", **roles).status_code == 303
        assert user(admin, "new")["roles"] == {}
    with enter_by(people) as nobody:
        log_in(nobody, "new")
        assert nobody.get("/people").status_code == 403


def test_several_roles_are_given_or_taken_at_once_or_none(admin):
    answer = send(admin, "/people/grant", name="bob", role=["operator", "king"], project="parcels")
    assert answer.status_code == 422
    assert user(admin, "bob")["roles"] == {"parcels": ["viewer"]}
    assert (
        send(admin, "/people/revoke", name="bob", role=["viewer", "operator"], project="parcels").status_code
        == 422
    )
    assert user(admin, "bob")["roles"] == {"parcels": ["viewer"]}
    sent = {"name": "bob", "role": "operator", "project": "*"}  # a program may send one as a text
    csrf = {"X-CSRF-Token": csrf_of(admin)}
    assert admin.post(f"{API}/people/grant", json=sent, headers=csrf).status_code == 200
    assert user(admin, "bob")["roles"] == {"*": ["operator"], "parcels": ["viewer"]}
    assert admin.post(f"{API}/people/grant", json={**sent, "role": []}, headers=csrf).status_code == 422


def test_no_page_shows_a_password_again():
    shown = "".join(one.read_text() for one in TEMPLATES.rglob("*.html"))
    typed = {re.search(r'name="(\w+)"', tag)[1] for tag in re.findall(r'<input type="password"[^>]*>', shown)}
    assert typed == {"current", "new", "again", "password"}
    for form in (PasswordForm, AddForm, NewPasswordForm):
        assert secret_fields(form) == typed & form.model_fields.keys() != set()


def test_one_changes_ones_password_and_every_session_ends(browser, people):
    log_in(browser, "bob")
    new = {"new": "a new set of words", "again": "a new set of words"}
    refused = send(browser, "/account/password", current="no such words", **new).text
    assert "present password is wrong" in refused
    assert not {"no such words", *new.values()} & set(re.findall(r'"([^"]*)"', refused))
    other = {"new": "a new set of words", "again": "another set of words"}
    assert "the same twice" in send(browser, "/account/password", current=WORDS, **other).text
    done = send(browser, "/account/password", current=WORDS, **new)
    assert done.headers["location"] == "/login?note=password"
    assert "every session has ended" in browser.get("/login?note=password").text
    assert browser.get("/account").status_code == 303
    assert log_in(browser, "bob").status_code == 401
    assert log_in(browser, "bob", "a new set of words").status_code == 303


def test_a_stolen_session_cannot_guess_the_password_for_long(browser):
    log_in(browser, "bob")
    new = {"new": "a new set of words", "again": "a new set of words"}
    found = [send(browser, "/account/password", current="wrong", **new).status_code for _ in range(6)]
    assert found == [401] * 5 + [429]


def test_one_sees_and_ends_ones_own_sessions_and_nobody_elses(browser, people):
    log_in(browser, "bob")
    with enter_by(people) as phone, enter_by(people) as ada:
        log_in(phone, "bob")
        log_in(ada)
        mine = browser.get(f"{API}/account").json()
        assert len(mine["sessions"]) == 2
        [other] = [one["id"] for one in mine["sessions"] if one["id"] != mine["current"]]
        [hers] = ada.get(f"{API}/account").json()["sessions"]
        send(browser, "/account/sessions/end", id=hers["id"])
        send(browser, "/account/sessions/end", id=other)
        assert phone.get("/account").status_code == 303
        assert ada.get("/account").status_code == 200
        assert browser.get("/account").status_code == 200


def test_a_token_of_ones_own_is_shown_once_and_may_no_more(browser, people):
    log_in(browser, "bob")
    assert send(browser, "/account/tokens", name="x", project="parcels").status_code == 403  # a viewer's
    send(browser, "/logout")
    log_in(browser, "ada")
    made = send(browser, "/account/tokens", name="notebook", role="viewer", project="parcels", days="30")
    assert (made.status_code, made.headers["cache-control"]) == (200, "no-store")
    secret = re.search(r"tmk_\w{12}_[\w-]{43}", made.text)[0]
    assert "tmk_" not in str(made.headers)
    assert secret not in browser.get("/account").text
    sent = {"Authorization": f"Bearer {secret}"}
    with enter_by(people) as program:
        assert program.get(f"{API}/fleet", headers=sent).status_code == 200
        assert program.get("/account", headers=sent).status_code == 403
        [mine] = browser.get(f"{API}/account").json()["tokens"]
        send(browser, "/account/tokens/revoke", id=mine["id"])
        assert program.get(f"{API}/fleet", headers=sent).status_code == 401


def test_one_cannot_revoke_what_belongs_to_nobody(browser, people):
    log_in(browser)
    send(browser, "/tokens", name="shop", scope="predict", days="never")
    [shop] = browser.get(f"{API}/tokens").json()["tokens"]
    assert (shop["key"]["scopes"], shop["key"]["expires_at"], shop["owner"]) == (["predict"], None, None)
    assert send(browser, "/account/tokens/revoke", id=shop["key"]["id"]).status_code == 422
    assert "tmk_" in send(browser, "/tokens/rotate", id=shop["key"]["id"]).text
    assert "tmk_0" not in browser.get("/tokens").text
    send(browser, "/tokens/revoke", id=shop["key"]["id"])
    assert browser.get(f"{API}/tokens").json()["tokens"][0]["key"]["status"] == "revoked"


def test_a_program_reads_the_secret_of_a_new_token_once_too(browser):
    log_in(browser)
    asked = {"name": "ci", "scope": ["predict", "feedback"], "role": ["viewer", "operator"], "days": "30"}
    csrf = {"X-CSRF-Token": csrf_of(browser)}
    made = browser.post(f"{API}/tokens", json=asked, headers=csrf)
    assert made.headers["cache-control"] == "no-store"
    assert re.fullmatch(r"tmk_\w{12}_[\w-]{43}", made.json()["secret"])
    assert "tmk_" not in made.json()["message"]
    [key] = [one["key"] for one in browser.get(f"{API}/tokens").json()["tokens"]]
    assert (key["scopes"], key["roles"]) == (["predict", "feedback"], {"*": ["viewer", "operator"]})


def test_projects_are_those_that_one_may_see(browser, people):
    log_in(browser, "bob")
    [shown] = browser.get(f"{API}/projects").json()["projects"]
    assert (shown["name"], shown["here"], shown["people"]) == ("parcels", True, 1)
    assert shown["four_eyes"] is False
    path = people.home.root / "params.yaml"
    path.write_text(path.read_text() + "gate: {four_eyes: true}\n")
    page = browser.get("/projects").text
    assert "a second person approves" in page
    assert "People log in by their password." in page


def test_names_that_are_markup_stay_text(admin):
    evil = '"><img src=x onerror=alert(1)>'
    send(admin, "/people", name="eve", display_name=evil, password=WORDS)
    page = admin.get("/people").text
    assert "<img" not in page
    assert "&lt;img" in page


def test_a_list_of_tokens_is_read_a_page_at_a_time(admin, people):
    from tidemill.accounts.api_keys import create_key

    for number in range(51):
        now = people.clock.now() + timedelta(seconds=number)
        create_key(people.state, name=f"key {number}", scopes=("predict",), actor="me", now=now)
    assert len(admin.get(f"{API}/tokens").json()["tokens"]) == 50
    assert [one["key"]["name"] for one in admin.get(f"{API}/tokens?page=2").json()["tokens"]] == ["key 0"]
