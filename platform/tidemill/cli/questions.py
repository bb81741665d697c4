"""Ask on the terminal what the command line leaves open."""

import sys
from collections.abc import Sequence

import typer

__all__ = ["ask", "ask_text", "can_ask"]

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

    return str(typer.prompt(shown, default=default, value_proc=one_of, err=True))


def ask_text(question: str, default: str) -> str:
    """Ask for any text; nothing typed is ``default``."""
    return str(
        typer.prompt(_sentence(question), default=default, show_default=bool(default), err=True)
    ).strip()


def _sentence(question: str) -> str:
    return f"{question[0].upper()}{question[1:]}"
