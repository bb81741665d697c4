"""Ask on the terminal what the command line leaves open."""

import signal
import sys
from collections.abc import Sequence
from typing import Any

import typer

__all__ = ["ask", "ask_text", "can_ask", "confirm"]

_SHOWN = 12
"""Answers that are listed in a question."""


def can_ask(as_json: bool) -> bool:
    """Return whether a person is there who can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not as_json


def ask(question: str, options: Sequence[str], default: str) -> str:
    """Ask for one of some answers, until one of them is given."""
    shown = f"{_sentence(question)} ({', '.join(options)})" if len(options) <= _SHOWN else _sentence(question)
    if len(options) > _SHOWN:
        typer.echo(", ".join(options), err=True)

    def one_of(given: str) -> str:
        if given not in options:
            raise typer.BadParameter(f"{given!r} is not one of {', '.join(options[:_SHOWN])}")
        return given

    return str(_prompt(shown, default=default, value_proc=one_of))


def ask_text(question: str, default: str) -> str:
    """Ask for any text; nothing typed is ``default``."""
    return str(_prompt(_sentence(question), default=default, show_default=bool(default))).strip()


def confirm(question: str) -> None:
    """Ask whether to go on, and end the command if not."""
    _let_interrupt()
    typer.confirm(question, abort=True, err=True)


def _prompt(question: str, **options: Any) -> Any:
    _let_interrupt()
    return typer.prompt(question, err=True, **options)


def _let_interrupt() -> None:
    """Let Ctrl-C end the wait for an answer: the handler that Polars installs begins a read again."""
    signal.siginterrupt(signal.SIGINT, True)


def _sentence(question: str) -> str:
    return f"{question[0].upper()}{question[1:]}"
