"""Checks the age of the newest rows that a candidate knows."""

from datetime import timedelta

from tidemill.clock import utc
from tidemill.errors import DataError
from tidemill.project.gate_checks import DataAgeCheck
from tidemill.registry.gates.judged_rows import GateFinding, Judged
from tidemill.training.hashed_split import HashedSplit

__all__ = ["check_data_age"]


def check_data_age(check: DataAgeCheck, judged: Judged) -> GateFinding:
    """Return whether the end of the hold-out (of rows without time: the training) is recent enough.

    Raises:
        DataError: the version does not say what it learnt from.
    """
    lineage = judged.candidate.lineage
    if lineage is None:
        raise DataError(
            f"version {judged.candidate.version} does not say which rows it learnt from",
            hint="import it with its data, or train it: `tidemill run`",
        )
    newest = utc(lineage.as_of if isinstance(lineage.split, HashedSplit) else lineage.split.holdout.end)
    days = (utc(judged.now) - newest) / timedelta(days=1)
    said = (
        f"its data ends on {newest:%Y-%m-%d %H:%M} UTC, {days:.1f} days ago; "
        f"at most {check.max_days:g} are allowed"
    )
    return GateFinding(days <= check.max_days, said, {"newest": newest.isoformat(), "days": days})
