import re

import pytest

from tidemill.dashboard import templating
from tidemill.dashboard.live.record_changes import TOPICS
from tidemill.dashboard.pages.event_stream import COMPUTED

TEMPLATES = templating.Path(templating.__file__).parent / "templates"
LIVE = {
    str(path.relative_to(TEMPLATES)): re.findall(r"<[a-z]+ [^>]*data-live[^>]*>", path.read_text())
    for path in TEMPLATES.rglob("*.html")
}
DECIDED = [f"decisions/{name}.html" for name in ("list", "turns", "turn", "rollouts", "rollout")]


@pytest.mark.parametrize("name", ["fleet.html", "model.html", "alerts/list.html", *DECIDED])
def test_what_is_watched_refreshes_itself(name):
    assert LIVE[name]


def test_a_live_part_can_be_found_again_and_hears_of_something():
    parts = [part for found in LIVE.values() for part in found]
    assert len(parts) > 10
    for part in parts:
        assert re.search(r' id="[a-z-]+"', part), part
        [heard] = re.findall(r'data-live="([^"]+)"', part)
        assert set(heard.split()) <= {*TOPICS, COMPUTED}, part
