"""Guards stdout and stderr against a closed pipe and a full disk, for every command alike."""

import io
import os
import sys
from typing import TYPE_CHECKING

from tidemill.errors import TidemillError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["guard_streams"]


def guard_streams() -> None:
    """Replace stdout and stderr by streams that keep working when their reader has ended.

    A closed pipe, as of ``head``, ends no command: what is written then is dropped. If stdout cannot be
    written for another reason, such as a full disk, a `TidemillError` says so, once.
    """
    for _ in range(3):  # a closed stdin, stdout or stderr: or else the next file opened took its number
        if (number := os.open(os.devnull, os.O_RDWR)) > 2:
            os.close(number)
            break
    sys.stdout = _guarded(1, sys.stdout, tells=True)
    sys.stderr = _guarded(2, sys.stderr, tells=False)


def _guarded(number: int, stream: object, tells: bool) -> io.TextIOWrapper:
    if not isinstance(stream, io.TextIOWrapper):  # it was closed, and leads nowhere now
        return io.TextIOWrapper(
            io.BufferedWriter(_CheckedOutput(number, tells)), encoding="utf-8", errors="replace"
        )
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_CheckedOutput(number, tells)),
        encoding=stream.encoding,
        errors="replace" if stream.errors == "strict" else stream.errors,
        line_buffering=stream.line_buffering or not tells,
    )


class _CheckedOutput(io.RawIOBase):
    """A file descriptor that drops what is written after the first error."""

    def __init__(self, number: int, tells: bool) -> None:
        super().__init__()
        self._number, self._tells, self._gone = number, tells, False

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, content: "ReadableBuffer") -> int:
        size = memoryview(content).nbytes
        if self._gone:
            return size
        try:
            return os.write(self._number, content)
        except BrokenPipeError:
            self._gone = True
        except OSError as error:
            self._gone = True
            if self._tells:
                raise TidemillError(
                    f"the output cannot be written: {error.strerror}", hint="check the disk that it goes to"
                ) from error
        return size
