"""The whole table of roles, written out: a change of it is a change here."""

from tidemill.accounts.roles import ROLES, TABLE, may

EVERYBODY = {"viewer", "data-scientist", "ml-engineer", "operator", "admin"}


def test_the_table_names_only_roles_that_there_are():
    assert set(ROLES) == EVERYBODY
    for actions in TABLE.values():
        for roles in actions.values():
            assert roles <= EVERYBODY


def test_a_viewer_only_reads():
    can = {(action, resource) for resource, actions in TABLE.items() for action in actions}
    may_do = {(action, resource) for action, resource in can if may("viewer", (action, resource))}
    assert {action for action, resource in may_do - {("change", "account")}} == {"read"}


def test_an_admin_may_do_everything_that_there_is():
    assert all(may("admin", (action, kind)) for kind, actions in TABLE.items() for action in actions)


def test_what_is_not_in_the_table_nobody_may():
    assert not any(may(role, ("read", "secrets")) or may(role, ("delete", "model")) for role in ROLES)
    assert not may("owner", ("read", "model"))
