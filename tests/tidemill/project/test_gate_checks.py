"""What ``gates`` in ``params.yaml`` may say, and what is said of the rest."""

import re
from pathlib import Path

import pytest

from tidemill.errors import ConfigError
from tidemill.files.declaration_files import parse_declaration
from tidemill.project.project import check_params

PARAMS = """\
project: {name: f, model: m, training: "a:b", application: "a:b", task: TASK}
dataset: {path: d, label: l, classes: [1, 2, 3]}
features: {service: s}
gate: {mode: off}
gates:
  - GATE
"""


def read(gate, task="binary"):
    text = PARAMS.replace("GATE", gate).replace("TASK", task)
    return check_params(parse_declaration(text, Path("params.yaml")))


@pytest.mark.parametrize(
    ("gate", "task", "said"),
    [
        ("{check: metrc}", "binary", "gates.0: check must be 'metric', .* not 'metrc' (line 6)"),
        ("{floor: 1}", "binary", "gates.0: needs the field 'check' (line 6)"),
        (
            "{check: metric, flor: 1}",
            "binary",
            "there is no field 'flor': choose by, check, floor, metric, min_gain, mode, name (line 6)",
        ),
        ("{check: metric}", "binary", "so nothing could fail: give floor or min_gain (line 6)"),
        ("{check: size, max_mb: x}", "binary", "gates.0.size.max_mb: must be a number, not 'x' (line 6)"),
        ("{check: card, required: [ownr]}", "binary", "must be 'purpose', 'limits', .* not 'ownr' (line 6)"),
        ("{check: metric, floor: 1, metric: r2}", "binary", "binary has no metric 'r2': choose roc_auc"),
        ("{check: calibration, max_error: 1}", "regression", "for binary and multiclass targets"),
        (
            "{check: groups, column: a, floor: 0, measure: demographic_parity}",
            "multiclass",
            "entry 1, groups: this is for binary targets",
        ),
        ("{check: groups, column: a, floor: 0, edges: [65, 18]}", "binary", "edges must rise: 65, 18 do not"),
        ("{check: signature}\n  - {check: signature}", "binary", "signature: another gate has that name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line_and_what_is_allowed(gate, task, said):
    with pytest.raises(ConfigError) as caught:
        read(gate, task)
    place = 0
    for part in said.split(" .* "):
        assert part in str(caught.value)[place:]
        place = str(caught.value).index(part)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ("[{name: production}]", "production is the alias champion, whose gates are `gate` and `gates`"),
        ("[{name: ab-summer}]", "the alias ab-summer means something else already"),
        ("[{name: Staging}]", "stages.0.name"),
        ("[{name: a}, {name: a}]", "stages: a is declared twice"),
        ("[{name: a, gates: [{check: stage, stage: b}]}, {name: b}]", "there is no stage 'b' before it"),
        (
            "[{name: a, gates: [{check: metric, metric: r2, floor: 0}]}]",
            "stages: a: gates: entry 1, metric:",
        ),
        ("[]", "gates: entry 2, stage: there is no stage 'a' before it; declared before it: none"),
    ],
)
def test_a_stage_has_a_name_of_its_own_and_asks_only_for_stages_before_it(stages, said):
    gates = "{check: leakage}\n  - {check: stage, stage: a}\nstages: "
    with pytest.raises(ConfigError, match=re.escape(said)):
        read(gates + stages)
    config = read(gates + "[{name: a, gates: [{check: slices, columns: [b], max_loss: 1}]}]")
    assert (config.stages[0].mode, config.gate_columns) == ("enforce", ("b",))


def test_the_strictest_mode_is_that_of_a_decision_and_off_needs_no_quotes():
    assert read("{check: metric, metric: brier, floor: -0.2, mode: off}").gate_mode == "off"
    assert read("{check: leakage, mode: dry_run}").gate_mode == "dry_run"
    config = read("{check: leakage, mode: dry_run}\n  - {check: size, max_mb: 3, name: small}")
    assert (config.gate_mode, [one.title for one in config.gates]) == ("enforce", ["leakage", "small"])
