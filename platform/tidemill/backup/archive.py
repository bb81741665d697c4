"""Writes and reads archives: a compressed tar whose last member has the SHA-256 of all others."""

import gzip
import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from tidemill.backup.archive_places import archive_written, opened_archive
from tidemill.backup.backup_facts import FACTS, MANIFEST, BackupFacts, facts_from
from tidemill.backup.encryption import MAGIC, DecryptingReader, EncryptingWriter, Readable
from tidemill.errors import DataError, UsageError

__all__ = ["ArchiveWriter", "unpack", "write_archive"]

_LEVEL = 3  # models and Parquet files are compressed already
_PART = 1 << 20
_DAMAGED = (zlib.error, EOFError, tarfile.TarError, gzip.BadGzipFile)


class ArchiveWriter:
    """Adds members to an archive, and notes what each one is."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.members: dict[str, dict[str, Any]] = {}

    def add_content(self, name: str, content: bytes) -> None:
        """Add a member with this content."""
        import io

        self._add(name, io.BytesIO(content), len(content))

    def add_file(self, name: str, path: Path, *, lines: bool = False) -> None:
        """Add a file as it is now.

        Args:
            name: of the member.
            path: of the file. One that others append to is read up to its present end.
            lines: whether only whole lines count.

        Raises:
            DataError: it was shortened meanwhile.
        """
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._add(name, file, _whole_lines(file, size) if lines else size)

    def add_stream(self, name: str, file: BinaryIO, size: int) -> None:
        """Add so many bytes of an open file."""
        self._add(name, file, size)

    def _add(self, name: str, file: BinaryIO, size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        source = _Hashing(file)
        try:
            self._tar.addfile(info, source)
        except OSError as error:
            if "unexpected end of data" not in str(error):
                raise
            raise DataError(
                f"{name} became shorter while it was read", hint="make the backup again"
            ) from error
        self.members[name] = {"bytes": size, "sha256": source.digest.hexdigest()}


class _Hashing:
    """Hashes what is read."""

    def __init__(self, file: Readable) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        content = self._file.read(size)
        self.digest.update(content)
        return content


@contextmanager
def write_archive(place: str, facts: BackupFacts, passphrase: str | None) -> Iterator[ArchiveWriter]:
    """Give a writer for a new archive, which gets its name when the block succeeds.

    Args:
        place: a path or an address.
        facts: what it says of itself.
        passphrase: what it is encrypted with; None: it is not.

    Raises:
        UsageError: the place cannot be written, or is taken.
    """
    with archive_written(place) as file:
        sink = file if passphrase is None else EncryptingWriter(file, passphrase)
        with (
            gzip.GzipFile(filename="", fileobj=sink, mode="wb", compresslevel=_LEVEL, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            writer = ArchiveWriter(tar)
            writer.add_content(FACTS, facts.encoded())
            yield writer
            writer.add_content(MANIFEST, json.dumps(writer.members, indent=1).encode())
        if isinstance(sink, EncryptingWriter):
            sink.finish()


def unpack(
    place: str, folder: Path, passphrase: str | None, check: Callable[[BackupFacts], None]
) -> BackupFacts:
    """Write the members of an archive into an empty folder, and check that it is whole.

    Args:
        place: a path or an address.
        folder: where members go.
        passphrase: of an encrypted archive.
        check: raises an error if the backup cannot be used; called before anything else is written.

    Raises:
        DataError: the archive is no backup, a member is damaged, missing or has a name that leads elsewhere.
        UsageError: the archive cannot be read, or it is encrypted and there is no passphrase.
    """
    with opened_archive(place) as file:
        source = _decrypted(file, place, passphrase)
        found: dict[str, dict[str, Any]] = {}
        facts: BackupFacts | None = None
        name = FACTS
        try:
            with (
                gzip.GzipFile(fileobj=source, mode="rb") as packed,  # type: ignore[call-overload]
                tarfile.open(fileobj=packed, mode="r|") as tar,
            ):
                for member in tar:
                    name = _safe_name(member, found)
                    found[name] = _write_member(tar, member, folder / name)
                    if facts is None:
                        facts = _checked(name, folder, check)
                while packed.read(_PART):  # its own checksum is at its end
                    pass
        except DataError as error:
            if isinstance(source, DecryptingReader) and source.damaged:
                raise DataError(f"{error}, in {name} or right after it", hint=error.hint) from error
            raise
        except _DAMAGED as error:
            raise DataError(
                f"the backup {place} is damaged, in {name} or right after it: {error}",
                hint="use another backup",
            ) from error
    if facts is None:
        raise DataError(f"{place} is no backup of Tidemill", hint="name one that `tidemill backup` made")
    _compare(place, folder, found)
    return facts


def _decrypted(file: Any, place: str, passphrase: str | None) -> Readable:
    beginning = file.read(len(MAGIC))
    file.seek(0)
    if beginning == MAGIC:
        if passphrase is None:
            raise UsageError(
                f"the backup {place} is encrypted",
                hint="name its passphrase: --passphrase-file FILE or TIDEMILL_BACKUP_PASSPHRASE",
            )
        return DecryptingReader(file, passphrase)
    if not beginning.startswith(b"\x1f\x8b"):
        raise DataError(f"{place} is no backup of Tidemill", hint="name one that `tidemill backup` made")
    reading: Readable = file
    return reading


def _safe_name(member: tarfile.TarInfo, found: Container[str]) -> str:
    """Return a member's name if it is a plain file below the folder, and the first one of its name."""
    path = PurePosixPath(member.name)
    plain = member.isreg() and not path.is_absolute() and ".." not in path.parts
    if not plain or str(path) != member.name or member.name in found:
        raise DataError(
            f"the backup has a member that is no file of a backup: {member.name!r}",
            hint="somebody made or changed it: do not use it",
        )
    return member.name


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> dict[str, Any]:
    content = tar.extractfile(member)
    assert content is not None, "it is a regular file"
    source = _Hashing(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with path.open("xb") as out:
        while part := source.read(_PART):
            out.write(part)
            size += len(part)
    return {"bytes": size, "sha256": source.digest.hexdigest()}


def _checked(name: str, folder: Path, check: Callable[[BackupFacts], None]) -> BackupFacts:
    if name != FACTS:
        raise DataError(f"its first member is {name}, not {FACTS}: it is no backup of Tidemill")
    facts = facts_from((folder / name).read_bytes())
    check(facts)
    return facts


def _compare(place: str, folder: Path, found: dict[str, dict[str, Any]]) -> None:
    if found.pop(MANIFEST, None) is None:
        raise DataError(f"the backup {place} is cut off: it has no {MANIFEST}", hint="use another backup")
    expected = json.loads((folder / MANIFEST).read_bytes())
    wrong = [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise DataError(
            f"the backup {place} is damaged: not as its manifest says are {', '.join(wrong[:3])}{more}",
            hint="use another backup",
        )


def _whole_lines(file: BinaryIO, size: int) -> int:
    """Return the length of the whole lines in the first so many bytes, and go back to the beginning."""
    end = size
    while end > 0:
        begin = max(end - _PART, 0)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            end = begin + found + 1
            break
        end = begin
    file.seek(0)
    return end
