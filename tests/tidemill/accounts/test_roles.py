"""The whole table of roles, written out: a change of it is a change here."""

from tidemill.accounts.roles import ROLES, TABLE, may

EVERYBODY = {"viewer", "data-scientist", "ml-engineer", "operator", "admin"}

BY_HAND = """
                      viewer  scientist  engineer  operator  admin
project read            x         x         x         x        x
project change          -         -         -         -        x
model read              x         x         x         x        x
version read            x         x         x         x        x
version register        -         x         x         -        x
version annotate        -         x         x         -        x
version delete          -         -         x         -        x
version promote         -         -         x         -        x
version approve         -         -         x         -        x
version roll-back       -         -         x         x        x
version deploy          -         -         x         -        x
rollout read            x         x         x         x        x
rollout start           -         -         x         -        x
rollout stop            -         -         x         x        x
turn read               x         x         x         x        x
turn start              -         x         x         -        x
turn cancel             -         x         x         x        x
policy read             x         x         x         x        x
run read                x         x         x         x        x
run write               -         x         x         -        x
run delete              -         x         x         -        x
artifact read           x         x         x         x        x
artifact write          -         x         x         -        x
artifact delete         -         x         x         -        x
data read               x         x         x         x        x
data erase              -         -         -         -        x
prediction read         -         x         x         x        x
monitor read            x         x         x         x        x
monitor run             -         x         x         x        x
alert read              x         x         x         x        x
alert comment           -         x         x         x        x
alert acknowledge       -         x         x         x        x
alert resolve           -         x         x         x        x
alert silence           -         -         x         x        x
serving read            x         x         x         x        x
serving operate         -         -         -         x        x
job read                x         x         x         x        x
job operate             -         -         x         x        x
account read            x         x         x         x        x
account change          x         x         x         x        x
token read              -         x         x         x        x
token manage            -         x         x         x        x
token manage-all        -         -         -         -        x
people read             -         -         -         -        x
people manage           -         -         -         -        x
people grant            -         -         -         -        x
audit read              -         -         -         x        x
audit export            -         -         -         x        x
"""


def test_the_whole_table_is_what_stands_here():
    columns = ("viewer", "data-scientist", "ml-engineer", "operator", "admin")
    rows = [line.split() for line in BY_HAND.strip().splitlines()[1:]]
    written = {(kind, action, role): mark == "x" for kind, action, *marks in rows
               for role, mark in zip(columns, marks, strict=True)}  # fmt: skip
    decided = {
        (kind, action, role): may(role, (action, kind))
        for kind, actions in TABLE.items()
        for action in actions
        for role in ROLES
    }
    assert decided == written


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
