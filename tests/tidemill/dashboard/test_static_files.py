from tidemill.dashboard.static_files import static_address


def test_a_file_may_be_kept_at_the_address_that_pages_name(browser):
    address = static_address("tidemill.css")
    assert address.replace("&", "&amp;") in browser.get("/").text
    answer = browser.get(address)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    for other in ("/static/tidemill.css", "/static/tidemill.css?v=0123456789abcdef"):
        assert browser.get(other).headers["cache-control"] == "no-cache"


def test_what_is_no_file_of_ours_is_not_found(browser):
    for path in ("/static/none.css?v=None", "/static/%2e%2e/app.py", "/static/..%2fapp.py"):
        answer = browser.get(path)
        assert answer.status_code == 404, path
        assert "immutable" not in answer.headers["cache-control"]


def test_pages_are_compressed(browser):
    answer = browser.get("/static/tidemill.css", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert ":root" in answer.text
