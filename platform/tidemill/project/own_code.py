"""The import of a project's own code, by the name ``module:object``."""

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from tidemill.errors import ConfigError, TidemillError

__all__ = ["load_object"]

_roots: set[Path] = set()
"""Projects whose code this process has imported."""


def load_object(root: Path, reference: str) -> Any:
    """Import ``module:object`` from the code in a project's folder.

    A process may read several projects whose modules have the same names: modules of another project
    make room for this one's.

    Raises:
        ConfigError: the module or object does not exist, or its import fails.
    """
    module_name, _, attribute = reference.partition(":")
    _make_room(root)
    if sys.path[:1] != [str(root)]:
        sys.path.insert(0, str(root))
    try:
        module = importlib.import_module(module_name)
    except TidemillError:
        raise
    except Exception as error:  # the project's own code may raise anything
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


def _make_room(root: Path) -> None:
    """Forget modules of other projects that have the name of a file or folder of this one."""
    others = _roots - {root}
    _roots.add(root)
    if not others:
        return
    names = {path.stem for path in root.iterdir() if path.suffix == ".py" or path.is_dir()}
    for name, module in list(sys.modules.items()):
        place = _place_of(module) if name.partition(".")[0] in names else None
        if place and _is_own(place, others) and not _is_own(place, {root}):
            del sys.modules[name]
    importlib.invalidate_caches()


def _is_own(place: Path, roots: set[Path]) -> bool:
    return "site-packages" not in place.parts and any(place.is_relative_to(root) for root in roots)


def _place_of(module: ModuleType) -> Path | None:
    """Return where a module comes from; of a package without ``__init__.py``, its folder."""
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return Path(file) if file else None


def _place_in(root: Path, error: Exception) -> str:
    """Return the file and line of the project's code that raised an error, in brackets; else nothing."""
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [f" ({file}, line {line})" for file, line in lines if Path(file).is_relative_to(root)]
    return "" if isinstance(error, SyntaxError) or not own else own[-1]  # a syntax error names its place
