"""What the loop's decisions are worth: policies beside never, always and an oracle, on a project's past.

On flights the mark is a mean of the monthly AUC, April to December 2013, of at least 0.731 with at most five
retrainings; direct fits gave 0.717 without any, and 0.731 with one each month.

    OMP_NUM_THREADS=1 python -m benchmarks.decisions --project FOLDER [--only NAME …] [--fast]

FOLDER has a training set of the whole time: for flights, a clone with ``data.last_month: 2013-12`` in
params.yaml whose stages were run (``dvc repro``). The project's own policies are played, and those below:
chosen before they were played, each with at most five turns a year. Prints for each strategy the mean metric,
retrainings, promotions, how many of these were wrong over the next 30 days, and CPU seconds.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tidemill.project import load_project
from tidemill.retraining.backtest.backtest import Backtest, BacktestRequest, run_backtest
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
        {"name": "25 % more labels", "any": [{"new_labels": "25%"}], "cooldown": "21d"},
        {"name": "quality or 25 % more", "any": ["quality", {"new_labels": "25%"}], "cooldown": "21d"},
    )
]


def main() -> None:
    """Play the policies and print what came of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--project", type=Path, required=True)
    options.add_argument("--from", dest="start", default="2013-04-01")
    options.add_argument("--to", dest="end", help="default: the last row")
    options.add_argument("--only", action="append", help="a policy to play (default: all)")
    options.add_argument("--min-gain", type=float, help="instead of the project's gate.min_gain")
    options.add_argument("--fast", action="store_true", help="fit on samples of 20,000 rows")
    given = options.parse_args()
    project = load_project(given.project)
    if given.min_gain is not None:
        gate = project.config.gate.model_copy(update={"min_gain": given.min_gain})
        project = replace(project, config=project.config.model_copy(update={"gate": gate}))
    wanted = [*load_policies(project), *TABLE]
    if given.only:
        wanted = [policy for policy in wanted if policy.name in given.only]
    start, end = (
        each and datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (given.start, given.end)
    )
    request = BacktestRequest(start, end, fast=given.fast, max_fits=MOST_FITS)
    show(run_backtest(project, request, progress(), wanted))


def progress() -> Callable[[str, str], None]:
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


def show(found: Backtest) -> None:
    """Print a line for each strategy."""
    print(
        f"{found.metric}, {found.start:%Y-%m-%d} to {found.end:%Y-%m-%d}, {found.fits} fits of {found.family}"
    )
    for note in found.notes:
        print(note)
    for each in found.played:
        promoted = sum(turn.status == "promoted" for turn in each.turns)
        wrong, surely = (
            sum(getattr(turn, name) for turn in each.turns) for name in ("wrong", "surely_wrong")
        )
        met = each.mean >= MARK and len(each.turns) <= MOST_TURNS and each.name != "oracle"
        print(
            f"{each.name:22} mean {each.mean:.4f}  retrainings {len(each.turns):2}  promoted {promoted:2}  "
            f"wrong {wrong} ({surely} surely)  CPU {each.seconds:.0f} s{'  meets the mark' if met else ''}"
        )


if __name__ == "__main__":
    main()
