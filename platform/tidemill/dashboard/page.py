"""Adds pages and acts to the dashboard, each together with its JSON twin and its permission.

A page is a function of FastAPI parameters (`tidemill.dashboard.visit.Here` and what is in the address) that
returns a frozen dataclass; a template shows it, and the twin at ``/api/v1`` and the same path returns it. An
act is a function of the visit, what is in the address, and a pydantic model; a form of the page posts to it,
and so does JSON at the twin.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any, get_origin
from urllib.parse import parse_qsl, quote

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field, ValidationError

from tidemill.accounts.roles import Permission
from tidemill.dashboard.error_pages import API
from tidemill.dashboard.flash import give_message, take_message
from tidemill.dashboard.live.shared_texts import SharedTexts
from tidemill.dashboard.navigation import shell_of
from tidemill.dashboard.page_addresses import first_control
from tidemill.dashboard.templating import render
from tidemill.dashboard.visit import Visit
from tidemill.dashboard.watched.hidden_places import without_places
from tidemill.errors import ModelNotFound, NotAllowed, UsageError

__all__ = [
    "Done",
    "PageNumber",
    "Password",
    "add_act",
    "add_document",
    "add_page",
    "permissions",
    "requirement",
    "secret_fields",
]

_UNCOUNTED = ("data", "people", "serving", "audit")
"""Resources that stand without an article."""

_PAGES = SharedTexts()

PageNumber = Annotated[int, Query(ge=1, le=1_000_000, alias="page", description="Page of the list, from 1.")]
"""Parameter of a page with a long list."""

Password = Annotated[str, Field(max_length=1000, json_schema_extra={"format": "password"})]
"""A field of a form that no page shows again."""


@dataclass(frozen=True)
class Done:
    """What an act did, and where to look next."""

    message: str
    """One sentence, shown on the next page; empty where that page says all."""
    location: str
    """The page that is shown next."""
    secret: str | None = None
    """A new secret. The answer itself shows it, once: it is kept nowhere, in no cookie either."""


def add_page(
    app: FastAPI,
    path: str,
    view: Callable[..., Any],
    *,
    template: str,
    needs: Permission,
    title: str,
    shared: bool = False,
) -> None:
    """Add a page and its twin.

    Args:
        app: the dashboard.
        path: its address, such as ``/models/{model}/alerts``; ``{model}`` says whose permission is asked for.
        view: makes the value that is shown.
        template: of ``templates/``; it sees the value as ``it`` and the visit as ``visit``.
        needs: the action and the kind of resource that the visitor must be allowed.
        title: of the page.
        shared: visitors with the same rights may see one rendering of it, which may be two seconds old where
            the records have not changed; who they are decides nothing in it but the name in its head.
    """
    door = Depends(requirement(needs))
    show = _shower(view, template, title, shared=shared)
    app.add_api_route(path, show, methods=["GET"], dependencies=[door], include_in_schema=False)
    app.add_api_route(
        API + (path if path != "/" else "/fleet"),
        _twin(view),
        methods=["GET"],
        dependencies=[door],
        name=view.__name__,
        summary=title,
        response_model=inspect.signature(view).return_annotation,
    )
    permissions(app)[path] = needs


def _shower(
    view: Callable[..., Any], template: str, title: str, *, shared: bool
) -> Callable[..., HTMLResponse]:
    """Return what shows a view as a page, as FastAPI shall see it: with the view's parameters."""

    def show(request_: Request, **given: Any) -> HTMLResponse:
        own: Visit = request_.state.visit
        done = take_message(request_)

        def make(visit: Visit) -> str:
            if "visit" in given:
                given["visit"] = visit
            it = without_places(view(**given), visit.hidden)
            return render(template, _shown(request_, visit, it, title, done))

        answer = HTMLResponse(_share(request_, own, make) if shared and done is None else make(own))
        take_message(request_, answer)
        return answer

    return _with_request(show, view)


def _twin(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return what gives a view to programs, without what the visitor need not know."""

    def twin(request_: Request, **given: Any) -> Any:
        return without_places(view(**given), request_.state.visit.hidden)

    twin.__doc__ = view.__doc__
    return _with_request(twin, view)


def _with_request(answer: Callable[..., Any], view: Callable[..., Any]) -> Callable[..., Any]:
    """Let FastAPI see an answer with the view's parameters, and the request."""
    request = inspect.Parameter("request_", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    parameters = [one.replace(kind=request.kind) for one in inspect.signature(view).parameters.values()]
    answer.__signature__ = inspect.Signature([request, *parameters])  # type: ignore[attr-defined]
    return answer


def _share(request: Request, visit: Visit, make: Callable[[Visit], str]) -> str:
    """Return a page that is made for all who may see the same, with what is this visitor's own put in."""
    scope, own = request.scope, visit.own
    home = visit.installation.home.state_url
    key = (home, scope.get("raw_path"), scope["path"], scope["query_string"], visit.rights, bool(visit.csrf))
    page = _PAGES.get(key, visit.installation.records.mark(), lambda: make(visit.anybody))
    for stands_for, text in own.items():
        page = page.replace(stands_for, escape(text))
    return page


def _shown(request: Request, visit: Visit, it: Any, title: str, done: str | None) -> dict[str, Any]:
    """Return what a page's template sees."""
    return {
        "it": it,
        "visit": visit,
        "title": title,
        "path": quote(request.scope["path"]),  # a name in it may hold any character
        "query": request.url.query,
        "shell": shell_of(request, API),
        "done": done,
    }


def add_document(app: FastAPI, path: str, answer: Callable[..., Response], *, needs: Permission) -> None:
    """Add an address that gives a file, under a permission like a page's; it has no twin.

    Args:
        app: the dashboard.
        path: its address.
        answer: makes the response, with headers of its own where the page's do not fit.
        needs: the action and the kind of resource that the visitor must be allowed.
    """
    app.add_api_route(
        path,
        answer,
        methods=["GET"],
        dependencies=[Depends(requirement(needs))],
        include_in_schema=False,
        response_model=None,
    )
    permissions(app)[path] = needs


def add_act(
    app: FastAPI, path: str, act: Callable[..., Done], form: type[BaseModel], *, needs: Permission, title: str
) -> None:
    """Add an act and its twin.

    Args:
        app: the dashboard.
        path: where its form posts to.
        act: does it; its parameter ``form`` takes the form, the others are as those of a page.
        form: what is asked for.
        needs: the action and the kind of resource that the visitor must be allowed.
        title: what it does.
    """
    door = Depends(requirement(needs))
    doing = _with_form(act, Annotated[Any, Depends(_form_reader(form))])
    json_doing = _with_form(act, form)

    def after(request: Request, done: Annotated[Done, Depends(doing)]) -> Response:
        if done.secret is not None:
            told = take_message(request)
            return HTMLResponse(
                render("secret.html", _shown(request, request.state.visit, done, title, told))
            )
        answer = RedirectResponse(done.location, status_code=303)
        if done.message:
            give_message(request, answer, done.message)
        return answer

    app.add_api_route(path, after, methods=["POST"], dependencies=[door], include_in_schema=False)
    app.add_api_route(
        API + path, json_doing, methods=["POST"], dependencies=[door], name=act.__name__, summary=title
    )
    permissions(app)[f"POST {path}"] = needs


def permissions(app: FastAPI) -> dict[str, Permission]:
    """Return what each page and act needs, by its path."""
    if not hasattr(app.state, "permissions"):
        app.state.permissions = {}
    found: dict[str, Permission] = app.state.permissions
    return found


def requirement(needs: Permission) -> Callable[[Request], None]:
    """Return a dependency that refuses who may not do this, and hides the projects of others."""

    def require(request: Request) -> None:
        visit: Visit = request.state.visit
        verdict = visit.verdict(needs, request.path_params.get("model"))
        if verdict == "hidden":
            raise ModelNotFound("there is no such model here")
        if verdict == "forbidden":
            action, resource = needs
            article = "" if resource in _UNCOUNTED else "an " if resource[0] in "aeiou" else "a "
            raise NotAllowed(
                f"{visit.identity.name or 'this visitor'} may not {action} {article}{resource} here",
                hint="an admin gives roles: `tidemill users grant`, or the page People",
            )

    return require


def _with_form(act: Callable[..., Done], kind: Any) -> Callable[..., Done]:
    """Return the act as FastAPI shall see it, with its parameter ``form`` of that kind."""
    signature = inspect.signature(act)
    parameters = [
        one.replace(annotation=kind) if one.name == "form" else one for one in signature.parameters.values()
    ]

    def doing(**given: Any) -> Done:
        if (found := first_control(given["form"].model_dump())) is not None:
            raise UsageError(
                f"what was sent holds the control character {found}", hint="take it out and send it again"
            )
        return act(**given)

    doing.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    doing.__name__ = act.__name__
    return doing


def secret_fields(form: type[BaseModel]) -> set[str]:
    """Return the fields of a form that no page shows again: those of the kind `Password`."""
    extras = {name: one.json_schema_extra for name, one in form.model_fields.items()}
    return {name for name, one in extras.items() if isinstance(one, dict) and one.get("format") == "password"}


def _form_reader(form: type[BaseModel]) -> Callable[..., Any]:
    many = [name for name, one in form.model_fields.items() if get_origin(one.annotation) is list]
    hidden = secret_fields(form)

    async def read(request: Request) -> BaseModel:
        sent = parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=False)
        given: dict[str, Any] = {name: value for name, value in sent if name != "csrf"}
        given |= {name: [value for sent_as, value in sent if sent_as == name] for name in many}
        # A page that says what was wrong shows it again, but no password.
        request.state.sent = {name: value for name, value in given.items() if name not in hidden}
        try:
            return form.model_validate(given)
        except ValidationError as error:
            raise RequestValidationError(
                [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
            ) from error

    return read
