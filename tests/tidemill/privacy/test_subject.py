from pathlib import Path

import pytest

from tests.tidemill.retraining.small_table import write_table_project
from tidemill.data.personal.pseudonyms import Pseudonymiser
from tidemill.errors import UsageError
from tidemill.privacy.subject import find_subject


def test_the_key_of_a_table_names_a_subject(tmp_path: Path):
    project = write_table_project(tmp_path / "wine", data={"key": "bottle"}, dataset={"group": "grower"})
    hide = Pseudonymiser(b"a key of at least 16 bytes")
    for column in ("bottle", "grower"):
        assert find_subject(project, {column: "7"}, hide).values == {column: "7"}
    with pytest.raises(UsageError, match=r"cellar: no key of the features or of the table") as refused:
        find_subject(project, {"cellar": "7"}, hide)
    assert refused.value.hint == "there are: bottle, grower (`tidemill data privacy`)"
