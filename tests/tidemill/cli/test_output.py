import io
import json
import re
from datetime import UTC, datetime

import pytest
from rich.console import Console

from tidemill.cli.listing import Listing
from tidemill.cli.output import emit, out_console, print_indented, print_wrapped


def test_square_brackets_in_what_people_write_are_text(capsys: pytest.CaptureFixture[str]):
    emit({}, False, lambda console: console.print("turn failed: [/x] see [bold]"))
    assert capsys.readouterr().out == "turn failed: [/x] see [bold]\n"
    assert out_console() is out_console()


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]):
    emit({"at": datetime(2013, 4, 1, tzinfo=UTC)}, True, lambda console: console.print("for people"))
    assert json.loads(capsys.readouterr().out) == {"at": "2013-04-01T00:00:00+00:00"}


def shown(listing: Listing, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(listing)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_path_is_whole_however_narrow_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    path = "/srv/my-project/.tidemill/reports/weekly-quality/2013-05-08_0000-v12-run_01kg7a.html"
    listing = Listing("monitor", "report")
    listing.add_row("weekly", path)
    monkeypatch.setenv("COLUMNS", "40")
    emit({}, False, lambda console: console.print(listing))
    assert capsys.readouterr().out.split("\n") == ["monitor  weekly", f"report   {path}", ""]


def test_short_rows_are_a_table_at_any_width():
    listing = Listing("version", "aliases", "since")
    listing.add_row("12", "champion", "2013-04-01 12:00")
    for width in (60, 80, 200):
        header, rule, row = shown(listing, width)
        assert header.split() == ["version", "aliases", "since"]
        assert set(rule) <= set("─ ")
        assert row.split() == ["12", "champion", "2013-04-01", "12:00"]


def test_rows_that_fit_look_as_a_table_of_rich_does(monkeypatch: pytest.MonkeyPatch):
    listing = Listing("version", "", "since")
    listing.add_row("12", "–", "Zürich [x] :smile:")
    listing.add_row("", "champion", "€ 3")
    text = io.StringIO()
    console = Console(file=text, width=60, markup=False, highlight=False, emoji=False, force_terminal=True)
    console.print(listing._table([7, 8, 18]))
    table = text.getvalue()
    text.seek(0)
    text.truncate()
    monkeypatch.setattr(Listing, "_table", None)  # which takes a second for thousands of rows
    console.print(listing)
    plain = re.compile(r"\x1b\[[0-9;]*m")
    assert plain.sub("", text.getvalue()) == plain.sub("", table)
    assert text.getvalue().startswith("\x1b[1m")


def test_cells_that_are_no_plain_line_are_laid_out():
    listing = Listing("version", "why")
    listing.add_row("12", "two\nlines")
    listing.add_row("13", "寿司")
    lines = shown(listing, 60)
    assert lines[2:4] == ["12       two", "         lines"]
    assert "寿司" in lines[-1]


def alerts() -> Listing:
    listing = Listing("id", "status", "kind", "version", "raised", "by", "message", title="alerts")
    why = "roc_auc fell from 0.7512 to 0.7034 over 1,120 labelled rows; limit 0.72 [see docs/monitors.md]"
    for number in range(3):
        listing.add_row(f"alert_01kg7{number}", "open", "quality", "3", "2013-05-01 12:00", "–", why)
    return listing


@pytest.mark.parametrize("width", [40, 60, 80])
def test_rows_that_do_not_fit_are_blocks(width: int):
    lines = shown(alerts(), width)
    assert lines[0] == "alerts"
    assert lines[1].split() == ["id", "alert_01kg70"]
    assert not any(line.startswith("by ") for line in lines)  # it says nothing
    assert max(map(len, lines)) <= width
    assert lines.count("") == 2
    assert " ".join(" ".join(lines).split()).count("[see docs/monitors.md]") == 3


def test_a_wide_terminal_gets_the_table():
    lines = shown(alerts(), 200)
    assert [line.split()[0] for line in lines if "alert_" in line] == [
        "alert_01kg70",
        "alert_01kg71",
        "alert_01kg72",
    ]
    assert max(map(len, lines)) <= 200


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_column_is_narrower_than_what_can_be_read(width: int):
    long = "a sentence that is much too long for one line of a terminal, " * 3
    listing = Listing("a", "b", "c", "d")
    listing.add_row(long, long, long, long)
    lines = shown(listing, width)
    assert max(map(len, lines)) <= width
    assert all(len(line.split()) > 2 for line in lines if line and line != lines[1])


def test_a_word_is_never_cut():
    listing = Listing("id", "message")
    listing.add_row("alert_01m7wkx42kewabcdefghjkmnpq", "something is wrong, and it is a long story")
    assert any("alert_01m7wkx42kewabcdefghjkmnpq" in line for line in shown(listing, 50))


def test_what_is_indented_stays_so_where_lines_are_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "30")
    path = "/srv/my-project/.tidemill/predictions"
    emit({}, False, lambda console: print_indented(console, f"some [words] come before {path} here"))
    assert capsys.readouterr().out == f"  some [words] come before\n  {path}\n  here\n"


def test_an_empty_listing_shows_its_headers():
    assert shown(Listing("a", "b"), 80)[0].split() == ["a", "b"]


def test_a_long_line_breaks_between_words_and_what_follows_is_indented():
    console = Console(file=io.StringIO(), width=40, markup=False, highlight=False)
    why = "the data are at fault (feature_drift of monitor repairs: note): a new model would learn from them"
    print_wrapped(console, f"  ✗ data quality: {why}", "    ")
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 40
    assert (lines[0][:4], [line[:4] for line in lines[1:]]) == ("  ✗ ", ["    "] * (len(lines) - 1))
    assert " ".join(" ".join(lines).split()) == f"✗ data quality: {why}"
