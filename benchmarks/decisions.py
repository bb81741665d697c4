"""What the loop's decisions are worth: policies beside never, always and an oracle, on a project's past.

On flights the mark is a mean of the monthly AUC, April to December 2013, of at least 0.731 with at most five
retrainings; direct fits gave 0.717 without any, and 0.731 with one each month.

    OMP_NUM_THREADS=1 python -m benchmarks.decisions --project FOLDER [--only NAME …] [--fast]
    OMP_NUM_THREADS=1 python -m benchmarks.decisions --world weather --fast --proof none --proof lasting

FOLDER has a training set of the whole time: for flights, a clone with ``data.last_month: 2013-12`` in
params.yaml whose stages were run (``dvc repro``). The project's own policies are played, and those below,
each with at most five turns a year: chosen before they were played, but for the 10 %. Prints for each
strategy the mean metric, retrainings, promotions, how many of these were wrong over the next 30 days, CPU
seconds, and the turns with the gain of each candidate over these days.

With ``--proof`` and ``--gate``, which may be repeated, each policy is played with each of them, on the same
models, as ``tidemill policies backtest`` does. A world is one of
`benchmarks.promotion_worlds`, with the policy and monitors that ``tidemill init`` declares; it is played from
the month on in which enough is known.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.promotion_worlds import WORLDS, world
from tidemill.project import Project, load_project
from tidemill.retraining.backtest.backtest import Backtest, BacktestRequest, Tell, run_backtest
from tidemill.retraining.backtest.strategies import Gate, Proof
from tidemill.retraining.policies import Policy, load_policies

MOST_TURNS = 5
MARK = 0.731
MOST_FITS = 300
DRIFT = ["quality", "data_drift", "prediction_drift"]
TABLE = [
    Policy.model_validate({**asked, "budget": {"turns": MOST_TURNS, "period": "365d"}})
    for asked in (
        {"name": "drift or quality", "alerts": DRIFT, "cooldown": "35d"},
        {"name": "quality or 42 days", "any": ["quality", {"age": "42d"}], "cooldown": "21d"},
        {"name": "10 % more labels", "any": [{"new_labels": "10%"}], "cooldown": "21d"},
        {"name": "25 % more labels", "any": [{"new_labels": "25%"}], "cooldown": "21d"},
        {"name": "quality or 25 % more", "any": ["quality", {"new_labels": "25%"}], "cooldown": "21d"},
    )
]


def main() -> None:
    """Play the policies and print what came of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    of = options.add_mutually_exclusive_group(required=True)
    of.add_argument("--project", type=Path)
    of.add_argument("--world", choices=list(WORLDS))
    options.add_argument("--from", dest="start", help="default: of flights 2013-04-01")
    options.add_argument("--to", dest="end", help="default: the last row")
    options.add_argument("--only", action="append", help="a policy to play (default: all)")
    options.add_argument("--min-gain", type=float, help="instead of the project's gate.min_gain")
    options.add_argument("--fast", action="store_true", help="fit on samples of 20,000 rows")
    options.add_argument("--gate", action="append", choices=get_args(Gate), default=[])
    options.add_argument("--proof", action="append", choices=get_args(Proof), default=[])
    given = options.parse_args()
    first = given.start or ("2013-04-01" if given.project else None)
    start, end = (each and datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (first, given.end))
    rules = tuple(given.gate), tuple(given.proof)
    request = BacktestRequest(start, end, (), given.fast, MOST_FITS, *rules)
    with _project(given.project, given.world) as project:
        wanted = [*load_policies(project), *TABLE]
        if given.only:
            wanted = [policy for policy in wanted if policy.name in given.only]
        if given.min_gain is not None:
            gate = project.config.gate.model_copy(update={"min_gain": given.min_gain})
            project = replace(project, config=project.config.model_copy(update={"gate": gate}))
        show(run_backtest(project, request, progress(), wanted), MARK if given.project else np.inf)


@contextmanager
def _project(folder: Path | None, name: str | None) -> Iterator[Project]:
    if folder is not None:
        yield load_project(folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield world(str(name), Path(scratch))


def progress() -> Tell:
    """Return what prints fits and the months that a strategy has come to."""
    last = ""

    def tell(step: str, said: str) -> None:
        nonlocal last
        day = said.count("-") == 2 and len(said) == 10
        line = f"{step}: {said[:7] if day else said}"
        if line != last:
            print(line, flush=True)
        last = line

    return tell


def show(found: Backtest, mark: float) -> None:
    """Print a line for each strategy, whether it reaches the mark, and what the play says."""
    print(f"{found.metric}, {found.start:%F} to {found.end:%F}, {found.fits} fits")
    for each, facts in zip(found.played, (told := found.as_dict())["strategies"], strict=True):
        worse = facts["expected_worse"]
        said = f", {worse['mean']:.1f} ({worse['low']}–{worse['high']}) expected" if worse else ""
        met = each.mean >= mark and len(each.turns) <= MOST_TURNS and each.name != "oracle"
        print(
            f"{each.name:40} mean {each.mean:.4f}  retrainings {len(each.turns):2}  "
            f"promoted {each.promoted:2}  wrong {each.wrong} ({facts['surely_wrong']} surely{said})  "
            f"CPU {each.seconds:.0f} s{'  meets the mark' if met else ''}"
        )
        turns = (f"{turn.at:%m-%d} {turn.status} {turn.gain or np.nan:+.4f}" for turn in each.turns)
        print(f"    {', '.join(turns)}")
    print(*told["conclusion"], *found.notes, sep="\n")


if __name__ == "__main__":
    main()
