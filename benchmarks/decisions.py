"""What the loop's decisions are worth: policies beside never, always and an oracle, on a project's past.

On flights the mark is a mean of the monthly AUC, April to December 2013, of at least 0.731 with at most five
retrainings; direct fits gave 0.717 without any, and 0.731 with one each month.

    OMP_NUM_THREADS=1 python -m benchmarks.decisions --project FOLDER [--only NAME …] [--fast]
    OMP_NUM_THREADS=1 python -m benchmarks.decisions --world weather --fast --proof lasting

FOLDER has a training set of the whole time: for flights, a clone with ``data.last_month: 2013-12`` in
params.yaml whose stages were run (``dvc repro``). The project's own policies are played, and those below,
each with at most five turns a year: chosen before they were played, but for the 10 %. Prints for each
strategy the mean metric, retrainings, promotions, how many of these were wrong over the next 30 days, CPU
seconds, and the turns with the gain of each candidate over these days.

With ``--proof`` the policies are played again, on the same models: what the gate lets pass is promoted by a
rollout that asks for 14 days of proof by this rule, and not at once. A world is one of
`benchmarks.promotion_worlds`, with the policy and monitors that ``tidemill init`` declares; it is played from
the month on in which enough is known.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.promotion_worlds import WORLDS, world
from tidemill.features.project_features import feature_names
from tidemill.monitoring.monitor_config import load_monitors
from tidemill.project import Project, load_project
from tidemill.project.serve_config import ProofConfig
from tidemill.retraining.backtest.backtest import FAST_ROWS, BacktestRequest, Tell, play_all, span_of
from tidemill.retraining.backtest.fitted_models import FittedModels
from tidemill.retraining.backtest.past_search import search_at
from tidemill.retraining.backtest.play import Played
from tidemill.retraining.backtest.played_past import Past
from tidemill.retraining.policies import Policy, load_policies
from tidemill.training.spec_loading import load_spec
from tidemill.training.training_rows import read_labelled

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
    options.add_argument("--gate", choices=("gain", "interval"), help="instead of the project's gate.by")
    rules = "gain", "interval", "lasting"
    options.add_argument("--proof", action="append", choices=rules, default=[], help="play this, too")
    given = options.parse_args()
    first = given.start or ("2013-04-01" if given.project else None)
    start, end = (each and datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (first, given.end))
    request = BacktestRequest(start, end, fast=given.fast, max_fits=MOST_FITS)
    with _project(given.project, given.world) as project:
        wanted = [*load_policies(project), *TABLE]
        if given.only:
            wanted = [policy for policy in wanted if policy.name in given.only]
        with_gate = with_rules(project, given.min_gain, None, given.gate)
        past = past_of(with_gate, request, tell := progress())
        for proof in (None, *given.proof):
            played = replace(past, project=with_rules(with_gate, None, proof))
            groups = {policy.name: (policy,) for policy in wanted}
            found, left_out = play_all(played, groups, load_monitors(project), tell)
            title = f"{proof or 'no'} proof, {past.models.count} fits"
            print(f"{project.task.metric}, {past.start:%F} to {past.end:%F}, {title}")
            show(found, left_out, MARK if given.project else np.inf)


@contextmanager
def _project(folder: Path | None, name: str | None) -> Iterator[Project]:
    if folder is not None:
        yield load_project(folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield world(str(name), Path(scratch))


def with_rules(project: Project, min_gain: float | None, proof: str | None, by: str | None = None) -> Project:
    """Return a project with another ``gate.min_gain`` and ``gate.by``, and a rollout's proof by a rule."""
    config = project.config
    given = {name: value for name, value in (("min_gain", min_gain), ("by", by)) if value is not None}
    config = config.model_copy(update={"gate": config.gate.model_copy(update=given)})
    asked = None if proof is None else ProofConfig.model_validate({"by": proof})
    rollout = config.serve.rollout.model_copy(update={"proof": asked})
    config = config.model_copy(update={"serve": config.serve.model_copy(update={"rollout": rollout})})
    return replace(project, config=config)


def past_of(project: Project, request: BacktestRequest, tell: Tell) -> Past:
    """Return a project's past, whose models have the parameters that a search at its start finds."""
    features = feature_names(project)
    rows = read_labelled(project, features, datetime.max.replace(tzinfo=UTC)).rows
    start, end = span_of(project, rows, request)
    most, most_rows = FAST_ROWS if request.fast else None, project.config.train.search_rows
    sample = min(filter(None, (most, most_rows)), default=None)
    found = search_at(
        project, load_spec(project), rows, features, start, sample,
        lambda done, trials: tell("search", f"trial {done + 1} of {trials}"),
    )  # fmt: skip
    models = FittedModels(
        project, rows, features, found, most, request.max_fits,
        lambda at, count: tell(found.family.name, f"{count:,} rows known at {at:%F}"),
    )  # fmt: skip
    return Past(project, rows, features, models, start, end)


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


def show(played: Sequence[Played], left_out: Sequence[str], mark: float) -> None:
    """Print a line for each strategy, and whether it reaches the mark."""
    if left_out:
        print(f"not played, as more than {MOST_FITS} fits would be needed: {', '.join(left_out)}")
    for each in played:
        promoted = sum(turn.status == "promoted" for turn in each.turns)
        wrong, surely = (
            sum(getattr(turn, name) for turn in each.turns) for name in ("wrong", "surely_wrong")
        )
        met = each.mean >= mark and len(each.turns) <= MOST_TURNS and each.name != "oracle"
        print(
            f"{each.name:22} mean {each.mean:.4f}  retrainings {len(each.turns):2}  promoted {promoted:2}  "
            f"wrong {wrong} ({surely} surely)  CPU {each.seconds:.0f} s{'  meets the mark' if met else ''}"
        )
        said = (f"{turn.at:%m-%d} {turn.status} {turn.gain or np.nan:+.4f}" for turn in each.turns)
        print(f"    {', '.join(said)}")


if __name__ == "__main__":
    main()
