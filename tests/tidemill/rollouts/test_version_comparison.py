"""What reports on versions beside the champion say, over answers made by hand."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tidemill.project.project_config import ProjectConfig
from tidemill.rollouts.comparison_periods import Periods
from tidemill.rollouts.version_comparison import compare_keys, compare_shadow
from tidemill.serving.inference.row_scoring import FALLBACK
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.routing.traffic_split import DeployedVersion, ServingVersions
from tidemill.state.tables import Deployment
from tidemill.tasks.binary import Binary
from tidemill.tasks.task import Task

NOW = datetime(2013, 4, 1, tzinfo=UTC)
CONFIG = ProjectConfig.model_validate(
    {
        "project": {"name": "p", "model": "m", "training": "a:b", "application": "a:b"},
        "dataset": {"path": "d", "label": "late"},
        "features": {"service": "s"},
    }
)


TASK = Binary("roc_auc")


@dataclass(frozen=True)
class Declared:
    """A project that is nothing but its configuration."""

    config: ProjectConfig = CONFIG
    task: Task = TASK


def deployment(kind="ab", name="fee", version="2", share=0.5):
    return Deployment(
        id=f"dep_{name}", model="m", kind=kind, name=name, version=version, champion="1", share=share,
        salt=f"salt {name}", status="live", actor="a", reason="r", at=NOW, requested_at=NOW, live_at=NOW,
    )  # fmt: skip


def answers(*rows, keys=400, each=5, better=0.0, seed=0):
    """Answers of divided traffic: each key has a risk of its own, which version 2 knows ``better``."""
    rng = np.random.default_rng(seed)
    one = LoadedModel("1", None, None, NOW)
    lanes = [
        (DeployedVersion(row.kind, row.name, row.version, row.share, row.salt), row.version) for row in rows
    ]
    serving = ServingVersions(one, tuple((lane, LoadedModel(v, None, None, NOW)) for lane, v in lanes))
    made = []
    for key in range(keys):
        model, role = serving.assign(f"k{key}")
        risk = rng.uniform(0.1, 0.9)
        for _ in range(each):
            noise = rng.normal(0, 0.35 - (better if model.version == "2" else 0.0))
            score = float(np.clip(risk + noise, 0.01, 0.99))
            made.append(
                {
                    "prediction_id": f"p{len(made)}", "version": model.version, "role": role, "score": score,
                    "decision": json.dumps({"advice": "call" if score > 0.5 else "wait", "cost": score * 10}),
                    "flags": [], "served_at": NOW + timedelta(seconds=1), "shadow_of": None, "key": f"k{key}",
                    "label": int(rng.random() < risk), "target": None, "answer": None,
                }
            )  # fmt: skip
    texts = dict.fromkeys(("shadow_of", "target", "answer"), pl.String)
    schema = {"flags": pl.List(pl.String), **texts}
    return pl.DataFrame(made, schema_overrides=schema)


def test_a_better_version_is_said_to_be_and_how_sure_that_is():
    row = deployment()
    found = compare_keys(Declared(), answers(row, better=0.3), row, "1", [row], Periods())
    assert sum(found.keys) == 400
    assert sum(found.labelled) == sum(found.answers) == 2000
    assert found.quality.low > 0
    assert found.says[0].startswith("version 2 is better than champion 1: roc_auc 0.")
    assert not found.mismatch.found
    assert {one.name for one in found.decisions} == {"advice = call", "advice = wait", "cost"}


def test_versions_that_are_the_same_cannot_be_told_apart():
    row = deployment()
    found = compare_keys(Declared(), answers(row), row, "1", [row], Periods())
    assert found.says[0].startswith("no difference in ")
    assert found.quality.low < 0 < found.quality.high


def test_keys_that_are_lost_are_found_out():
    row = deployment()
    made = answers(row, better=0.3).filter((pl.col("version") == "1") | (pl.col("key").str.len_chars() < 4))
    found = compare_keys(Declared(), made, row, "1", [row], Periods())
    assert found.mismatch.found
    assert found.says[0].startswith("do not trust this: ")


def test_what_other_lanes_take_is_no_mismatch():
    rows = [deployment("canary", "canary", "3", 0.4), deployment("ab", "fee", "2", 0.5)]
    rows.append(deployment("ab", "zoo", "4", 0.5))
    made = answers(*rows, keys=4000, each=1)
    for row in rows:
        assert not compare_keys(Declared(), made, row, "1", rows, Periods()).mismatch.found, row.name


def test_what_a_version_took_that_is_gone_is_no_mismatch():
    rows = [deployment("canary", "canary", "3", 0.3), deployment("ab", "fee", "2", 0.5)]
    before, after = answers(*rows, keys=2000, each=1), answers(rows[0], keys=2000, each=1)
    late = after.with_columns(
        pl.lit(NOW + timedelta(hours=1, seconds=5)).alias("served_at"), ("late" + pl.col("key")).alias("key")
    )
    made = pl.concat([before, late])
    assert compare_keys(Declared(), made, rows[0], "1", rows[:1], Periods()).mismatch.found
    periods = Periods((NOW, NOW + timedelta(hours=1)), timedelta(seconds=1))
    found = compare_keys(Declared(), made, rows[0], "1", rows[:1], periods).mismatch
    assert sum(found.keys) <= 2000
    assert not found.found


def test_a_share_that_grew_makes_no_hour_the_version_s_fault():
    """The same scores by the same keys, but the second hour is riskier, and most of it is the version's."""
    changes, made = (NOW, NOW + timedelta(hours=1)), []
    for hour, share in enumerate((0.1, 0.9)):
        frame = answers(deployment(share=share), seed=hour)
        made.append(
            frame.with_columns(
                pl.lit(changes[hour] + timedelta(seconds=1)).alias("served_at"),
                (pl.col("score") * (0.3 + 0.7 * hour)).alias("score"),
                ("p" + pl.col("prediction_id") if hour else pl.col("prediction_id")).alias("prediction_id"),
            )
        )
    row = deployment(share=0.9)
    together = compare_keys(Declared(), pl.concat(made), row, "1", [row], Periods())
    assert together.score.low > 0.1
    found = compare_keys(Declared(), pl.concat(made), row, "1", [row], Periods(changes))
    assert found.score.low < 0 < found.score.high
    assert sum(found.answers) == 4000
    alone = made[1].filter(pl.col("version") == "2")  # an hour without the champion tells nothing
    less = compare_keys(Declared(), pl.concat([made[0], alone]), row, "1", [row], Periods(changes))
    first = compare_keys(Declared(), made[0], row, "1", [row], Periods(changes))
    assert (less.score, less.quality) == (first.score, first.quality)


def test_answers_in_anothers_place_belong_to_neither():
    row = deployment()
    made = answers(row)
    fallen = made.filter(pl.col("version") == "2").with_columns(
        pl.lit("1").alias("version"), pl.lit("champion").alias("role"), flags=pl.lit([FALLBACK])
    )
    found = compare_keys(Declared(), pl.concat([made, fallen]), row, "1", [row], Periods())
    assert sum(found.answers) == made.height


def test_without_labels_it_says_so():
    row = deployment()
    made = answers(row).with_columns(pl.lit(None, pl.Int64).alias("label"))
    found = compare_keys(Declared(), made, row, "1", [row], Periods())
    assert found.quality is None
    assert found.says[0].startswith("roc_auc cannot be compared yet: 0 answers of version 2")


def test_a_shadow_is_compared_with_what_was_answered_and_borrows_its_label():
    given = answers(keys=100)
    copies = given.with_columns(
        pl.lit("shadow").alias("role"),
        pl.lit("2").alias("version"),
        pl.col("prediction_id").alias("shadow_of"),
        ("s" + pl.col("prediction_id")).alias("prediction_id"),
        (pl.col("score") * 0.5).alias("score"),
        pl.lit('{"advice":"wait"}').alias("decision"),
        pl.lit(None, pl.Int64).alias("label"),
    )
    row = deployment("shadow", "shadow", "2", 1.0)
    found = compare_shadow(Declared(), pl.concat([given, copies]), row, "1")
    assert found.answers == given.height
    assert found.mean_difference == pytest.approx(given["score"].mean() / 2)
    assert found.quality.gain == pytest.approx(0)  # the same order of scores
    assert found.says[0].startswith("on 500 requests the scores differ by 0.")
    assert compare_shadow(Declared(), given, row, "1").says == ("there is nothing to compare yet",)
