"""What ``deploy report`` shows of a comparison."""

from io import StringIO

import pytest
from rich.console import Console

from tidemill.cli.serving.comparisons import render_comparison
from tidemill.rollouts.comparison_results import Agreement
from tidemill.rollouts.group_differences import Difference


@pytest.mark.parametrize(
    ("metric", "values", "shown"),
    [
        (
            "neg_mae",
            (-12.0, -11.0),
            ["mae (lower is better)", "11.0000", "12.0000", "-1.0000", "-1.5000 to -0.5000"],
        ),
        ("roc_auc", (0.5, 1.5), ["roc_auc", "1.5000", "0.5000", "+1.0000", "+0.5000 to +1.5000"]),
    ],
)
def test_a_loss_has_its_own_name_and_sign(metric, values, shown):
    found = Difference(metric, *values, 1.0, 0.5, 1.5, (900, 900), (90, 90))
    console = Console(width=120, record=True, file=StringIO())
    render_comparison(console, "shadow", Agreement("shadow", "2", "1", 900, 0.1, 0.2, None, None, found))
    line = next(line for line in console.export_text().splitlines() if line.startswith(shown[0]))
    assert line.split() == " ".join(shown).split()
