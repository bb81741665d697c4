import gzip
import io
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tidemill.backup import archive, encryption
from tidemill.backup.archive import unpack, write_archive
from tidemill.backup.backup_facts import FACTS, MANIFEST, BackupFacts, DatabaseFacts
from tidemill.errors import DataError, UsageError

TWO = bytes(range(256)) * 2000
RECORDS = DatabaseFacts("sqlite", "0018", {"turns": 1}, {})
FACTS_OF_IT = BackupFacts("2013-04-01", "1", "3", "shop", "shop", None, (), (), RECORDS, None, ())


def accept(_: BackupFacts) -> None:
    pass


def written(place: Path, passphrase: str | None = None) -> Path:
    with write_archive(str(place), FACTS_OF_IT, passphrase) as writer:
        writer.add_content("home/one", b"1" * 5000)
        writer.add_content("home/two", TWO)
    return place


def remade(place: Path, members: list[tuple[tarfile.TarInfo | str, bytes]]) -> Path:
    """An archive as somebody else may make it."""
    with tarfile.open(place, "w:gz") as tar:
        for named, content in members:
            info = tarfile.TarInfo(named) if isinstance(named, str) else named
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))
    return place


def members(place: Path) -> list[tuple[tarfile.TarInfo | str, bytes]]:
    with tarfile.open(place) as tar:
        return [(one.name, tar.extractfile(one).read()) for one in tar]


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_members_come_back(tmp_path: Path, passphrase: str | None):
    place = written(tmp_path / "a.tar.gz", passphrase)
    assert place.stat().st_mode & 0o777 == 0o600
    assert unpack(str(place), tmp_path / "out", passphrase, accept) == FACTS_OF_IT
    assert (tmp_path / "out" / "home" / "two").read_bytes() == TWO
    with pytest.raises(UsageError, match="already something"):
        written(place)


def test_an_encrypted_one_needs_its_passphrase(tmp_path: Path):
    place = written(tmp_path / "a.tar.gz", "correct horse")
    with pytest.raises(UsageError, match="is encrypted"):
        unpack(str(place), tmp_path / "out", None, accept)


def link(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc"
    return info


@pytest.mark.parametrize(
    "member",
    ["../outside", "/tmp/outside", "home/../../outside", link("home/link"), "home/one"],
    ids=lambda member: getattr(member, "name", member),
)
def test_a_member_that_leads_elsewhere_is_refused_by_name(tmp_path: Path, member: tarfile.TarInfo | str):
    good = members(written(tmp_path / "a.tar.gz"))
    bad = remade(tmp_path / "b.tar.gz", [*good[:2], (member, b"x"), *good[2:]])
    name = member if isinstance(member, str) else member.name
    with pytest.raises(DataError, match=f"no file of a backup: '{name}'"):
        unpack(str(bad), tmp_path / "out", None, accept)
    assert not (tmp_path / "outside").exists()


def test_a_damaged_member_is_named(tmp_path: Path):
    good = members(written(tmp_path / "a.tar.gz"))
    changed = [(name, b"3" * 5000 if name == "home/two" else content) for name, content in good]
    with pytest.raises(DataError, match=r"not as its manifest says are home/two$"):
        unpack(str(remade(tmp_path / "b.tar.gz", changed)), tmp_path / "out", None, accept)
    torn = tmp_path / "torn.tar.gz"
    plain = gzip.decompress((tmp_path / "a.tar.gz").read_bytes())
    torn.write_bytes(gzip.compress(plain, 0)[: len(plain) // 2])
    with pytest.raises(DataError, match="is damaged, in home/two or right after it"):
        unpack(str(torn), tmp_path / "torn", None, accept)


def test_a_damaged_member_of_an_encrypted_backup_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(encryption, "_PART", 256)
    with write_archive(str(tmp_path / "a"), FACTS_OF_IT, "correct horse") as writer:
        for name in ("home/one", "home/two"):
            writer.add_content(name, os.urandom(100_000))
    content = bytearray((tmp_path / "a").read_bytes())
    content[len(content) * 3 // 4] ^= 1
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match="damaged or cut off, in home/two or right after it"):
        unpack(str(tmp_path / "a"), tmp_path / "out", "correct horse", accept)


@pytest.mark.parametrize("left_out", [MANIFEST, "home/two", FACTS])
def test_what_is_missing_is_said(tmp_path: Path, left_out: str):
    good = members(written(tmp_path / "a.tar.gz"))
    short = remade(tmp_path / "b.tar.gz", [one for one in good if one[0] != left_out])
    with pytest.raises(DataError, match=left_out):
        unpack(str(short), tmp_path / "out", None, accept)


@pytest.mark.parametrize("content", [b"", b"not an archive", gzip.compress(b"", mtime=0)])
def test_what_is_no_backup_is_said(tmp_path: Path, content: bytes):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match=r"is no backup of Tidemill|is damaged"):
        unpack(str(tmp_path / "a"), tmp_path / "out", None, accept)


@pytest.mark.timeout(20)
def test_a_named_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(UsageError, match="a is a named pipe, not a file"):
        unpack(str(tmp_path / "a"), tmp_path / "out", None, accept)


def test_a_file_that_grows_is_read_to_its_last_whole_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive, "_PART", 4)
    (tmp_path / "log").write_bytes(b"first line\nsecond line\nhalf a li")
    with write_archive(str(tmp_path / "a"), FACTS_OF_IT, None) as writer:
        writer.add_file("log", tmp_path / "log", lines=True)
    unpack(str(tmp_path / "a"), tmp_path / "out", None, accept)
    assert (tmp_path / "out" / "log").read_bytes() == b"first line\nsecond line\n"


KILLED = """
import os, signal, sys
from tests.tidemill.backup.test_archive import FACTS_OF_IT
from tidemill.backup.archive import write_archive

with write_archive(sys.argv[1], FACTS_OF_IT, None) as writer:
    writer.add_content("home/one", os.urandom(100_000))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_backup_leaves_nothing_under_its_name(tmp_path: Path):
    root = Path(__file__).parents[3]
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.tar.gz")], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    [draft] = tmp_path.iterdir()
    written(tmp_path / "a.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"], draft
