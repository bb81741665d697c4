import io

from rich.console import Console

from tidemill.cli.output import columns, out_console, progress


def test_square_brackets_in_what_people_write_are_text():
    console = Console(file=io.StringIO(), width=200, markup=out_console._markup)
    table = columns("why", title="reasons")
    table.add_row("see [/foo] note [bold]")
    console.print(table)
    console.print("turn failed: [/x]")
    assert "see [/foo] note [bold]" in console.file.getvalue()
    assert "turn failed: [/x]" in console.file.getvalue()


def test_an_id_is_never_cut():
    console = Console(file=io.StringIO(), width=30, markup=False)
    table = columns("id", "message")
    table.add_row("alert_01m7wkx42kewabcdefghjkmnpq", "something is wrong, and it is a long story")
    console.print(table)
    assert "…" not in console.file.getvalue()


def test_progress_takes_any_text():
    with progress() as tell:
        tell("data", "a line with [/brackets]", None, None)
        tell("train", "more [/]", 1, 2)
