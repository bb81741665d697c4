"""Who does some work is on record, so that processes of several machines do not do it at once."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tidemill.errors import MonitoringError
from tidemill.files.locks import this_process
from tidemill.state import open_state
from tidemill.state.claims import EXPIRES_AFTER, claimed, is_claimed
from tidemill.state.tables import Claim

HOLD = """
import sys, time
from pathlib import Path
from tidemill.errors import MonitoringError
from tidemill.state import open_state
from tidemill.state.claims import claimed
with claimed(open_state(sys.argv[1]), Path(sys.argv[2]), "delay", "turn", MonitoringError):
    print("holds", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_one_process_of_all_machines_does_it_and_a_killed_one_is_replaced(any_state_url: str, tmp_path: Path):
    here, elsewhere = tmp_path / "a.lock", tmp_path / "b.lock"
    state = open_state(any_state_url)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, any_state_url, str(here)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "holds\n"
        for lock in (here, elsewhere):  # the kernel says it here, the records there
            assert is_claimed(state, lock, "delay", "turn")
            with (
                pytest.raises(MonitoringError, match=f"process {other.pid}"),
                claimed(state, lock, "delay", "turn", MonitoringError),
            ):
                pass
        for model, work in (("delay", "monitors"), ("other", "turn")):
            with claimed(state, elsewhere, model, work, MonitoringError):
                pass
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    assert is_claimed(state, elsewhere, "delay", "turn")  # it may live: it is another machine's
    assert not is_claimed(state, here, "delay", "turn")
    with claimed(state, here, "delay", "turn", MonitoringError) as claim, state.transaction() as session:
        assert session.get_one(Claim, ("delay", "turn")).id == claim.id
    with state.transaction() as session:
        assert session.query(Claim).count() == 0
    state.close()


def test_a_claim_expires_and_its_holder_then_records_nothing(any_state_url: str, tmp_path: Path):
    state = open_state(any_state_url)
    with claimed(state, tmp_path / "a.lock", "delay", "turn", MonitoringError) as slow:
        for moved in (-EXPIRES_AFTER, timedelta(days=1)):  # the second: the clock went back since
            with state.transaction() as session:
                slow.check(session)
                session.get_one(Claim, ("delay", "turn")).until += moved
            with (
                claimed(state, tmp_path / "b.lock", "delay", "turn", MonitoringError),
                pytest.raises(MonitoringError, match="this process, since"),
                state.transaction() as session,
            ):
                slow.check(session)
            with pytest.raises(MonitoringError), state.transaction() as session:
                slow.check(session)  # nor when that one has ended
            with state.transaction() as session:
                session.add(_row(slow.id))
    with state.transaction() as session:
        assert session.query(Claim).count() == 0
    state.close()


def _row(claim: str) -> Claim:
    until = datetime.now(UTC) + EXPIRES_AFTER
    return Claim(model="delay", work="turn", id=claim, place="x", holder=this_process(), until=until)
