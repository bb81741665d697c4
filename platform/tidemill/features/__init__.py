"""Features through Feast: their history for training, their latest values for serving.

Importing this package imports no engine; import the module that you need: `tidemill.features.feature_store`
(definitions, training frames, materialisation), `tidemill.features.online.online_features` (lookups),
`tidemill.features.offline.offline_store` (the offline store that ``feature_store.yaml`` names).
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _LeanFeast(MetaPathFinder):
    """Has Feast imported without PyTorch, and without the checks that typeguard compiles into its classes.

    The checks are three of the four seconds that importing Feast takes, in each process. Where they serve,
    which is where a project's own definitions are read, `tidemill.features.private_feast` adds them again.
    PyTorch, where it is installed, takes seconds more, and only ``RetrievalJob.to_tensor`` needs it. Feast's
    own servers, which nothing of ours starts, are a sixth of the rest.
    """

    def __init__(self) -> None:
        self._servers = {"feast.feature_server", "feast.ui_server"}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "feast":
            _leave_feast_out()
            sys.modules.setdefault("feast.torch_wrapper", _torch_when_asked())
        if name not in self._servers:
            return None
        self._servers.remove(name)
        if not self._servers:
            sys.meta_path.remove(self)
        return ModuleSpec(name, _LaterLoader())


def _leave_feast_out() -> None:
    import typeguard

    check: Any = typeguard.typechecked

    def typechecked(target: Any = None, /, **options: Any) -> Any:
        if isinstance(target, type) and target.__module__.partition(".")[0] == "feast":
            return target
        return check(**options) if target is None else check(target, **options)

    typeguard.typechecked = typechecked


def _torch_when_asked() -> ModuleType:
    """Return a module in place of Feast's, which imports PyTorch at once."""

    def get_torch() -> ModuleType:
        return import_module("torch")

    wrapper = ModuleType("feast.torch_wrapper")
    vars(wrapper)["get_torch"] = get_torch
    return wrapper


_OF_SERVERS = ("get_app", "start_server")
"""What others use of Feast's servers."""


class _LaterLoader(Loader):
    """Makes a module in place of another one, which imports that one when it is used."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        name, module = spec.name, ModuleType(spec.name)

        def get(attribute: str) -> Any:
            if attribute not in _OF_SERVERS:  # skops and pickle ask all modules for the names of others
                raise AttributeError(attribute)
            if sys.modules.get(name) is module:
                del sys.modules[name]
            return getattr(import_module(name), attribute)

        vars(module)["__getattr__"] = get
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as it is."""


if "feast" not in sys.modules:
    sys.meta_path.insert(0, _LeanFeast())
