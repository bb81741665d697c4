import io

import pytest

from tidemill.backup import encryption
from tidemill.backup.encryption import DecryptingReader, EncryptingWriter
from tidemill.errors import DataError

PART, TAG, HEADER = 64, 16, len(encryption.MAGIC) + 23


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "_PART", PART)
    monkeypatch.setattr(encryption, "_COST", 2)


def encrypted(content: bytes) -> bytes:
    sink = io.BytesIO()
    writer = EncryptingWriter(sink, "correct horse")
    for begin in range(0, len(content), 50):
        writer.write(content[begin : begin + 50])
    writer.finish()
    return sink.getvalue()


def decrypted(stream: bytes, passphrase: str = "correct horse") -> bytes:
    reader = DecryptingReader(io.BytesIO(stream), passphrase)
    return b"".join(iter(lambda: reader.read(37), b""))


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 3 * PART])
def test_what_was_encrypted_comes_back_and_cannot_be_read_before(size: int):
    content = bytes(range(1, 251))[:size]
    stream = encrypted(content)
    assert decrypted(stream) == content
    if size >= 8:  # less than that may stand in any stream by chance
        assert content[:8] not in stream


def test_two_streams_of_one_content_differ():
    assert encrypted(b"records") != encrypted(b"records")


def changed(stream: bytes, what: str) -> bytes:
    first, second = HEADER, HEADER + PART + TAG
    match what:
        case "a bit":
            return stream[: second + 3] + bytes([stream[second + 3] ^ 1]) + stream[second + 4 :]
        case "the last part is gone":
            return stream[: second + PART + TAG]
        case "a part is gone":
            return stream[:first] + stream[second:]
        case "parts are exchanged":
            end = second + PART + TAG
            return stream[:first] + stream[second:end] + stream[first:second] + stream[end:]
    return stream[:-1]


@pytest.mark.parametrize(
    "what", ["a bit", "the last part is gone", "a part is gone", "parts are exchanged", "a byte is gone"]
)
def test_a_stream_that_was_changed_is_refused(what: str):
    stream = encrypted(b"x" * (PART * 2 + 9))
    with pytest.raises(DataError, match="cannot be decrypted"):
        decrypted(changed(stream, what))


def test_another_passphrase_is_said():
    with pytest.raises(DataError, match="the passphrase is another one"):
        decrypted(encrypted(b"records"), "wrong horse")
