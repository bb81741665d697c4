"""Sends messages by Apprise, which knows mail, chats, pagers and webhooks; imported only when needed."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

from tidemill.alerting.alert_evidence import describe
from tidemill.alerting.alert_html import page_of
from tidemill.alerting.alert_text import AlertText, body_of, title_of_message
from tidemill.alerting.alertmanager import push
from tidemill.alerting.notifying import Send
from tidemill.alerting.routes import Receiver
from tidemill.errors import NotDelivered, TidemillError
from tidemill.project import ProjectFolder
from tidemill.state.alert_queries import alert_records
from tidemill.state.record_reader import open_records

__all__ = ["address_of", "sender_of", "without_address"]

log = logging.getLogger(__name__)
_MAIL = ("mailto://", "mailtos://")
_UNKNOWN = ("Unparseable", "Unsupported", "Could not load")
"""How Apprise begins to say that it cannot use an address, which it then names in part."""
_EXTRA = "pip install 'tidemill[alerting]'"


def sender_of(project: ProjectFolder) -> Send:
    """Return what sends messages to the receivers of a project."""

    def send(receiver: Receiver, alerts: Sequence[AlertText]) -> None:
        address = address_of(receiver, project.root)
        if receiver.kind == "alertmanager":
            push(address, receiver.name, alerts)
        else:
            by_mail = address.lower().startswith(_MAIL)
            _by_apprise(receiver.name, address, alerts, _page(project, alerts) if by_mail else None)

    return send


def _page(project: ProjectFolder, alerts: Sequence[AlertText]) -> str | None:
    """Return a page with the pictures of alerts; None if the records cannot be read: then text is sent."""
    try:
        records = open_records(project.state_url)
        facts = [describe(alert_records(records, each.model, each.id)) for each in alerts]
    except TidemillError as error:
        log.warning("a mail is sent without pictures: %s", error)
        return None
    return page_of(facts, title_of_message(alerts))


def address_of(receiver: Receiver, root: Path) -> str:
    """Return the address of a receiver, from the environment or its file.

    Raises:
        NotDelivered: it is not there.
    """
    if receiver.url_env is not None:
        found = os.environ.get(receiver.url_env, "").strip()
        if not found:
            raise NotDelivered(
                f"receiver {receiver.name!r} has no address: {receiver.url_env} is not set",
                hint="set it where the controller runs, and start it again",
            )
        return found
    path = root / str(receiver.url_file)
    try:
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotDelivered(
            f"receiver {receiver.name!r} has no address: {path} cannot be read", hint="write it there"
        ) from error
    if not found:
        raise NotDelivered(
            f"receiver {receiver.name!r} has no address: {path} is empty", hint="write it there"
        )
    return found


def _by_apprise(name: str, address: str, alerts: Sequence[AlertText], page: str | None) -> None:
    try:
        import apprise
    except ImportError as error:
        raise NotDelivered(f"receiver {name!r} needs Apprise: {error}", hint=_EXTRA) from error
    target = apprise.Apprise()
    over = all(each.status == "resolved" for each in alerts)
    worst = any(each.severity == "critical" for each in alerts)
    kind = apprise.NotifyType
    shade = kind.SUCCESS if over else kind.FAILURE if worst else kind.WARNING
    logging.getLogger("apprise").propagate = False  # what it says may name a part of the address
    form_of_line = "%(message)s"
    with apprise.LogCapture(level=logging.WARNING, fmt=form_of_line) as said:  # type: ignore[no-untyped-call]
        if not target.add(address):
            first = said.getvalue().partition("\n")[
                0
            ]  # says what is wrong in an address of a kind that it knows
            why = "" if first.startswith(_UNKNOWN) else f": {without_address(first, address)}"
            raise NotDelivered(
                f"receiver {name!r}: its address is none that Apprise knows{why}",
                hint="https://github.com/caronc/apprise/wiki lists them; a webhook's begins with json:// or jsons://",
            )
        form = apprise.NotifyFormat.TEXT if page is None else apprise.NotifyFormat.HTML
        body, title = page or body_of(alerts), title_of_message(alerts)
        with _attached(page) as attach:
            taken = target.notify(body, title, notify_type=shade, body_format=form, attach=attach)
        why = without_address(said.getvalue(), address)
    if not taken:
        raise NotDelivered(f"receiver {name!r} did not take it" + (f": {why}" if why else ""))


@contextmanager
def _attached(page: str | None) -> Iterator[list[str] | None]:
    """Give a page with pictures as a file to attach; many readers of mail leave pictures out of its text."""
    if page is None or "<svg" not in page:
        yield None
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "alert.html"
        file.write_text(page, encoding="utf-8")
        yield [str(file)]


def without_address(text: str, address: str) -> str:
    """Return the last line of what an engine said, without any part of an address.

    >>> without_address("WARNING - Failed to reach shop.example/k3y-abc.", "json://shop.example/k3y-abc")
    'WARNING - Failed to reach …/….'
    """
    lines = [line for line in text.splitlines() if line.strip()]
    said = lines[-1] if lines else ""
    pieces = [piece for piece in re.split(r"[:/@?&=,]+", address) if len(piece) > 2]
    pieces = pieces[1:] or pieces
    for piece in sorted({*pieces, *map(unquote, pieces)}, key=len, reverse=True):
        said = said.replace(piece, "…")
    return said[:300]
