"""Import the definitions of a feature repository, and detect whether they changed."""

import ast
import builtins
import dis
import hashlib
import importlib
import json
import linecache
import os
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from feast import Entity, FeatureService, FeatureView, FileSource, OnDemandFeatureView
from feast.data_source import DataSource

from tidemill.errors import FeatureError
from tidemill.features.defaults import declared_defaults
from tidemill.features.private_feast import check_constructors, get_repo_files

__all__ = ["fingerprint", "load_definitions"]

_IMPORTING = threading.Lock()
_KINDS = (Entity, DataSource, FeatureView, OnDemandFeatureView, FeatureService)
_GIVEN = {"pd", "pandas", "np", "numpy", *dir(builtins)}  # names that Feast provides to it


def load_definitions(repo: Path) -> list[Any]:
    """Import the modules of a feature repository afresh and return the Feast objects they define.

    ``sys.path`` and ``sys.modules`` are restored afterwards, so that two repositories with modules of the
    same name do not get in each other's way.

    Raises:
        FeatureError: a module fails to import, is hidden by an installed one, or holds a transformation that
            could not run elsewhere.
    """
    found: dict[int, Any] = {}
    check_constructors()
    with _IMPORTING, _importable(repo):
        for file in get_repo_files(repo):
            name = ".".join(file.relative_to(repo.resolve()).with_suffix("").parts)
            module = _imported(name, file)
            for value in vars(module).values():
                if isinstance(value, _KINDS):
                    found[id(value)] = value
    for view in found.values():
        if isinstance(view, OnDemandFeatureView):
            _require_self_contained(view)
    return list(found.values())


def fingerprint(
    service: FeatureService, views: Sequence[FeatureView | OnDemandFeatureView], repo: Path, root: Path
) -> str:
    """Return a hash of the service's feature definitions: it changes only when their meaning changes.

    Descriptions, owners, comments, formatting and tags do not count, but for the tag with a feature's
    default; neither does where the project lies.

    Args:
        service: The service.
        views: Its views, and those that its on-demand views read.
        repo: The feature repository, from which relative paths of sources count.
        root: The project; sources below it are named relative to it.

    Returns:
        64 hexadecimal digits.
    """
    meanings = [_on_demand(v) if isinstance(v, OnDemandFeatureView) else _view(v, repo, root) for v in views]
    meaning = {
        "service": [
            [
                projection.name,
                projection.name_alias,
                [f.name for f in projection.features],
                projection.join_key_map,
            ]
            for projection in service.feature_view_projections
        ],
        "views": sorted(meanings, key=lambda view: str(view["name"])),
    }
    defaults = declared_defaults(service, views)
    if defaults:  # without defaults, the hash equals that of versions that had no defaults yet
        meaning["defaults"] = sorted(defaults.items())
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def _view(view: FeatureView, repo: Path, root: Path) -> dict[str, Any]:
    source = view.batch_source
    path = getattr(source, "path", source.name)
    if isinstance(source, FileSource) and "://" not in path:
        path = os.path.relpath(repo / path, root)
    return {
        "name": view.name,
        "keys": _fields(view.entity_columns),
        "features": _fields(view.features),
        "ttl": view.ttl.total_seconds() if view.ttl else None,
        "source": [
            type(source).__name__,
            path,
            source.timestamp_field,
            source.created_timestamp_column,
            source.field_mapping,
        ],
    }


def _on_demand(view: OnDemandFeatureView) -> dict[str, Any]:
    return {
        "name": view.name,
        "mode": view.mode,
        "singleton": view.singleton,
        "features": _fields(view.features),
        "reads": {
            name: _fields(projection.features)
            for name, projection in view.source_feature_view_projections.items()
        },
        "request": {name: _fields(source.schema) for name, source in view.source_request_sources.items()},
        "transformation": _meaning_of(getattr(view.feature_transformation, "udf_string", "")),
    }


def _fields(fields: Sequence[Any]) -> list[list[str]]:
    return sorted([field.name, str(field.dtype)] for field in fields)


def _meaning_of(source: str) -> str:
    """Return the syntax tree of a transformation, without its comments, formatting and decorators."""
    try:
        tree = ast.parse(textwrap.dedent(source))
    except SyntaxError:  # for example a lambda, cut out of its line
        return source
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            if ast.get_docstring(node) is not None and len(node.body) > 1:
                del node.body[0]
    return ast.dump(tree)


@contextmanager
def _importable(repo: Path) -> Iterator[None]:
    folder = str(repo.resolve())
    _forget(folder)
    sys.path.insert(0, folder)
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # keep the checkout free of bytecode
    try:
        yield
    finally:
        sys.dont_write_bytecode = bytecode
        sys.path.remove(folder)
        _forget(folder)


def _forget(folder: str) -> None:
    inside = os.path.join(folder, "")  # noqa: PTH118 # text: paths of thousands of modules take 0.2 s
    modules = dict(sys.modules)
    # Packages of others hold nothing of the folder; one without a file of its own lies in several folders.
    own = {name for name, found in modules.items() if "." not in name and _can_hold(found, inside)}
    for name, found in modules.items():
        if name.partition(".")[0] in own and str(getattr(found, "__file__", None)).startswith(inside):
            del sys.modules[name]
    for file in [file for file in linecache.cache if file.startswith(inside)]:
        del linecache.cache[file]  # Feast reads a transformation's source text from there
    importlib.invalidate_caches()


def _can_hold(module: ModuleType, inside: str) -> bool:
    file = getattr(module, "__file__", None)
    return str(file).startswith(inside) if file else hasattr(module, "__path__")


def _imported(name: str, file: Path) -> Any:
    try:
        module = importlib.import_module(name)
    except Exception as error:  # the project's code can raise anything
        raise FeatureError(
            f"{file} cannot be imported: {type(error).__name__}: {error}",
            hint="correct the file, then run again",
        ) from error
    origin = getattr(module, "__file__", None)
    if origin is None or Path(origin).resolve() != file.resolve():
        raise FeatureError(
            f"{file} is hidden by another module called {name!r}",
            hint="give the file a name of its own, for example flight_views.py",
        )
    return module


def _require_self_contained(view: OnDemandFeatureView) -> None:
    """Refuse a transformation that needs more than its own text: Feast rebuilds it from that when serving."""
    udf = getattr(view.feature_transformation, "udf", None)
    code = getattr(udf, "__code__", None)
    if code is None:
        return
    outside = sorted((_globals(code) - _GIVEN) | set(code.co_freevars))
    if outside:
        raise FeatureError(
            f"on-demand view {view.name!r}: its transformation uses {', '.join(outside)} from outside itself",
            hint="Feast keeps only the function's own text: import and define what it needs inside it",
        )


def _globals(code: CodeType) -> set[str]:
    names = {
        step.argval for step in dis.get_instructions(code) if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _globals(constant)
    return names
