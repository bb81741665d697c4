"""What others wrote and we ship is what they published, with their licence, and complete."""

import hashlib
from pathlib import Path

import pytest

import tidemill.dashboard

VENDOR = Path(tidemill.dashboard.__file__).parent / "static" / "vendor"
PUBLISHED = {
    "htmx-4.0.1.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "htmx-4.0.1-hx-csp.min.js": "a7e1e6711ae6c3e50ad300fba7936cbe8d07599cdae313414a179ddd6b26e143",
    "uplot-1.6.32.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uplot-1.6.32.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
"""File → SHA-256 of the same file in the package on npm."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_file_is_what_was_published(name):
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == PUBLISHED[name]


def test_nothing_else_is_there_but_licences():
    found = {file.name for file in VENDOR.iterdir()}
    assert found == set(PUBLISHED) | {"htmx-LICENSE.txt", "uplot-LICENSE.txt"}
    assert "MIT" in (VENDOR / "uplot-LICENSE.txt").read_text()
    assert "Zero-Clause BSD" in (VENDOR / "htmx-LICENSE.txt").read_text()
