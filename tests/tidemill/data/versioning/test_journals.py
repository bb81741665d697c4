"""Names of all kinds are kept, and no journal that was left over blocks a project."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.tidemill.data.conftest import FLIGHTS, FLIGHTS_LATER, put
from tidemill.data.repository.git import git
from tidemill.data.versioning import pending_addition, pending_reproduction
from tidemill.data.versioning.add import add
from tidemill.data.versioning.data_versions import reproduce
from tidemill.errors import DataError
from tidemill.project import Project

pytestmark = pytest.mark.engine


def test_any_name_that_git_and_dvc_can_keep_is_kept_and_blocks_nobody(tiny: Project):
    (tiny.root / "data").mkdir()
    for name in (
        "2024-01-01T00:00:00.csv",
        "-x.csv",
        "a b c:d\\e.csv",
        "a%2Fb [v2] *?.csv",
        "${x}{y}.csv",
        "!ü '\".csv",
        "x" * 247 + ".csv",
        "12:00/b.csv",
    ):
        path = f"data/{name.partition('/')[0]}"
        put(tiny.root / "data" / name, FLIGHTS.with_columns(name=pl.lit(name)))
        added = add(tiny, path)
        assert added.changed
        assert path in added.version.outputs
        if "\\" not in name:  # DVC cannot address a name with both a backslash and a colon: it stays a copy
            assert (tiny.root / "data" / name).stat().st_nlink > 1, name  # linked to the cache
    assert git(tiny.root, "status", "--porcelain") == ""
    reproduce(tiny, {}, "A run")


def test_a_pattern_in_a_name_takes_no_other_file_along(tiny: Project):
    for name in ("ab", "a*"):
        put(tiny.root / f"data/{name}.csv", FLIGHTS)
        add(tiny, f"data/{name}.csv")
    (tiny.root / "data/ab.csv.dvc").write_text((tiny.root / "data/ab.csv.dvc").read_text() + "desc: mine\n")
    put(tiny.root / "data/a*.csv", FLIGHTS_LATER)
    add(tiny, "data/a*.csv")
    assert git(tiny.root, "status", "--porcelain").split() == ["M", "data/ab.csv.dvc"]


@pytest.mark.parametrize("journal", ["tidemill-addition.json", "tidemill-attempt.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", '{"path": "data/new.csv"}', "\xff\xfe"])
def test_a_journal_that_cannot_be_read_is_moved_aside(
    tiny: Project, journal: str, text: str, caplog: pytest.LogCaptureFixture
):
    folder = tiny.root / ".dvc/tmp"
    folder.mkdir(exist_ok=True)
    (folder / journal).write_text(text, encoding="latin-1")
    put(tiny.root / "data/new.csv", FLIGHTS)
    assert add(tiny, "data/new.csv").changed
    assert f"{journal} cannot be read" in caplog.text
    assert (folder / f"{journal}.unreadable").read_text(encoding="latin-1") == text


ADDITION = {"path": "data/new.csv", "pointer": None, "ignore": None, "replaced": {}}
ATTEMPT = {"before": "a: 1\n", "after": "a: 2\n", "lock": None}
ADDITION_JOURNAL, ATTEMPT_JOURNAL = "tidemill-addition.json", "tidemill-attempt.json"


@pytest.mark.parametrize(
    ("journal", "damage"),
    [
        (ADDITION_JOURNAL, {"path": 5}),
        (ADDITION_JOURNAL, {"path": ""}),
        (ADDITION_JOURNAL, {"path": "../outside.csv"}),
        (ADDITION_JOURNAL, {"path": "data/a\0.csv"}),
        (ADDITION_JOURNAL, {"pointer": ["x"]}),
        (ADDITION_JOURNAL, {"ignore": "\ud800"}),
        (ADDITION_JOURNAL, {"replaced": ["data/new.csv"]}),
        (ADDITION_JOURNAL, {"replaced": {"data/new.csv": "yes"}}),
        (ADDITION_JOURNAL, {"replaced": {"elsewhere/new.csv": False}}),
        (ADDITION_JOURNAL, {"aside": ".."}),
        (ADDITION_JOURNAL, None),
        (ATTEMPT_JOURNAL, {"before": None}),
        (ATTEMPT_JOURNAL, {"after": {"a": 2}}),
        (ATTEMPT_JOURNAL, {"lock": 5}),
    ],
)
def test_a_journal_of_wrong_types_is_moved_aside_and_nothing_is_touched(
    tmp_path: Path, journal: str, damage: dict[str, object] | None, caplog: pytest.LogCaptureFixture
):
    root = tmp_path / "project"
    kept = {"../outside.csv.dvc": "x", "params.yaml": "a: 2\n", "dvc.lock": "l", "elsewhere/new.csv": "1"}
    for name, text in kept.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    note = root / ".dvc/tmp" / journal
    note.parent.mkdir(parents=True)
    right = ADDITION if journal == ADDITION_JOURNAL else ATTEMPT
    note.write_text("[" * 100_000 if damage is None else json.dumps(right | damage))
    if journal == ADDITION_JOURNAL:
        pending_addition.finish_or_undo(root, print, 1.0)
    else:
        assert not pending_reproduction.undo(root)
    assert f"{journal} cannot be read" in caplog.text
    assert note.with_name(f"{journal}.unreadable").exists()
    assert not note.exists()
    assert {name: (root / name).read_text() for name in kept} == kept


def test_a_journal_of_a_folder_that_is_gone_blocks_nobody(tiny: Project):
    put(tiny.root / "data/deep/new.csv", FLIGHTS)
    add(tiny, "data/deep/new.csv")
    pending_addition.begin(tiny.root, "data/deep/new.csv", ["data/deep/new.csv"])
    shutil.rmtree(tiny.root / "data/deep")
    put(tiny.root / "data/other.csv", FLIGHTS)
    assert add(tiny, "data/other.csv").changed
    assert not (tiny.root / "data/deep").exists()


def test_a_journal_that_cannot_be_followed_says_the_way_out(tiny: Project):
    put(tiny.root / "data/new.csv", FLIGHTS)
    pending_addition.begin(tiny.root, "data/new.csv", ["data/new.csv"])
    (tiny.root / "data/new.csv.dvc/in the way").mkdir(parents=True)
    with pytest.raises(DataError, match=r"cannot be undone: .*new\.csv\.dvc") as caught:
        add(tiny, "data/new.csv")
    assert caught.value.hint
    assert "remove" in caught.value.hint
    (tiny.root / ".dvc/tmp/tidemill-addition.json").unlink()
    shutil.rmtree(tiny.root / "data/new.csv.dvc")
    assert add(tiny, "data/new.csv").changed


def test_a_journal_of_an_earlier_version_is_followed(tiny: Project):
    put(tiny.root / "data/new.csv", FLIGHTS)
    pending_addition.begin(tiny.root, "data/new.csv", ["data/new.csv"])
    note = tiny.root / ".dvc/tmp/tidemill-addition.json"
    content = json.loads(note.read_text())
    del content["aside"]
    note.write_text(json.dumps(content))
    aside = tiny.root / "data/.new.csv.tidemill-before/new.csv"
    put(aside, FLIGHTS_LATER)
    put(tiny.root / "data/other.csv", FLIGHTS)
    add(tiny, "data/other.csv")
    assert pl.read_csv(tiny.root / "data/new.csv").height == FLIGHTS_LATER.height
    assert not aside.parent.exists()


def test_a_stray_file_that_looks_like_dvcs_is_named(tiny: Project):
    put(tiny.root / "data/new.csv", FLIGHTS)
    (tiny.root / "data/stray.dvc").write_text("x\n1\n")
    with pytest.raises(DataError, match=r"DVC takes data/stray\.dvc for one of its own files"):
        add(tiny, "data/new.csv")
    (tiny.root / "data/stray.dvc").unlink()
    assert add(tiny, "data/new.csv").changed
