"""``tidemill users``: who may log in to the dashboard, and what they may do there."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, format_moment
from tidemill.clock import SystemClock
from tidemill.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from tidemill.project import Project
    from tidemill.state import State

__all__ = ["Everywhere", "In", "add_to", "chosen_project"]

_NAME = Annotated[str, typer.Argument(metavar="NAME", help="Of the user.", show_default=False)]
_ROLE = Annotated[
    str,
    typer.Argument(
        metavar="ROLE", help="viewer, data-scientist, ml-engineer, operator or admin.", show_default=False
    ),
]
In = Annotated[
    str | None,
    typer.Option(
        "--in", metavar="PROJECT", help="Name of the project (default: this one).", show_default=False
    ),
]
Everywhere = Annotated[bool, typer.Option("--everywhere", help="In every project, those made later too.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Examples: tidemill users add ada --role admin --everywhere · tidemill users add bob")(
        add
    )
    app.command(name="list", epilog="Example: tidemill users list --json")(list_all)
    app.command(epilog="Example: tidemill users grant bob ml-engineer --in flights")(grant)
    app.command(epilog="Example: tidemill users revoke bob ml-engineer --in flights")(revoke)
    app.command(epilog="Example: tidemill users disable bob")(disable)
    app.command(epilog="Example: tidemill users enable bob")(enable)
    app.command(epilog="Example: tidemill users password bob < password.txt")(password)


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="They log in by it.", show_default=False)],
    role: Annotated[
        list[str] | None,
        typer.Option(help="A role of theirs; repeat it for several.", show_default=False),
    ] = None,
    in_project: In = None,
    everywhere: Everywhere = False,
    display: Annotated[
        str, typer.Option("--display", metavar="TEXT", help="What people call them.", show_default=False)
    ] = "",
    without_password: Annotated[
        bool, typer.Option("--without-password", help="They log in by another way, such as OpenID Connect.")
    ] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Add a user.

    The password is asked for on the terminal, or read from the first line of stdin.
    """
    from tidemill.accounts.passwords import require_password
    from tidemill.accounts.user_names import checked_name
    from tidemill.accounts.users import add_user

    loaded, state = _open(project)
    checked_name(name)
    roles = {chosen_project(loaded, state, in_project, everywhere): role} if role else None
    chosen = None if without_password else _read_password(name)
    if chosen is not None:
        require_password(chosen, name)
    made = add_user(
        state,
        name=name,
        password=chosen,
        actor=loaded.settings.who,
        now=SystemClock().now(),
        display_name=display,
        roles=roles,
    )
    _show(made, json, f"✓ user {made.name}: {_roles(made.roles)}")


def list_all(project: ProjectDir = None, json: AsJson = False) -> None:
    """Show all users and their roles."""
    from tidemill.accounts.user_facts import all_users
    from tidemill.cli.reading import open_reading

    _, records = open_reading(project)
    found = all_users(records)

    def render(console: "Console") -> None:
        if not found:
            console.print("no users yet: tidemill users add NAME --role admin --everywhere")
            return
        table = Listing("name", "status", "roles", "password", "since")
        for user in found:
            known = "yes" if user.has_password else "none"
            table.add_row(user.name, user.status, _roles(user.roles), known, format_moment(user.created_at))
        console.print(table)

    emit({"users": found}, json, render)


def grant(
    name: _NAME,
    role: _ROLE,
    in_project: In = None,
    everywhere: Everywhere = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Give a user a role in a project, or everywhere."""
    from tidemill.accounts.users import grant_role

    loaded, state = _open(project)
    place = chosen_project(loaded, state, in_project, everywhere)
    actor, now = loaded.settings.who, SystemClock().now()
    found = grant_role(state, name, role, project=place, actor=actor, now=now)
    _show(found, json, f"✓ {found.name}: {_roles(found.roles)}")


def revoke(
    name: _NAME,
    role: _ROLE,
    in_project: In = None,
    everywhere: Everywhere = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Take a role of a user.

    It counts from their next request on.
    """
    from tidemill.accounts.users import revoke_role

    loaded, state = _open(project)
    place = chosen_project(loaded, state, in_project, everywhere, known=False)
    found = revoke_role(state, name, role, project=place, actor=loaded.settings.who)
    _show(found, json, f"✓ {found.name}: {_roles(found.roles)}")


def disable(name: _NAME, project: ProjectDir = None, json: AsJson = False) -> None:
    """Keep a user out: sessions end, tokens are refused."""
    from tidemill.accounts.users import disable_user

    loaded, state = _open(project)
    found = disable_user(state, name, actor=loaded.settings.who, now=SystemClock().now())
    _show(found, json, f"✓ {found.name} is disabled; every session has ended")


def enable(name: _NAME, project: ProjectDir = None, json: AsJson = False) -> None:
    """Let a disabled user in again, with their roles."""
    from tidemill.accounts.users import enable_user

    loaded, state = _open(project)
    found = enable_user(state, name, actor=loaded.settings.who)
    _show(found, json, f"✓ {found.name} may log in again: {_roles(found.roles)}")


def password(name: _NAME, project: ProjectDir = None, json: AsJson = False) -> None:
    """Set a user's password; their sessions end.

    It is asked for on the terminal, or read from the first line of stdin.
    """
    from tidemill.accounts.users import set_password

    loaded, state = _open(project)
    found = set_password(
        state, name, _read_password(name), actor=loaded.settings.who, now=SystemClock().now()
    )
    _show(found, json, f"✓ {found.name} has a new password; every session has ended")


def chosen_project(
    loaded: "Project", state: "State", named: str | None, everywhere: bool, *, known: bool = True
) -> str:
    """Return the project in which a role is given; ``*`` for every one.

    Args:
        loaded: the project here.
        state: the records.
        named: what ``--in`` says.
        everywhere: what ``--everywhere`` says.
        known: whether a project that the records do not know is refused.

    Raises:
        UsageError: both are given, or there is no such project.
    """
    from sqlalchemy import select

    from tidemill.accounts.roles import EVERY_PROJECT
    from tidemill.state.tables import KnownProject

    if everywhere and named is not None:
        raise UsageError("--in and --everywhere were both given", hint="take one of them")
    if everywhere:
        return EVERY_PROJECT
    own = loaded.config.project.name
    if named is None or named == own or not known:
        return named or own
    with state.transaction() as session:
        names = sorted({own, *session.scalars(select(KnownProject.name))})
    if named not in names:
        raise UsageError(
            f"there is no project {named!r} in these records", hint=f"there are: {', '.join(names)}"
        )
    return named


def _open(folder: Path | None) -> "tuple[Project, State]":
    from tidemill.project import load_project
    from tidemill.state import open_state

    loaded = load_project(folder)
    return loaded, open_state(loaded.state_url)


def _read_password(name: str) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise UsageError(
            "no password was given", hint="type it on a terminal, or give it as the first line of stdin"
        )
    return line


def _roles(roles: "Mapping[str, Sequence[str]]") -> str:
    said = [
        f"{', '.join(some)} {'everywhere' if project == '*' else f'in {project}'}"
        for project, some in roles.items()
    ]
    return "; ".join(said) or "no role yet"


def _show(user: Any, json: bool, sentence: str) -> None:
    emit({"user": user}, json, lambda console: console.print(sentence))
