"""Fits the models of recipes, each taken from two runs, and keeps their answers to the judged rows."""

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tidemill.data.repository.dvc_command import Tell
from tidemill.data.tables.column_names import literal_name
from tidemill.data.versioning.params_file import set_values
from tidemill.errors import TrainingError
from tidemill.files.atomic import replace_file
from tidemill.files.declaration_files import parse_declaration
from tidemill.project import Project, load_project
from tidemill.tasks.task import Answers
from tidemill.training.hashed_split import HashedSplit
from tidemill.training.reproduction.reproduce import bring_data, lost_texts
from tidemill.training.reproduction.run_factors import Recipe, RunSide, Which, model_of
from tidemill.training.reproduction.swapped_fit import ANSWERS, JUDGED, REQUEST
from tidemill.training.tracking.run_lineage import installed
from tidemill.training.training_rows import read_labelled

__all__ = ["FittedRecipes", "SidePlace"]

_MOST_ROWS = 200_000


@dataclass(frozen=True)
class SidePlace:
    """Where the code and the data of one run lie."""

    side: RunSide
    folder: Path
    """Has the worktree, and gets the training set."""

    @property
    def tree(self) -> Path:
        """The worktree."""
        return self.folder / "project"

    @property
    def table(self) -> Path:
        """The training set."""
        return self.folder / "training_set.parquet"


class FittedRecipes:
    """Fits recipes, or takes the answers that were kept.

    Args:
        project: whose runs they are.
        a: the run to begin with.
        b: the other one.
        folder: of temporary files.
    """

    def __init__(self, project: Project, a: SidePlace, b: SidePlace, folder: Path) -> None:
        self._project, self._folder, self._kept = project, folder, project.home / "explained"
        self._places: dict[Which, SidePlace] = {"a": a, "b": b}
        self._texts = {which: (one.tree / "params.yaml").read_text() for which, one in self._places.items()}
        self._packages = installed()
        self.judge = max((b.side, a.side), key=lambda side: side.lineage.as_of)
        """The run whose hold-out is judged: the later one, else the other one."""

    def bring_rows(self, tell: Tell) -> pl.DataFrame:
        """Check out the training sets of both runs, and return the rows of the judged hold-out.

        Raises:
            TrainingError: it is not on record which rows they are, or a feature of a run is not in them.
            DataError: DVC does not have the data any more.
        """
        judged = pl.DataFrame()
        for one in self._places.values():
            tell("data", f"training set of {one.side.run_id[:8]}", None, None)
            bring_data(self._project, one.side.lineage, one.tree, one.folder, tell)
            loaded = load_project(one.tree)
            if one.side is self.judge:
                judged = self._judged(loaded)
            loaded.dataset_path.rename(one.table)
        return judged

    def _judged(self, loaded: Project) -> pl.DataFrame:
        split, as_of = self.judge.lineage.split, self.judge.lineage.as_of
        columns = split.columns if isinstance(split, HashedSplit) else ()
        rows = read_labelled(loaded, tuple(dict.fromkeys((*self._features(), *columns))), as_of).rows
        if isinstance(split, HashedSplit):
            rows = rows.filter(split.held_out(rows, None))
        else:
            time = pl.col(literal_name(loaded.config.dataset.time_column))
            rows = rows.filter(time >= split.holdout.start)
        if rows.is_empty():
            raise TrainingError(
                f"which rows run {self.judge.run_id} held out cannot be told: most rows are copies of others",
                hint="leave copies out of the training set, or split by group",
            )
        rows = rows.gather_every(-(-rows.height // _MOST_ROWS))
        rows.write_parquet(self._folder / JUDGED)
        return rows

    def key(self, recipe: Recipe) -> str:
        """Return a digest of all that decides the answers of a recipe."""
        code, data = (self._place(recipe, name).side for name in ("code", "data"))
        made_from = [
            [code.lineage.git_commit, hashlib.sha256(code.patch).hexdigest()],
            [data.lineage.git_commit, data.lineage.as_of.isoformat()],
            self._params(recipe),
            self._model(recipe),
            [self.judge.run_id, self._features()],
            self._packages,
        ]
        return hashlib.sha256(json.dumps(made_from, sort_keys=True, default=str).encode()).hexdigest()

    def named(self, which: str) -> str:
        """Return which run is meant by ``a`` or ``b``, and what of its code is not on record."""
        side = self._places["a" if which == "a" else "b"].side
        return "; ".join([f"run {side.run_id[:8]}", *lost_texts(side.lineage)])

    def kept(self, recipe: Recipe) -> Answers | None:
        """Return the answers of a recipe that was fitted before; None if it was not."""
        return np.load(self._file(recipe), allow_pickle=False) if self.is_kept(recipe) else None

    def is_kept(self, recipe: Recipe) -> bool:
        """Return whether a recipe was fitted before."""
        return self._file(recipe).is_file()

    def fit(self, recipe: Recipe) -> Answers:
        """Fit a recipe, keep its answers, and return them.

        Raises:
            TrainingError: it cannot be fitted.
        """
        tree, data = self._place(recipe, "code").tree, self._place(recipe, "data")
        file = tree / "params.yaml"
        file.write_text(self._params(recipe), encoding="utf-8")
        table = tree / parse_declaration(file.read_text(encoding="utf-8"), file).content["dataset"]["path"]
        table.parent.mkdir(parents=True, exist_ok=True)
        table.unlink(missing_ok=True)
        table.symlink_to(data.table)
        request = {
            "trained": self._model(recipe),
            "as_of": data.side.lineage.as_of.isoformat(),
            "judge": self.judge.lineage.as_dict(),
        }
        (self._folder / REQUEST).write_text(json.dumps(request, default=str))
        _run(tree, self._folder)
        found: Answers = np.load(self._folder / ANSWERS, allow_pickle=False)
        self._kept.mkdir(parents=True, exist_ok=True)
        replace_file(self._file(recipe), (self._folder / ANSWERS).read_bytes())
        return found

    def _file(self, recipe: Recipe) -> Path:
        return self._kept / f"{self.key(recipe)}.npy"

    def _features(self) -> list[str]:
        """Return the features of both runs."""
        return sorted({name for one in self._places.values() for name in one.side.trained.features})

    def _place(self, recipe: Recipe, factor: str) -> SidePlace:
        return self._places[recipe.get(factor, "a")]

    def _params(self, recipe: Recipe) -> str:
        text, seed = self._texts[recipe.get("settings", "a")], self._place(recipe, "seed").side.seed
        return set_values(text, {"train.seed": seed})

    def _model(self, recipe: Recipe) -> dict[str, object]:
        found = model_of(self._places["a"].side.trained, self._places["b"].side.trained, recipe)
        named = ("family", "params", "rounds", "schedule", "features", "window")
        bare = {"run_id": "", "model_uri": "", "metrics": {}, "trials": 0, "failed_trials": 0}
        return bare | {name: found.as_dict()[name] for name in named}


def _run(tree: Path, folder: Path) -> None:
    """Fit in a process of its own, which imports the code of the worktree."""
    line = [sys.executable, "-P", "-m", "tidemill.training.reproduction.swapped_fit", str(tree), str(folder)]
    done = subprocess.run(line, cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join(done.stderr.strip().splitlines()[-3:]) or f"exit code {done.returncode}"
        said = said.replace(f"{tree}/", "").replace(str(tree), "the project")
        raise TrainingError(f"it cannot be fitted: {said}", hint="`tidemill runs diff` shows what differs")
