"""Bring the records and MLflow's database to this release: ``python -m`` with the name of this module.

A Job of the chart runs it before the pods of a new release start. It may run several times, also at once: a
transaction in PostgreSQL takes one lock, and what is up to date stays as it is.
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tidemill.accounts.roles import EVERY_PROJECT
from tidemill.accounts.users import add_user, has_admin
from tidemill.clock import SystemClock
from tidemill.errors import ConfigError, StateError, TidemillError
from tidemill.settings import Settings
from tidemill.state import State, open_state

__all__ = ["add_first_admin", "open_when_there"]

_PAUSE = 1.0
_log = logging.getLogger(__name__)


def open_when_there(url: str, seconds: float) -> State:
    """Open the records and migrate them, as soon as their database answers.

    Raises:
        StateError: they cannot be opened after so many seconds.
    """
    end = time.monotonic() + seconds
    told = False
    while True:
        try:
            return open_state(url)
        except StateError as error:
            if time.monotonic() >= end:
                raise
            if not told:
                _log.info("waiting for the records: %s", error)
                told = True
            time.sleep(_PAUSE)


def add_first_admin(state: State, name: str, password: str) -> bool:
    """Add an admin of every project if there is none; return whether one was added.

    Raises:
        UsageError: the name is taken or not valid, or the password is too easy.
    """
    if has_admin(state):
        return False
    now = SystemClock().now()
    add_user(
        state, name=name, password=password, actor="installation", now=now, roles={EVERY_PROJECT: ["admin"]}
    )
    return True


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.kubernetes.records_job")
    parser.add_argument("--wait", type=float, default=120.0, help="seconds that the database may be away")
    parser.add_argument("--admin", help="name of the admin who is added if there is none")
    parser.add_argument("--password-file", type=Path, help="file whose first line is their password")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        _run(options)
    except TidemillError as error:
        _log.error("%s%s", error, f"; {error.hint}" if error.hint else "")
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    url = Settings().state_url
    if url is None:
        raise ConfigError(
            "there is no address of records",
            hint="set TIDEMILL_STATE_URL, as values.yaml says at secrets.recordsUrl",
        )
    state = open_when_there(url, options.wait)
    _log.info("the records are those of this release")
    _upgrade_mlflow()
    if options.admin and add_first_admin(state, options.admin, _password(options.password_file)):
        _log.info("added the first admin: %s", options.admin)


def _upgrade_mlflow() -> None:
    """Bring the database behind MLflow's server to the installed MLflow, which refuses to start otherwise."""
    url = Settings().tracking_database
    if url is None:
        return
    from tidemill.training.tracking.tracking_schema import upgrade_tracking  # takes seconds

    done = upgrade_tracking(url)
    _log.info(
        "MLflow's database %s", "was brought to the installed MLflow" if done else "is as MLflow needs it"
    )


def _password(file: Path | None) -> str:
    if file is None:
        raise ConfigError("--admin needs --password-file", hint="name the file with the password")
    try:
        return file.read_text().partition("\n")[0]
    except OSError as error:
        raise ConfigError(
            f"the password cannot be read: {file}: {error.strerror}",
            hint="check the Secret that secrets.firstAdmin names, and its key",
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
