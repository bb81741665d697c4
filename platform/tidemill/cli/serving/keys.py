"""``tidemill keys``: API keys of the prediction API and the dashboard."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, format_moment
from tidemill.cli.people.users import Everywhere, In, chosen_project
from tidemill.clock import SystemClock, parse_duration
from tidemill.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.state import State
    from tidemill.state.key_facts import KeyInfo

__all__ = ["add_to"]

T = TypeVar("T")
_KEY = Annotated[str, typer.Argument(metavar="KEY", help="Its id or its name.", show_default=False)]
_Name = Annotated[str, typer.Option(help="What people call it.", show_default=False)]
_Scopes = Annotated[
    list[str] | None,
    typer.Option(
        help="What it is for at the prediction API: predict, feedback, metrics, alerts or admin; repeat "
        "it for several.",
        show_default=False,
    ),
]
_Roles = Annotated[
    list[str] | None,
    typer.Option(
        help="What it may do at the dashboard and MLflow behind it: viewer, data-scientist, ml-engineer, "
        "operator or admin; repeat it for several.",
        show_default=False,
    ),
]
_Owner = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The user that it belongs to: it may no more than they, and ends with them.",
        show_default=False,
    ),
]
_Rate = Annotated[
    str | None,
    typer.Option(
        metavar="RATE", help="Requests it may make, over all replicas, such as 100/s.", show_default=False
    ),
]
_Expires = Annotated[
    str | None,
    typer.Option(
        "--expires", metavar="TIME", help="After which it expires, such as 90d.", show_default=False
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples: tidemill keys create --name shop --scope predict --expires 90d --rate 100/s · "
        "tidemill keys create --name ci --role data-scientist --expires 90d"
    )(create)
    app.command(name="list", epilog="Example: tidemill keys list --json")(list_all)
    app.command(epilog="Example: tidemill keys rotate shop --overlap 24h")(rotate)
    app.command(epilog="Example: tidemill keys revoke shop")(revoke)


def create(
    name: _Name,
    scope: _Scopes = None,
    role: _Roles = None,
    in_project: In = None,
    everywhere: Everywhere = False,
    owner: _Owner = None,
    project: ProjectDir = None,
    expires: _Expires = None,
    rate: _Rate = None,
    json: AsJson = False,
) -> None:
    """Make a key. It is shown once.

    Only its digest is kept.
    """
    from tidemill.accounts.api_keys import create_key, parse_rate
    from tidemill.project import load_project
    from tidemill.state import open_state

    loaded = load_project(project)
    state = open_state(loaded.state_url)
    roles = {chosen_project(loaded, state, in_project, everywhere): role} if role else None
    made = create_key(
        state,
        name=name,
        scopes=scope or (),
        actor=loaded.settings.who,
        now=SystemClock().now(),
        lifetime=_duration(expires),
        rate=_read(parse_rate, rate),
        roles=roles,
        owner=_owner(state, owner),
    )
    _show_new(made, json, f"✓ key {made.info.name} for {_purpose(made.info)}")


def list_all(project: ProjectDir = None, json: AsJson = False) -> None:
    """Show all keys: scopes, expiry, last use."""
    from tidemill.cli.reading import open_reading
    from tidemill.state import record_queries
    from tidemill.state.key_facts import key_info

    _, records = open_reading(project)
    now = SystemClock().now()
    found = [key_info(row, now) for row in record_queries.keys(records)]

    def render(console: "Console") -> None:
        if not found:
            console.print("no keys yet: tidemill keys create --name first --scope predict")
            return
        table = Listing("id", "name", "for", "status", "rate", "expires", "last used")
        for key in found:
            state = (
                f"{key.status}, two secrets until {format_moment(key.overlap_until)}"
                if key.overlap_until
                else key.status
            )
            rate = f"{key.rate:g}/s" if key.rate else "–"
            row = (key.id, key.name, _purpose(key), state, rate)
            table.add_row(*row, format_moment(key.expires_at), format_moment(key.last_used_at))
        console.print(table)

    emit({"keys": found}, json, render)


def rotate(
    key: _KEY,
    project: ProjectDir = None,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="How long the present secret stays valid; 0 for not at all.")
    ] = "24h",
    expires: _Expires = None,
    json: AsJson = False,
) -> None:
    """Give a key a new secret. It is shown once.

    The present secret stays valid for a while.
    """
    from tidemill.accounts.api_keys import rotate_key
    from tidemill.project import load_project
    from tidemill.state import open_state

    loaded = load_project(project)
    made = rotate_key(
        open_state(loaded.state_url),
        key,
        actor=loaded.settings.who,
        overlap=timedelta(0) if overlap == "0" else _duration(overlap) or timedelta(0),
        now=SystemClock().now(),
        lifetime=_duration(expires),
    )
    until = made.info.overlap_until
    also = (
        f"the present secret is valid until {format_moment(until)} UTC"
        if until
        else "the present secret has ended"
    )
    _show_new(made, json, f"✓ key {made.info.name} has a new secret; {also}")


def revoke(key: _KEY, project: ProjectDir = None, json: AsJson = False) -> None:
    """Revoke a key for good.

    Replicas refuse it within two seconds.
    """
    from tidemill.accounts.api_keys import revoke_key
    from tidemill.project import load_project
    from tidemill.state import open_state

    loaded = load_project(project)
    now = SystemClock().now()
    found = revoke_key(open_state(loaded.state_url), key, actor=loaded.settings.who, now=now)
    emit({"key": found}, json, lambda console: console.print(f"✓ key {found.name} ({found.id}) is revoked"))


def _owner(state: "State", name: str | None) -> str | None:
    if name is None:
        return None
    from tidemill.accounts.users import find_user

    with state.transaction() as session:
        return find_user(session, name).id


def _purpose(key: "KeyInfo") -> str:
    roles = [
        f"{role} {'everywhere' if project == '*' else f'in {project}'}"
        for project, some in key.roles.items()
        for role in some
    ]
    return ", ".join([*key.scopes, *roles])


def _show_new(made: Any, json: bool, sentence: str) -> None:
    secret = made.secret.get_secret_value()

    def render(console: "Console") -> None:
        console.print(sentence)
        console.print(secret, style="bold", soft_wrap=True)
        uses = (("TIDEMILL_API_KEY", made.info.scopes), ("MLFLOW_TRACKING_TOKEN", made.info.roles))
        exported = " and ".join(f"export {name}=…" for name, given in uses if given)
        console.print(f"Keep it now, it is not shown again: {exported}, or send it as")
        console.print("Authorization: Bearer …")

    emit({"key": made.info, "secret": secret}, json, render)


def _duration(text: str | None) -> timedelta | None:
    return _read(parse_duration, text)


def _read(parse: Callable[[str], T], text: str | None) -> T | None:
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from error
