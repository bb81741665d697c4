"""A version is tried on a row that a request could bring."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tidemill.serving.runtime.replica.version_loading import _texts, trial_row

COLUMNS = """
columns:
  - {name: message, type: text, example: "I was charged twice"}
  - {name: channel, type: text, categories: [chat, mail]}
  - {name: subject, type: text, required: false, example: refund}
  - {name: age, type: number}
"""


def test_text_that_every_request_brings_is_there(tmp_path: Path):
    (tmp_path / "features.yaml").write_text(COLUMNS)
    project: Any = SimpleNamespace(root=tmp_path, params={}, has_store=False)
    stored: Any = SimpleNamespace(has_store=True)
    words = ["message", "channel", "subject"]
    row = trial_row([*words, "age"], words, [], _texts(project))
    assert row == {"message": "I was charged twice", "channel": "chat", "subject": None, "age": 0.0}
    assert _texts(stored) == {}
