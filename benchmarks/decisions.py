"""What the loop's decisions are worth: policies beside never, always and an oracle, on a project's past.

On flights the mark is a mean of the monthly AUC, April to December 2013, of at least 0.731 with at most five
retrainings; direct fits gave 0.717 without any, and 0.731 with one each month.

    python -m benchmarks.decisions --project FOLDER [--from 2013-04-01] [--fast]

FOLDER has a training set of the whole time: for flights, a copy of the project with ``data.last_month``
2013-12 whose stages were run. Prints for each strategy the mean metric, retrainings, wrong promotions and
CPU seconds.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from tidemill.project import load_project
from tidemill.retraining.backtest.backtest import Backtest, BacktestRequest, run_backtest

MOST_TURNS = 5
MARK = 0.731


def main() -> None:
    """Play the policies and print what came of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--project", type=Path, required=True)
    options.add_argument("--from", dest="start", default="2013-04-01")
    options.add_argument("--fast", action="store_true", help="fit on samples of 20,000 rows")
    given = options.parse_args()
    start = datetime.fromisoformat(given.start).replace(tzinfo=UTC)
    request = BacktestRequest(start=start, fast=given.fast)
    show(run_backtest(load_project(given.project), request, lambda step, said: print(f"{step}: {said}")))


def show(found: Backtest) -> None:
    """Print a line for each strategy."""
    print(
        f"{found.metric}, {found.start:%Y-%m-%d} to {found.end:%Y-%m-%d}, {found.fits} fits of {found.family}"
    )
    for each in found.played:
        wrong = sum(turn.wrong for turn in each.turns)
        met = each.mean >= MARK and len(each.turns) <= MOST_TURNS
        print(
            f"{each.name:16} mean {each.mean:.4f}  retrainings {len(each.turns):2}  wrong {wrong}  "
            f"CPU {each.seconds:.0f} s{'  meets the mark' if met else ''}"
        )


if __name__ == "__main__":
    main()
