import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tidemill.data.personal.pseudonyms import KEY_FILE, Pseudonymiser, is_pseudonym, key_source, load_key
from tidemill.errors import ConfigError
from tidemill.project import load_project
from tidemill.settings import Settings

HIDE = Pseudonymiser(b"a key of at least 16 bytes")


@pytest.fixture
def project(tmp_path):
    params = {
        "project": {"name": "small", "model": "small", "training": "a:b", "application": "a:c"},
        "dataset": {"path": "data/set.parquet", "label": "late"},
        "features": {"service": "small"},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return load_project(tmp_path, Settings(privacy_key=None))


@given(st.text(), st.text())
def test_one_value_has_one_pseudonym_and_two_have_two(one, other):
    assert is_pseudonym(HIDE.hide(one))
    assert (HIDE.hide(one) == HIDE.hide(other)) == (one == other)
    assert HIDE.hide(HIDE.hide(one)) == HIDE.hide(one)
    assert Pseudonymiser(b"another key of 16 bytes").hide(one) != HIDE.hide(one) or is_pseudonym(one)


@given(st.lists(st.one_of(st.none(), st.integers(-(2**40), 2**40)), max_size=20))
def test_a_column_is_hidden_as_its_values_are_however_it_is_stored(values):
    wanted = [None if value is None else HIDE.hide(value) for value in values]
    for dtype in (pl.Int64, pl.Float64, pl.String):
        assert HIDE.hide_series(pl.Series("key", values, dtype=pl.Int64).cast(dtype)).to_list() == wanted


def test_the_key_is_made_once_and_for_its_owner_only(project):
    assert "none yet" in key_source(project)
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: load_key(project), range(32)))
    assert len(keys) == 1
    assert load_key(project) in keys
    assert (project.home / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in project.home.iterdir()] == [KEY_FILE]


def test_a_key_that_others_can_read_is_refused(project):
    load_key(project)
    (project.home / KEY_FILE).chmod(0o640)
    with pytest.raises(ConfigError, match="read by other users") as raised:
        load_key(project)
    assert "chmod 600" in raised.value.hint


@pytest.mark.parametrize("content", ["", "short"])
def test_a_key_that_could_be_guessed_is_refused(project, content):
    project.home.mkdir()
    (project.home / KEY_FILE).write_text(content)
    (project.home / KEY_FILE).chmod(0o600)
    with pytest.raises(ConfigError, match="bytes only"):
        load_key(project)


def test_the_environment_comes_first_and_is_never_shown(project, monkeypatch):
    monkeypatch.setenv("TIDEMILL_PRIVACY_KEY", "from-the-environment")
    given = load_project(project.root)
    assert load_key(given) == b"from-the-environment"
    assert "environment variable" in key_source(given)
    assert not project.home.exists()
    for shown in (
        repr(given),
        repr(given.settings),
        str(given.settings),
        repr(Pseudonymiser(load_key(given))),
    ):
        assert "from-the-environment" not in shown


def test_no_new_key_is_made_where_subjects_were_erased_under_another(project):
    (project.root / "tombstones.yaml").write_text(f"erased: [{{pseudonym: {HIDE.hide('N14228')}}}]")
    with pytest.raises(ConfigError, match="their privacy key is missing"):
        load_key(project)
    assert not project.home.exists()


def test_hiding_needs_no_engine():
    code = (
        "import sys, tidemill.data.personal.tombstones; print({'dvc', 'feast', 'mlflow'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path("/")
    )
    assert run.stdout.strip() == "set()"
