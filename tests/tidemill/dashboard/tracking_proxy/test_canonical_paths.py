import pytest

from tidemill.dashboard.tracking_proxy.canonical_paths import SpellingRefused, canonical


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/b-c_d.e~f", "/1/artifacts/a%20b.txt", "/a/%C3%BC", "/a/model:v1,x=(2)", "/a/..b"]
)
def test_a_plain_path_stays_as_it_is(path):
    assert canonical(path.encode()) == path


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"a",
        b"//a",
        b"/a//b",
        b"/a/",
        b"/a/./b",
        b"/a/../b",
        b"/a/%2e%2e/b",
        b"/a/.%2E/b",
        b"/a%2fb",
        b"/a%2Fb",
        b"/a%252fb",
        b"/a%5cb",
        b"/a\\b",
        b"/a%00",
        b"/a%0d%0ab",
        b"/a;b",
        b"/a?b",
        b"/a#b",
        b"/a b",
        b"/%61pi",
        b"/a%",
        b"/a%g0",
        b"/a/%c0%af",
        b"/a/%ff",
        "/ü".encode(),
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_refused(path):
    with pytest.raises(SpellingRefused):
        canonical(path)
