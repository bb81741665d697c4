"""The import of a project's own code, by the name ``module:object``."""

import importlib
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tidemill.errors import ConfigError, TidemillError

__all__ = ["exits_as_errors", "load_object"]

_lock = threading.RLock()
_modules: dict[Path, dict[str, ModuleType]] = {}
"""The modules of each project that this process has imported, by the project's folder."""


def load_object(root: Path, reference: str) -> Any:
    """Import ``module:object`` from the code in a project's folder.

    A process may read several projects whose modules have the same names. Only those of the one that was
    loaded last can be imported; an import inside a function of another project's finds them, too.

    Raises:
        ConfigError: the module or object does not exist, or its import fails.
    """
    module_name, _, attribute = reference.partition(":")
    try:
        with _lock, _importable(root):
            module = importlib.import_module(module_name)
    except TidemillError:
        raise
    except (Exception, SystemExit) as error:  # the project's own code may raise anything
        if isinstance(error, SystemExit) and not _is_called(error):
            raise
        raise ConfigError(
            f"{root / 'params.yaml'}: {reference!r} cannot be imported: "
            f"{type(error).__name__}: {error}{_place_in(root, error)}",
            hint=f"correct the name there, or the module; it must be below {root}",
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise ConfigError(
            f"{root / 'params.yaml'}: module {module_name!r} has no {attribute!r}",
            hint=f"define it in {module.__file__}, or correct the name in params.yaml",
        ) from error


@contextmanager
def exits_as_errors() -> Iterator[None]:
    """Make an error of what code of others ends the process by, such as ``sys.exit``.

    Raises:
        RuntimeError: it does.
    """
    try:
        yield
    except SystemExit as error:
        if not _is_called(error):
            raise
        raise RuntimeError(f"it ends the process, by sys.exit({error.code!r})") from error


@contextmanager
def _importable(root: Path) -> Iterator[None]:
    """Put a project's folder and modules in the place of the last one's, and keep what is imported."""
    for other in _modules.keys() - {root}:
        for name, module in _modules[other].items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        if str(other) in sys.path:
            sys.path.remove(str(other))
    sys.modules.update(_modules.setdefault(root, {}))
    if sys.path[:1] != [str(root)]:
        sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    before = set(sys.modules)
    try:
        yield
    finally:
        imported = {name: sys.modules[name] for name in set(sys.modules) - before}
        own = {name: module for name, module in imported.items() if _is_own(name, module, root)}
        _modules[root] |= own


def _is_own(name: str, module: ModuleType, root: Path) -> bool:
    """Return whether a module is the project's, and neither a package below its folder nor Tidemill."""
    place = _place_of(module)
    if place is None or name.partition(".")[0] == __name__.partition(".")[0]:
        return False
    return place.is_relative_to(root) and "site-packages" not in place.parts


def _place_of(module: ModuleType) -> Path | None:
    """Return where a module comes from; of a package without ``__init__.py``, its folder."""
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return Path(file) if file else None


def _is_called(error: SystemExit) -> bool:
    """Return whether code of others ends the process, and not a signal that we take."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return not Path(last.filename).is_relative_to(Path(__file__).parents[1])


def _place_in(root: Path, error: BaseException) -> str:
    """Return the file and line of the project's code that raised an error, in brackets; else nothing."""
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [f" ({file}, line {line})" for file, line in lines if Path(file).is_relative_to(root)]
    return "" if isinstance(error, SyntaxError) or not own else own[-1]  # a syntax error names its place
