"""What ``models import`` says at its end."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from tidemill.cli.models.model_import import _show
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
