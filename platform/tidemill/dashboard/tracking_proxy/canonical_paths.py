"""Refuses paths that two servers could read in two ways."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["SpellingRefused", "canonical"]

_ALLOWED: Final = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,=:@/]|%[0-9A-Fa-f]{2})*\Z")

_NEEDLESS: Final = re.compile(rb"%(?:2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])", re.IGNORECASE)


class SpellingRefused(ValueError):
    """A path is written in a way that is refused; the text says what is wrong with it."""


def canonical(raw: bytes) -> str:
    """Return a path in which nothing is left to interpretation: the same bytes, as text.

    Args:
        raw: the path of a request as it was sent, without its query.

    Raises:
        SpellingRefused: it has an encoded slash, a double encoding, a segment of dots, a backslash, an
            empty segment, a character that is not allowed, or bytes that are not UTF-8.

    >>> canonical(b"/get-artifact/a%20b")
    '/get-artifact/a%20b'
    >>> canonical(b"/api/..%2fadmin")
    Traceback (most recent call last):
    tidemill.dashboard.tracking_proxy.canonical_paths.SpellingRefused: an encoded slash
    """
    if not raw.startswith(b"/") or not _ALLOWED.match(raw):
        raise SpellingRefused("a character that does not belong into a path")
    segments = raw[1:].split(b"/")
    for number, segment in enumerate(segments):
        plain = unquote_to_bytes(segment)
        if not plain and (number or len(segments) > 1):
            raise SpellingRefused("an empty segment")
        if plain in (b".", b".."):
            raise SpellingRefused("a segment of dots")
        if b"/" in plain:
            raise SpellingRefused("an encoded slash")
        if b"\\" in plain or b"%" in plain:
            raise SpellingRefused("an encoded backslash or per cent sign")
        if any(byte < 0x20 or byte == 0x7F for byte in plain):
            raise SpellingRefused("a control character")
        try:
            plain.decode()
        except UnicodeDecodeError as error:
            raise SpellingRefused("bytes that are not UTF-8") from error
        if _NEEDLESS.search(segment):
            raise SpellingRefused("a letter, digit or sign that needs no encoding, but has one")
    return raw.decode("ascii")
