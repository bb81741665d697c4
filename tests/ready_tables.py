"""New SQLite databases, of our records and of MLflow, begin as copies of one that was migrated before.

All migrations of MLflow's tables take a second, those of our records 0.07 s and a few waits for the disk, and
many hundred tests make new ones. The first of each run is made by the real migrations, as are all of
`tests/tidemill/state`, all in PostgreSQL, and all of processes that tests start and do not have forked.
"""

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock

from sqlalchemy import Engine, create_engine, event

from tests.warm_commands import FOLDER
from tidemill.files.locks import locked

MAKERS = {"tidemill.state.store": "_migrate", "mlflow.store.db.utils": "_initialize_tables"}
"""By module, the function that makes the tables of an engine's database."""
NEWEST = "_get_latest_schema_revision"
"""It loads all of MLflow's migrations whenever a store is opened, and returns the same in a process."""
STORE, PREPARE = "tidemill.state.store", "_prepare_sqlite"
"""Where each connection to our records is prepared: the tests' do not wait for the disk, 5 ms a change.

What is written survives every process that is killed, and no test turns the machine off.
"""
MLFLOW, MAKE = "mlflow.store.db.utils", "create_sqlalchemy_engine"
"""Where MLflow opens its database: likewise."""

_real: dict[str, Callable[[Engine], None]] = {}


def copy_tables() -> None:
    """Make tables by copying in the modules that are imported by now; not twice in one."""
    store = sys.modules.get(STORE)
    if hasattr(store, PREPARE) and not hasattr(getattr(store, PREPARE), "__wrapped__"):
        setattr(store, PREPARE, _unsynced(getattr(store, PREPARE)))
    mlflow = sys.modules.get(MLFLOW)
    if hasattr(mlflow, MAKE) and not hasattr(getattr(mlflow, MAKE), "__wrapped__"):
        setattr(mlflow, MAKE, _unsynced_engine(getattr(mlflow, MAKE)))
    for module in MAKERS.keys() - _real.keys():
        if module in sys.modules and hasattr(sys.modules[module], MAKERS[module]):
            _real[module] = getattr(sys.modules[module], MAKERS[module])
            setattr(sys.modules[module], MAKERS[module], _copying(module, _real[module]))
            if hasattr(sys.modules[module], NEWEST):
                setattr(sys.modules[module], NEWEST, cache(getattr(sys.modules[module], NEWEST)))


def make_templates() -> None:
    """Make what is copied, for processes that are forked from this one."""
    with TemporaryDirectory() as folder:
        for module in _real:
            engine = create_engine(f"sqlite:///{folder}/{module}.db")
            getattr(sys.modules[module], MAKERS[module])(engine)
            getattr(sys.modules[module], NEWEST, list)()
            engine.dispose()


@contextmanager
def migrations_run() -> Iterator[None]:
    """Let the real functions make all tables, for tests of them."""
    copying = {module: getattr(sys.modules[module], MAKERS[module]) for module in _real}
    for module, real in _real.items():
        setattr(sys.modules[module], MAKERS[module], real)
    yield
    for module, function in copying.items():
        setattr(sys.modules[module], MAKERS[module], function)


def _copying(module: str, real: Callable[[Engine], None]) -> Callable[[Engine], None]:
    shared = Path(os.environ[FOLDER], f"{module}.db")
    template = sqlite3.connect(":memory:", check_same_thread=False)
    lock, made = Lock(), Event()

    def make_tables(engine: Engine) -> None:
        path = Path(engine.url.database or "/") if engine.dialect.name == "sqlite" else None
        if path is None or not path.parent.is_dir() or (path.exists() and path.stat().st_size > 0):
            real(engine)
            return
        with lock:
            if not made.is_set():
                with locked(shared.with_suffix(".lock"), wait_seconds=None):
                    if not shared.exists():
                        _make_first(engine, real, shared)
                with closing(sqlite3.connect(shared)) as first:
                    first.backup(template)
                made.set()
            with closing(sqlite3.connect(path)) as new:
                new.execute("PRAGMA synchronous=OFF")
                template.backup(new)

    return make_tables


def _make_first(engine: Engine, real: Callable[[Engine], None], shared: Path) -> None:
    real(engine)
    part = shared.with_suffix(".part")  # whoever makes it may be killed
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(str(engine.url.database))) as first, closing(sqlite3.connect(part)) as copy:
        first.backup(copy)
    part.rename(shared)


def _unsynced(prepare: Callable[..., None]) -> Callable[..., None]:
    @wraps(prepare)
    def prepare_unsynced(wait_seconds: float, connection: sqlite3.Connection, record: object) -> None:
        prepare(wait_seconds, connection, record)
        connection.execute("PRAGMA synchronous=OFF")

    return prepare_unsynced


def _unsynced_engine(make: Callable[[str], Engine]) -> Callable[[str], Engine]:
    @wraps(make)
    def make_unsynced(url: str) -> Engine:
        engine = make(url)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _let_the_disk_be)
        return engine

    return make_unsynced


def _let_the_disk_be(connection: sqlite3.Connection, _record: object) -> None:
    with suppress(sqlite3.OperationalError):  # locked: MLflow would try for 100 s, which is not what it does
        connection.execute("PRAGMA synchronous=OFF").close()
