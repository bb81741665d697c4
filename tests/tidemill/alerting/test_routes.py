from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tidemill.alerting.routes import MuteTime, load_routes
from tidemill.errors import ConfigError

GOOD = """\
receivers:
  - name: team
    url_env: TEAM_URL
  - name: lead
    url_file: secrets/lead
mute_times:
  - name: nights
    start: "22:00"
    end: "07:00"
    zone: Europe/Berlin
routes:
  - match: {severity: critical, kind: ["data_*", quality]}
    receivers: [team]
    group_by: [monitor]
    repeat_every: 4h
    escalate:
      - after: 30m
        receivers: [lead]
  - receivers: [team]
    mute: [nights]
inhibit:
  - when: {kind: feature_drift}
    mute: {kind: data_drift}
    same: [model, version]
"""


def written(tmp_path: Path, text: str) -> SimpleNamespace:
    (tmp_path / "monitoring").mkdir(exist_ok=True)
    (tmp_path / "monitoring" / "routes.yaml").write_text(text)
    return SimpleNamespace(root=tmp_path)


def test_without_the_file_nobody_is_told(tmp_path: Path):
    assert load_routes(SimpleNamespace(root=tmp_path)) is None


def test_a_whole_file_is_read(tmp_path: Path):
    routes = load_routes(written(tmp_path, GOOD))
    assert routes.routes[0].repeat_every.total_seconds() == 4 * 3600
    assert routes.receiver("lead").url_file == "secrets/lead"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("receivers: [team]\n    group_by", "receivers: [nobody]\n    group_by"),
            r"'nobody' is not declared.*line 13",
        ),
        (("mute: [nights]", "mute: [days]"), r"'days' is not declared.*line 20"),
        (("receivers: [lead]", "receivers: [boss]"), r"'boss' is not declared.*line 18"),
        (("name: lead", "name: team"), r"'team' is declared twice.*line 4"),
        (("url_env: TEAM_URL", "url: mailto://a"), r"receivers.0.url: .*there are: name, url_env,.*line 3"),
        (("severity: critical", "severity: [yes, 1]"), r"match.severity: True is neither text .*line 12"),
        (("    url_env: TEAM_URL\n", ""), r"set either url_env or url_file.*line 2"),
        (
            ('"data_*"', "data_drfit"),
            r"'data_drfit' is no kind of alert, which are data_drift, .*external.*line 12",
        ),
        (
            ("severity: critical", "severity: page"),
            r"'page' is no severity.*info, warning, critical.*line 12",
        ),
        (("Europe/Berlin", "Middle/Earth"), r"no time zone.*line 10"),
        (('"22:00"', "22"), r"no time of day.*line 8"),
        (("group_by: [monitor]", 'group_by: [""]'), r"group_by.*line 14"),
        (("repeat_every: 4h", "repeat_every: 4"), r"is not a duration.*line 15"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, change: tuple[str, str], said: str):
    assert change[0] in GOOD
    with pytest.raises(ConfigError, match=said):
        load_routes(written(tmp_path, GOOD.replace(*change)))


def test_an_address_in_the_place_of_a_variable_is_not_repeated(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"url_env: is no name of a variable.*line 3") as raised:
        load_routes(written(tmp_path, GOOD.replace("TEAM_URL", "mailto://ann:s3cret@shop.example")))
    assert "s3cret" not in str(raised.value)


def test_a_version_may_be_matched_by_its_number(tmp_path: Path):
    routes = load_routes(written(tmp_path, GOOD.replace("severity: critical", "version: [3, '4']")))
    assert routes.routes[0].match["version"] == ("3", "4")


def test_a_mute_time_over_midnight_belongs_to_the_day_on_which_it_begins():
    friday = MuteTime.model_validate({"name": "n", "days": ["fri"], "start": "22:00", "end": "07:00"})
    days = [(5, 21), (5, 22), (6, 6), (6, 7), (5, 6), (6, 23)]  # 5 April 2013 is a Friday
    assert [friday.covers(datetime(2013, 4, day, hour, tzinfo=UTC)) for day, hour in days] == [
        False, True, True, False, False, False,
    ]  # fmt: skip


def test_a_mute_time_keeps_the_clock_of_its_zone():
    berlin = MuteTime.model_validate({"name": "n", "start": "22:00", "end": "07:00", "zone": "Europe/Berlin"})
    assert berlin.covers(datetime(2013, 7, 1, 20, tzinfo=UTC))
    assert not berlin.covers(datetime(2013, 1, 1, 20, tzinfo=UTC))
