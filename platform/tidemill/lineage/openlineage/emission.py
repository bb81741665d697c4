"""Sends the events of a turn to the address in the project's settings or OpenLineage's own variables."""

import os
from base64 import b64encode
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from openlineage.client import OpenLineageClient, event_v2
from openlineage.client.serde import Serde
from openlineage.client.transport import Transport
from openlineage.client.transport.console import ConsoleConfig, ConsoleTransport
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.http import (
    ApiKeyTokenProvider,
    HttpConfig,
    HttpTransport,
    TokenProvider,
)

from tidemill.errors import ConfigError, TidemillError, UsageError
from tidemill.lineage.graph.chain_graph import Node
from tidemill.lineage.graph.finding import find_node
from tidemill.lineage.openlineage.collector_address import configured
from tidemill.lineage.openlineage.delivery_statistics import count_events, one_line
from tidemill.lineage.openlineage.events import whole_turn
from tidemill.lineage.sources.chain_sources import ChainRecords
from tidemill.lineage.sources.turn_details import read_turn
from tidemill.project import Project
from tidemill.settings import Settings
from tidemill.state.tables import Turn

__all__ = ["Delivery", "deliver", "events_of", "open_client"]

_ENDPOINT = "api/v1/lineage"


@dataclass(frozen=True)
class Delivery:
    """Events, and the address that they are sent to."""

    turns: tuple[str, ...]
    """Ids of the turns that the events describe."""
    events: tuple[event_v2.RunEvent, ...]

    def lines(self) -> list[str]:
        """Return each event as JSON."""
        return [Serde.to_json(event) for event in self.events]


def events_of(project: Project, thing: str) -> Delivery:
    """Return the events of the turns in which a thing was made.

    Args:
        project: the project whose records are read.
        thing: a turn, version, run, prediction or data version, in a form that
            `tidemill.lineage.graph.finding.find_node` accepts.

    Raises:
        UsageError: nothing has this name, or no turn made it.
    """
    with closing(ChainRecords(project)) as records:
        node = find_node(records, thing)
        turns = _turns(records, node)
        if not turns:
            raise UsageError(
                f"no turn of the loop made {node.id}: OpenLineage events are about turns",
                hint="name a turn, or a version, run, prediction or data version that a turn made",
            )
        events = (event for turn in turns for event in whole_turn(read_turn(records, turn)))
        return Delivery(tuple(turn.id for turn in turns), tuple(events))


def _turns(records: ChainRecords, node: Node) -> Sequence[Turn]:
    facts = node.facts
    match node.kind:
        case "turn":
            found = [records.turn(node.name)]
        case "version" | "prediction":
            return records.turns(model=facts["model"], version=facts["version"])
        case "run":
            return records.turns(run_id=node.name)
        case "data" | "commit":
            return records.turns(data_revision=facts["revision"])
        case _:
            found = []
    return [turn for turn in found if turn is not None]


def deliver(project: Project, delivery: Delivery) -> str:
    """Send events one after the other, and return the address.

    Raises:
        UsageError: no address is configured.
        TidemillError: the collector does not accept them.
    """
    address = configured(project.settings)
    if address is None:
        raise UsageError(
            "there is no address to send events to",
            hint="set TIDEMILL_OPENLINEAGE_URL, such as http://127.0.0.1:5000 or file:events.ndjson",
        )
    client = open_client(project.settings, project.root)
    sent = 0
    try:
        for event in delivery.events:
            client.emit(event)
            sent += 1
    except Exception as error:  # a transport may raise anything
        count_events(project, sent, 1, error)
        raise TidemillError(
            f"{address} took {sent} of {len(delivery.events)} events: {one_line(error)}",
            hint="check that the collector runs, then send again: an event that is sent twice keeps its "
            "run's id",
        ) from error
    finally:
        client.close(project.settings.openlineage_timeout)
    count_events(project, sent, 0)
    return address


def open_client(settings: Settings, root: Path) -> OpenLineageClient:
    """Return a client for the configured address.

    Args:
        settings: Tidemill's settings; without an address there, OpenLineage's own variables are used.
        root: the folder that a relative ``file:`` address starts from.

    Raises:
        ConfigError: the address is not supported.
    """
    if settings.openlineage_url is None:
        return OpenLineageClient()
    return OpenLineageClient(transport=_transport(settings, settings.openlineage_url, root))


def _transport(settings: Settings, url: str, root: Path) -> Transport:
    parts = urlsplit(url)
    match parts.scheme:
        case "http" | "https" if parts.netloc:
            return HttpTransport(
                HttpConfig(
                    url=urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", "")),
                    endpoint=parts.path.strip("/") or _ENDPOINT,
                    timeout=settings.openlineage_timeout,
                    auth=_token(settings, parts),
                    retry={"total": 0},
                )
            )
        case "file" if parts.path:
            path = root / parts.path
            path.parent.mkdir(parents=True, exist_ok=True)
            return FileTransport(FileConfig(log_file_path=str(path), append=True))
        case "console":
            return ConsoleTransport(ConsoleConfig())
        case _:
            raise ConfigError(
                f"TIDEMILL_OPENLINEAGE_URL is not an address of a collector: its scheme is {parts.scheme!r}",
                hint="write http://HOST:PORT, https://…, file:PATH or console:",
            )


class _Password(TokenProvider):
    """User name and password from an address; the client would write them to its debug log otherwise."""

    def __init__(self, parts: SplitResult) -> None:
        super().__init__({})
        words = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        self._header = "Basic " + b64encode(words.encode()).decode()

    def get_bearer(self) -> str:
        return self._header


def _token(settings: Settings, parts: SplitResult) -> TokenProvider:
    own = settings.openlineage_api_key
    key = own.get_secret_value() if own else os.environ.get("OPENLINEAGE_API_KEY")
    if key:
        return ApiKeyTokenProvider({"apiKey": key})
    return _Password(parts) if parts.username else TokenProvider({})
