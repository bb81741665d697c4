"""What ``deploy show`` says of a rollout."""

from io import StringIO

from rich.console import Console

from tidemill.cli.serving.rollout import render_progress
from tidemill.rollouts.unjudged_steps import unjudged_note

LOSS = "log_loss 3.3410, the champion's 0.6363 (lower is better): a gain of -2.7047 (235 and 1,036 answers)"


def test_each_step_says_why_it_ended_and_the_last_one_shows_its_checks():
    console = Console(width=80, record=True, file=StringIO())
    render_progress(
        console,
        {
            "id": "roll_1",
            "version": "4",
            "says": f"rolled back: {LOSS}",
            "note": unjudged_note("regression", {"min_labels": 200}),
            "checks": [
                {
                    "share": 0.2,
                    "reason": "errors are as they should be",
                    "checks": ["1 of 1 replica answers"],
                },
                {"share": 0.5, "reason": LOSS, "checks": [LOSS, "it could not score 0 of 9 rows"]},
            ],
        },
    )
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("rollout roll_1 of version 4: rolled back: log_loss")
    said = " ".join(line.strip() for line in lines[1:])
    assert "steps are not judged by it until each version has 200 labelled answers" in said
    assert "  at 20 %: errors are as they should be" in lines
    assert not [line for line in lines if "1 of 1 replica" in line]
    at = lines.index("  at 50 %:")
    assert lines[at + 1].startswith("    log_loss 3.3410, the champion's 0.6363")
    assert lines[-1] == "    it could not score 0 of 9 rows"
