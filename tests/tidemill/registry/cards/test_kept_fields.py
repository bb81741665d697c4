"""What people say about a version is kept with it, and the file may go on to say something else."""

from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from tests.tidemill.registry.test_promotion import with_gate
from tidemill.cli.main import app
from tidemill.dashboard.records.card_reading import read_card
from tidemill.errors import ConfigError
from tidemill.registry.cards.card_pages import markdown
from tidemill.registry.cards.kept_fields import keep_fields
from tidemill.registry.promotion import promote
from tidemill.state.record_reader import Records

pytestmark = pytest.mark.engine

NOW = datetime(2013, 6, 1, tzinfo=UTC)


def test_a_card_is_kept_with_the_champion_and_shown_when_the_file_is_another_one(registered, state):
    project = with_gate(registered, min_gain=-1.0)
    file, records = project.root / "card.yaml", Records(project.state_url)
    file.write_text("owner: Ada\npurpose: Parcels\n")
    promote(project, state, "1", "ada", "the first", NOW)
    file.write_text("owner: Bob\npurpose: Parcels\n")
    kept = read_card(project, records, "1", NOW)
    assert (kept.said["owner"], kept.said_otherwise) == ("Ada", ("owner",))
    assert "otherwise by now: owner" in markdown(kept)
    other = read_card(project, records, "2", NOW)
    assert (other.said["owner"], other.said_at) == ("Bob", None)

    line = ["models", "keep-card", "1", "--reason", "a new owner", "-p", str(project.root)]
    assert CliRunner().invoke(app, line).exit_code == 0
    kept = read_card(project, records, "1", NOW)
    assert (kept.said["owner"], kept.said_otherwise) == ("Bob", ())
    file.write_text("owner: [")
    promote(project, state, "2", "ada", "a file that is wrong holds up no promotion", NOW)
    file.unlink()
    assert read_card(project, records, "2", NOW).said_at is None
    with pytest.raises(ConfigError, match="says nothing"):
        keep_fields(project, state, "1", actor="ada", reason="x")
