import subprocess
from pathlib import Path

import polars as pl
import pytest

from tidemill.errors import DataError
from tidemill.privacy.stores.tracked_files import count_tracked
from tidemill.privacy.subject import Subject

FILES = {
    "features.yaml": "keys:\n  - name: customer\n    type: integer\n    example: 1041\n",
    "params.yaml": "split: {rows: 1041}\ncustomer: 1042\n",
    "report.md": "Customer and customer: 1041 of 2 lines;\ncustomer 11041\n",
    "rows.csv": "customer,plan\n1041,free\n1041,pro\n7,pro\n",
    "data/own.csv": "customer\n1041\n",
    "letter.txt": "Dear ada-lovelace, ada-lovelace!\nto ada-lovelace\n",
    "other.txt": "ada-lovelace2\n",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracked")
    (folder / "data").mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    pl.DataFrame({"customer": [1041, 7]}).write_parquet(folder / "set.parquet")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    (folder / "untracked.csv").write_text("customer\n1041\n")
    return folder


def subject(**values: str) -> Subject:
    return Subject(values, dict.fromkeys(values, "psn_1"), {name: (name,) for name in values}, {})


def test_a_number_counts_where_its_column_is_named(root):
    found = count_tracked(root, subject(customer="1041"), [root / "data"])
    assert found == {"features.yaml": 1, "report.md": 1, "rows.csv": 2, "set.parquet": 1}


def test_a_text_counts_as_a_whole_word(root):
    assert count_tracked(root, subject(rider="ada-lovelace"), []) == {"letter.txt": 2}
    assert count_tracked(root, subject(rider="grace-hopper"), []) == {}


def test_a_folder_without_git_has_no_tracked_files(tmp_path):
    (tmp_path / "letter.txt").write_text("ada-lovelace")
    assert count_tracked(tmp_path, subject(rider="ada-lovelace"), []) == {}


def test_a_file_that_cannot_be_read_is_named(root, monkeypatch):
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read every file
    with pytest.raises(DataError, match=r"features\.yaml, which git tracks, cannot be searched: Permission"):
        count_tracked(root, subject(rider="ada-lovelace"), [])
