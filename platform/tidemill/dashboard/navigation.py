"""The frame around every page: where one can go from here, what is above it, and what was just done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.requests import Request

from tidemill.dashboard.visit import Visit
from tidemill.errors import TidemillError

if TYPE_CHECKING:
    from tidemill.accounts.roles import Permission

__all__ = ["MAIN", "OF_A_MODEL", "OF_SETTINGS", "Link", "Shell", "shell_of"]

MAIN = (("Fleet", "/"), ("Alerts", "/alerts"), ("Serving", "/serving"), ("Settings", "/settings"))
"""Name and address of what every page leads to. An entry is shown if its page exists and the visitor may."""
OF_A_MODEL = (
    ("Overview", "/models/{model}"),
    ("Alerts", "/models/{model}/alerts"),
    ("Decisions", "/models/{model}/decisions"),
    ("Approvals", "/models/{model}/approvals"),
    ("Runs", "/models/{model}/runs"),
    ("Versions", "/models/{model}/versions"),
    ("Data", "/models/{model}/data"),
    ("Lineage", "/models/{model}/lineage"),
    ("Predictions", "/models/{model}/predictions"),
    ("Serving", "/models/{model}/serving"),
)
"""Within a model."""
_PLACES = {
    f"/models/{{model}}/{page}": f"/models/{{model}}/{entry}"
    for entry, pages in (
        ("alerts", ("silences", "unsent", "why-no-alert")),
        ("decisions", ("turns", "rollouts", "policies", "promote", "roll-back", "retrain")),
    )
    for page in pages
}
"""Pages of an entry whose addresses do not lie below the entry's."""
OF_SETTINGS = (
    ("Installation", "/settings"),
    ("Account", "/account"),
    ("People", "/people"),
    ("Tokens", "/tokens"),
    ("Projects", "/projects"),
    ("Audit", "/audit"),
)
"""Within the settings."""


@dataclass(frozen=True)
class Link:
    """A place to go."""

    label: str
    address: str
    current: bool = False
    """Whether the page is it, or lies below it."""


@dataclass(frozen=True)
class Shell:
    """What is around a page."""

    main: Sequence[Link] = (Link("Fleet", "/"),)
    model: str | None = None
    """Of the model that the page is of."""
    within: Sequence[Link] = ()
    """Pages beside this one: of the same model, or of the settings."""
    above: Sequence[Link] = ()
    """From the fleet down to this page, without it."""
    twin: str | None = None
    """Address of the same as JSON."""


def shell_of(request: Request, twins: str) -> Shell:
    """Return what is around the page that a request asks for; little of it where the records are away.

    Args:
        request: the request.
        twins: prefix of the addresses of JSON.
    """
    visit: Visit | None = getattr(request.state, "visit", None)
    if visit is None or "app" not in request.scope:  # refused at the door
        return Shell()
    try:
        return _shell(request, visit, twins)
    except TidemillError:  # the page says it; the frame around it must not fail as well
        return Shell()


def _shell(request: Request, visit: Visit, twins: str) -> Shell:
    needed: dict[str, Permission] = getattr(request.scope["app"].state, "permissions", {})
    route = getattr(request.scope.get("route"), "path", "").removeprefix(twins)
    model: str | None = request.path_params.get("model")
    if model is not None and all(one.model != model for one in visit.projects):
        model = None

    def links(entries: Sequence[tuple[str, str]], of: str | None) -> list[Link]:
        here = max((path for _, path in entries if _is_below(route, path)), key=len, default=None)
        shown = [(label, path) for label, path in entries if path in needed]
        return [
            Link(label, path.replace("{model}", quote(of or "", safe="")), path == here)
            for label, path in shown
            if visit.verdict(needed[path], of) == "allowed"
        ]

    if model is not None:
        within = links(OF_A_MODEL, model)
    else:
        within = links(OF_SETTINGS, None) if any(_is_below(route, path) for _, path in OF_SETTINGS) else []
    within = within if len(within) > 1 else []
    path = request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0]
    query = f"?{request.url.query}" if request.url.query else ""
    return Shell(
        [*links(MAIN, None), *_to_mlflow(visit)],
        model,
        within,
        _above(route, model, within),
        twins + ("/fleet" if path == "/" else path) + query if route in needed else None,
    )


def _to_mlflow(visit: Visit) -> list[Link]:
    """Return a link to MLflow's pages, if they are here and the visitor may see them."""
    home = visit.installation.home.model
    here = visit.installation.mlflow_url is not None and any(one.model == home for one in visit.projects)
    return [Link("MLflow", "/mlflow/")] if here and visit.may("read", "run", home) else []


def _above(route: str, model: str | None, within: Sequence[Link]) -> list[Link]:
    """Return the pages above one."""
    if route == "/" or not route:
        return []
    found = [Link("Fleet", "/")]
    if model is not None and route != OF_A_MODEL[0][1]:
        found.append(Link(model, f"/models/{quote(model, safe='')}"))
    entries = OF_A_MODEL[1:] if model is not None else OF_SETTINGS
    parents = {label for label, path in entries if route != path and _is_below(route, path)}
    return found + [one for one in within if one.label in parents]


def _is_below(route: str, path: str) -> bool:
    """Return whether a route is a path or lies below it.

    >>> _is_below("/models/{model}/alerts/{alert_id}", "/models/{model}/alerts"), _is_below("/alerts", "/")
    (True, False)
    >>> _is_below("/models/{model}/turns/{turn_id}", "/models/{model}/decisions")
    True
    """
    if path in _PLACES.values():
        route = next((entry for page, entry in _PLACES.items() if _is_below(route, page)), route)
    return route == path or (path != "/" and route.startswith(f"{path}/"))
