"""Encrypts a stream with a passphrase: scrypt makes the key, AES-256-GCM encrypts parts of 1 MiB.

Each part's nonce has the number of the part and whether it is the last one (the STREAM construction of Hoang,
Reyhanitabar, Rogaway and Vizár, 2015): parts cannot be changed, exchanged, left out or cut off unnoticed.

    tidemill-backup-aes256gcm-1 LF · 16 bytes of salt · 7 bytes of the nonce · parts, each with its tag
"""

import os
from typing import Any, Protocol

from tidemill.errors import DataError

__all__ = ["MAGIC", "DecryptingReader", "EncryptingWriter", "Readable", "Writable"]

MAGIC = b"tidemill-backup-aes256gcm-1\n"
_SALT, _NONCE, _TAG = 16, 7, 16
_PART = 1 << 20
_COST = 1 << 16
"""Of scrypt, with blocks of 8: 64 MiB of memory and about 0.2 s for each passphrase that somebody tries."""


class Writable(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> Any:
        """Take some."""


class Readable(Protocol):
    """Gives bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Give at most so many; none at the end."""


class EncryptingWriter:
    """Encrypts what is written to it; `finish` writes the last part, without which the stream is not whole.

    Args:
        sink: where the encrypted stream goes.
        passphrase: what it can be read with.
    """

    def __init__(self, sink: Writable, passphrase: str) -> None:
        salt, self._nonce = os.urandom(_SALT), os.urandom(_NONCE)
        self._header = MAGIC + salt + self._nonce
        self._sink, self._cipher = sink, _cipher(passphrase, salt)
        self._buffer, self._number = bytearray(), 0
        sink.write(self._header)

    def write(self, data: bytes, /) -> int:
        """Encrypt whole parts; keep the rest for later."""
        self._buffer += data
        while len(self._buffer) > _PART:
            self._put(bytes(self._buffer[:_PART]), last=False)
            del self._buffer[:_PART]
        return len(data)

    def flush(self) -> None:
        """Do nothing: parts are written when they are full."""

    def finish(self) -> None:
        """Write the last part."""
        self._put(bytes(self._buffer), last=True)

    def _put(self, part: bytes, *, last: bool) -> None:
        nonce = _numbered(self._nonce, self._number, last)
        self._sink.write(self._cipher.encrypt(nonce, part, self._header))
        self._number += 1


class DecryptingReader:
    """Gives the content of a stream that `EncryptingWriter` wrote.

    Args:
        source: the encrypted stream, at its beginning.
        passphrase: what it was encrypted with.
    """

    def __init__(self, source: Readable, passphrase: str) -> None:
        self._header = _exactly(source, len(MAGIC) + _SALT + _NONCE)
        salt, self._nonce = self._header[len(MAGIC) : -_NONCE], self._header[-_NONCE:]
        self._source, self._cipher = source, _cipher(passphrase, salt)
        self._buffer, self._number = b"", 0
        self._next = _exactly(source, _PART + _TAG)
        self.damaged = False
        """Whether a part after the first one could not be decrypted."""

    def read(self, size: int = -1, /) -> bytes:
        """Give at most so many bytes; none at the end.

        Raises:
            DataError: the passphrase is another one, or the stream was changed or cut off.
        """
        parts = [self._buffer]
        while (self._next or not self._number) and (size < 0 or sum(map(len, parts)) < size):
            parts.append(self._part())
        content = b"".join(parts)
        size = len(content) if size < 0 else size
        self._buffer = content[size:]
        return content[:size]

    def _part(self) -> bytes:
        from cryptography.exceptions import InvalidTag

        part, self._next = self._next, _exactly(self._source, _PART + _TAG)
        try:
            nonce = _numbered(self._nonce, self._number, not self._next)
            content: bytes = self._cipher.decrypt(nonce, part, self._header)
        except InvalidTag as error:
            if self._number == 0:
                raise DataError(
                    "the backup cannot be decrypted: the passphrase is another one, or it is damaged",
                    hint="check the passphrase: --passphrase-file FILE or TIDEMILL_BACKUP_PASSPHRASE",
                ) from error
            self.damaged = True
            raise DataError(
                f"the backup cannot be decrypted further than {self._number} MiB: it is damaged or cut off",
                hint="use another backup",
            ) from error
        self._number += 1
        return content


def _cipher(passphrase: str, salt: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return AESGCM(Scrypt(salt=salt, length=32, n=_COST, r=8, p=1).derive(passphrase.encode()))


def _numbered(nonce: bytes, number: int, last: bool) -> bytes:
    return nonce + number.to_bytes(4, "big") + bytes([last])


def _exactly(source: Readable, size: int) -> bytes:
    """Read so many bytes, or what is left."""
    parts: list[bytes] = []
    while size and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
