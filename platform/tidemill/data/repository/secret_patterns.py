"""Recognises files and texts that look like secrets, so that they are not kept with a run."""

import re
from pathlib import PurePosixPath

__all__ = ["holds_secret", "is_secret_file"]

_NAMES = re.compile(
    r"\.env(\..+)?|.+\.env|\.netrc|\.pgpass|\.npmrc|\.pypirc|\.dockercfg|kubeconfig|id_(rsa|dsa|ecdsa|ed25519)(\..+)?|"
    r".+\.(pem|key|p12|pfx|jks|kdbx|keystore|ovpn)|(?!.+\.(py|ipynb)$).*(secret|credential|passw).*",
    re.IGNORECASE,
)
_WORDS = rb"(?:passw(?:or)?d|secret|token|api_?-?key|access_?-?key|private_?-?key|credential)"
_TEXTS = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    rb"|\bAKIA[0-9A-Z]{16}\b"
    rb"|\bgh[pousr]_[A-Za-z0-9]{30,}"
    rb"|\bglpat-[\w-]{20,}"
    rb"|\bxox[abprs]-[\w-]{10,}"
    rb"|\bsk-[\w-]{20,}"
    rb"|\btmk_\w{8,}"
    rb"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\."
    rb"|://[^/\s:@\"']+:[^/\s:@\"'{}$]{3,}@"
    rb"|(?i:" + _WORDS + rb")\w*[\"']?\s*[:=]\s*[\"'][^\"'\s{}$]{6,}[\"']"
)
_SETTINGS = re.compile(
    rb"^[+\- ]?[ \t]*[\w.-]*(?i:" + _WORDS + rb")\w*[ \t]*[:=][ \t]*[^\s\"'{}$#\[]{6,}[ \t]*$", re.MULTILINE
)
"""In files of settings values stand without quotes."""
_OF_SETTINGS = frozenset({".cfg", ".conf", ".ini", ".properties", ".sh", ".toml", ".yaml", ".yml"})


def is_secret_file(file: str) -> bool:
    """Return whether a file looks like a secret by its name.

    >>> [is_secret_file(file) for file in ("conf/.env", "keys/api.pem", "db-secrets.yaml", "secret_santa.py")]
    [True, True, True, False]
    """
    return _NAMES.fullmatch(PurePosixPath(file).name) is not None


def holds_secret(file: str, content: bytes) -> bool:
    """Return whether a text, or a patch of it, holds what looks like a secret.

    >>> holds_secret("a.py", b'API_KEY = "f00dfeedbeef"'), holds_secret("a.py", b"token = next(tokens)")
    (True, False)
    >>> [holds_secret("a.yaml", text) for text in (b"url: pg://ada:hunter2@db/x", b"password: hunter2")]
    [True, True]
    """
    settings = PurePosixPath(file).suffix.lower() in _OF_SETTINGS
    return bool(_TEXTS.search(content) or (settings and _SETTINGS.search(content)))
