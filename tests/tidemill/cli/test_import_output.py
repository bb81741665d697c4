"""What ``models import`` and ``run`` say at their ends."""

from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tidemill.cli.models.model_import import _show
from tidemill.cli.models.version_list import said_holdout
from tidemill.registry.importing.model_import import ImportedVersion


@pytest.mark.parametrize(("learnt", "promotes"), [(0, True), (12, False)])
def test_what_the_gate_refuses_is_not_to_be_promoted_next(learnt, promotes):
    console = Console(width=200, record=True, file=StringIO())
    parity: Any = "equal"
    done = ImportedVersion(
        "parcel-delay", "4", "skops", "m.skops", "0", ("wind",), {}, parity, None, False, "r", learnt
    )
    _show(console, done, "roc_auc", trusted=False)
    said = console.export_text()
    assert ("next: tidemill promote parcel-delay 4" in said) is promotes
    assert ("tidemill deploy shadow 4" in said) is (not promotes)


def test_how_good_a_version_is_on_its_hold_out_is_said_in_the_words_of_its_metric():
    found: Any = SimpleNamespace(version="3", metrics={"holdout_neg_mae": -25.39, "holdout_rows": 411.0})
    assert said_holdout(found, "neg_mae") == "mae 25.3900 on the hold-out of 411 rows (lower is better)"
    assert said_holdout(found, "r2") == "no r2 on a hold-out is on record: tidemill models show 3"
