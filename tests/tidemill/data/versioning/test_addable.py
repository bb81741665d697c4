"""What cannot be put under version is refused before anything is read, and named."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tidemill.data.versioning.addable import path_in_project, survey
from tidemill.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "project/data/in"
    found.mkdir(parents=True)
    (found / "a.csv").write_text("x\n1\n")
    return found


def _socket(folder: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)  # a socket's path has at most 107 bytes
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("bad")
    os.chdir(here)


def _other_repository(folder: Path) -> None:
    (folder / "sub/.dvc").mkdir(parents=True)
    (folder / "sub/b.csv").write_text("x\n1\n")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a dangling link": (
        lambda folder: (folder / "bad").symlink_to("nowhere"),
        "data/in/bad is a link to nowhere, which does not exist",
    ),
    "a loop of links": (lambda folder: (folder / "bad").symlink_to("bad"), "data/in/bad cannot be read"),
    "a link that leaves the folder": (
        lambda folder: (folder / "bad").symlink_to("/etc/hostname"),
        "data/in/bad is a link that leaves the folder: it leads to /etc/hostname",
    ),
    "a link to a folder": (
        lambda folder: (folder / "bad").symlink_to("."),
        "data/in/bad is a link to a folder, which DVC does not follow",
    ),
    "a named pipe": (lambda folder: os.mkfifo(folder / "bad"), "data/in/bad is a named pipe, not a file"),
    "a socket": (_socket, "data/in/bad is a socket, not a file"),
    "another repository": (_other_repository, r"data/in/sub/\.dvc belongs to another DVC repository"),
    "a file of DVC's": (lambda folder: (folder / "b.dvc").write_text("1"), r"data/in/b\.dvc .* as its own"),
    "rules of DVC's": (lambda folder: (folder / ".dvcignore").write_text("*"), r"data/in/\.dvcignore"),
    "a name that is not UTF-8": (
        lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/b\xff.csv")).write_text("1"),
        r"data/in/b\\xff\.csv .*: it is not in UTF-8",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_dvc_cannot_keep_is_named(folder: Path, bad: str):
    make, words = BAD[bad]
    make(folder)
    with pytest.raises(UsageError, match=words):
        survey(folder.parents[1], "data/in")


def test_all_that_is_wrong_is_told_up_to_ten(folder: Path):
    for number in range(12):
        (folder / f"{number:02}").symlink_to("nowhere")
    with pytest.raises(UsageError, match=r"(?s)data/in/00 is a link.*data/in/09 is a link.*and 2 more$"):
        survey(folder.parents[1], "data/in")


def test_what_may_not_be_read_is_named(folder: Path):
    (folder / "shut.csv").write_text("x\n1\n")
    (folder / "shut.csv").chmod(0)
    (folder / "closed").mkdir(mode=0)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from tidemill.data.versioning.addable import survey\n"
        "if os.geteuid() == 0: os.seteuid(65534)\n"  # root may read everything
        "try: survey(Path('.'), 'in')\n"
        "except Exception as error: print(error)\n"
    )
    for place in (folder.parent, folder):
        place.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder.parent, capture_output=True, text=True, check=True
    )
    assert "in/shut.csv is a file that you may not read" in done.stdout
    assert "in/closed is a folder that you may not read" in done.stdout


def test_links_within_the_folder_and_a_nested_git_repository_are_kept(folder: Path):
    (folder / "same.csv").symlink_to("a.csv")
    (folder / "sub/.git").mkdir(parents=True)
    (folder / "sub/.git/config").write_text("[core]")
    (folder / "sub/b.csv").write_text("x\n2\n")
    assert sorted(survey(folder.parents[1], "data/in")) == [
        "data/in/a.csv",
        "data/in/same.csv",
        "data/in/sub/b.csv",
    ]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("data/a.dvc", "DVC reads every file whose name ends with .dvc"),
        ("data/dvc.yaml", "DVC reads every file of this name"),
        ("data/.gitignore", "git reads every file of this name"),
        ("data/" + "x" * 252, "it has 252 bytes, and at most 251 leave room for .dvc"),
        ("data/a\nb.csv", "it holds a line break, which .gitignore cannot hold"),
        ("data/a\rb.csv", "it holds a line break"),
        ("data/a\x85b.csv", "it holds a line break"),
        ("data/a.csv ", "it ends with a space, which .gitignore leaves out"),
        (os.fsdecode(b"data/a\xff.csv"), r"data/a\\xff\.csv .*: it is not in UTF-8"),
        ("data/none.csv", "does not exist"),
        ("data/" + "x" * 300, "it has 300 bytes"),
    ],
)
def test_names_that_cannot_be_kept_are_refused(tmp_path: Path, path: str, words: str):
    with pytest.raises(UsageError, match=words):
        path_in_project(tmp_path, Path(path))
