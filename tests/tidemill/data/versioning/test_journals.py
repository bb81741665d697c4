"""Names of all kinds are kept, and no journal that was left over blocks a project."""

import json
import shutil

import polars as pl
import pytest

from tests.tidemill.data.conftest import FLIGHTS, FLIGHTS_LATER, put
from tidemill.data.repository.git import git
from tidemill.data.versioning import pending_addition
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
def test_a_journal_that_cannot_be_read_is_moved_aside(tiny: Project, journal: str, text: str):
    folder, said = tiny.root / ".dvc/tmp", list[str]()
    folder.mkdir(exist_ok=True)
    (folder / journal).write_text(text, encoding="latin-1")
    put(tiny.root / "data/new.csv", FLIGHTS)
    assert add(tiny, "data/new.csv", tell=lambda _step, line, _done, _total: said.append(line)).changed
    assert any(f"{journal} cannot be read" in line for line in said)
    assert (folder / f"{journal}.unreadable").read_text(encoding="latin-1") == text


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
